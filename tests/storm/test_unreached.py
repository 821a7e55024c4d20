"""What is excused from being reached exists, has a reason, and is not reached."""

import pytest

from backstop.domain.alert_code import AlertCode
from backstop.storm.coverage import ALERTS, all_there_is
from backstop.storm.seed_run import run_seed
from backstop.storm.unreached import RARE, UNREACHED

EVERY = [
    (kind, name, reason)
    for table in (UNREACHED, RARE)
    for kind, reasons in table.items()
    for name, reason in reasons.items()
]


@pytest.mark.parametrize(("kind", "name", "reason"), EVERY)
def test_each_is_one_of_its_kind_and_says_why(kind: str, name: str, reason: str) -> None:
    assert name in all_there_is()[kind]
    assert len(reason.split()) > 5


def test_nothing_is_both_out_of_reach_and_rare() -> None:
    for kind, rare in RARE.items():
        assert not rare.keys() & UNREACHED[kind].keys()


def test_most_of_what_there_is_is_not_excused() -> None:
    for kind, names in all_there_is().items():
        assert len(UNREACHED.get(kind, {})) < len(names) / 2, kind


def test_a_seed_reaches_none_of_it() -> None:
    reached = run_seed(24, hours=0.02).reached
    assert reached[ALERTS]
    for kind, names in reached.items():
        assert not set(names) & UNREACHED.get(kind, {}).keys()


def test_what_the_watchdog_says_counts_as_reached() -> None:
    assert AlertCode.GUARD_RESTARTED not in UNREACHED[ALERTS]
