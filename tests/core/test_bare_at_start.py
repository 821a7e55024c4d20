"""A start that finds a stop ended puts it back, and says so."""

from decimal import Decimal

import pytest
from tests.core.builders import ACCOUNT, a_policy
from tests.core.protection_world import World

from backstop.core.policy import Policy
from backstop.domain.commands import RaiseAlert, Severity


def holding(policy: Policy | None = None) -> World:
    """Return a world long two with a stop at 4990 and a target at 5020."""
    world = World(policy=policy or a_policy(protects=True)).start()
    world.enter(quantity=2, stop=4990, take_profit_price=Decimal(5020))
    world.wait(500)
    return world


def told(world: World) -> list[RaiseAlert]:
    return [it for it in world.guard.commands_of(RaiseAlert) if it.code == "POSITION_NAKED"]


def take_both_away(world: World) -> None:
    world.take_away()
    world.take_away("TAKE_PROFIT")


def cancel(world: World, number: int) -> None:
    assert world.exchange.cancel(ACCOUNT, number).code == 0


def stop_number(world: World) -> int:
    return next(int(row["id"]) for row in world.orders() if row["leg"] == "STOP_LOSS")


def test_a_stop_that_was_taken_away_while_no_guard_ran_is_told_once() -> None:
    world = holding()
    number = stop_number(world)
    world.restart_after(lambda: take_both_away(world))
    world.wait(8_000)

    assert world.stops() == [(2, Decimal(4990))]
    (alert,) = told(world)
    assert alert.severity is Severity.WARNING
    for word in ("2 of +2 MES", f"{number} (CANCELLED)", "put back: 2 contracts at 4990"):
        assert word in alert.message


def test_a_stop_that_we_placed_ourselves_is_told_as_well() -> None:
    world = holding()
    world.take_away()
    world.wait(2_000)
    (ours,) = world.placed()
    number = world.book.orders[ours.client_order_id].broker_order_id
    assert number is not None
    world.restart_after(lambda: cancel(world, number))
    world.wait(8_000)

    assert world.stops() == [(2, Decimal(4990))]
    assert [f"{number} (CANCELLED)" in it.message for it in told(world)] == [True]


def test_a_start_that_finds_all_stops_at_work_tells_nothing() -> None:
    world = holding()
    world.restart()
    world.wait(8_000)

    assert told(world) == []


def test_a_position_that_was_closed_meanwhile_needs_no_word() -> None:
    world = holding()
    world.restart_after(lambda: world.quote(4989))
    world.wait(8_000)

    assert world.position() == 0
    assert told(world) == []


@pytest.mark.parametrize("policy", [{"protects": True, "execute": False}])
def test_with_the_gate_closed_it_says_that_nothing_is_sent(policy: dict[str, bool]) -> None:
    world = holding()
    world.policy = a_policy(**policy)
    world.restart_after(lambda: take_both_away(world))
    world.wait(8_000)

    assert world.stops() == []
    assert ["nothing is sent" in it.message for it in told(world)] == [True]
