"""An order is judged when what is under way in its contract has ended; an exit never waits."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import NQ, Guard, a_policy, a_request
from tests.core.protection_world import Request, World

from backstop.core.order_waits import has_to_wait, is_trading
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import CancelOrder
from backstop.domain.events import Answer, CloseRequested, LiquidationRequested
from backstop.domain.order import OrderType, Side

LIMIT: dict[str, Any] = {"type": OrderType.LIMIT, "limit_price": Decimal(4990)}


def a_guard(**changes: Any) -> Guard:
    return Guard(policy=a_policy(duplicate_window_ns=0, **changes)).start()


def waits(guard: Guard, **changes: Any) -> bool:
    request = a_request(**({"client_order_id": "next", "quantity": 1} | changes))
    return has_to_wait(guard.book, request, now_ns=guard.now_ns)


@pytest.mark.parametrize("side", list(Side))
def test_where_nothing_is_under_way_nothing_is_waited_for(side: Side) -> None:
    guard = a_guard()

    assert not waits(guard, side=side)
    assert not waits(guard, side=side, symbol="ZB")
    guard.working(101, client_order_id="resting", quantity=1, **LIMIT)
    assert not waits(guard, side=side), "it may rest for hours"


def test_an_exit_waits_for_the_fill_of_the_entry_before_it_and_an_add_on_does_not() -> None:
    guard = a_guard()
    guard.submit(quantity=1)
    for happens in (
        lambda: None,
        guard.dispatch,
        lambda: guard.answer(Answer.YES, 100),
    ):
        happens()
        assert waits(guard, side=Side.SELL)
        assert not waits(guard, side=Side.BUY)
        assert not waits(guard, side=Side.SELL, symbol="NQ")

    guard.trade(quantity=1)
    guard.row(status=BrokerStatus.FILLED, quantity=1, filled_quantity=1)
    assert not waits(guard, side=Side.SELL)


def test_an_order_of_unknown_fate_is_not_waited_for() -> None:
    guard = a_guard()
    guard.submit(quantity=1)
    guard.dispatch()
    guard.answer(Answer.UNKNOWN)

    assert not waits(guard, side=Side.SELL)


def test_who_has_left_at_once_enters_when_the_exit_is_known() -> None:
    guard = a_guard()
    guard.position_row(1)
    guard.trade(trade_id=1, quantity=1)
    assert not waits(guard, side=Side.SELL), "an exit"
    assert not waits(guard, side=Side.SELL, quantity=2), "a flip: it is judged as one"

    guard.submit(client_order_id="out", side=Side.SELL, quantity=1)
    for side in Side:
        assert waits(guard, side=side), "the exit is on its way"

    guard.answer(Answer.YES, 102, client_order_id="out")
    guard.trade(trade_id=2, broker_order_id=102, side=Side.SELL, quantity=1)
    guard.row(
        broker_order_id=102,
        side=Side.SELL,
        quantity=1,
        filled_quantity=1,
        status=BrokerStatus.FILLED,
    )
    for side in Side:
        assert not waits(guard, side=side)


def test_a_close_for_a_bot_is_waited_for_and_a_liquidation_is_not() -> None:
    for wish, expected in (
        (CloseRequested, True),
        (LiquidationRequested, False),
    ):
        guard = a_guard()
        guard.position_row(1)
        contract_id = guard.book.contract_of["MES"]
        guard.feed(
            wish(utc_us=guard.utc_us, contract_id=contract_id, reason="r", operator="bot alpha")
        )

        assert waits(guard, side=Side.BUY) is expected
        assert waits(guard, side=Side.SELL) is expected
        assert not waits(guard, symbol=NQ)


def test_an_entry_waits_until_the_stop_of_the_position_before_is_gone() -> None:
    world = World().start()
    world.enter(quantity=1, stop=4990)
    world.wait(1_100)
    world.request = lambda command: Request(arrives=not isinstance(command, CancelOrder))
    world.exit(1)
    world.wait(50)

    assert waits(world.guard, side=Side.BUY)
    assert waits(world.guard, side=Side.SELL)
    world.request = lambda _: Request()
    world.wait(5_000)
    assert not waits(world.guard, side=Side.BUY)


def test_a_guard_that_sends_nothing_waits_for_nothing() -> None:
    guard = a_guard()
    guard.submit(quantity=1)
    guard.book.policy = a_policy(dry_run=True)

    assert not waits(guard, side=Side.SELL)


def test_what_trades_is_an_order_at_the_market_that_is_not_done() -> None:
    guard = a_guard()
    contract_id = guard.book.contract_of["MES"]
    assert not is_trading(guard.book, contract_id)
    guard.submit(quantity=1)
    assert is_trading(guard.book, contract_id)
    assert not is_trading(guard.book, contract_id, against=Side.BUY)
    assert is_trading(guard.book, contract_id, against=Side.SELL)
    guard.answer(Answer.NO, code=2)
    assert not is_trading(guard.book, contract_id)
