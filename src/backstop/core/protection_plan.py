"""How many contracts lack a stop, at which levels, and which surplus orders shrink: arithmetic.

Nothing here knows a book, a clock or a venue. A cut never leaves less cover than there was needed,
and of a surplus only as much is taken as is too much.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import IntEnum

from msgspec import Struct

from backstop.core.protection_record import Lot


class Origin(IntEnum):
    """Whose order it is; the first ones shrink first."""

    FOREIGN = 0  # placed by the venue or by somebody else
    OWN = 1  # placed by the guard to fill a gap
    LEG = 2  # of a bracket
    BOT = 3  # asked for by a bot


class Cover(Struct, frozen=True, kw_only=True):
    """One working stop or target: it closes ``quantity`` contracts when its level is reached.

    Attributes:
        broker_order_id: 0 while the venue has not given one.
        filled_quantity: contracts that it has closed already.
        ticks: its level; None while it is not known.
        owner: of the lot that it belongs to; empty for an order of our own, which fills any gap.
        leaving: another order takes over, then it goes.
        trails: the venue moves its level by itself.
        made_up: it is our own, and no entry and nobody else asked for its level.
    """

    broker_order_id: int
    quantity: int
    filled_quantity: int = 0
    ticks: int | None = None
    origin: Origin
    owner: str = ""
    leaving: bool = False
    trails: bool = False
    made_up: bool = False


class Cut(Struct, frozen=True, kw_only=True):
    """One order that is to close fewer contracts; 0: none, it is cancelled."""

    cover: Cover
    to_quantity: int


class Share(Struct, frozen=True, kw_only=True):
    """Contracts that lack a stop, and the level it should have; None: no level is known."""

    quantity: int
    ticks: int | None


def total(covers: Iterable[Cover]) -> int:
    """Return the contracts that all of ``covers`` would close."""
    return sum([cover.quantity for cover in covers])


def lacking(quantity: int, covers: Iterable[Cover], coming: Iterable[Cover]) -> int:
    """Return the contracts for which an order has to be placed.

    Args:
        quantity: contracts of the position.
        covers: working orders; what leaves has to be replaced while it still works.
        coming: orders that are on their way and do not work yet.
    """
    staying = total(cover for cover in covers if not cover.leaving)
    return max(0, quantity - staying - total(coming))


def stop_cuts(
    quantity: int,
    stops: Sequence[Cover],
    *,
    sign: int,
    may_widen: bool = True,
    asks_again: bool = False,
) -> tuple[Cut, ...]:
    """Return how the stops of a position of ``quantity`` contracts shrink to it.

    First what leaves, then what others placed, then our own, then legs; among equals the one that
    is farthest from the market, so that what stays loses less. A level that was approved stays,
    wherever a stop of somebody else stands; one that nobody asked for is no better than theirs, so
    the level alone decides between those. Of a bot's own stops the newest stays: that is how a bot
    moves one. Where no move away from the market would be let through, the level alone decides
    between all that were approved and those that nobody asked for: another order is no way around
    that.

    Args:
        quantity: contracts of the position.
        stops: the working ones.
        sign: +1 for a long position, -1 for a short one.
        may_widen: a stop may be moved away from the market now.
        asks_again: what takes over may never come, so what did not shrink is asked once more.
    """
    approved = any(stop.origin is not Origin.FOREIGN and not stop.made_up for stop in stops)

    def first_to_go(stop: Cover) -> tuple[bool, int, bool, int, bool, int]:
        level, number = sign * (stop.ticks or 0), stop.broker_order_id
        as_theirs = stop.made_up and (may_widen or not approved)
        weight = Origin.FOREIGN if as_theirs else stop.origin
        if not may_widen:
            weight = min(weight, Origin.OWN)
        elif stop.origin is Origin.BOT:
            level = number
        # A stop of unknown level may be the nearest.
        return (not stop.leaving, weight, stop.ticks is None, level, not stop.made_up, stop.origin)

    return _cuts(quantity, stops, sorted(stops, key=first_to_go), asks_again=asks_again)


def target_cuts(
    quantity: int, targets: Sequence[Cover], stops: Iterable[Cover], *, sign: int
) -> tuple[Cut, ...]:
    """Return how the targets of a position shrink to it.

    First our own, then of legs what is more than their own stop (``stops``: as they will be), then
    the one that is farthest from the market. One that cannot shrink goes whole: to be without a
    target for a moment is no danger, to have two is one.

    The venue may take the stop of a bracket away with its target. So a target whose stop is needed
    stays, for one contract at least.
    """
    stops = tuple(stops)
    stop_of = Counter[str]()
    for stop in stops:
        stop_of[stop.owner] += stop.quantity if stop.origin is Origin.LEG else 0
    surplus, spare = total(targets) - quantity, total(stops) - quantity
    left = {target.broker_order_id: target.quantity for target in targets}
    ordered = sorted(targets, key=lambda it: (it.origin, -sign * (it.ticks or 0)))
    for with_its_stop in (False, True):
        for target in ordered:
            number = target.broker_order_id
            its_stop = stop_of[target.owner] if target.origin is Origin.LEG else 0
            needed = 1 if its_stop > max(0, spare) else 0
            least = 0 if target.leaving else needed if with_its_stop else its_stop
            able = left[number] - least
            less = able if target.leaving else min(surplus, able)
            if surplus <= 0 or less <= 0:
                continue
            left[number] -= less
            surplus -= less
            spare -= 0 if left[number] else its_stop
    return tuple(
        Cut(cover=it, to_quantity=left[it.broker_order_id])
        for it in ordered
        if left[it.broker_order_id] < it.quantity
    )


def _cuts(
    quantity: int,
    covers: Sequence[Cover],
    ordered: Iterable[Cover],
    *,
    asks_again: bool,
) -> tuple[Cut, ...]:
    surplus = total(covers) - quantity
    if surplus <= 0:
        return ()
    # What stays is not cut for what has yet to leave: it is what takes over from that.
    beyond = total(cover for cover in covers if not cover.leaving) - quantity
    found: list[Cut] = []
    for cover in ordered:
        if surplus <= 0:
            break
        allowed = surplus if cover.leaving else min(surplus, beyond)
        whole = cover.leaving and not asks_again
        less = cover.quantity if whole else min(cover.quantity, allowed)
        if less <= 0 or less > surplus:
            continue  # what cannot shrink stays whole until it can go whole
        surplus -= less
        beyond -= 0 if cover.leaving else less
        found.append(Cut(cover=cover, to_quantity=cover.quantity - less))
    return tuple(found)


def after_cuts(covers: Iterable[Cover], cuts: Iterable[Cut]) -> tuple[Cover, ...]:
    """Return ``covers`` as they stand when all of ``cuts`` are done."""
    to_quantity = {cut.cover.broker_order_id: cut.to_quantity for cut in cuts}
    return tuple(
        Cover(
            broker_order_id=cover.broker_order_id,
            quantity=to_quantity.get(cover.broker_order_id, cover.quantity),
            filled_quantity=cover.filled_quantity,
            ticks=cover.ticks,
            origin=cover.origin,
            owner=cover.owner,
            made_up=cover.made_up,
        )
        for cover in covers
    )


def shares(
    quantity: int, lots: Sequence[Lot], stops: Iterable[Cover], *, fallback_ticks: int | None
) -> tuple[Share, ...]:
    """Divide ``quantity`` contracts without a stop among the levels of the lots that lack theirs.

    The newest lot that lacks a stop comes first. A stop of our own counts for the lots of its
    level. What no lot accounts for gets ``fallback_ticks``.

    Args:
        quantity: contracts that lack a stop.
        lots: of the position, oldest first.
        stops: working ones, and those on their way.
        fallback_ticks: level for contracts that came from nowhere we know; None: there is none.
    """
    of_owner: dict[str, int] = {}
    of_level: dict[int | None, int] = {}
    for stop in stops:
        if stop.leaving:
            continue
        if stop.origin is Origin.OWN:
            of_level[stop.ticks] = of_level.get(stop.ticks, 0) + stop.quantity
        else:
            of_owner[stop.owner] = of_owner.get(stop.owner, 0) + stop.quantity
    wanted: dict[int | None, int] = {}
    left = quantity
    for lot in reversed(lots):
        if lot.stop_ticks is None:
            continue
        lacks = lot.quantity - of_owner.get(lot.owner, 0)
        served = min(max(0, lacks), of_level.get(lot.stop_ticks, 0))
        of_level[lot.stop_ticks] = of_level.get(lot.stop_ticks, 0) - served
        share = min(left, max(0, lacks - served))
        if share:
            wanted[lot.stop_ticks] = wanted.get(lot.stop_ticks, 0) + share
            left -= share
    if left:
        wanted[fallback_ticks] = wanted.get(fallback_ticks, 0) + left
    return tuple(Share(quantity=number, ticks=ticks) for ticks, number in wanted.items())
