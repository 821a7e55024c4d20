"""Orders of a bot behind the guard's gateway, and the events that it hears of them.

Two kinds, for they cost different things. An order that only rests, far from the market: what one
call costs, at the venue itself, through the bare server and client (``pass_through``), and through
the guard, in turns. And a round trip at the market, an entry with its stop and the exit: what a bot
waits for its two answers while the guard protects what it holds. What ends an order or takes its
legs away is not timed.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path

from msgspec import Struct

from benchmarks import pass_through
from benchmarks.figures import Figure, Goal, Of, percentile
from benchmarks.guard import SYMBOL
from benchmarks.surface import (
    BUY,
    LIMIT,
    LIMIT_S,
    MARKET,
    SELL,
    STOP,
    Heard,
    Surface,
    a_process,
    listening,
    logged_in,
)
from benchmarks.venue import API_KEY, USER, free_account

GUARD = Path(__file__).with_name("gateway.py")
BOT = "bench-bot"
WARM_UP = 10
WARM_UP_TRIPS = 2
FAR = Decimal(200)
"""Points below the market: an order there only rests."""

STOP_TICKS = 400
ADDED_GOAL_MS = 1.0
"""To an order without the disk's sync, half of the time."""

LOOK_S = 0.005


class Rested(Struct, frozen=True, kw_only=True):
    """Orders that rest, by one guard: the wait for the answer on each way, and its event."""

    direct_ms: tuple[float, ...]
    bare_ms: tuple[float, ...]
    guarded_ms: tuple[float, ...]
    later_ms: tuple[float, ...]  # that a bot behind the guard hears of the order


class Tripped(Struct, frozen=True, kw_only=True):
    """Round trips, by one guard: the waits for the answers to entry and exit together."""

    direct_ms: tuple[float, ...]
    guarded_ms: tuple[float, ...]
    later_ms: tuple[float, ...]  # that a bot behind the guard hears of a trade


# -- figures ---------------------------------------------------------------------------------------


def order_figures(
    disk: Sequence[Rested], memory: Sequence[Rested], syncs: Sequence[float]
) -> Iterator[Figure]:
    """Yield what the guard adds to an order that rests, whole and above the bare pass-through."""
    for percent in (50, 99):
        share = percent / 100
        yield Figure(
            key=f"gateway_place_p{percent}_ms",
            what=f"an order that rests, by the ProjectX API, until its answer: p{percent}",
            unit="ms",
            rounds=tuple(percentile(it.guarded_ms, share) for it in disk),
            baseline="straight to the venue",
            baseline_rounds=tuple(percentile(it.direct_ms, share) for it in disk),
        )
    yield Figure(
        key="gateway_place_added_ms",
        what="    added by the guard, the disk's syncs in it: p50",
        unit="ms",
        rounds=tuple(_added(it.guarded_ms, it.direct_ms) for it in disk),
        baseline="one sync of that disk",
        baseline_rounds=tuple(syncs),
    )
    yield Figure(
        key="gateway_place_added_without_sync_ms",
        what="    added by the guard, its record in memory: p50",
        unit="ms",
        rounds=tuple(_added(it.guarded_ms, it.direct_ms) for it in memory),
        goal=Goal(of=Of.VALUE, bound=ADDED_GOAL_MS, at_least=False),
    )
    yield Figure(
        key="gateway_place_floor_ms",
        what="    added by the same server and client with nothing between them: p50",
        unit="ms",
        rounds=tuple(_added(it.bare_ms, it.direct_ms) for it in memory),
    )
    yield Figure(
        key="gateway_place_above_floor_ms",
        what="    added by the guard above that, its record in memory: p50",
        unit="ms",
        rounds=tuple(_added(it.guarded_ms, it.bare_ms) for it in memory),
    )


def trip_figures(found: Sequence[Tripped]) -> Iterator[Figure]:
    """Yield what a bot waits for an entry with its stop and for the exit."""
    for percent in (50, 99):
        share = percent / 100
        yield Figure(
            key=f"gateway_round_trip_p{percent}_ms",
            what=f"an entry with its stop and the exit, both answered: p{percent}",
            unit="ms",
            rounds=tuple(percentile(it.guarded_ms, share) for it in found),
            baseline="straight to the venue",
            baseline_rounds=tuple(percentile(it.direct_ms, share) for it in found),
        )


def event_figures(rested: Sequence[Rested], tripped: Sequence[Tripped]) -> Iterator[Figure]:
    """Yield how much later a bot behind the guard hears of its orders and of its trades."""
    for kind, word, found in (
        ("order", "an order event", [it.later_ms for it in rested]),
        ("user", "a trade", [it.later_ms for it in tripped]),
    ):
        for percent in (50, 99):
            share = percent / 100
            yield Figure(
                key=f"gateway_{kind}_event_later_p{percent}_ms",
                what=f"{word} is heard so much later than at the venue: p{percent}",
                unit="ms",
                rounds=tuple(max(0.0, percentile(later, share)) for later in found),
            )


def _added(ours: Sequence[float], theirs: Sequence[float]) -> float:
    # Less than nothing is the noise of the machine.
    return max(0.0, percentile(ours, 0.5) - percentile(theirs, 0.5))


# -- orders that rest ------------------------------------------------------------------------------


