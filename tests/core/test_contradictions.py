"""After the venue contradicted itself, entries wait for a person; exits do not."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import MES, NQ, Guard, an_instrument

from backstop.core.execution_verdict import Verdict, verify
from backstop.core.step import DecisionKind
from backstop.core.tracked_order import TrackedOrder
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.broker import BrokerStatus
from backstop.domain.denial import DenialCode
from backstop.domain.events import Answer, ResumeRequested
from backstop.domain.order import OrderState, Side


def an_overfilled() -> Guard:
    guard = Guard().start()
    guard.working()
    guard.trade(quantity=3)
    return guard


def test_an_overfill_freezes_entries_until_somebody_resumes() -> None:
    guard = an_overfilled()
    refused = guard.submit(client_order_id="c2", quantity=1)
    state = guard.book.trading_state(guard.now_ns)
    guard.feed(ResumeRequested(utc_us=guard.utc_us, operator="Ann", reason="compared"))

    assert DenialCode.STATE_REDUCING in {denial.code for denial in refused.denials}
    assert state is TradingState.REDUCING
    assert guard.book.latches == ()


def test_the_latch_says_what_was_found() -> None:
    (latch,) = an_overfilled().book.latches

    assert latch.kind is LatchKind.CONTRADICTION
    assert latch.contract_id is None
    assert "asked for 2 contracts and trades say 3" in latch.cause


def test_exits_of_an_overfilled_position_pass() -> None:
    guard = an_overfilled()
    exit_ = guard.submit(client_order_id="c2", side=Side.SELL, quantity=3, stop_loss_price=None)

    assert guard.position(MES) == 3
    assert exit_.kind is DecisionKind.ACCEPTED


@pytest.mark.parametrize("changes", [{"side": Side.SELL}, {"contract_id": NQ}], ids=str)
def test_a_trade_of_another_side_or_contract_proves_no_fill(changes: dict[str, Any]) -> None:
    guard = Guard().start()
    guard.working()
    guard.trade(**({"quantity": 2} | changes))
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)

    order = guard.order()
    assert (order.state, order.filled_quantity) == (OrderState.WORKING, 0)
    assert verdict_on(order) is Verdict.UNKNOWN
    assert guard.position(MES) + guard.position(NQ) in {-2, 2}
    assert guard.alerts().count("TRADE_MISMATCHED") == 1
    assert [latch.kind for latch in guard.book.latches] == [LatchKind.CONTRADICTION]


@pytest.mark.parametrize("changes", [{"side": Side.SELL}, {"contract_id": NQ}], ids=str)
def test_a_row_of_another_side_or_contract_does_not_move_the_order(changes: dict[str, Any]) -> None:
    guard = Guard().start()
    guard.working()
    before = guard.order().venue
    for _ in range(2):
        guard.row(status=BrokerStatus.CANCELLED, filled_quantity=0, **changes)
    order = guard.order()
    guard.trade(quantity=2)
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)

    assert (order.state, order.venue) == (OrderState.WORKING, before)
    assert (guard.order().state, guard.order().filled_quantity) == (OrderState.FILLED, 2)
    assert guard.alerts().count("ORDER_MISMATCHED") == 1
    assert [latch.kind for latch in guard.book.latches] == [LatchKind.CONTRADICTION]


def test_an_order_of_another_side_with_our_tag_is_not_ours_and_counts() -> None:
    """Nobody answered for ours: it stays of unknown fate, and the other one may fill."""
    guard = Guard().start()
    guard.submit()
    guard.dispatch()
    guard.answer(Answer.UNKNOWN)
    guard.row(broker_order_id=77, side=Side.SELL, custom_tag=guard.order().custom_tag)
    order = guard.order()
    guard.row(custom_tag=order.custom_tag)

    assert (order.state, order.broker_order_id) == (OrderState.UNKNOWN, None)
    assert [held.row.side for held in guard.book.live_venue_orders()] == [Side.SELL]
    assert guard.order().state is OrderState.WORKING
    assert guard.alerts().count("ORDER_MISMATCHED") == 1


def verdict_on(order: TrackedOrder) -> Verdict:
    return verify(
        order, an_instrument(), expected_quantity=2, max_slippage_ticks=Decimal(2)
    ).verdict
