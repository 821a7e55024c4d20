"""What ``retrieveBars`` answers: any unit and number of bars, out of the sources, newest first.

Whole minutes are put together from the sources' bars, and finer or crooked units from the points
inside them, which are the ones that were or will be played. Days and longer follow the trade date;
their time is the open of their first session.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from enum import IntEnum
from functools import lru_cache

from backstop.adapters.projectx.wire import BarRow, BarsBody
from backstop.adapters.projectx_server.binding import to_utc_us
from backstop.simulator.feed import Drive, Outlet
from backstop.simulator.price_paths import Bar, fold
from backstop.simulator.rows import rest_time
from backstop.simulator.sessions import (
    HOUR_US,
    MINUTE_US,
    SECOND_US,
    session_us,
    trade_date,
)
from backstop.simulator.sources import PriceSource, joined

BARS_MAX = 20_000
"""Most bars of one answer, as the gateway's documentation says."""

_SPLIT_KEPT = 4_096  # bars whose finer bars stay at hand: two weeks of five-minute bars


class BarUnit(IntEnum):
    """``unit`` of a request; 0 and 7 (ticks) are named by the interface and refused."""

    SECOND = 1
    MINUTE = 2
    HOUR = 3
    DAY = 4
    WEEK = 5
    MONTH = 6


class BarsCode(IntEnum):
    """``errorCode`` of ``History/retrieveBars``."""

    SUCCESS = 0
    CONTRACT_NOT_FOUND = 1
    UNIT_INVALID = 2
    UNIT_NUMBER_INVALID = 3
    LIMIT_INVALID = 4


_CLOCK_US = {
    BarUnit.SECOND: SECOND_US,
    BarUnit.MINUTE: MINUTE_US,
    BarUnit.HOUR: HOUR_US,
}

_Slot = Callable[[int], int]
"""The number of the bar that an instant belongs to."""


class BarHistory:
    """The bars of every contract that the drives know."""

    def __init__(self, drives: Iterable[Drive]) -> None:
        self._by_contract: dict[str, tuple[PriceSource, Outlet]] = {
            outlet.contract_id: (drive.source, outlet)
            for drive in drives
            for outlet in drive.outlets
        }
        self._split = lru_cache(maxsize=_SPLIT_KEPT)(_split)

    def bars(self, body: BarsBody, now_us: int) -> tuple[int, list[BarRow]]:
        """Return (code, bars newest first); a month that rolled has none.

        The window holds bars that begin at or after ``startTime`` and before ``endTime``.

        Raises:
            ValueError: a time is not ISO-8601.
        """
        try:
            unit = BarUnit(body.unit)
        except ValueError:
            return BarsCode.UNIT_INVALID, []
        if body.unit_number < 1:
            return BarsCode.UNIT_NUMBER_INVALID, []
        if not 1 <= body.limit <= BARS_MAX:
            return BarsCode.LIMIT_INVALID, []
        window = (to_utc_us(body.start_time), to_utc_us(body.end_time))
        known = self._by_contract.get(body.contract_id)
        if known is None:
            return BarsCode.SUCCESS, []
        source, outlet = known
        slot = _slots(unit, body.unit_number)
        begins = _begins(unit, body.unit_number)
        rows: list[BarRow] = []
        fine = self._fine(source, unit, body.unit_number, now_us=now_us, end_us=window[1])
        for number, bar in _put_together(fine, slot):
            open_us = begins(number, bar.open_us)
            if open_us < window[0] or len(rows) == body.limit:
                break
            if open_us >= window[1]:
                continue
            if slot(now_us) == number and not body.include_partial_bar:
                continue
            rows.append(_row(outlet, bar, open_us))
        return BarsCode.SUCCESS, rows

    def _fine(
        self, source: PriceSource, unit: BarUnit, count: int, *, now_us: int, end_us: int
    ) -> Iterator[Bar]:
        """Yield bars that fit whole into the unit asked for, newest first, as of ``now_us``."""
        until_us = now_us + 1
        width_us = HOUR_US  # sessions open and close on full hours
        if unit in _CLOCK_US:
            width_us = _CLOCK_US[unit] * count
            # A bar may begin before the end of the window and go on behind it.
            until_us = min(until_us, end_us + width_us)
        part_us = SECOND_US if unit is BarUnit.SECOND else MINUTE_US
        for bar in source.bars_before(until_us):
            if bar.open_us + bar.width_us > now_us:
                seen = [point for point in source.points(bar) if point.time_us <= now_us]
                yield from reversed(fold(seen, min(part_us, bar.width_us)))
            elif width_us % bar.width_us:
                yield from self._split(source, bar, part_us)
            else:
                yield bar


def _split(source: PriceSource, bar: Bar, part_us: int) -> tuple[Bar, ...]:
    """Return the bars of ``part_us`` inside ``bar``, newest first."""
    return tuple(reversed(fold(source.points(bar), part_us)))


def _put_together(newest_first: Iterable[Bar], slot: _Slot) -> Iterator[tuple[int, Bar]]:
    """Yield (number, bar) of each slot, newest first."""
    whole: Bar | None = None
    current = 0
    for bar in newest_first:
        number = slot(bar.open_us)
        if whole is not None and number == current:
            whole = joined(bar, whole)
            continue
        if whole is not None:
            yield current, whole
        whole, current = bar, number
    if whole is not None:
        yield current, whole


def _slots(unit: BarUnit, count: int) -> _Slot:
    width_us = _CLOCK_US.get(unit)
    if width_us is not None:
        return lambda us: us // (width_us * count)
    match unit:
        case BarUnit.WEEK:  # Monday to Sunday by trade date
            return lambda us: (trade_date(us).toordinal() - 1) // 7 // count
        case BarUnit.MONTH:
            return lambda us: _month(trade_date(us)) // count
        case _:
            return lambda us: trade_date(us).toordinal() // count


def _begins(unit: BarUnit, count: int) -> Callable[[int, int], int]:
    """Return what tells a bar's time from its number and its first moment."""
    width_us = _CLOCK_US.get(unit)
    if width_us is not None:
        return lambda number, _: number * width_us * count
    # The session in which the first trade lies opened before it, whatever the unit.
    return lambda _, first_us: min(first_us, session_us(trade_date(first_us))[0])


def _month(day: date) -> int:
    return day.year * 12 + day.month - 1


def _row(outlet: Outlet, bar: Bar, open_us: int) -> BarRow:
    return BarRow(
        t=rest_time(open_us),
        o=outlet.price(bar.open),
        h=outlet.price(bar.high),
        l=outlet.price(bar.low),
        c=outlet.price(bar.close),
        v=bar.volume or 0,
    )
