"""Whatever happens, in whatever order: in the end stops equal the position, or it is closed."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.core.builders import ACCOUNT, MES, a_policy, a_quote, a_request, replayed
from tests.core.protection_world import LOST, TOLD, Delivery, Request, World

from backstop.core.leftovers import ASK_AGAIN_NS
from backstop.core.liquidation_scope import unfinished
from backstop.core.naked_time import EXCESS_LIMIT_NS, NAKED_LIMIT_NS
from backstop.core.policy import SECOND_NS
from backstop.domain.commands import ClosePosition
from backstop.domain.events import OrderRequested
from backstop.domain.order import OrderType, Side
from backstop.simulator.exchange_config import (
    LegPastMarket,
    LegsOnFlat,
    LegsOnPartialEntry,
    LegsOnPartialExit,
    MarketRemainder,
    PartialFill,
    Reversal,
    SiblingOnCancel,
    SiblingOnPartialLeg,
)

MANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
QUIET_MS = 60_000
"""Longer than it takes to prove that an order of unknown fate never arrived: a stop that takes over
for one that the venue does not shrink may be such an order, and is not sent twice."""
MARKET, STOP = 2, 4

SWITCHES = st.fixed_dictionaries(
    {},
    optional={
        "partial_fill": st.sampled_from(PartialFill),
        "market_remainder": st.just(MarketRemainder.NEXT_TICK),
        "legs_on_partial_entry": st.sampled_from(LegsOnPartialEntry),
        "legs_on_partial_exit": st.sampled_from(LegsOnPartialExit),
        "leg_past_market": st.sampled_from(LegPastMarket),
        "legs_on_flat": st.sampled_from(LegsOnFlat),
        "sibling_on_manual_cancel": st.sampled_from(SiblingOnCancel),
        "sibling_on_partial_leg": st.sampled_from(SiblingOnPartialLeg),
        "resize_leg": st.booleans(),
        "reversal": st.sampled_from(Reversal),
        "seed": st.integers(0, 99),
    },
)

Act = Callable[[World], None]


def _enter(world: World, side: Side, quantity: int, away: int, target: int | None) -> None:
    """Have a bot send an order if the guard lets it."""
    last = world.last
    number = len(world.guard.book.orders) + world.book.orders_forgotten
    request = a_request(
        client_order_id=f"n{number}",
        side=side,
        quantity=quantity,
        stop_loss_price=last - side.sign * away,
        take_profit_price=None if target is None else last + side.sign * target,
    )
    quote = a_quote(bid=last - Decimal("0.25"), ask=last, last=last)
    world.feed(OrderRequested(utc_us=world.guard.utc_us, request=request, reference=quote))


def _stop_of_a_bot(world: World, away: int) -> None:
    held = world.book.position(MES).quantity
    if not held:
        return
    side = Side.SELL if held > 0 else Side.BUY
    number = len(world.guard.book.orders) + world.book.orders_forgotten
    request = a_request(
        client_order_id=f"s{number}",
        side=side,
        quantity=abs(held),
        type=OrderType.STOP,
        stop_price=world.last + side.sign * away,
    )
    world.feed(OrderRequested(utc_us=world.guard.utc_us, request=request, reference=a_quote()))


def _manual(world: World, kind: int, side: Side, size: int, away: int) -> None:
    level = {"stop_price": world.last + side.sign * away} if kind == STOP else {}
    world.exchange.place_manual(
        ACCOUNT, MES, type=kind, side=0 if side is Side.BUY else 1, size=size, **level
    )


def _take_away(world: World, which: int) -> None:
    live = [row for row in world.orders() if row["status"] == "OPEN"]
    if live:
        world.exchange.cancel(ACCOUNT, live[which % len(live)]["id"])


def _protect(world: World, away: int) -> None:
    held = world.book.position(MES).quantity
    sign = 1 if held > 0 else -1
    world.protect(stop=float(world.last - sign * away), reference=None)


SIDES = st.sampled_from(Side)
AWAY = st.integers(2, 12)
ACTS: st.SearchStrategy[Act] = st.one_of(
    st.builds(
        lambda s, q, a, t: lambda world: _enter(world, s, q, a, t),
        SIDES,
        st.integers(1, 3),
        AWAY,
        st.none() | AWAY,
    ),
    st.builds(
        lambda s, q, a, t: lambda world: _enter(world, s, q, a, t), *(SIDES, st.just(2)), AWAY, AWAY
    ),
    st.builds(lambda a: lambda world: _stop_of_a_bot(world, a), AWAY),
    st.builds(
        lambda k, s, q, a: lambda world: _manual(world, k, s, q, a),
        st.sampled_from([MARKET, STOP]),
        SIDES,
        st.integers(1, 3),
        AWAY,
    ),
    st.builds(lambda n: lambda world: _take_away(world, n), st.integers(0, 5)),
    st.builds(lambda a: lambda world: _protect(world, a), AWAY),
    st.builds(lambda m: lambda world: world.quote(world.last + m), st.integers(-8, 8)),
)
RESTARTS: st.SearchStrategy[Act] = st.builds(
    lambda ms: lambda world: world.restart(down_ms=ms), st.sampled_from([10, 3_000])
)
PAUSES = st.sampled_from([0, 3, 8, 14, 30, 60, 300, 1_100, 3_000])
DELIVERIES = st.sampled_from(
    [TOLD] * 6
    + [
        LOST,
        LOST,
        Delivery(copies_ms=(40,)),
        Delivery(copies_ms=(400,)),
        Delivery(copies_ms=(1, 90)),
    ]
)
REQUESTS = st.sampled_from(
    [Request()] * 8
    + [
        Request(answered=False),
        Request(arrives=False),
        Request(leaves=False),
        Request(ms=120),
        Request(forgotten=True),
    ]
)


def a_world(data: st.DataObject) -> World:
    """Return a venue with any habits, and a guard that lets bots do much."""
    policy = a_policy(
        protects=True,
        default_stop_ticks=40,
        max_orders_per_second=100,
        duplicate_window_ns=0,
        allow_flip=data.draw(st.booleans(), "flips"),
    )
    return World(policy=policy, switches=data.draw(SWITCHES, "switches")).start()


def quiet(world: World) -> None:
    """Let everything arrive from now on, and the guard find out about all that did not."""
    world.tell = lambda _: TOLD
    world.request = lambda _: Request()
    world.wait(QUIET_MS)


def what_is_wrong(world: World) -> str:
    """Return what breaks the invariant at the exchange, once everything is quiet."""
    held, stops, targets = world.position(), world.stops(), world.targets()
    cover = sum(number for number, _ in stops)
    if held != world.book.position(MES).quantity:
        return f"held {held}, believed {world.book.position(MES).quantity}"
    if held and cover != abs(held) and not unfinished(world.book):
        return f"{cover} contracts of stops for {held}"
    if sum(number for number, _ in targets) > abs(held):
        return f"targets {targets} for {held}"
    protective = {
        row.broker_order_id for row in world.book.working_rows(MES) if _protects(world, row)
    }
    left = [row for row in world.orders() if row["status"] == "OPEN" and row["id"] in protective]
    if not held and left:
        return f"flat, and {left} work"
    return ""


def _protects(world: World, row: Any) -> bool:
    name = world.book.client_of_broker_id.get(row.broker_order_id)
    if name is not None:
        return world.book.orders[name].role is not None
    return world.book.venue_orders[row.broker_order_id].owner is not None


@MANY
@given(st.data())
def test_in_the_end_the_stops_equal_the_position(data: st.DataObject) -> None:
    world = a_world(data)
    world.tell = lambda _: data.draw(DELIVERIES, "delivery")
    world.request = lambda _: data.draw(REQUESTS, "request")
    for _ in range(data.draw(st.integers(1, 8), "acts")):
        data.draw(ACTS | RESTARTS, "act")(world)
        world.wait(data.draw(PAUSES, "pause"))
    quiet(world)

    event(f"closed {bool(world.sent_of(ClosePosition))}, placed {min(len(world.placed()), 3)}")
    assert what_is_wrong(world) == ""


@MANY
@given(st.data())
def test_with_a_sound_venue_nothing_is_naked_or_doubled_for_long(data: st.DataObject) -> None:
    """No gap outlasts the limit and what closes it, no surplus outlasts a replacement."""
    world = a_world(data)
    for _ in range(data.draw(st.integers(1, 8), "acts")):
        data.draw(ACTS, "act")(world)
        world.wait(data.draw(PAUSES, "pause"))
    quiet(world)

    assert what_is_wrong(world) == ""
    assert world.naked_ns <= NAKED_LIMIT_NS + EXCESS_LIMIT_NS + SECOND_NS
    assert world.surplus_ns <= ASK_AGAIN_NS + SECOND_NS


@MANY
@given(st.data())
def test_a_replay_of_the_record_makes_the_same_protection(data: st.DataObject) -> None:
    world = a_world(data)
    world.tell = lambda _: data.draw(DELIVERIES, "delivery")
    for _ in range(data.draw(st.integers(1, 6), "acts")):
        data.draw(ACTS | RESTARTS, "act")(world)
        world.wait(data.draw(PAUSES, "pause"))

    book, steps = replayed(world.policy, world.guard.history)

    assert book == world.book
    assert steps == world.guard.steps
