"""Exits that the exchange takes back: the position is there again, and so is its protection."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import a_policy
from tests.core.protection_world import LOST, TOLD, World

from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import ClosePosition, RaiseAlert
from backstop.domain.order import Side

MARKET = 2
ENDED_MS = 15_000
"""Later than anything that a close still looks after."""


def ended(how: str, quantity: int = 2) -> World:
    """Return a world whose position with a stop at 4990 and a target at 5020 is no more."""
    world = World(policy=a_policy(protects=True)).start()
    world.enter(quantity=quantity, stop=4990, take_profit_price=Decimal(5020))
    world.wait(6_000)
    if how == "close":
        world.close()
    elif how == "exit":
        world.exit(quantity)
    elif how == "hand":
        world.manual(MARKET, Side.SELL, quantity)
    else:
        world.quote({"stop": 4989, "target": 5021}[how])
        world.wait(1_000)
        world.quote(5000)
    world.wait(ENDED_MS)
    assert (world.position(), world.stops(), world.targets()) == (0, [], [])
    world.naked_ns = 0
    return world


def take_back(world: World) -> None:
    """Void the trades that closed the position."""
    trades: Any = world.exchange.truth()["trades"]
    for trade in [it for it in trades if it["quantity"] < 0]:
        world.exchange.bust_trade(trade["id"])


@pytest.mark.parametrize("how", ["close", "exit", "hand", "stop", "target"])
def test_a_position_whose_exit_is_taken_back_has_its_stop_again(how: str) -> None:
    world = ended(how)
    take_back(world)
    world.wait(10_000)

    assert world.position() == 2
    assert world.stops() == [(2, Decimal(4990))], "at its level, not at a new distance"
    assert world.naked_ns <= 1_000_000_000
    assert AlertCode.POSITION_UNPROTECTED not in {it.code for it in world.sent_of(RaiseAlert)}


@pytest.mark.parametrize("first", ["GatewayUserTrade", "GatewayUserPosition"])
def test_it_is_so_whichever_of_trade_and_row_is_told(first: str) -> None:
    world = ended("close")
    world.tell = lambda what: TOLD if what == first else LOST
    take_back(world)
    world.wait(12_000)

    assert world.stops() == [(2, Decimal(4990))]


def test_it_is_so_for_the_process_after() -> None:
    world = ended("close")
    world.restart()
    take_back(world)
    world.wait(10_000)

    assert world.stops() == [(2, Decimal(4990))]


def test_beyond_its_stop_it_is_taken_flat() -> None:
    world = ended("close")
    world.quote(4980)
    take_back(world)
    world.wait(10_000)

    assert world.position() == 0
    assert len(world.sent_of(ClosePosition)) == 2


def test_the_level_is_not_for_a_position_that_was_opened_since() -> None:
    world = ended("close")
    world.manual(MARKET, Side.BUY, 2)
    world.wait(10_000)

    assert world.position() == 2
    assert world.stops() == []
    assert world.placed() == []
