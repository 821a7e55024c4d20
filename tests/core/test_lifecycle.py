"""Halts, latches and resumes: machines only reduce, a person with a name and a reason lifts."""

from decimal import Decimal

import pytest
from tests.core.builders import MES, NQ, Guard, a_policy, a_quote, replayed

from backstop.core.book import LATCHES_KEPT
from backstop.core.lifecycle import latched
from backstop.core.step import Decision, DecisionKind, Workbench
from backstop.core.trading_state import Latch, LatchKind, TradingState
from backstop.domain.events import (
    Answer,
    EmergencyRunRecorded,
    HaltRequested,
    LiquidationRequested,
    ResumeRequested,
)
from backstop.domain.order import OrderType


def halt(guard: Guard, reason: str = "lunch", operator: str = "ann") -> Decision:
    event = HaltRequested(utc_us=guard.utc_us, reason=reason, operator=operator)
    decision = guard.feed(event).decision
    assert decision is not None
    return decision


def resume(guard: Guard, reason: str = "back", operator: str = "ann") -> Decision:
    event = ResumeRequested(utc_us=guard.utc_us, reason=reason, operator=operator)
    decision = guard.feed(event).decision
    assert decision is not None
    return decision


def state(guard: Guard) -> TradingState:
    return guard.book.trading_state(guard.now_ns)


def put_on(guard: Guard, kind: LatchKind, cause: str, contract_id: str | None = None) -> bool:
    latch = Latch(
        kind=kind, cause=cause, operator="backstop", utc_us=guard.utc_us, contract_id=contract_id
    )
    return latched(Workbench(guard.book, guard.now_ns, guard.utc_us), latch)


# -- halts -----------------------------------------------------------------------------------------


def test_a_halt_refuses_entries_until_somebody_resumes() -> None:
    guard = Guard().start()
    assert halt(guard).kind is DecisionKind.ACCEPTED
    assert state(guard) is TradingState.HALTED
    refused = guard.submit()
    assert [denial.code for denial in refused.denials] == ["STATE_HALTED"]
    assert "lunch" in refused.denials[0].message

    assert resume(guard).kind is DecisionKind.ACCEPTED
    assert state(guard) is TradingState.ACTIVE
    assert guard.submit().kind is DecisionKind.ACCEPTED


def test_a_halt_that_is_asked_for_twice_is_one_halt_and_one_alert() -> None:
    guard = Guard().start()
    assert [halt(guard).kind, halt(guard).kind] == [DecisionKind.ACCEPTED] * 2

    assert len(guard.book.latches) == 1
    assert guard.alerts() == ["HALTED"]


def test_a_halt_holds_across_a_restart_and_a_replay() -> None:
    guard = Guard().start()
    halt(guard)
    guard.start()

    assert state(guard) is TradingState.HALTED
    book, _ = replayed(guard.policy, guard.history)
    assert book.latches == guard.book.latches


def test_a_latch_of_one_contract_refuses_the_entries_of_that_contract_alone() -> None:
    guard = Guard(policy=a_policy(duplicate_window_ns=0)).start()
    put_on(guard, LatchKind.LIQUIDATION, "end of it", MES)

    assert state(guard) is TradingState.ACTIVE
    assert [denial.code for denial in guard.submit().denials] == ["STATE_HALTED"]
    quote = a_quote(contract_id=NQ)
    assert guard.submit(quote, client_order_id="nq", symbol="NQ").kind is DecisionKind.ACCEPTED


# -- resumes ---------------------------------------------------------------------------------------


def test_a_resume_lifts_every_latch_and_says_which() -> None:
    guard = Guard().start()
    for kind in LatchKind:
        put_on(guard, kind, "because")
    assert resume(guard).kind is DecisionKind.ACCEPTED

    assert guard.book.latches == ()
    note = guard.steps[-1].notes[-1]
    assert (note.name, note.fields["operator"], note.fields["reason"]) == ("resumed", "ann", "back")
    assert note.fields["lifted"] == ", ".join(LatchKind)


@pytest.mark.parametrize(("reason", "operator"), [("", "ann"), (" ", "ann"), ("back", "\t")])
def test_nobody_resumes_without_a_name_and_a_reason(reason: str, operator: str) -> None:
    guard = Guard().start()
    halt(guard)
    refused = resume(guard, reason, operator)

    assert refused.kind is DecisionKind.NOT_POSSIBLE
    assert "a name and a reason" in refused.message
    assert state(guard) is TradingState.HALTED


def test_nobody_resumes_while_the_fate_of_an_order_is_unknown() -> None:
    guard = Guard().start()
    guard.submit(type=OrderType.LIMIT, limit_price=Decimal(4990))
    guard.dispatch()
    guard.answer(Answer.UNKNOWN)
    halt(guard)
    refused = resume(guard)
    assert refused.kind is DecisionKind.NOT_POSSIBLE
    assert "c1" in refused.message
    assert "UNKNOWN" in refused.message
    assert state(guard) is TradingState.HALTED

    guard.row(custom_tag=guard.order().custom_tag, type=OrderType.LIMIT)
    assert resume(guard).kind is DecisionKind.ACCEPTED


@pytest.mark.parametrize("contract_id", [None, MES])
def test_nobody_resumes_while_a_liquidation_is_not_flat(contract_id: str | None) -> None:
    guard = Guard().start()
    event = LiquidationRequested(
        utc_us=guard.utc_us, reason="enough", operator="ann", contract_id=contract_id
    )
    guard.feed(event)
    refused = resume(guard)
    assert refused.kind is DecisionKind.NOT_POSSIBLE
    assert "not FLAT" in refused.message
    assert (contract_id or "the account") in refused.message

    for _ in range(10):
        guard.audit(after_ms=1000)
    assert resume(guard).kind is DecisionKind.ACCEPTED
    assert state(guard) is TradingState.ACTIVE


# -- bounds ----------------------------------------------------------------------------------------


def test_a_person_can_always_halt_whatever_machines_latched_before() -> None:
    guard = Guard().start()
    for number in range(LATCHES_KEPT):
        assert put_on(guard, LatchKind.EXTERNAL, f"contract {number}")
    assert not put_on(guard, LatchKind.SLIPPAGE, "one too many")
    assert put_on(guard, LatchKind.LIQUIDATION, "enough", MES)
    halt(guard)

    assert len(guard.book.latches) == LATCHES_KEPT
    assert state(guard) is TradingState.HALTED


def test_a_halt_of_the_account_outweighs_those_of_contracts() -> None:
    guard = Guard().start()
    for number in range(LATCHES_KEPT):
        assert put_on(guard, LatchKind.LIQUIDATION, "enough", f"CON.{number}")
    assert state(guard) is TradingState.ACTIVE
    halt(guard)

    assert len(guard.book.latches) == LATCHES_KEPT
    assert state(guard) is TradingState.HALTED


# -- what ran without a guard ----------------------------------------------------------------------


@pytest.mark.parametrize(("unreadable", "halts"), [(0, False), (1, True)])
def test_what_nobody_can_read_of_a_liquidation_without_a_guard_halts(
    *, unreadable: int, halts: bool
) -> None:
    guard = Guard().start()
    guard.feed(
        EmergencyRunRecorded(utc_us=guard.utc_us, facts=3, unreadable=unreadable, digest="ab")
    )

    assert guard.book.emergency_digest == "ab"
    assert (state(guard) is TradingState.HALTED) is halts
    assert resume(guard).kind is DecisionKind.ACCEPTED
