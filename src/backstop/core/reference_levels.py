"""Which level a fill is measured from, when the level of a resting order is moved while it fills.

The venue keeps no history of an order's changes: each row says what stands, and since when. So the
levels that rows showed are kept with the venue's times, and the moves that were asked for. Between
two rows any of both levels could have been in force. A fill is measured from the one that speaks
best for it: what is called a breach is one against every level that it could have met.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction

from msgspec import Struct
from msgspec.structs import replace

from backstop.domain.broker import BrokerOrder, BrokerTrade
from backstop.domain.numbers import average, difference
from backstop.domain.order import OrderType, Side

SIGHTINGS_KEPT = 32
"""Levels of one order in memory. A bot may trail its stop by hand for hours, and what matters is
what stood while it filled; a fill from before the oldest one is measured from nothing."""

ASKED_KEPT = 8
"""Moves of one order that were asked for and not shown yet; each next one replaces what stands."""


class Sighting(Struct, frozen=True, kw_only=True, array_like=True):
    """A row of the venue showed this level, in points, and says it was updated then."""

    price: Decimal
    utc_us: int


class AskedMove(Struct, frozen=True, kw_only=True, array_like=True):
    """A move to ``price`` that the venue was asked for when its newest row was ``after_utc_us``."""

    price: Decimal
    after_utc_us: int


class LevelHistory(Struct, frozen=True, kw_only=True):
    """Where a resting order stood, as far as the venue showed it and we asked for it.

    Attributes:
        seen: by the venue's time, without what lies between two equal levels.
        asked: oldest first; what was refused, or shown since, is not among them.
        is_cut: older levels were let go of.
    """

    seen: tuple[Sighting, ...] = ()
    asked: tuple[AskedMove, ...] = ()
    is_cut: bool = False


def level_shown(row: BrokerOrder, kind: OrderType | None) -> Decimal | None:
    """Return the level, in points, that a fill of an order of this kind is measured from."""
    match kind:
        case OrderType.LIMIT:
            return row.limit_price
        case OrderType.STOP | OrderType.TRAILING_STOP:
            return row.stop_price
        case _:
            return None


def with_row(
    history: LevelHistory, row: BrokerOrder, kind: OrderType | None, side: Side
) -> LevelHistory:
    """Return the history after a row, which may come late, doubled, and out of order."""
    price = level_shown(row, kind)
    if price is None:
        return history
    shown = Sighting(price=price, utc_us=row.updated_utc_us or row.created_utc_us)
    if shown in history.seen:
        return history
    seen = sorted((*history.seen, shown), key=_time)  # of one time: in the order of arrival
    trails = kind is OrderType.TRAILING_STOP
    kept = _trailed(seen, side) if trails else _without_the_middle(seen)
    return replace(
        history,
        seen=kept[-SIGHTINGS_KEPT:],
        asked=tuple(it for it in history.asked if it.price != price),
        is_cut=history.is_cut or len(kept) > SIGHTINGS_KEPT,
    )


def with_move_asked(history: LevelHistory, price: Decimal, *, after_utc_us: int) -> LevelHistory:
    """Return the history after the venue was asked to move the order to ``price``, in points."""
    move = AskedMove(price=price, after_utc_us=after_utc_us)
    others = tuple(it for it in history.asked if it.price != price)
    return replace(history, asked=(*others, move)[-ASKED_KEPT:])


def with_move_refused(history: LevelHistory) -> LevelHistory:
    """Return the history after the venue refused a move; its answer is to the newest one."""
    return replace(history, asked=history.asked[:-1])


def references(
    fills: Iterable[BrokerTrade],
    history: LevelHistory,
    *,
    kind: OrderType | None,
    side: Side,
    as_sent: Decimal | None,
) -> tuple[Decimal, ...] | None:
    """Return what each fill is measured from, in points; None when that is not known of them all.

    Args:
        fills: trades that count, with the venue's times.
        history: where the order stood.
        kind: a market order stands nowhere and is measured from ``as_sent`` alone.
        side: of the order.
        as_sent: the level it was sent with, or for a market order the touch at that time. A
            trailing stop is measured only from what the venue showed: the venue makes its level.
    """
    if kind is OrderType.TRAILING_STOP:
        # Once it is reached it moves no more, so all of its fills have met the last level.
        last = history.seen[-1].price if history.seen else None
        found: list[Decimal | None] = [last for _ in fills]
    elif kind in {OrderType.LIMIT, OrderType.STOP}:
        sent = () if as_sent is None or history.is_cut else (Sighting(price=as_sent, utc_us=0),)
        seen = (*sent, *history.seen)
        found = [_kindest(_possible(seen, history, fill.created_utc_us), side) for fill in fills]
    else:
        found = [as_sent for _ in fills]
    known = tuple(price for price in found if price is not None)
    return known if known and len(known) == len(found) else None


def adverse_ticks(
    fills: Sequence[BrokerTrade],
    measured_from: Sequence[Decimal],
    *,
    side: Side,
    tick_size: Decimal,
) -> Fraction:
    """Return the exact mean of the adverse ticks of ``fills``, at least one; negative is better."""
    dearer = average(
        (difference(fill.price, level), fill.quantity)
        for fill, level in zip(fills, measured_from, strict=True)
    )
    return (dearer or Fraction(0)) * side.sign / Fraction(tick_size)


# -- what could have been in force ---------------------------------------------------------------


def _possible(
    seen: Sequence[Sighting], history: LevelHistory, filled_utc_us: int
) -> tuple[Decimal, ...]:
    """Return every level, in points, that a fill at that time could have met."""
    before = [it for it in seen if it.utc_us < filled_utc_us]
    after = [it for it in seen if it.utc_us >= filled_utc_us]
    if history.is_cut and not before:
        return ()  # it met a level that was let go of
    last_us = before[-1].utc_us if before else 0
    next_us = after[0].utc_us if after else 0
    return (
        *(it.price for it in before if it.utc_us == last_us),
        *(it.price for it in after if it.utc_us == next_us),
        *(it.price for it in history.asked if _may_stand(it, seen, filled_utc_us)),
    )


def _may_stand(move: AskedMove, seen: Sequence[Sighting], filled_utc_us: int) -> bool:
    """Say whether a move that no row showed may have been in force: until another one was shown."""
    if filled_utc_us < move.after_utc_us:
        return False
    stood = [it.price for it in seen if it.utc_us <= move.after_utc_us][-1:]
    later = (it for it in seen if it.utc_us > move.after_utc_us and it.price not in stood)
    ended = next(later, None)
    return ended is None or filled_utc_us <= ended.utc_us


def _kindest(levels: Iterable[Decimal], side: Side) -> Decimal | None:
    """Return the level against which a fill looks best; None of none."""
    return max(levels, key=lambda price: price * side.sign, default=None)


def _time(sighting: Sighting) -> int:
    return sighting.utc_us


def _without_the_middle(seen: Sequence[Sighting]) -> tuple[Sighting, ...]:
    """Return ``seen`` without what lies between two sightings of the same level."""
    kept: list[Sighting] = []
    for it in seen:
        repeats = len(kept) > 1 and kept[-1].price == kept[-2].price == it.price
        if repeats:
            kept.pop()
        kept.append(it)
    return tuple(kept)


def _trailed(seen: Sequence[Sighting], side: Side) -> tuple[Sighting, ...]:
    """Return where a trailing stop had come to; it goes back only when somebody moves it.

    The venue moves it without a new time, so of one time the level that came furthest is the last.
    """
    kept: list[Sighting] = []
    for it in seen:
        last = kept[-1] if kept else None
        came_further = last is not None and (last.price - it.price) * side.sign >= 0
        if last is not None and came_further:
            kept.pop()
        elif last is not None and last.utc_us == it.utc_us:
            continue
        kept.append(it)
    return tuple(kept)
