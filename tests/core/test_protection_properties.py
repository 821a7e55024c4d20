"""Whatever happens, in whatever order: in the end stops equal the position, or it is closed."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.core.builders import ACCOUNT, MES, a_policy, a_quote, a_request, replayed
from tests.core.protection_world import LOST, TOLD, Delivery, Request, World

from backstop.core.book import AUDIT_INTERVAL_NS, Wake
from backstop.core.leftovers import ASK_AGAIN_NS
from backstop.core.liquidation_scope import unfinished
from backstop.core.naked_time import EXCESS_LIMIT_NS, NAKED_LIMIT_NS
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.protection_situation import is_being_closed, situation
from backstop.core.trading_state import LatchKind
from backstop.core.unprotected import DECLARE_NS, DOUBT_LIMIT_NS
from backstop.domain.commands import ClosePosition, RaiseAlert
from backstop.domain.events import OrderRequested
from backstop.domain.external import ExternalPositionPolicy
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
SILENT_LIMIT_NS = DECLARE_NS + DOUBT_LIMIT_NS + AUDIT_INTERVAL_NS + SECOND_NS
"""Witnesses that differ are read and told about, then whose a position is takes its time; each of
it may first have to be noticed by a read."""
LOOK_MS = 250
"""How often the tests look at a world while time passes."""
TOLD_BY = {"POSITION_UNPROTECTED", "EXTERNAL_POSITION"}
"""The alerts that say of a position that no stop is made up for it."""

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


def _exit(world: World, *, crosses: bool) -> None:
    """Have a bot close its position; the market may reach its stop before that arrives."""
    held = world.book.position(MES).quantity
    if not held:
        return
    side = Side.SELL if held > 0 else Side.BUY
    _enter(world, side, abs(held), 4, None)
    if crosses:
        world.quote(str(world.last - 13 * (1 if held > 0 else -1)))


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
EXITS: st.SearchStrategy[Act] = st.builds(
    lambda crosses: lambda world: _exit(world, crosses=crosses), st.booleans()
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
REFUSALS = st.sampled_from([Request(refused="not now"), Request()])
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


def a_world(data: st.DataObject, **rules: Any) -> World:
    """Return a venue with any habits, and a guard that lets bots do much."""
    members: dict[str, Any] = {
        "protects": True,
        "default_stop_ticks": 40,
        "max_orders_per_second": 100,
        "duplicate_window_ns": 0,
        "allow_flip": data.draw(st.booleans(), "flips"),
    }
    policy = a_policy(**(members | rules))
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
    if held and cover < abs(held) and is_told(world):
        return ""
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


def is_told(world: World) -> bool:
    """Say whether a person was told that a position has no stop, and entries wait for him."""
    kinds = {LatchKind.UNPROTECTED, LatchKind.EXTERNAL}
    frozen = any(latch.kind in kinds for latch in world.book.latches)
    return frozen and any(alert.code in TOLD_BY for alert in world.sent_of(RaiseAlert))


def wait_and_watch(world: World, ms: int) -> int:
    """Let time pass; return how long, in ns, a position went without stop, close and word."""
    silent_ns = longest_ns = 0
    for _ in range(max(1, ms // LOOK_MS)):
        world.wait(min(ms, LOOK_MS))
        lacks = world.cover() < abs(world.position())
        if lacks and not is_being_closed(world.book, MES) and not is_told(world):
            silent_ns += LOOK_MS * MILLISECOND_NS
            longest_ns = max(longest_ns, silent_ns)
        else:
            silent_ns = 0
        assert_no_hole(world)
    return longest_ns


def assert_no_hole(world: World) -> None:
    """Hold the guard to its own view: what lacks a stop is repaired, closed, or told of in time."""
    book, now = world.book, situation(world.book, MES)
    if not now.lacking or not book.protection.known_ns or is_being_closed(book, MES):
        return
    waits_ns = book.wakes.get(Wake.PROTECTION, book.audit.due_ns or book.audit.requested_ns)
    assert waits_ns, f"{now.lacking} contracts lack a stop, and nothing is waited for"
    assert now.record.episode.wanted_ns or now.record.opened_ns, "its clock stands still"


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
def test_no_position_is_ever_left_without_a_stop_and_without_a_word(data: st.DataObject) -> None:
    """Also where no stop is on record, and while the venue refuses what repairs and what closes."""
    world = a_world(
        data,
        default_stop_ticks=data.draw(st.sampled_from([None, None, 40]), "default"),
        external_position_policy=data.draw(st.sampled_from(ExternalPositionPolicy), "external"),
    )
    world.tell = lambda _: data.draw(DELIVERIES, "delivery")
    world.request = lambda _: data.draw(REQUESTS | REFUSALS, "request")
    silent_ns = 0
    for _ in range(data.draw(st.integers(1, 8), "acts")):
        data.draw(EXITS | ACTS | RESTARTS, "act")(world)
        silent_ns = max(silent_ns, wait_and_watch(world, data.draw(PAUSES, "pause")))
    world.tell = lambda _: TOLD
    world.request = lambda _: Request()
    silent_ns = max(silent_ns, wait_and_watch(world, QUIET_MS))

    event(f"told {is_told(world)}, closed {bool(world.sent_of(ClosePosition))}")
    assert silent_ns <= SILENT_LIMIT_NS
    if world.policy.external_position_policy is ExternalPositionPolicy.PROTECT:
        assert what_is_wrong(world) == ""


@MANY
@given(st.data())
def test_an_exit_that_crosses_with_its_stop_leaves_nothing_behind(data: st.DataObject) -> None:
    """Whatever is told of it, and in whatever order: nobody wanted what the two opened together."""
    world = a_world(data, default_stop_ticks=None)
    told = st.sampled_from([TOLD, LOST, *(Delivery(copies_ms=(ms,)) for ms in (4, 9, 15, 40, 90))])
    side = data.draw(SIDES, "side")
    _enter(world, side, data.draw(st.integers(1, 3), "quantity"), 12, None)
    world.wait(data.draw(st.sampled_from([20, 200]), "pause"))
    world.tell = lambda _: data.draw(told, "delivery")
    _exit(world, crosses=True)
    silent_ns = wait_and_watch(world, data.draw(st.sampled_from([60, 300]), "pause"))
    world.tell = lambda _: TOLD
    silent_ns = max(silent_ns, wait_and_watch(world, 20_000))

    event(f"opened {bool(world.sent_of(ClosePosition))}")
    assert silent_ns <= SILENT_LIMIT_NS
    assert (world.position(), world.stops()) == (0, []) or unfinished(world.book)


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
