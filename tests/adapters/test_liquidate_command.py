"""The command that liquidates, as the watchdog hears of it: processes that end in many ways."""

import sys
from pathlib import Path

import pytest

from backstop.adapters.liquidate_command import LiquidateCommand
from backstop.ports import LiquidationOutcome

LAST_WORDS = [] if sys.platform == "win32" else ["", "2 left"]
"""Of a process that a signal ends, which there is none of on Windows."""


async def outcome_of(folder: Path, program: str) -> LiquidationOutcome:
    """Return what is told of a ``backstop liquidate`` that does what ``program`` says."""
    package = folder / "backstop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(program)
    return await LiquidateCommand({"PYTHONPATH": str(folder)}).liquidate("test")


async def test_what_it_says_is_told_when_it_ends_by_itself(tmp_path: Path) -> None:
    outcome = await outcome_of(tmp_path, "print('everything is closed')")

    assert outcome == LiquidationOutcome(flat=True, message="everything is closed")


@pytest.mark.parametrize("words", LAST_WORDS)
async def test_a_command_that_was_killed_is_told_as_that_with_its_last_words(
    tmp_path: Path, words: str
) -> None:
    program = (
        f"import os, signal\nprint({words!r}, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    outcome = await outcome_of(tmp_path, program)

    assert not outcome.flat
    assert "killed by SIGKILL" in outcome.message
    assert words in outcome.message


async def test_a_command_that_fails_without_a_word_is_told_with_its_exit_code(
    tmp_path: Path,
) -> None:
    outcome = await outcome_of(tmp_path, "raise SystemExit(3)")

    assert outcome == LiquidationOutcome(
        flat=False, message="'backstop liquidate' ended with exit code 3 and said nothing"
    )
