"""What the pages tell a reader to do works, in the order in which they tell it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.markdown import REPO, Command, blocks, commands, name_of, pages
from tests.docs.terminal import Terminal

COVERED_ELSEWHERE = {
    'make demo ARGS="--once"': ("Makefile", "backstop demo $(ARGS)"),
    "make test": (".ci/run", "exec make test"),
    "make kill-matrix": ("Makefile", "tools/kill_matrix.py $(ARGS)"),
    "make kill-matrix ARGS=\"--repeats 20 'liquidation.*'\"": (
        "Makefile",
        "tools/kill_matrix.py $(ARGS)",
    ),
}
"""Commands that are too large for here, and the file that shows who carries them out."""

SIMULATOR = Command("backstop simulate --port 8730 --user trader --api-key practice", ())
TO_THE_SIMULATOR = Command("export TOPSTEPX_API_URL=http://127.0.0.1:8730", ())
AS_TRADER = Command(
    "export TOPSTEPX_USERNAME=trader TOPSTEPX_API_KEY=practice TOPSTEPX_ACCOUNT_ID=31004502", ()
)
SENDING = Command(
    "export DRY_RUN=0 EXECUTE=1 BACKSTOP_CALENDAR=always-open BACKSTOP_STATE_DIR=state", ()
)

AT_ANY_HOUR = Command("export BACKSTOP_CALENDAR=always-open", ())

HOWTO = REPO / "docs" / "howto"
TUTORIAL = REPO / "docs" / "tutorial"

pytestmark = pytest.mark.timeout(300)
"""A page starts a dozen processes one after the other, beside those of other tests."""


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    typed = Terminal(tmp_path)
    try:
        yield typed
    finally:
        codes = typed.close()
    assert set(codes) <= {0}


def carry_out(terminal: Terminal, page: Path) -> None:
    """Do everything a page says; a text block holds what the script before it prints."""
    printed = ""
    for block in blocks(page):
        if block.language == "console" and block.body.startswith("$ make"):
            continue
        if block.language == "bash":
            continue  # needs what no test has: a person at the keyboard, or an account of a service
        if block.language == "text":
            for line in block.body.splitlines():
                assert re.search(re.escape(line).replace("…", ".*"), printed), printed
            continue
        printed = terminal.carry_out(block)


def test_the_readme_leads_to_a_guard_that_answers(terminal: Terminal) -> None:
    carry_out(terminal, REPO / "README.md")


def test_the_tutorial_leads_from_nothing_to_a_protected_bot_and_to_flat(terminal: Terminal) -> None:
    carry_out(terminal, TUTORIAL / "first-protected-bot.md")


def test_practising_on_the_simulator_works_as_written(terminal: Terminal) -> None:
    carry_out(terminal, HOWTO / "practise-on-the-simulator.md")


def test_connecting_in_dry_run_works_as_written(terminal: Terminal) -> None:
    for command in (SIMULATOR, TO_THE_SIMULATOR):
        terminal.type(command)

    carry_out(terminal, HOWTO / "connect-in-dry-run.md")


def test_the_embedded_bot_trades_and_its_record_reads_as_written(terminal: Terminal) -> None:
    for command in (SIMULATOR, TO_THE_SIMULATOR, AS_TRADER, SENDING):
        terminal.type(command)

    carry_out(terminal, HOWTO / "embed-in-a-python-bot.md")
    carry_out(terminal, HOWTO / "read-the-audit.md")


def test_a_bot_that_sends_its_own_orders_has_them_proven_as_written(terminal: Terminal) -> None:
    own_folder = Command("export BACKSTOP_STATE_DIR=state", ())
    for command in (SIMULATOR, TO_THE_SIMULATOR, AS_TRADER, own_folder):
        terminal.type(command)

    carry_out(terminal, HOWTO / "verify-your-own-orders.md")


def test_connecting_a_bot_works_as_written(terminal: Terminal) -> None:
    token = Command("export BACKSTOP_API_TOKEN=practice-token-0123456789", ())
    stop = Command("export DEFAULT_STOP_TICKS=80", ())
    guard = Command("backstop run", ())
    for command in (SIMULATOR, TO_THE_SIMULATOR, AS_TRADER, SENDING, token, stop, guard):
        terminal.type(command)

    carry_out(terminal, HOWTO / "connect-a-bot.md")


def test_taking_the_account_flat_works_as_written(terminal: Terminal) -> None:
    token = Command("export BACKSTOP_API_TOKEN=practice-token-0123456789", ())
    guard = Command("backstop run", ())
    for command in (SIMULATOR, TO_THE_SIMULATOR, AS_TRADER, SENDING, token, guard):
        terminal.type(command)

    carry_out(terminal, HOWTO / "take-the-account-flat.md")


def test_halting_and_resuming_works_as_written(terminal: Terminal) -> None:
    token = Command("export BACKSTOP_API_TOKEN=practice-token-0123456789", ())
    guard = Command("backstop run", ())
    for command in (SIMULATOR, TO_THE_SIMULATOR, AS_TRADER, token, guard):
        terminal.type(command)

    carry_out(terminal, HOWTO / "halt-and-resume.md")


def test_taking_the_account_flat_without_a_guard_works_as_written(terminal: Terminal) -> None:
    for command in (SIMULATOR, TO_THE_SIMULATOR, AS_TRADER, SENDING):
        terminal.type(command)

    carry_out(terminal, HOWTO / "take-the-account-flat-without-a-guard.md")


def test_seeing_what_a_start_would_do_works_as_written(terminal: Terminal) -> None:
    for command in (SIMULATOR, TO_THE_SIMULATOR, AS_TRADER, SENDING):
        terminal.type(command)

    carry_out(terminal, HOWTO / "see-what-a-start-would-do.md")


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


def test_no_command_of_a_page_is_left_untried() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    places = {"REPO": REPO, "HOWTO": HOWTO, "TUTORIAL": TUTORIAL}
    carried_out = {
        places[place] / name
        for place, name in re.findall(r"carry_out\(terminal, (\w+) / \"([\w.-]+)\"\)", here)
    }
    untried = [
        f"{name_of(page)}: {command.line}"
        for page in pages()
        for block in blocks(page)
        if block.language == "console"
        for command in commands(block)
        if command.line not in COVERED_ELSEWHERE and page not in carried_out
    ]

    assert untried == []
    for path, evidence in COVERED_ELSEWHERE.values():
        assert evidence in (REPO / path).read_text(encoding="utf-8")
