"""`make storm` plays every seed that ever failed, and says which one fails again."""

import pytest
import storm_regressions
from msgspec.structs import replace

from backstop.storm.regressions import REGRESSIONS
from backstop.storm.rules.scene import Violation
from backstop.storm.seed_run import run_seed

SHORT_H = 0.002


def test_each_is_played_and_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    some = [replace(it, hours=SHORT_H) for it in REGRESSIONS[:2]]

    assert storm_regressions.play(some, processes=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"seed {it.seed:6}, {SHORT_H:g} h: passed" for it in some]


def test_one_that_fails_says_what_it_broke() -> None:
    result = run_seed(REGRESSIONS[0].seed, hours=SHORT_H)
    broken = replace(
        result,
        violations=(Violation(at_s=1.5, rule="halted", text="an entry left"),),
        unsettled=("a position is open",),
    )

    assert storm_regressions.told(broken).splitlines()[1:] == [
        "    1.500 s: halted: an entry left",
        "    did not come right: a position is open",
    ]
    assert "FAILED" in storm_regressions.told(broken)
