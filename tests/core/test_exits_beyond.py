"""An order that was let through as an exit never becomes an entry: it follows its position."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.builders import MES, a_policy, a_quote
from tests.core.protection_world import LOST, TOLD, Request, World

from backstop.core.exits_beyond import CUTS_MAX, exits_beyond
from backstop.core.leftovers import ORPHAN_SETTLE_NS
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.repeated_requests import CANCEL_PAUSE_MAX_NS
from backstop.core.step import DecisionKind
from backstop.domain.commands import CancelOrder, ModifyOrder, RaiseAlert
from backstop.domain.events import ModifyRequested
from backstop.domain.order import OrderState, OrderType, Side
from backstop.simulator.exchange_config import PartialFill

MARKET = 2
SETTLE_MS = ORPHAN_SETTLE_NS // MILLISECOND_NS


def holding(quantity: int = 2, **world: Any) -> World:
    held = World(**world).start()
    held.enter(quantity=quantity, stop=4990)
    held.wait(1_100)
    return held


def resting_exit(world: World, quantity: int = 2, *, at: int = 5050, **changes: Any) -> str:
    name = world.enter(
        Side.SELL,
        quantity,
        stop=None,
        type=OrderType.LIMIT,
        limit_price=Decimal(at),
        **changes,
    )
    world.wait(100)
    assert world.book.orders[name].state is OrderState.WORKING
    return name


def stopped_out(world: World) -> None:
    world.quote(4985)
    world.wait(50)
    assert world.position() == 0


def test_an_exit_goes_with_its_position() -> None:
    world = holding()
    name = resting_exit(world)

    stopped_out(world)
    world.wait(SETTLE_MS + 200)

    order = world.book.orders[name]
    assert order.state is OrderState.CANCELLED
    assert order.cancel is not None
    assert "nothing is left for it to close" in order.cancel.reason, "its bot can read why"
    world.quote(5060)
    world.wait(2_000)
    assert world.position() == 0
    assert "STOP_OPENED_POSITION" not in world.guard.alerts()


def test_an_exit_shrinks_with_its_position() -> None:
    world = holding(2)
    name = resting_exit(world, 2)

    world.manual(MARKET, Side.SELL, 1)
    world.wait(SETTLE_MS + 1_500)

    assert world.position() == 1
    assert world.book.orders[name].open_quantity == 1
    world.quote(5060)
    world.wait(500)
    assert world.position() == 0


def test_a_refusal_to_shrink_ends_an_exit_whole() -> None:
    world = holding(2)
    name = resting_exit(world, 2)
    world.request = lambda it: Request(
        refused="Invalid size" if isinstance(it, ModifyOrder) and it.quantity == 1 else ""
    )

    world.manual(MARKET, Side.SELL, 1)
    world.wait(SETTLE_MS + 5_000)

    assert world.book.orders[name].state is OrderState.CANCELLED


@pytest.mark.parametrize("lead_ms", [200, 300])
def test_a_no_while_two_changes_are_under_way_starts_no_race(lead_ms: int) -> None:
    """The cut and a change that its bot asks for itself: which of them a no is to, is not said."""
    world = holding(2)
    name = resting_exit(world, 2)
    world.request = lambda it: Request(
        refused="Invalid size" if isinstance(it, ModifyOrder) else "", ms=50
    )

    world.manual(MARKET, Side.SELL, 1)
    world.wait(lead_ms)
    wish = ModifyRequested(
        utc_us=world.guard.utc_us, client_order_id=name, quantity=1, reference=a_quote()
    )
    assert world.decide(wish).kind is DecisionKind.ACCEPTED
    world.wait(10_000)

    number = world.book.orders[name].broker_order_id
    asked = [it for it in world.sent_of(ModifyOrder) if it.broker_order_id == number]
    assert len(asked) <= 3
    assert world.book.orders[name].state is OrderState.CANCELLED


@pytest.mark.parametrize(
    "fate",
    [
        Request(forgotten=True),
        Request(answered=False, arrives=False),
        Request(leaves=False, arrives=False),
    ],
)
def test_an_exit_that_does_not_shrink_however_often_it_is_asked_for_goes_whole(
    fate: Request,
) -> None:
    world = holding(2)
    name = resting_exit(world, 2)
    number = world.book.orders[name].broker_order_id
    world.request = lambda it: fate if isinstance(it, ModifyOrder) else Request()

    world.manual(MARKET, Side.SELL, 1)
    world.wait(60_000)

    asked = [it for it in world.sent_of(ModifyOrder) if it.broker_order_id == number]
    assert len(asked) == CUTS_MAX
    assert world.book.orders[name].state is OrderState.CANCELLED


def test_what_its_bot_was_refused_before_does_not_end_an_exit() -> None:
    world = holding(2)
    name = resting_exit(world, 2)
    world.request = lambda it: Request(refused="Busy" if isinstance(it, ModifyOrder) else "")
    wish = ModifyRequested(
        utc_us=world.guard.utc_us, client_order_id=name, quantity=1, reference=a_quote()
    )
    assert world.decide(wish).kind is DecisionKind.ACCEPTED
    world.wait(10_000)
    world.request = lambda _: Request()

    world.manual(MARKET, Side.SELL, 1)
    world.wait(SETTLE_MS + 1_000)

    order = world.book.orders[name]
    assert (order.state, order.open_quantity) == (OrderState.WORKING, 1)


def test_an_exit_whose_end_is_refused_is_asked_ever_more_slowly_and_a_person_is_told() -> None:
    world = holding(2)
    name = resting_exit(world, 2)
    number = world.book.orders[name].broker_order_id
    world.request = lambda it: Request(refused="Not now" if isinstance(it, CancelOrder) else "")

    stopped_out(world)
    world.wait(120_000)

    asked = [it for it in world.sent_of(CancelOrder) if it.broker_order_id == number]
    assert 10 <= len(asked) <= 4 + 120 * SECOND_NS // CANCEL_PAUSE_MAX_NS
    told = [it for it in world.guard.commands_of(RaiseAlert) if it.code == "ORDER_STAYS"]
    assert len(told) == 1
    assert "Not now" in told[0].message


def test_of_several_exits_the_older_one_keeps_its_place() -> None:
    world = holding(3)
    older = resting_exit(world, 2, at=5060)
    newer = resting_exit(world, 1, at=5050)

    world.manual(MARKET, Side.SELL, 1)
    world.wait(SETTLE_MS + 1_500)

    assert world.book.orders[older].open_quantity == 2
    assert world.book.orders[newer].state is OrderState.CANCELLED


@pytest.mark.parametrize("heard", ["GatewayUserOrder", "GatewayUserTrade", "all"])
def test_what_an_exit_has_filled_is_not_counted_as_open(heard: str) -> None:
    """It fills one by one, and what the venue pushes of that may get lost."""
    slices: dict[str, Any] = {
        "partial_fill": PartialFill.SLICES,
        "fill_slices": 4,
        "slice_gap_us": 700_000,
    }
    world = holding(4, switches={"partial_fill": PartialFill.SLICES, **slices})
    world.run_until(lambda: world.position() == 4, "the entry")
    world.wait(1_000)
    resting_exit(world, 4)
    sent = len(world.sent_of(ModifyOrder))
    world.tell = lambda target: TOLD if heard in {target, "all"} else LOST

    world.quote(5051)
    world.run_until(lambda: world.position() == 0, "the exit", limit_ms=5_000)
    world.wait(3_000)

    exits = {it.broker_order_id for it in world.book.orders.values() if it.reduces_risk}
    cut = [it for it in world.sent_of(ModifyOrder)[sent:] if it.broker_order_id in exits]
    assert cut == []


def test_an_entry_of_the_exits_side_stays() -> None:
    """It was judged as an entry, and came with its stop."""
    world = World().start()
    levels: dict[str, Any] = {"type": OrderType.LIMIT, "limit_price": Decimal(5050)}
    name = world.enter(Side.SELL, 2, stop=5080, **levels)
    world.enter(quantity=2, stop=4990)
    world.wait(1_100)

    stopped_out(world)
    world.wait(SETTLE_MS + 2_000)

    assert world.book.orders[name].state is OrderState.WORKING


def test_an_entry_that_may_have_filled_unheard_keeps_an_exit_until_reads_decide() -> None:
    world = holding()
    resting_exit(world)
    world.enter(quantity=1, stop=4950, type=OrderType.LIMIT, limit_price=Decimal(4960))
    world.wait(100)
    asked = len(world.sent_of(CancelOrder))

    stopped_out(world)
    world.wait(SETTLE_MS + 150)
    legs = {leg.row.broker_order_id for leg in world.book.venue_orders.values()}
    asked_for = [it for it in world.sent_of(CancelOrder)[asked:] if it.broker_order_id not in legs]
    assert asked_for == []

    world.run_until(lambda: resting_exits(world) == [], "the exit is gone by reads")


def resting_exits(world: World) -> list[str]:
    return [it.client_order_id for it in world.book.live_orders(MES) if it.reduces_risk]


def test_an_exit_stays_while_a_trade_may_be_late() -> None:
    """The row of the position alone says that it is gone; its stop has not been heard of."""
    world = holding()
    name = resting_exit(world)
    world.reads_fail = True
    world.tell = lambda target: TOLD if target == "GatewayUserPosition" else LOST

    stopped_out(world)
    world.wait(2_000)

    assert world.book.orders[name].state is OrderState.WORKING
    assert world.book.position(MES).quantity == 0
    assert tuple(exits_beyond(world.book, world.book.position(MES))) == ()


@pytest.mark.parametrize("answered", [False, True])
def test_a_cancel_of_an_exit_that_gets_lost_is_made_again(*, answered: bool) -> None:
    world = holding()
    name = resting_exit(world)
    lost = {world.book.orders[name].broker_order_id}
    tries: list[int] = []

    def fate(command: Any) -> Request:
        if not isinstance(command, CancelOrder) or command.broker_order_id not in lost:
            return Request()
        tries.append(command.broker_order_id)
        once = len(tries) == 1
        return Request(forgotten=once) if answered else Request(arrives=not once, answered=not once)

    world.request = fate
    stopped_out(world)
    world.wait(5_000)

    assert len(tries) >= 2
    assert world.book.orders[name].state is OrderState.CANCELLED


def test_another_process_goes_on_with_it() -> None:
    world = holding()
    name = resting_exit(world)

    world.restart_after(lambda: world.quote(4985), down_ms=500)
    world.run_until(lambda: world.book.recovered, "recovered")
    world.wait(5_000)

    assert world.position() == 0
    assert world.book.orders[name].state is OrderState.CANCELLED


def test_what_is_not_guarded_is_not_touched() -> None:
    world = holding(policy=replace(a_policy(protects=True), protects=False))
    name = resting_exit(world)

    stopped_out(world)
    world.wait(SETTLE_MS + 2_000)

    assert world.book.orders[name].state is OrderState.WORKING
