"""What the pages tell a reader to do works, in the order in which they tell it."""

import re
from pathlib import Path

import pytest
from tests.docs.markdown import REPO, Command, blocks, commands, name_of, pages
from tests.docs.reader import (
    AS_TRADER,
    AT_ANY_HOUR,
    HOWTO,
    SENDING,
    SIMULATOR,
    TO_THE_SIMULATOR,
    TUTORIAL,
    carry_out,
)
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

pytestmark = pytest.mark.timeout(300)
"""A page starts a dozen processes one after the other, beside those of other tests."""


def test_the_readme_leads_to_a_guard_that_answers(terminal: Terminal) -> None:
    carry_out(terminal, REPO / "README.md")


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


def test_a_bot_that_trades_on_its_own_is_watched_as_written(terminal: Terminal) -> None:
    token = Command("export BACKSTOP_API_TOKEN=practice-token-0123456789", ())
    folder = Command("export BACKSTOP_STATE_DIR=state", ())
    for command in (SIMULATOR, TO_THE_SIMULATOR, AS_TRADER, AT_ANY_HOUR, folder, token):
        terminal.type(command)

    carry_out(terminal, HOWTO / "watch-a-bot-that-trades-on-its-own.md")


def test_connecting_a_bot_works_as_written(terminal: Terminal) -> None:
    token = Command("export BACKSTOP_API_TOKEN=practice-token-0123456789", ())
    stop = Command("export DEFAULT_STOP_TICKS=80", ())
    guard = Command("backstop run", ())
    for command in (SIMULATOR, TO_THE_SIMULATOR, AS_TRADER, SENDING, token, stop, guard):
        terminal.type(command)

    carry_out(terminal, HOWTO / "connect-a-bot.md")


def test_a_bot_behind_the_gateway_trades_as_written(terminal: Terminal) -> None:
    folder = Command("export BACKSTOP_STATE_DIR=state", ())
    for command in (SIMULATOR, TO_THE_SIMULATOR, AS_TRADER, AT_ANY_HOUR, folder):
        terminal.type(command)

    carry_out(terminal, HOWTO / "put-the-guard-in-front-of-a-bot.md")


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


def test_no_command_of_a_page_is_left_untried() -> None:
    tests = sorted(Path(__file__).parent.glob("test_*.py"))
    told = "\n".join(path.read_text(encoding="utf-8") for path in tests)
    places = {"REPO": REPO, "HOWTO": HOWTO, "TUTORIAL": TUTORIAL}
    carried_out = {
        places[place] / name
        for place, name in re.findall(r"carry_out\(terminal, (\w+) / \"([\w.-]+)\"\)", told)
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
