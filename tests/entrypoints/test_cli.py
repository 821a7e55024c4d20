"""The command line as a process: what it prints, where, and with which exit code."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.entrypoints.program import Call

from backstop.adapters.sqlite.journal import SqliteJournal
from backstop.core.journal_leaf import leaf_hash
from backstop.domain.audit import AuditRow, FillRow
from backstop.domain.events import Answer
from backstop.ports import JournalBatch, JournalRecord


async def test_help_lists_every_verb_and_no_verb_is_unusable_input(backstop: Call) -> None:
    listed = await backstop("--help")
    nothing = await backstop()

    assert listed.code == 0
    for verb in ("demo", "run", "simulate", "status", "positions", "validate", "halt", "audit"):
        assert verb in listed.out
    assert nothing.code == 2


async def test_the_version_is_told(backstop: Call) -> None:
    assert (await backstop("--version")).out.startswith("backstop 0.")


async def test_a_mistyped_verb_is_refused_with_the_one_that_was_meant(backstop: Call) -> None:
    outcome = await backstop("statsu")

    assert (outcome.code, outcome.out) == (2, "")
    assert "status" in outcome.err


@pytest.mark.parametrize(
    "words", ["audit verify", "audit orders", "audit rotate-key", "doctor --no-login"]
)
async def test_a_state_folder_that_cannot_be_looked_into_is_unusable_input(
    backstop: Call, words: str
) -> None:
    """Not 1: nobody may take it for a record that does not hold."""
    told = await backstop(*words.split(), BACKSTOP_STATE_DIR="x" * 300)

    assert (told.code, told.out) == (2, "")
    assert "File name too long" in told.err
    assert "BACKSTOP_STATE_DIR" in told.err
    assert "Traceback" not in told.err


# -- asking a guard ------------------------------------------------------------------------------


async def test_status_is_read_by_people_and_by_programs(reading: Call, desk: Any) -> None:
    guard = desk.guard(dry_run=True)

    told = await reading(guard, "status")
    parsed = await reading(guard, "status", "--json")

    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("DRY RUN: NOTHING IS SENT\n")
    assert "ACTIVE" in told.out
    assert json.loads(parsed.out)["trading_state"] == "ACTIVE"


async def test_status_names_a_liquidation_that_is_not_over(reading: Call, desk: Any) -> None:
    guard = desk.guard()
    decision = await guard.liquidate(reason="the news", operator="Ann")
    told = await reading(guard, "status")

    assert f"liquidation    {decision.liquidation_id} VERIFYING, 0 left" in told.out


async def test_status_says_what_an_order_in_doubt_would_trade(reading: Call, desk: Any) -> None:
    guard = desk.guard()
    guard.answer = Answer.UNKNOWN
    await guard.submit_order(desk.request())
    told = await reading(guard, "status")

    (line,) = (it for it in told.out.splitlines() if it.startswith("UNKNOWN ORDER"))
    assert line == "UNKNOWN ORDER  entry-1 BUY 2 ES, without a clear answer: do not send it again"


async def test_positions_of_a_flat_account_are_none(reading: Call, desk: Any) -> None:
    told = await reading(desk.guard(), "positions")
    parsed = await reading(desk.guard(), "positions", "--json")

    assert (told.code, told.out) == (0, "no positions\n")
    assert json.loads(parsed.out) == {"positions": []}


async def test_validate_ends_with_0_for_a_good_order_and_1_for_a_refused_one(
    reading: Call, desk: Any
) -> None:
    order = ("validate", "es", "long", "2", "--type", "limit", "--limit", "5000.30")
    bracket = ("--stop-loss", "4995.25", "--take-profit", "5010.25")

    good = await reading(desk.guard(), *order, *bracket)
    bad = await reading(desk.guard(), *order, "--json")

    assert good.code == 0
    assert good.out.startswith("APPROVED\n")
    assert "limit_price 5000.25" in good.out
    assert "reward for one unit of risk 2.0" in good.out
    assert bad.code == 1
    assert json.loads(bad.out)["denials"][0]["code"] == "STOP_REQUIRED"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ZZ", "BUY", "1"), "no contract of the gateway goes by ZZ"),
        (("ES", "UP", "1"), "side must be BUY, SELL, LONG or SHORT"),
        (("ES", "BUY", "0"), "'QTY': Input should be greater than or equal to 1"),
        (("ES", "BUY", "one"), "QTY"),
        (("ES", "BUY"), "QTY"),
    ],
)
async def test_validate_refuses_unusable_input_in_a_sentence(
    reading: Call, desk: Any, arguments: tuple[str, ...], said: str
) -> None:
    outcome = await reading(desk.guard(), "validate", *arguments)

    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err


async def test_a_negative_price_is_a_value_and_not_an_option(reading: Call, desk: Any) -> None:
    outcome = await reading(
        desk.guard(), "validate", "ES", "SELL", "1", "--type", "LIMIT", "--limit", "-37.63"
    )

    assert outcome.code == 1
    assert "limit_price -37.63" in outcome.out


async def test_a_halt_and_a_resume_say_what_is_true_then(reading: Call, desk: Any) -> None:
    guard = desk.guard()
    halted = await reading(guard, "halt", "--reason", "the news", "--operator", "Ann")
    assert (halted.code, halted.err) == (0, "")
    for words in ("HALTED", "halted by Ann: the news", "Exits, stops", "backstop resume"):
        assert words in halted.out
    status = await reading(guard, "status")
    assert "LATCH          HALT of the account since 2026-11-02T" in status.out

    resumed = await reading(guard, "resume", "--reason", "it is over", "--operator", "Ben")
    assert (resumed.code, resumed.err) == (0, "")
    assert "Resumed" in resumed.out
    assert "ACTIVE" in resumed.out
    again = await reading(guard, "halt", "--reason", "more", "--operator", "Ann", "--json")
    assert json.loads(again.out)["trading_state"] == "HALTED"


async def test_a_halt_bears_the_login_name_of_whoever_types_it(backstop: Call, desk: Any) -> None:
    guard = desk.guard()
    async with desk.serving(guard) as url:
        place = {"BACKSTOP_LISTEN": url.removeprefix("http://"), "BACKSTOP_API_TOKEN": desk.TOKEN}
        halted = await backstop("halt", "--reason", "lunch", LOGNAME="carol", **place)

    assert halted.code == 0
    assert "halted by carol: lunch" in halted.out


async def test_a_resume_that_is_refused_ends_with_1_and_says_why(reading: Call, desk: Any) -> None:
    guard = desk.guard()
    guard.answer = Answer.UNKNOWN
    await guard.submit_order(desk.request())
    await guard.halt(reason="lunch", operator="Ann")
    refused = await reading(guard, "resume", "--reason", "back", "--operator", "Ann")
    parsed = await reading(guard, "resume", "--reason", "back", "--operator", "Ann", "--json")

    assert (refused.code, parsed.code) == (1, 1)
    assert refused.out.startswith("NOT RESUMED: the fate of entry-1 is UNKNOWN")
    assert "trading state  HALTED" in refused.out
    assert json.loads(parsed.out)["error"]["code"] == "NOT_POSSIBLE"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("halt",), "--reason"),
        (("halt", "--reason", " "), "reason must be why"),
        (("resume", "--reason", "back"), "--operator"),
        (("resume", "--operator", "Ann"), "--reason"),
        (("resume", "--reason", "back", "--operator", " "), "operator must be who asks"),
    ],
)
async def test_nobody_halts_or_resumes_without_saying_why_and_who(
    reading: Call, desk: Any, arguments: tuple[str, ...], said: str
) -> None:
    outcome = await reading(desk.guard(), *arguments)

    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err


@pytest.mark.parametrize("verb", ["halt", "resume"])
async def test_without_a_guard_there_is_nothing_to_halt_or_resume(
    backstop: Call, verb: str
) -> None:
    outcome = await backstop(verb, "--reason", "why", "--operator", "Ann")

    assert (outcome.code, outcome.out) == (2, "")
    assert "backstop run" in outcome.err


async def test_without_a_guard_the_reader_is_told_how_to_start_one(
    backstop: Call, tmp_path: Path
) -> None:
    never = await backstop("status")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "api_token").write_text("left-behind")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    gone = await backstop("status", BACKSTOP_LISTEN=f"127.0.0.1:{port}")

    for outcome in (never, gone):
        assert (outcome.code, outcome.out) == (2, "")
        assert "backstop run" in outcome.err


async def test_a_foreign_token_is_named_as_the_fault(backstop: Call, desk: Any) -> None:
    async with desk.serving(desk.guard()) as url:
        outcome = await backstop(
            "status",
            BACKSTOP_LISTEN=url.removeprefix("http://"),
            BACKSTOP_API_TOKEN="of-another-guard",
        )

    assert (outcome.code, outcome.out) == (2, "")
    assert "BACKSTOP_API_TOKEN" in outcome.err
    assert "of-another-guard" not in outcome.err


async def test_another_server_on_the_port_is_not_taken_for_a_guard(backstop: Call) -> None:
    async def talk_nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(talk_nonsense, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        outcome = await backstop(
            "status", BACKSTOP_LISTEN=f"127.0.0.1:{port}", BACKSTOP_API_TOKEN="a-token"
        )

    assert outcome.code == 2
    assert "is not a guard" in outcome.err


# -- reading the record --------------------------------------------------------------------------


async def write_record(folder: Path) -> None:
    journal = SqliteJournal.open(folder / "audit.db", account="4711", epoch=1, leaf_hash=leaf_hash)
    for seq, client_order_id in enumerate(("entry-1", "entry-2"), start=1):
        order = AuditRow(
            order_id=str(9000 + seq),
            client_order_id=client_order_id,
            submitted_utc_us=1_793_629_800_000_000 + seq,
            symbol="ES",
            side="BUY",
            quantity=2,
            price="5000.25",
            status="FILLED",
        )
        fill = FillRow(
            fill_id=str(500 + seq),
            order_id=order.order_id,
            fill_utc_us=1_793_629_801_000_000,
            price="5000.25",
            quantity=2,
            commission="2.8",
        )
        record = JournalRecord(seq=seq, kind="event", monotonic_ns=seq, utc_us=seq, payload=b"{}")
        await journal.append(JournalBatch(records=(record,), orders=(order,), fills=(fill,)))
    await journal.close()


async def test_recorded_orders_are_listed_newest_first_without_a_guard(
    backstop: Call, tmp_path: Path
) -> None:
    await write_record(tmp_path / "state")

    told = await backstop("audit", "orders")
    parsed = await backstop("audit", "orders", "--json", "--limit", "1")

    assert told.code == 0
    assert told.out.index("entry-2") < told.out.index("entry-1")
    (row,) = json.loads(parsed.out)["orders"]
    assert (row["OrderId"], row["ClientOrderId"], row["Price"]) == ("9002", "entry-2", "5000.25")


@pytest.mark.parametrize("name", ["entry-1", "9001"])
async def test_a_recorded_order_is_shown_by_either_of_its_ids(
    backstop: Call, tmp_path: Path, name: str
) -> None:
    await write_record(tmp_path / "state")

    told = await backstop("audit", "show", name)
    parsed = json.loads((await backstop("audit", "show", name, "--json")).out)

    assert "FILLED" in told.out
    assert parsed["order"]["ClientOrderId"] == "entry-1"
    (fill,) = parsed["fills"]
    assert (fill["FillId"], fill["FillPrice"], fill["FillQuantity"]) == ("501", "5000.25", 2)
    assert fill["Commission"] == "2.8"


async def test_a_record_that_is_missing_or_lacks_the_order_is_said(
    backstop: Call, tmp_path: Path
) -> None:
    missing = await backstop("audit", "orders")
    await write_record(tmp_path / "state")
    unknown = await backstop("audit", "show", "nobody")

    assert (missing.code, unknown.code) == (2, 2)
    assert "audit.db does not exist" in missing.err
    assert "nobody" in unknown.err
