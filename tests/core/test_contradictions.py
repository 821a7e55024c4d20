"""After the venue contradicted itself, entries wait for a person; exits do not."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import MES, NQ, Guard, an_instrument

from backstop.core.execution_verification import Verdict, verify
from backstop.core.step import DecisionKind
from backstop.core.tracked_order import TrackedOrder
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.broker import BrokerStatus
from backstop.domain.denial import DenialCode
from backstop.domain.events import ResumeRequested
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


def verdict_on(order: TrackedOrder) -> Verdict:
    return verify(
        order, an_instrument(), expected_quantity=2, max_slippage_ticks=Decimal(2)
    ).verdict
