"""The platform's own stop and target in position-bracket mode."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from tests.simulator.exchange.conftest import (
    ACCOUNT,
    BUY,
    LIMIT,
    MARKET,
    MNQ,
    SELL,
    STOP,
    USER,
    World,
)

from backstop.adapters.projectx.wire import OrderRow
from backstop.simulator.exchange_config import AccountSpec, BracketMode

MakeWorld = Callable[..., World]


@pytest.fixture
def platform(make_world: MakeWorld) -> World:
    """Return a world whose account has a stop of 40 and a target of 80 ticks on each position."""
    account = AccountSpec(
        id=ACCOUNT,
        name="PRAC",
        user=USER,
        starting_balance=Decimal(50000),
        bracket_mode=BracketMode.POSITION,
        position_stop_ticks=40,
        position_target_ticks=80,
    )
    return make_world(accounts=(account,))


def pair(world: World) -> tuple[OrderRow, OrderRow]:
    stop, target = world.exchange.open_orders(ACCOUNT)
    return stop, target


def test_stop_and_target_appear_after_the_fill_without_tag_and_parent(platform: World) -> None:
    platform.accepted(MARKET, BUY, 2, tag="g")
    platform.wait(10_000)
    assert platform.exchange.open_orders(ACCOUNT) == []

    platform.settle()

    stop, target = pair(platform)
    assert (stop.type, stop.side, stop.size, stop.stop_price) == (
        STOP,
        SELL,
        2,
        Decimal("21000.25"),
    )
    assert (target.type, target.side, target.size, target.limit_price) == (
        LIMIT,
        SELL,
        2,
        Decimal("21030.25"),
    )
    assert (stop.custom_tag, target.custom_tag) == (None, None)
    assert not isinstance(stop.parent_order_id, int)


def test_the_pair_follows_size_and_average(platform: World) -> None:
    platform.accepted(MARKET, BUY, 1)
    platform.settle()
    ids = [row.id for row in pair(platform)]
    platform.quote("21020")
    platform.accepted(MARKET, BUY, 1)
    platform.settle()

    stop, target = pair(platform)
    assert [stop.id, target.id] == ids
    assert (stop.size, stop.stop_price) == (2, Decimal("21005.25"))
    platform.exchange.partial_close(ACCOUNT, MNQ, 1)
    platform.settle()
    assert [row.size for row in pair(platform)] == [1, 1]


def test_nothing_is_left_when_the_position_is_closed_or_stopped(platform: World) -> None:
    platform.accepted(MARKET, BUY, 2)
    platform.settle()
    platform.exchange.close_position(ACCOUNT, MNQ)
    platform.settle()
    assert platform.exchange.open_orders(ACCOUNT) == []

    platform.accepted(MARKET, BUY, 2)
    platform.settle()
    platform.quote("21000")
    platform.settle()

    assert platform.net() == 0
    assert platform.exchange.open_orders(ACCOUNT) == []


def test_a_reversal_replaces_the_pair_by_one_of_the_other_side(platform: World) -> None:
    platform.accepted(MARKET, BUY, 1)
    platform.settle()
    platform.accepted(MARKET, SELL, 3)
    platform.settle()

    stop, target = pair(platform)
    assert (stop.side, stop.size, stop.stop_price) == (BUY, 2, Decimal(21020))
    assert (target.side, target.size, target.limit_price) == (BUY, 2, Decimal(20990))


def test_an_account_that_has_set_none_gets_none(make_world: MakeWorld) -> None:
    world = make_world()
    assert world.exchange.set_bracket_mode(ACCOUNT, BracketMode.POSITION)
    world.accepted(MARKET, BUY)
    world.settle()

    assert world.exchange.open_orders(ACCOUNT) == []
