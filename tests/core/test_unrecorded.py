"""What leaves, and who hears what, while nothing can be put on record."""

from decimal import Decimal

import pytest
from tests.core.builders import ACCOUNT, MES, Guard

from backstop.core.step import Decision, DecisionKind
from backstop.core.unrecorded import may_leave_unrecorded, needs_record
from backstop.domain.commands import (
    AuditAccount,
    CancelOrder,
    ClosePosition,
    ModifyOrder,
    PlaceOrder,
)
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.events import HaltRequested, OrderRegistered
from backstop.domain.order import OrderRequest, OrderType, Side

A_HALT = HaltRequested(utc_us=0, reason="r", operator="o")


def a_stop(*, reduces_risk: bool) -> PlaceOrder:
    return PlaceOrder(
        client_order_id="stop",
        custom_tag="stop",
        account_id=ACCOUNT,
        contract_id=MES,
        type=OrderType.STOP,
        side=Side.SELL,
        quantity=2,
        stop_price=Decimal(4990),
        reduces_risk=reduces_risk,
    )


def test_what_protects_and_what_closes_may_leave_unrecorded() -> None:
    book = Guard().start().book

    assert may_leave_unrecorded(book, a_stop(reduces_risk=True))
    assert may_leave_unrecorded(
        book, ClosePosition(account_id=ACCOUNT, contract_id=MES, reason="flat")
    )
    assert may_leave_unrecorded(
        book, AuditAccount(reason="interval", account_id=ACCOUNT, since_utc_us=0)
    )


def test_a_liquidation_cancels_what_could_only_turn_the_position_round() -> None:
    guard = Guard().start()
    guard.position_row(2)
    guard.working(100, side=Side.SELL, type=OrderType.LIMIT, limit_price=Decimal(5010))
    cancel = CancelOrder(account_id=ACCOUNT, broker_order_id=100, reason="flat", reduces_risk=True)

    assert may_leave_unrecorded(guard.book, cancel)


def test_what_could_add_risk_may_not() -> None:
    guard = Guard().start()
    guard.position_row(2)
    guard.working(100, side=Side.SELL, type=OrderType.STOP, stop_price=Decimal(4990), quantity=2)

    assert not may_leave_unrecorded(guard.book, a_stop(reduces_risk=False))
    assert not may_leave_unrecorded(
        guard.book, CancelOrder(account_id=ACCOUNT, broker_order_id=100, reason="why not")
    )
    assert not may_leave_unrecorded(
        guard.book, ModifyOrder(account_id=ACCOUNT, broker_order_id=100, quantity=1)
    )


def test_who_registers_an_order_hears_no_yes_that_is_not_on_disk() -> None:
    request = OrderRequest(
        client_order_id="c-1", symbol="MES", side=Side.BUY, quantity=1, type=OrderType.MARKET
    )
    registered = OrderRegistered(utc_us=0, request=request, custom_tag="tag")

    assert needs_record(registered, Decision(kind=DecisionKind.ACCEPTED))


@pytest.mark.parametrize("code", [DenialCode.STATE_REDUCING, DenialCode.STATE_HALTED])
def test_a_no_that_is_only_for_now_is_no_answer(code: DenialCode) -> None:
    refused = Decision(kind=DecisionKind.REFUSED, denials=(Denial(code=code, message="no"),))

    assert needs_record(A_HALT, refused)


def test_what_is_wrong_with_an_order_is_told_at_once() -> None:
    denial = Denial(code=DenialCode.SIZE_TOO_LARGE, message="no")

    assert not needs_record(A_HALT, Decision(kind=DecisionKind.REFUSED, denials=(denial,)))
    assert not needs_record(A_HALT, Decision(kind=DecisionKind.ACCEPTED))
