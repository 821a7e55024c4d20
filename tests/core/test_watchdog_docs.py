"""The page about the watchdog says what the code decides."""

from pathlib import Path

import pytest

from backstop.core.watch_facts import SECOND_NS, Limits
from backstop.core.watchdog_presence import PresenceLimits

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "watchdog.md"
LIMITS, PRESENCE = Limits(), PresenceLimits()


def seconds(span_ns: int) -> str:
    return f"{span_ns / SECOND_NS:g}"


@pytest.mark.parametrize(
    "sentence",
    [
        f"| no pulse for {seconds(LIMITS.stale_ns)} s | has the guard write down",
        f"| no pulse for {seconds(LIMITS.frozen_ns)} s | kills it",
        (
            f"| {LIMITS.crashes_max} deaths within {seconds(LIMITS.crash_window_ns)} s "
            f"| goes on with pauses of {', '.join(map(seconds, LIMITS.pauses_ns[:-1]))} and then "
            f"{seconds(LIMITS.pauses_ns[-1])} s"
        ),
        f"gives the guard {seconds(LIMITS.probation_ns)} s before it judges",
        f"sound again after {seconds(LIMITS.probation_ns)} s of pulse",
        f"when it has been silent for {seconds(PRESENCE.silent_ns)} s, the guard refuses",
        (
            f"replaced after {seconds(PRESENCE.replace_ns)} s, a silent one after "
            f"{seconds(PRESENCE.frozen_ns)} s"
        ),
        f"again after {seconds(PRESENCE.steady_ns)} s of its beats",
    ],
)
def test_the_page_has_the_limits_of_the_code(sentence: str) -> None:
    words = " ".join(PAGE.read_text(encoding="utf-8").split())

    assert " ".join(sentence.split()) in words
