"""The pages that lead through more than one start: in a file of their own, to run beside others."""

import pytest
from tests.docs.markdown import Command
from tests.docs.reader import (
    AS_TRADER,
    AT_ANY_HOUR,
    HOWTO,
    SIMULATOR,
    TO_THE_SIMULATOR,
    TUTORIAL,
    carry_out,
)
from tests.docs.terminal import Terminal

pytestmark = pytest.mark.timeout(300)
"""A page starts a dozen processes one after the other, beside those of other tests."""


def test_the_tutorial_leads_from_nothing_to_a_protected_bot_and_to_flat(terminal: Terminal) -> None:
    carry_out(terminal, TUTORIAL / "first-protected-bot.md")


def test_checking_the_set_up_works_as_written(terminal: Terminal) -> None:
    for command in (SIMULATOR, TO_THE_SIMULATOR, AS_TRADER, AT_ANY_HOUR):
        terminal.type(command)

    carry_out(terminal, HOWTO / "check-the-set-up.md")


def test_running_the_guard_as_a_daemon_works_as_written(terminal: Terminal) -> None:
    for command in (SIMULATOR, TO_THE_SIMULATOR, AS_TRADER, AT_ANY_HOUR):
        terminal.type(command)

    carry_out(terminal, HOWTO / "run-the-guard.md")


def test_keys_are_rotated_as_written(terminal: Terminal) -> None:
    folder = Command("export BACKSTOP_STATE_DIR=practice-state", ())
    guard = Command("DRY_RUN=0 EXECUTE=1 backstop run", ())
    for command in (SIMULATOR, TO_THE_SIMULATOR, AS_TRADER, AT_ANY_HOUR, folder, guard):
        terminal.type(command)

    carry_out(terminal, HOWTO / "rotate-keys.md")


def test_a_backup_is_made_checked_and_restored_as_written(terminal: Terminal) -> None:
    folder = Command("export BACKSTOP_STATE_DIR=practice-state", ())
    guard = Command("DRY_RUN=0 EXECUTE=1 backstop run", ())
    for command in (SIMULATOR, TO_THE_SIMULATOR, AS_TRADER, AT_ANY_HOUR, folder, guard):
        terminal.type(command)
    terminal.type(Command("backstop status", ("…user hub       connected",)))

    carry_out(terminal, HOWTO / "back-up-and-restore.md")


def test_the_checklist_can_be_gone_through_as_written(terminal: Terminal) -> None:
    for command in (SIMULATOR, TO_THE_SIMULATOR, AS_TRADER, AT_ANY_HOUR):
        terminal.type(command)

    carry_out(terminal, HOWTO / "go-live-checklist.md")


def test_the_page_is_found_where_the_guard_says_that_it_is(terminal: Terminal) -> None:
    for command in (SIMULATOR, TO_THE_SIMULATOR, AS_TRADER):
        terminal.type(command)

    carry_out(terminal, HOWTO / "watch-on-the-dashboard.md")
