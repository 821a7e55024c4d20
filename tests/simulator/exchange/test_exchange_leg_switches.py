"""Open questions about bracket legs that decide how a guard must protect: each is a switch."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from tests.simulator.exchange.conftest import ACCOUNT, BUY, MARKET, MNQ, SELL, World

from backstop.adapters.projectx.wire import ModifyBody
from backstop.simulator.exchange_config import LegPastMarket, LegsOnPartialExit

MakeWorld = Callable[..., World]
OPEN, FILLED, CANCELLED, REJECTED = 1, 2, 3, 5


def an_entry(world: World, size: int = 2) -> int:
    """Return a filled market entry at 21010.25 with its legs at work."""
    entry_id = world.accepted(MARKET, BUY, size, sl=-40, tp=80)
    world.settle()
    return entry_id


@pytest.mark.parametrize(
    ("switch", "status"), [(LegsOnPartialExit.KEEP, OPEN), (LegsOnPartialExit.CANCEL, CANCELLED)]
)
def test_a_partial_exit_leaves_the_bracket_or_ends_all_of_it(
    make_world: MakeWorld, switch: LegsOnPartialExit, status: int
) -> None:
    world = make_world(legs_on_partial_exit=switch)
    entry_id = an_entry(world)

    assert world.exchange.partial_close(ACCOUNT, MNQ, 1).code == 0
    world.settle()

    assert world.net() == 1
    assert [leg.status for leg in world.legs(entry_id)] == [status, status]


def test_a_leg_that_fills_in_part_is_no_partial_exit(make_world: MakeWorld) -> None:
    world = make_world(legs_on_partial_exit=LegsOnPartialExit.CANCEL)
    first_id, second_id = an_entry(world, 1), an_entry(world, 1)
    stop, _ = world.legs(first_id)
    body = ModifyBody(account_id=ACCOUNT, order_id=stop.id, stop_price=Decimal(21009))
    assert world.exchange.modify(body).code == 0
    world.settle()
    world.quote("21008.75")
    world.settle()

    assert world.net() == 1
    assert [leg.status for leg in world.legs(second_id)] == [OPEN, OPEN]


@pytest.mark.parametrize(
    ("switch", "status"), [(LegPastMarket.TRIGGER, FILLED), (LegPastMarket.REJECT, REJECTED)]
)
def test_a_stop_leg_that_the_market_has_passed_fills_at_once_or_is_refused(
    make_world: MakeWorld, switch: LegPastMarket, status: int
) -> None:
    world = make_world(leg_past_market=switch)
    entry_id = world.accepted(MARKET, BUY, tag="g", sl=-40, tp=80)
    world.wait(9_000)
    assert world.net() == 1
    world.quote("20990")
    world.settle()

    stop, target = world.legs(entry_id)
    assert stop.status == status
    assert world.net() == (0 if status == FILLED else 1)
    assert target.status == (CANCELLED if status == FILLED else OPEN)


@pytest.mark.parametrize(("may_resize", "code", "size"), [(True, 0, 1), (False, 3, 2)])
def test_the_size_of_a_leg_can_be_changed_or_not(
    make_world: MakeWorld, *, may_resize: bool, code: int, size: int
) -> None:
    world = make_world(resize_leg=may_resize)
    stop, _ = world.legs(an_entry(world))

    outcome = world.exchange.modify(ModifyBody(account_id=ACCOUNT, order_id=stop.id, size=1))
    world.settle()

    assert outcome.code == code
    assert world.row(stop.id).size == size


def test_the_level_of_a_leg_can_be_moved_where_its_size_cannot_change(
    make_world: MakeWorld,
) -> None:
    world = make_world(resize_leg=False)
    stop, _ = world.legs(an_entry(world))
    body = ModifyBody(account_id=ACCOUNT, order_id=stop.id, stop_price=Decimal(21001))

    assert world.exchange.modify(body).code == 0
    world.settle()

    assert world.row(stop.id).stop_price == Decimal(21001)


def test_only_stop_legs_are_judged_against_the_market(make_world: MakeWorld) -> None:
    world = make_world(leg_past_market=LegPastMarket.REJECT)
    entry_id = world.accepted(MARKET, SELL, tag="g", sl=40, tp=-80)
    world.settle()

    assert [leg.status for leg in world.legs(entry_id)] == [OPEN, OPEN]
