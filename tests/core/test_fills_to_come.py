"""What a row alone tells of is held: it keeps its stop, and nobody takes the account for flat."""

from decimal import Decimal

import pytest
from tests.core.builders import MES, a_policy, a_row
from tests.core.protection_world import LOST, TOLD, Request, World

from backstop.core.fills_to_come import closes_to_come, quantity_to_come
from backstop.core.leftovers import leftover_denials
from backstop.core.liquidation_scope import is_proven_flat
from backstop.core.supervision import holdings
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import ClosePosition, PlaceOrder
from backstop.domain.denial import DenialCode
from backstop.domain.events import LiquidationRequested, OrderReported, Source
from backstop.domain.heartbeat import Holdings
from backstop.domain.order import Side

MARKET = 2


def filled_by_its_row_alone() -> World:
    """Return a world that was flat, where a row alone tells that an entry has filled.

    Its legs are gone.
    """
    world = World(policy=a_policy(protects=True, stop_required=True)).start()
    world.enter(quantity=1, stop=4980)
    world.wait(1_000)
    world.exit(1)
    world.run_until(lambda: is_proven_flat(world.book, MES), "it is flat")
    world.tell, world.reads_fail = lambda _: LOST, True
    world.request = lambda it: Request(answered=not isinstance(it, PlaceOrder))
    name = world.enter(quantity=2, stop=4990)
    world.wait(50)
    world.take_away()
    world.request = lambda _: Request()
    world.tell = lambda target: TOLD if target == "GatewayUserOrder" else LOST
    row = a_row(
        broker_order_id=max(row["id"] for row in world.orders() if row["leg"] is None),
        custom_tag=world.book.orders[name].custom_tag,
        status=BrokerStatus.FILLED,
        quantity=2,
        filled_quantity=2,
    )
    world.feed(OrderReported(utc_us=world.guard.utc_us, order=row, source=Source.HUB))
    assert (world.position(), world.book.position(MES).quantity) == (2, 0)
    return world


def wrongly_told() -> World:
    """Return a world that is flat, and in which a row says that an order to buy has filled."""
    world = World().start()
    world.enter(quantity=2, stop=4990)
    world.wait(1_100)
    world.exit(2)
    world.wait(5_000)
    assert (world.position(), working(world)) == (0, [])
    untrue = a_row(broker_order_id=99, status=BrokerStatus.FILLED, quantity=1, filled_quantity=1)
    world.feed(OrderReported(utc_us=world.guard.utc_us, order=untrue, source=Source.HUB))
    return world


def liquidate(world: World) -> None:
    world.decide(
        LiquidationRequested(utc_us=world.guard.utc_us, reason="enough", operator="a person")
    )


def working(world: World) -> list[int]:
    return [row["id"] for row in world.orders() if row["status"] == "OPEN"]


def test_trades_to_come_are_those_of_rows_that_have_more_than_was_traded() -> None:
    book = filled_by_its_row_alone().book
    assert quantity_to_come(book, book.position(MES)) == 2


def test_its_stop_is_placed_once_and_stays() -> None:
    """To take it for a leftover would place and cancel one after another."""
    world = filled_by_its_row_alone()
    world.wait(5_000)

    assert world.stops() == [(2, Decimal(4990))]
    assert len(world.placed()) == 1
    assert leftover_denials(world.book, MES) == ()
    world.reads_fail = False
    world.wait(10_000)
    assert (world.position(), world.stops()) == (2, [(2, Decimal(4990))])
    assert len(world.placed()) == 1


def test_no_bot_takes_its_stop_away() -> None:
    world = filled_by_its_row_alone()
    world.wait(1_000)
    (stop,) = world.placed()
    decision = world.cancel(stop.client_order_id)

    assert [it.code for it in decision.denials] == [DenialCode.PROTECTION_REQUIRED]


def test_a_liquidation_takes_its_stop_away_only_once_it_is_closed() -> None:
    world = filled_by_its_row_alone()
    world.wait(1_000)
    assert world.cover() == 2
    world.naked_ns = 0
    world.request = lambda it: Request(arrives=not isinstance(it, ClosePosition))
    liquidate(world)
    world.wait(2_000)
    assert (world.position(), world.cover()) == (2, 2)
    world.reads_fail, world.request = False, lambda _: Request()
    world.wait(10_000)

    assert (world.position(), working(world), world.naked_ns) == (0, [], 0)


@pytest.mark.parametrize("quantity", [None, 1, 2])
def test_it_can_be_closed_before_anything_else_tells_of_it(quantity: int | None) -> None:
    world = filled_by_its_row_alone()
    world.wait(1_000)
    decision = world.close(quantity)
    world.wait(1_000)

    left = 1 if quantity == 1 else 0
    assert decision.liquidation_id is not None
    assert world.position() == left
    world.reads_fail = False
    world.wait(30_000)
    assert (world.position(), world.cover()) == (left, left)
    assert len(working(world)) == left
    assert world.book.liquidating == {}


def test_a_liquidation_closes_it_at_once() -> None:
    world = filled_by_its_row_alone()
    world.wait(1_000)
    liquidate(world)
    world.wait(1_000)

    assert world.position() == 0


def test_more_than_it_is_cannot_be_closed() -> None:
    (denial,) = filled_by_its_row_alone().close(3).denials

    assert (denial.code, denial.max_quantity) == (DenialCode.POSITION_FLIP, 2)


@pytest.mark.parametrize("quantity", [None, 1])
def test_to_close_what_a_row_is_wrong_about_opens_nothing_and_ends(quantity: int | None) -> None:
    world = wrongly_told()
    decision = world.close(quantity)
    world.wait(60_000)

    assert decision.liquidation_id is not None
    assert (world.position(), working(world)) == (0, [])
    assert world.book.liquidating == {}


def test_its_stop_leaves_where_reads_say_that_the_row_was_wrong() -> None:
    world = wrongly_told()
    assert quantity_to_come(world.book, world.book.position(MES)) == 1
    world.wait(20_000)

    assert quantity_to_come(world.book, world.book.position(MES)) == 0
    assert working(world) == []


def test_whoever_takes_over_is_told_that_something_is_held() -> None:
    world = World().start()
    world.wait(1_000)
    assert holdings(world.book) is Holdings.NONE
    world.reads_fail = True
    world.tell = lambda target: TOLD if target == "GatewayUserOrder" else LOST
    world.manual(MARKET, Side.BUY, 1)
    world.wait(50)

    assert world.book.position(MES).quantity == 0
    assert holdings(world.book) is Holdings.OPEN


def test_what_is_held_by_no_row_has_no_closes_to_come() -> None:
    world = filled_by_its_row_alone()
    assert closes_to_come(world.book, world.book.position(MES)) == 0
