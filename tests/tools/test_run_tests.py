"""What failed is looked at twice, and nobody can overlook what passed only then."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN_TESTS = Path(__file__).parents[2] / "tools" / "run_tests.py"

A_RACE = """
from pathlib import Path

def test_that_is_won_the_second_time():
    been_here = Path("been_here")
    was_here = been_here.exists()
    been_here.touch()
    assert was_here

def test_that_is_always_won():
    pass
"""
BROKEN = """
def test_that_is_broken():
    assert not "the product"
"""
A_RACE_IS_NAMED = (
    "PASSED ONLY IN THE SECOND LOOK (1): test_a_race.py::test_that_is_won_the_second_time"
)


def played(folder: Path, *options: str, **files: str) -> tuple[int, str]:
    """Write test files, play them, and return the exit code and all that was said."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, str(RUN_TESTS), "-n", "0", *options],
        cwd=folder,
        # No plugin is needed but the one whose options are given, and to load them takes seconds.
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_PLUGINS": "xdist.plugin",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return done.returncode, done.stdout


def test_a_test_that_passes_only_the_second_time_is_named_in_the_last_line(tmp_path: Path) -> None:
    code, said = played(tmp_path, a_race=A_RACE)

    assert code == 0
    assert said.splitlines()[-1] == A_RACE_IS_NAMED


def test_what_is_broken_is_red_and_hides_no_race(tmp_path: Path) -> None:
    code, said = played(tmp_path, a_race=A_RACE, broken=BROKEN)

    assert code == 1
    assert said.splitlines()[-1] == A_RACE_IS_NAMED


def test_where_all_is_well_nothing_is_played_twice(tmp_path: Path) -> None:
    (tmp_path / "been_here").touch()
    code, said = played(tmp_path, a_race=A_RACE)

    assert code == 0
    assert said.count("test session starts") == 1
    assert "2 passed" in said.splitlines()[-1]


@pytest.mark.parametrize("cut_short", [("--maxfail", "1"), ("-x",), ("--no-such-option",)])
def test_a_run_that_did_not_come_to_its_end_is_not_made_good(
    tmp_path: Path, cut_short: tuple[str, ...]
) -> None:
    code, said = played(tmp_path, *cut_short, a_race=A_RACE)

    assert code != 0
    assert said.count("test session starts") <= 1
