"""What leaves, and who hears what, while nothing can be put on record."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import ACCOUNT, MES, NQ, Guard

from backstop.core.step import Decision, DecisionKind
from backstop.core.unrecorded import may_leave_unrecorded, needs_record
from backstop.domain.broker import BrokerStatus
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


def guarded(*, stop_quantity: int = 2) -> Guard:
    """Return a guard long two, with a stop (50), a target (60) and an entry (70) at the venue."""
    guard = Guard().start()
    guard.position_row(2)
    stop = {"type": OrderType.STOP, "side": Side.SELL, "stop_price": Decimal(4990)}
    guard.row(broker_order_id=50, quantity=stop_quantity, **stop)
    target = {"type": OrderType.LIMIT, "side": Side.SELL, "limit_price": Decimal(5020)}
    guard.row(broker_order_id=60, **target)
    guard.row(broker_order_id=70, type=OrderType.LIMIT, limit_price=Decimal(4980))
    return guard


def a_change(broker_order_id: int, **members: Any) -> ModifyOrder:
    return ModifyOrder(account_id=ACCOUNT, broker_order_id=broker_order_id, **members)


def test_what_could_add_risk_may_not() -> None:
    assert not may_leave_unrecorded(Guard().start().book, a_stop(reduces_risk=False))


@pytest.mark.parametrize(
    ("broker_order_id", "stop_quantity", "may_leave"),
    [(50, 2, False), (50, 4, False), (60, 2, False), (70, 2, True), (99, 2, False)],
    ids=["the only stop", "a stop too large", "a target", "an entry", "an unknown order"],
)
def test_a_cancel_may_leave_when_the_position_stays_covered(
    *, broker_order_id: int, stop_quantity: int, may_leave: bool
) -> None:
    book = guarded(stop_quantity=stop_quantity).book
    cancel = CancelOrder(account_id=ACCOUNT, broker_order_id=broker_order_id, reason="why not")

    assert may_leave_unrecorded(book, cancel) is may_leave


def test_a_stop_that_another_one_replaces_may_be_cancelled() -> None:
    guard = guarded()
    guard.row(broker_order_id=51, type=OrderType.STOP, side=Side.SELL, stop_price=Decimal(4995))
    cancel = CancelOrder(account_id=ACCOUNT, broker_order_id=50, reason="replaced")

    assert may_leave_unrecorded(guard.book, cancel)


@pytest.mark.parametrize("broker_order_id", [60, 61])
def test_what_together_would_turn_the_position_round_may_be_cancelled(
    *, broker_order_id: int
) -> None:
    guard = guarded()
    exit_ = {"type": OrderType.LIMIT, "side": Side.SELL, "limit_price": Decimal(5010)}
    guard.row(broker_order_id=61, quantity=1, **exit_)
    cancel = CancelOrder(account_id=ACCOUNT, broker_order_id=broker_order_id, reason="too many")

    assert may_leave_unrecorded(guard.book, cancel)


def test_an_exit_that_is_larger_than_what_is_left_of_its_position_may_be_cancelled() -> None:
    guard = guarded()
    guard.position_row(1)
    cancel = CancelOrder(account_id=ACCOUNT, broker_order_id=60, reason="it cannot shrink")

    assert may_leave_unrecorded(guard.book, cancel)


@pytest.mark.parametrize(
    "other",
    [
        {"status": BrokerStatus.SUSPENDED, "limit_price": Decimal(5020)},
        {"side": Side.BUY, "limit_price": Decimal(4970)},
        {"type": OrderType.STOP, "stop_price": Decimal(4990)},
        {"type": None, "stop_price": Decimal(4990), "limit_price": Decimal(4989)},
        {"contract_id": NQ, "limit_price": Decimal(5020)},
    ],
    ids=["waits for its entry", "an entry", "a stop", "a stop-limit", "of another contract"],
)
def test_a_target_stays_while_nothing_else_closes_what_it_does(other: dict[str, Any]) -> None:
    guard = guarded()
    row = {"type": OrderType.LIMIT, "side": Side.SELL, "quantity": 2} | other
    guard.row(broker_order_id=61, **row)
    cancel = CancelOrder(account_id=ACCOUNT, broker_order_id=60, reason="why not")

    assert not may_leave_unrecorded(guard.book, cancel)


@pytest.mark.parametrize(
    "change",
    [
        a_change(50, stop_price=Decimal(4995)),
        a_change(60, quantity=1),
        a_change(60, limit_price=Decimal(5010)),
        a_change(70, quantity=1),
    ],
    ids=["stop tightened", "target smaller", "target nearer", "entry smaller"],
)
def test_a_change_that_cuts_risk_may_leave(change: ModifyOrder) -> None:
    assert may_leave_unrecorded(guarded().book, change)


@pytest.mark.parametrize(
    "change",
    [
        a_change(50, stop_price=Decimal(4985)),
        a_change(50, quantity=1),
        a_change(50, quantity=3),
        a_change(60, quantity=3),
        a_change(70, quantity=3),
        a_change(70, limit_price=Decimal(4999)),
        a_change(99, quantity=1),
    ],
    ids=[
        "stop moved away",
        "stop smaller than the position",
        "stop larger than the position",
        "target larger",
        "entry larger",
        "entry nearer",
        "unknown order",
    ],
)
def test_a_change_that_could_add_risk_may_not(change: ModifyOrder) -> None:
    assert not may_leave_unrecorded(guarded().book, change)


@pytest.mark.parametrize(("held", "wanted"), [(1, 2), (4, 2)], ids=["grows", "shrinks"])
def test_a_stop_may_follow_its_position(held: int, wanted: int) -> None:
    book = guarded(stop_quantity=held).book

    assert may_leave_unrecorded(book, a_change(50, quantity=wanted))


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
