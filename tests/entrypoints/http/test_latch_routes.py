"""Halts and resumes through a real server: statuses, shapes, and refusals that say why."""

from typing import Any

import pytest

from backstop.core.lifecycle import latched
from backstop.core.step import Workbench
from backstop.core.trading_state import Latch, LatchKind
from backstop.domain.events import Answer, RecordFoundSound, RecordFoundUnsound
from backstop.domain.utc import utc_text
from backstop.errors import JournalError

HALT = {"reason": "the news", "operator": "Ann"}
RESUME = {"reason": "it is over", "operator": "Ben"}


def put_on(desk: Any, guard: Any, kind: LatchKind, contract_id: str | None = None) -> None:
    latch = Latch(
        kind=kind,
        cause="because",
        operator="backstop",
        utc_us=desk.UTC_US,
        contract_id=contract_id,
    )
    latched(Workbench(guard.book, guard.clock_ns, desk.UTC_US), latch)


async def test_a_halt_is_answered_with_what_is_true_from_now_on(desk: Any) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        status, body = await caller.ask("POST", "/v1/halt", json=HALT)
        _, shown = await caller.ask("GET", "/v1/status")
        refused, denials = await caller.ask("POST", "/v1/orders", json=desk.body())

    assert (status, body["trading_state"]) == (200, "HALTED")
    assert body["reasons"] == ["halted by Ann: the news"]
    latch = {
        "kind": "HALT",
        "halts": True,
        "cause": "the news",
        "operator": "Ann",
        "since": utc_text(desk.UTC_US),
        "symbol": None,
        "contract_id": None,
    }
    assert body["latches"] == shown["latches"] == [latch]
    assert refused == 422
    assert [denial["code"] for denial in denials["denials"]] == ["STATE_HALTED"]


async def test_a_halt_needs_no_name_and_may_be_asked_for_twice(desk: Any) -> None:
    async with desk.calling(desk.guard()) as caller:
        for _ in range(2):
            status, body = await caller.ask("POST", "/v1/halt", json={"reason": "quick"})
            assert (status, body["trading_state"]) == (200, "HALTED")

    assert body["reasons"] == ["halted by api: quick"]


async def test_a_guard_that_sends_nothing_can_be_halted_too(desk: Any) -> None:
    async with desk.calling(desk.guard(dry_run=True)) as caller:
        status, body = await caller.ask("POST", "/v1/halt", json=HALT)

    assert (status, body["trading_state"]) == (200, "HALTED")


async def test_a_resume_lets_entries_through_again(desk: Any) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        await caller.ask("POST", "/v1/halt", json=HALT)
        for kind in LatchKind:
            put_on(desk, guard, kind)
        status, body = await caller.ask("POST", "/v1/resume", json=RESUME)
        placed, _ = await caller.ask("POST", "/v1/orders", json=desk.body())

    assert (status, body) == (200, {"trading_state": "ACTIVE", "reasons": [], "latches": []})
    assert placed == 201


async def test_frozen_entries_are_shown_as_reduced_and_a_contract_by_its_symbol(desk: Any) -> None:
    guard = desk.guard()
    put_on(desk, guard, LatchKind.EXTERNAL)
    put_on(desk, guard, LatchKind.LIQUIDATION, desk.ES.contract_id)
    async with desk.calling(guard) as caller:
        _, shown = await caller.ask("GET", "/v1/status")

    assert shown["trading_state"] == "REDUCING"
    assert shown["reasons"] == ["entries frozen by backstop: because"]
    assert [(it["kind"], it["halts"], it["symbol"]) for it in shown["latches"]] == [
        ("EXTERNAL", False, None),
        ("LIQUIDATION", True, "ES"),
    ]


@pytest.mark.parametrize("path", ["/v1/halt", "/v1/resume"])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"operator": "Ann"}, "reason"),
        ({"reason": "", "operator": "Ann"}, "reason"),
        ({"reason": " \t ", "operator": "Ann"}, "reason"),
        ({"reason": "two\nlines", "operator": "Ann"}, "reason"),
        ({"reason": 5, "operator": "Ann"}, "reason"),
        ({"reason": "x" * 501, "operator": "Ann"}, "reason"),
        ({"reason": "why", "operator": "  "}, "operator"),
        ({"reason": "why", "operator": None}, "operator"),
        ({"reason": "why", "operator": "x" * 65}, "operator"),
        ({"reason": "why", "operator": "Ann", "when": "now"}, "when"),
    ],
)
async def test_what_says_nothing_is_refused_by_name(
    desk: Any, path: str, body: dict[str, Any], field: str
) -> None:
    guard = desk.guard()
    put_on(desk, guard, LatchKind.EXTERNAL)
    async with desk.calling(guard) as caller:
        status, answer = await caller.ask("POST", path, json=body)

    assert (status, answer["error"]["field"]) == (422, field)
    assert [latch.kind for latch in guard.book.latches] == [LatchKind.EXTERNAL]


@pytest.mark.parametrize("missing", ["reason", "operator"])
async def test_a_resume_takes_both_a_name_and_a_reason(desk: Any, missing: str) -> None:
    body = {name: text for name, text in RESUME.items() if name != missing}
    async with desk.calling(desk.guard()) as caller:
        status, answer = await caller.ask("POST", "/v1/resume", json=body)

    assert (status, answer["error"]["field"]) == (422, missing)


async def test_a_resume_is_refused_while_the_fate_of_an_order_is_unknown(desk: Any) -> None:
    guard = desk.guard()
    guard.answer = Answer.UNKNOWN
    async with desk.calling(guard) as caller:
        await caller.ask("POST", "/v1/orders", json=desk.body())
        await caller.ask("POST", "/v1/halt", json=HALT)
        status, answer = await caller.ask("POST", "/v1/resume", json=RESUME)

    assert (status, answer["error"]["code"]) == (409, "NOT_POSSIBLE")
    assert "entry-1 is UNKNOWN" in answer["error"]["message"]
    assert guard.book.latches != ()


async def test_a_resume_is_refused_while_a_liquidation_is_not_flat(desk: Any) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        await caller.ask("POST", "/v1/liquidate", json=HALT)
        status, answer = await caller.ask("POST", "/v1/resume", json=RESUME)

    assert status == 409
    assert "not FLAT" in answer["error"]["message"]
    assert guard.book.latches != ()


async def test_a_resume_is_refused_while_the_audit_record_is_unsound(desk: Any) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        await caller.ask("POST", "/v1/halt", json=HALT)
        guard.feed(RecordFoundUnsound(utc_us=desk.UTC_US, finding="record 3: its hash is wrong."))
        status, answer = await caller.ask("POST", "/v1/resume", json=RESUME)
        _, shown = await caller.ask("GET", "/v1/status")
        guard.feed(RecordFoundSound(utc_us=desk.UTC_US))
        resumed, _ = await caller.ask("POST", "/v1/resume", json=RESUME)

    assert (status, answer["error"]["code"]) == (409, "NOT_POSSIBLE")
    assert "record 3: its hash is wrong." in answer["error"]["message"]
    assert "backstop audit verify" in answer["error"]["message"]
    assert shown["trading_state"] == "HALTED"
    assert resumed == 200
    assert guard.book.latches == ()


async def test_a_halt_that_cannot_be_recorded_is_an_error(desk: Any) -> None:
    guard = desk.guard()
    guard.failure = JournalError("The disk is full.")
    async with desk.calling(guard) as caller:
        status, answer = await caller.ask("POST", "/v1/halt", json=HALT)

    assert (status, answer["error"]["code"]) == (503, "RECORD_UNAVAILABLE")
