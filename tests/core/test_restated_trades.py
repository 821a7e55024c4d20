"""A trade that the venue tells in two ways: what a read of the account says stands."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import MES, NQ, Guard, a_position, a_trade

from backstop.core.trading_state import LatchKind
from backstop.domain.order import OrderState, Side

TOLD_AFTERWARDS = [
    {"quantity": 1},
    {"price": Decimal("5001.25")},
    {"broker_order_id": 999},
    {"contract_id": NQ},
    {"side": Side.SELL},
]


def read(guard: Guard, **changes: Any) -> None:
    guard.audit(trades=(a_trade(**({"quantity": 2} | changes)),), positions=None)


@pytest.mark.parametrize("changes", TOLD_AFTERWARDS, ids=str)
def test_what_a_read_says_stands_whichever_came_first(changes: dict[str, Any]) -> None:
    pushed_first, read_first = Guard().start(), Guard().start()
    for guard in (pushed_first, read_first):
        guard.working()
    pushed_first.trade(quantity=2)
    read(pushed_first, **changes)
    read(read_first, **changes)
    read_first.trade(quantity=2)

    for guard in (pushed_first, read_first):
        (held,) = guard.book.trades.values()
        assert (held.quantity, held.price) == (changes.get("quantity", 2), held.price)
        assert {name: getattr(held, name) for name in changes} == changes
        assert guard.alerts().count("TRADE_RESTATED") == 1
        assert {latch.kind for latch in guard.book.latches} == {LatchKind.CONTRADICTION}
    assert pushed_first.order().fills == read_first.order().fills
    assert pushed_first.state() is read_first.state()
    for contract_id in (MES, NQ):
        assert pushed_first.position(contract_id) == read_first.position(contract_id)


def test_a_smaller_trade_leaves_the_order_open() -> None:
    guard = Guard().start()
    guard.working()
    guard.trade(quantity=2)
    assert guard.state() is OrderState.FILLED

    read(guard, quantity=1)

    assert (guard.state(), guard.position()) == (OrderState.PARTIALLY_FILLED, 1)


def test_what_was_restated_is_no_news_the_next_time() -> None:
    guard = Guard().start()
    guard.working()
    guard.trade(quantity=1)
    for _ in range(3):
        read(guard)

    assert guard.position() == 2
    assert guard.alerts().count("TRADE_RESTATED") == 1


def test_the_row_of_the_trade_follows() -> None:
    guard = Guard().start()
    guard.working()
    guard.trade(quantity=1)
    read(guard)

    (row,) = guard.steps[-1].fill_rows
    assert (row.quantity, row.voided) == (2, False)


def test_a_voided_trade_stays_void_however_it_is_told() -> None:
    guard = Guard().start()
    guard.working()
    guard.trade(quantity=1)
    guard.trade(quantity=1, voided=True)
    read(guard)

    assert guard.position() == 0
    assert "TRADE_RESTATED" not in guard.alerts()


def test_a_position_that_agrees_again_is_adjusted_by_nobody() -> None:
    guard = Guard().start()
    guard.working()
    guard.trade(quantity=1)
    read(guard)
    for _ in range(4):
        guard.audit(after_ms=2_000, positions=(a_position(2),))

    assert guard.position() == 2
    assert "POSITION_ADJUSTED" not in guard.alerts()