async def rested(url: str, folder: Path, orders: int) -> Rested:
    """Place ``orders`` orders that rest on each of the three ways, in turns."""
    guarded = free_account(url)
    with a_process(GUARD, "guard", url, str(folder), str(guarded)) as (_, line):
        own, passed = free_account(url), free_account(url)
        passing = a_process(Path(pass_through.__file__), url, str(passed))
        async with AsyncExitStack() as stack:
            _, bare_line = stack.enter_context(passing)
            venue = await logged_in(stack, url, USER, API_KEY)
            bare = await logged_in(stack, bare_line.split()[0], USER, bare_line.split()[1])
            door = await logged_in(stack, line.split()[0], BOT, line.split()[1])
            contract_id = await venue.contract(SYMBOL)
            price = await _far_below(venue, contract_id)
            at_venue, at_door = (Heard(_PLACED), Heard(_PLACED))
            orders_of = ("SubscribeOrders", guarded)
            await stack.enter_async_context(listening(venue, "user", at_venue, orders_of))
            await stack.enter_async_context(listening(door, "user", at_door, orders_of))
            ways = ((venue, own), (bare, passed), (door, guarded))
            waits: list[list[float]] = [[], [], []]
            for number in range(orders + WARM_UP):
                for way, (surface, account) in enumerate(ways):
                    took_ms, told = await surface.timed(
                        "Order/place", accountId=account, contractId=contract_id, type=LIMIT,
                        side=BUY, size=1, limitPrice=price,
                        customTag=f"{folder.name}-{way}-{number}",
                    )  # fmt: skip
                    waits[way].append(took_ms)
                    # At the venue itself: it costs no call of the guard's budget.
                    await venue.call("Order/cancel", accountId=account, orderId=told["orderId"])
                await at_venue.so_many(number + 1)
                await at_door.so_many(number + 1)
    direct_ms, bare_ms, guarded_ms = (tuple(it[WARM_UP:]) for it in waits)
    return Rested(
        direct_ms=direct_ms,
        bare_ms=bare_ms,
        guarded_ms=guarded_ms,
        later_ms=_later(at_venue, at_door, WARM_UP),
    )


_PLACED = r'"target":"GatewayUserOrder".*?"id":(\d+)'
_TRADED = r'"target":"GatewayUserTrade".*?"id":(\d+)'
_LAST = r'"lastPrice":([\d.]+)'


def _later(at_venue: Heard, at_door: Heard, warm_up: int) -> tuple[float, ...]:
    events = tuple(at_venue.at_ns.items())[warm_up:]
    return tuple((at_door.at_ns[name] - at_ns) / 1e6 for name, at_ns in events)


async def _far_below(venue: Surface, contract_id: str) -> float:
    """Return a price at which an order to buy only rests."""
    heard = Heard(_LAST)
    async with listening(venue, "market", heard, ("SubscribeContractQuotes", contract_id)):
        await heard.so_many(1)
    last = Decimal(next(iter(heard.at_ns)))
    return float((last - FAR).to_integral_value())


# -- round trips -----------------------------------------------------------------------------------


async def tripped(url: str, folder: Path, trips: int) -> Tripped:
    """Enter with a stop and leave again, ``trips`` times on each way, in turns."""
    guarded = free_account(url)
    with a_process(GUARD, "guard", url, str(folder), str(guarded)) as (_, line):
        own = free_account(url)
        async with AsyncExitStack() as stack:
            venue = await logged_in(stack, url, USER, API_KEY)
            door = await logged_in(stack, line.split()[0], BOT, line.split()[1])
            contract_id = await venue.contract(SYMBOL)
            at_venue, at_door, at_own = Heard(_TRADED), Heard(_TRADED), Heard(_TRADED)
            for surface, heard, account in (
                (venue, at_venue, guarded), (door, at_door, guarded), (venue, at_own, own),
            ):  # fmt: skip
                trades = ("SubscribeTrades", account)
                await stack.enter_async_context(listening(surface, "user", heard, trades))
            waits: list[list[float]] = [[], []]
            for number in range(trips + WARM_UP_TRIPS):
                for way, (surface, account, heard) in enumerate(
                    ((venue, own, at_own), (door, guarded, at_door))
                ):
                    trip = _trip(account, contract_id, f"{folder.name}-{way}-{number}")
                    both_ms = 0.0
                    for leg, body in enumerate(trip):
                        both_ms += (await surface.timed("Order/place", **body))[0]
                        await heard.so_many(2 * number + leg + 1)
                    waits[way].append(both_ms)
                    await _cleared(venue, account, by_us=surface is venue)
                await at_venue.so_many(2 * number + 2)
    direct_ms, guarded_ms = (tuple(it[WARM_UP_TRIPS:]) for it in waits)
    return Tripped(
        direct_ms=direct_ms,
        guarded_ms=guarded_ms,
        later_ms=_later(at_venue, at_door, 2 * WARM_UP_TRIPS),
    )


def _trip(account: int, contract_id: str, tag: str) -> tuple[dict[str, object], dict[str, object]]:
    """Return the bodies of an entry with a stop, and of the exit."""
    common = {"accountId": account, "contractId": contract_id, "type": MARKET, "size": 1}
    stop = {"ticks": -STOP_TICKS, "type": STOP}
    return (
        {**common, "side": BUY, "customTag": f"{tag}-in", "stopLossBracket": stop},
        {**common, "side": SELL, "customTag": f"{tag}-out"},
    )


async def _cleared(venue: Surface, account: int, *, by_us: bool) -> None:
    """Wait until no order is left on ``account``; what nobody looks after is cancelled."""
    async with asyncio.timeout(LIMIT_S):
        while rows := (await venue.call("Order/searchOpen", accountId=account))["orders"]:
            for row in rows if by_us else ():
                await venue.call("Order/cancel", accountId=account, orderId=row["id"])
            await asyncio.sleep(LOOK_S)
