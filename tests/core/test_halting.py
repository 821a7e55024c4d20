"""While a latch holds, entries are cancelled and exits stay."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import MES, NQ, Guard, a_policy, a_row
from tests.core.protection_world import TOLD, Delivery, World

from backstop.core.book import CANCEL_AGAIN_NS, Wake
from backstop.core.engine import next_deadline_ns
from backstop.core.policy import MILLISECOND_NS
from backstop.core.trading_state import Latch, LatchKind
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import CancelOrder
from backstop.domain.events import Answer, HaltRequested, StrategyFailed
from backstop.domain.order import OrderState, OrderType, Side
from backstop.simulator.exchange_config import PartialFill


def halt(guard: Guard) -> None:
    guard.feed(HaltRequested(utc_us=guard.utc_us, reason="lunch", operator="ann"))


def cancelled(guard: Guard) -> list[int]:
    return [command.broker_order_id for command in guard.commands_of(CancelOrder)]


def a_resting_entry() -> Guard:
    guard = Guard().start()
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(4990))
    return guard


def test_a_halt_cancels_entries() -> None:
    guard = a_resting_entry()
    halt(guard)

    assert cancelled(guard) == [100]
    assert "lunch" in guard.commands_of(CancelOrder)[0].reason


def test_a_halt_leaves_exits() -> None:
    guard = Guard().start()
    guard.trade(broker_order_id=900, quantity=3)
    guard.position_row(3)
    guard.working(side=Side.SELL, type=OrderType.LIMIT, limit_price=Decimal(5010), quantity=3)
    halt(guard)

    assert guard.state() is OrderState.WORKING
    assert cancelled(guard) == []


def test_an_exit_that_nobody_would_cut_is_cancelled_once_it_is_too_large() -> None:
    guard = Guard().start()
    guard.trade(broker_order_id=900, quantity=3)
    guard.position_row(3)
    guard.working(side=Side.SELL, type=OrderType.LIMIT, limit_price=Decimal(5010), quantity=3)
    guard.position_row(2)
    halt(guard)

    assert cancelled(guard) == [100]


def halted(world: World) -> None:
    world.feed(HaltRequested(utc_us=world.guard.utc_us, reason="lunch", operator="ann"))


def failed(world: World) -> None:
    world.feed(StrategyFailed(utc_us=world.guard.utc_us, strategy_id="s", reason="a bug"))


def an_exit_of_two(**switches: Any) -> tuple[World, str]:
    world = World(switches=switches).start()
    world.enter(quantity=2, stop=4990, strategy_id="s")
    world.run_until(lambda: world.position() == 2, "the entry")
    world.wait(1_500)
    levels: dict[str, Any] = {"type": OrderType.LIMIT, "limit_price": Decimal(5010)}
    name = world.enter(Side.SELL, 2, stop=None, strategy_id="s", **levels)
    world.wait(100)
    return world, name


@pytest.mark.parametrize("happens", [halted, failed])
def test_an_exit_is_not_cancelled_by_its_own_partial_fill(
    happens: Callable[[World], None],
) -> None:
    """The position tells of the fill before the trade does."""
    world, name = an_exit_of_two(
        partial_fill=PartialFill.SLICES, fill_slices=2, slice_gap_us=3_000_000
    )
    happens(world)
    world.wait(1_000)
    late = Delivery(copies_ms=(40,))
    world.tell = lambda target: TOLD if target == "GatewayUserPosition" else late

    world.quote(5011)
    world.run_until(lambda: world.position() == 0, "the exit", limit_ms=8_000)
    world.wait(1_000)

    order = world.book.orders[name]
    assert order.state is OrderState.FILLED
    number = order.broker_order_id
    assert [it for it in world.sent_of(CancelOrder) if it.broker_order_id == number] == []


@pytest.mark.parametrize("happens", [halted, failed])
def test_an_exit_that_has_become_too_large_shrinks_instead(
    happens: Callable[[World], None],
) -> None:
    world, name = an_exit_of_two()
    happens(world)

    world.manual(2, Side.SELL, 1)
    world.wait(3_000)

    order = world.book.orders[name]
    assert (order.state, order.open_quantity) == (OrderState.WORKING, 1)


def test_a_cancel_is_repeated_until_it_is_heeded() -> None:
    guard = a_resting_entry()
    halt(guard)
    guard.timer()
    assert cancelled(guard) == [100]

    guard.now_ns += CANCEL_AGAIN_NS
    guard.audit(live_orders=(a_row(),))

    assert cancelled(guard) == [100, 100]


def test_the_repeat_comes_by_itself_when_nothing_else_happens() -> None:
    guard = a_resting_entry()
    halt(guard)
    due_ns = guard.now_ns + CANCEL_AGAIN_NS
    assert next_deadline_ns(guard.book) <= due_ns

    while guard.now_ns < due_ns:
        guard.until_due()

    assert cancelled(guard) == [100, 100]
    assert guard.now_ns == due_ns


def test_a_halt_that_has_nothing_left_to_cancel_asks_for_no_more_looks() -> None:
    guard = a_resting_entry()
    halt(guard)
    guard.row(status=BrokerStatus.CANCELLED)
    guard.timer(after_ms=3000)

    assert cancelled(guard) == [100]
    assert Wake.HALTING not in guard.book.wakes


def test_the_halt_of_one_contract_leaves_the_entries_of_others() -> None:
    guard = a_resting_entry()
    for contract_id in (NQ, MES):
        latch = Latch(
            kind=LatchKind.LIQUIDATION,
            contract_id=contract_id,
            cause="end of it",
            operator="ann",
            utc_us=guard.utc_us,
        )
        guard.book.latches = (latch,)
        guard.timer()

        assert cancelled(guard) == ([100] if contract_id == MES else [])


def test_an_entry_that_was_under_way_is_cancelled_once_it_has_a_number() -> None:
    guard = Guard().start()
    guard.submit(type=OrderType.LIMIT, limit_price=Decimal(4990))
    guard.dispatch()
    halt(guard)
    assert cancelled(guard) == []

    guard.answer(Answer.YES, 100)

    assert guard.state() is OrderState.WORKING
    assert cancelled(guard) == [100]


def test_dry_run_cancels_nothing() -> None:
    guard = a_resting_entry()
    guard.book.policy = a_policy(dry_run=True)
    halt(guard)

    assert cancelled(guard) == []


# -- an entry that protects ------------------------------------------------------------------------


def a_short_position_under_a_stop_entry() -> World:
    """Return a world short 3: an entry that waited above the market covers two of them."""
    world = World().start()
    world.enter(Side.BUY, 2, stop=5000, type=OrderType.STOP, stop_price=Decimal(5010))
    world.enter(Side.SELL, 3, stop=5020)
    world.wait(500)
    world.enter(Side.BUY, 1, stop=None)
    world.wait(500)
    assert (world.position(), world.stops()) == (-2, [(2, Decimal(5010))])
    world.naked_ns = 0
    return world


def test_an_entry_that_is_the_only_stop_of_a_position_shrinks_to_it() -> None:
    world = a_short_position_under_a_stop_entry()
    world.enter(Side.BUY, 1, stop=None)
    world.run_until(lambda: world.guard.position() == -1, "what is left")
    world.feed(HaltRequested(utc_us=world.guard.utc_us, reason="lunch", operator="ann"))
    world.wait(1_000)

    assert (world.position(), world.stops()) == (-1, [(1, Decimal(5010))])
    assert world.naked_ns == 0


def test_an_entry_goes_in_a_halt_where_another_stop_covers_the_position() -> None:
    world = World().start()
    world.enter(Side.BUY, 2, stop=5000, type=OrderType.STOP, stop_price=Decimal(5010))
    world.enter(Side.SELL, 1, stop=5020)
    world.wait(100)
    world.feed(HaltRequested(utc_us=world.guard.utc_us, reason="lunch", operator="ann"))
    world.wait(1_000)

    assert (world.position(), world.stops()) == (-1, [(1, Decimal(5020))])
    assert world.naked_ns < 100 * MILLISECOND_NS


def test_an_entry_goes_in_a_halt_once_the_position_is_gone() -> None:
    world = a_short_position_under_a_stop_entry()
    world.feed(HaltRequested(utc_us=world.guard.utc_us, reason="lunch", operator="ann"))
    world.enter(Side.BUY, 2, stop=None)
    world.wait(1_000)

    assert world.position() == 0
    assert [row for row in world.orders() if row["status"] == "OPEN"] == []
