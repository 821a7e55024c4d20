"""Where one price comes from, before the start and after it: recorded data, the generator, or both.

A source speaks in ticks of its leading product and may drive several contracts: whoever follows the
same index. Recorded data is shifted in time so that it begins at the start of the simulation; what
lies before and after it is invented, beginning and ending at its prices.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import date
from enum import StrEnum

from msgspec import Struct

from backstop.errors import DataFileError
from backstop.simulator.bars import BarSeries, Series
from backstop.simulator.contracts import Product
from backstop.simulator.generator import HISTORY_STEP_US, Generator
from backstop.simulator.price_paths import Bar, Point, fold, quote_path
from backstop.simulator.sessions import (
    MINUTE_US,
    is_open,
    sessions_before,
    trade_date,
)
from backstop.simulator.tick_files import TickSeries

HISTORY_SESSIONS = 70
"""Sessions before the start: a risk model asks for 60, and some more in case of holidays."""

PLAYED_MAX = 20_160
"""Bars of the live path that stay as they are: two weeks of minutes; older ones become coarser."""

_HISTORY_QUOTES_PER_BAR = 30  # enough for a bar that is only looked at, never traded
_HASTE = 3  # so many times the usual height of a bar makes the spread one tick wider


class Calendar(StrEnum):
    """When the simulated markets trade."""

    ALWAYS_OPEN = "always-open"
    CME = "cme"

    def is_open(self, us: int) -> bool:
        """Tell whether the markets trade at ``us`` (microseconds since 1970 UTC)."""
        return self is Calendar.ALWAYS_OPEN or is_open(us)


class Stretch(Struct, frozen=True, kw_only=True):
    """One bar of the live path and the points inside it."""

    bar: Bar
    points: tuple[Point, ...]


class Recorded(Struct, frozen=True, kw_only=True):
    """One product's data, already shifted to the time of the simulation.

    ``before`` are the bars of the days before the chosen start. Either ``bars`` or ``points`` is
    what is played; both are ascending.
    """

    before: tuple[Bar, ...] = ()
    bars: tuple[Bar, ...] = ()
    points: tuple[Point, ...] = ()


class PriceSource:
    """One price; ``past`` before the start, ``stretches`` from there on, ``bars`` over both."""

    def __init__(
        self,
        product: Product,
        *,
        seed: int,
        origin_us: int,
        calendar: Calendar,
        quotes_per_minute: int,
        recorded: Recorded | None = None,
        history_sessions: int = HISTORY_SESSIONS,
    ) -> None:
        self.product = product
        self.quotes_per_minute = quotes_per_minute
        self.origin_us = origin_us
        self._seed = f"{seed}/{product.index}"
        self._calendar = calendar
        self._recorded = recorded or Recorded()
        self._history_sessions = history_sessions
        self._generator = Generator(
            product.index,
            seed=seed,
            tick_size=float(product.tick_size),
            start_price=float(product.start_price),
        )
        self._past: list[Bar] | None = None
        self._played: list[Bar] = []

    @property
    def first_ticks(self) -> int:
        """The price at the origin, before anything is played."""
        recorded = self._recorded
        if recorded.bars:
            return recorded.bars[0].open
        traded = (point.last for point in recorded.points if point.last is not None)
        first = next(traded, recorded.points[0].bid if recorded.points else None)
        return int(self.product.start_price / self.product.tick_size) if first is None else first

    def stretches(self) -> Iterator[Stretch]:
        """Play the live path from the origin on, without end; to be called once.

        Each stretch is remembered when it is handed out, so ``bars`` knows it.
        """
        last = None
        for stretch in self._recorded_stretches():
            last = stretch.bar
            yield self._remembered(stretch)
        start_us = self.origin_us if last is None else last.open_us + last.width_us
        generated = self._generator.after(
            start_us - start_us % MINUTE_US,
            start_ticks=self.first_ticks if last is None else last.close,
            is_open=self._calendar.is_open,
        )
        for bar in generated:
            yield self._remembered(Stretch(bar=bar, points=self.points(bar)))

    def bars_before(self, end_us: int) -> Iterator[Bar]:
        """Yield the bars that began before ``end_us``, newest first; their widths may differ."""
        for bars in (self._played, self._history()):
            for place in range(bisect_left(bars, end_us, key=_open_us) - 1, -1, -1):
                yield bars[place]

    def points(self, bar: Bar) -> tuple[Point, ...]:
        """Return the points inside one of this source's bars; the same whenever they are asked."""
        end_us = bar.open_us + bar.width_us
        recorded = self._recorded.points
        if recorded and recorded[0].time_us < end_us and bar.open_us <= recorded[-1].time_us:
            start = bisect_left(recorded, bar.open_us, key=_time_us)
            return recorded[start : bisect_left(recorded, end_us, key=_time_us)]
        minutes = bar.width_us / MINUTE_US
        usual_ticks = self._generator.typical_minute_ticks(bar.open) * math.sqrt(minutes)
        live = bar.open_us >= self.origin_us
        return quote_path(
            bar,
            seed=f"{self._seed}/{bar.open_us}",
            quotes=round(self.quotes_per_minute * minutes) if live else _HISTORY_QUOTES_PER_BAR,
            hasty_ticks=round(_HASTE * usual_ticks),
        )

    def _recorded_stretches(self) -> Iterator[Stretch]:
        for bar in self._recorded.bars:
            yield Stretch(bar=bar, points=self.points(bar))
        points = self._recorded.points
        place = 0
        while place < len(points):
            open_us = points[place].time_us - points[place].time_us % MINUTE_US
            end = bisect_left(points, open_us + MINUTE_US, lo=place, key=_time_us)
            inside = points[place:end]
            place = end
            yield Stretch(bar=_minute_of(inside, open_us), points=inside)

    def _remembered(self, stretch: Stretch) -> Stretch:
        played = self._played
        played.append(stretch.bar)
        if len(played) > PLAYED_MAX:
            half = PLAYED_MAX // 2
            self._history().extend(coarser(played[:half], HISTORY_STEP_US))
            del played[:half]
        return stretch

    def _history(self) -> list[Bar]:
        """Return the bars before the origin; invented when first asked for, as far as needed."""
        if self._past is None:
            recorded = [*self._recorded.before]
            days = {trade_date(bar.open_us) for bar in recorded}
            end_us = recorded[0].open_us if recorded else self.origin_us
            end_us -= end_us % HISTORY_STEP_US
            sessions = sessions_before(end_us, max(0, self._history_sessions - len(days)))
            if sessions and self._calendar is Calendar.ALWAYS_OPEN:
                # A market that never closes has no hole between its last session and now.
                sessions[-1] = (sessions[-1][0], end_us)
            first = recorded[0].open if recorded else self.first_ticks
            self._past = [*self._generator.before(sessions, end_ticks=first), *recorded]
        return self._past


def coarser(bars: Sequence[Bar], width_us: int) -> list[Bar]:
    """Return ascending ``bars`` put together into bars of ``width_us``; wider ones stay as is."""
    merged: list[Bar] = []
    for bar in bars:
        open_us = bar.open_us - bar.open_us % max(width_us, bar.width_us)
        if merged and merged[-1].open_us == open_us:
            merged[-1] = joined(merged[-1], bar)
        else:
            width = max(width_us, bar.width_us)
            merged.append(_with(bar, open_us=open_us, width_us=width))
    return merged


def joined(earlier: Bar, later: Bar) -> Bar:
    """Return the bar that two neighbours make; it keeps the time and width of the earlier one."""
    return Bar(
        open_us=earlier.open_us,
        width_us=earlier.width_us,
        open=earlier.open,
        high=max(earlier.high, later.high),
        low=min(earlier.low, later.low),
        close=later.close,
        volume=(earlier.volume or 0) + (later.volume or 0),
    )


def recorded_data(
    series: Sequence[Series], *, start_us: int, day: date | None
) -> tuple[int, dict[str, Recorded]]:
    """Shift data files so that the first item of the chosen day comes at ``start_us``.

    Bars keep their places on the clock's grid, so they begin up to one bar before ``start_us``;
    what lies in between counts as already played. Data that ends a whole session before that day
    is no history of it: on a clock that knows no such hole the newest bar would be too old.

    Args:
        series: what the files hold; a product may come once.
        start_us: the start of the simulation.
        day: the trade date to begin with; None: the first one in the data.

    Returns:
        (the origin of all paths, the data by product code).

    Raises:
        DataFileError: a product comes twice, or a file has nothing on ``day`` or later.
    """
    known: dict[str, Series] = {}
    for each in series:
        if each.product.code in known:
            raise DataFileError(
                each.path,
                1,
                f"{each.product.code} is already given by {known[each.product.code].path}",
            )
        known[each.product.code] = each
    starts = {code: _start(each, day) for code, each in known.items()}
    first_us = min(_times(known[code])[place] for code, place in starts.items())
    widths = [each.bars[0].width_us for each in known.values() if isinstance(each, BarSeries)]
    grid_us = max(widths, default=1)
    origin_us = start_us - start_us % grid_us
    shift_us = origin_us - (first_us - first_us % grid_us)
    shifted = {
        code: _shifted(each, starts[code], shift_us=shift_us) for code, each in known.items()
    }
    return origin_us, shifted


def _start(series: Series, day: date | None) -> int:
    """Return the place of the first item of ``day``."""
    if day is None:
        return 0
    if isinstance(series, BarSeries):
        dates: Sequence[date] = series.dates
    else:
        dates = [trade_date(point.time_us) for point in series.points]
    place = bisect_left(dates, day)
    if place == len(dates) or dates[place] != day:
        raise DataFileError(
            series.path,
            1,
            f"{series.product.code} has no data on {day}; it has days from {dates[0]} to "
            f"{dates[-1]}",
        )
    return place


def _leads_up(times_us: Sequence[int], start: int) -> bool:
    """Say whether what lies before the item at ``start`` reaches up to the session of that."""
    if not start:
        return False
    before_us, next_us = times_us[start - 1], times_us[start]
    newest = sessions_before(next_us, 2)  # the last of them may be its own
    return not any(before_us < opens and closes < next_us for opens, closes in newest)


def _times(series: Series) -> list[int]:
    if isinstance(series, TickSeries):
        return [point.time_us for point in series.points]
    return [bar.open_us for bar in series.bars]


def _shifted(series: Series, start: int, *, shift_us: int) -> Recorded:
    first = 0 if _leads_up(_times(series), start) else start
    if isinstance(series, BarSeries):
        bars = [_with(bar, open_us=bar.open_us + shift_us) for bar in series.bars]
        return Recorded(before=tuple(bars[first:start]), bars=tuple(bars[start:]))
    points = [
        Point(
            time_us=point.time_us + shift_us,
            bid=point.bid,
            ask=point.ask,
            bid_size=point.bid_size,
            ask_size=point.ask_size,
            last=point.last,
            last_size=point.last_size,
            aggressor=point.aggressor,
        )
        for point in series.points
    ]
    before = tuple(fold(points[first:start], MINUTE_US))
    return Recorded(before=before, points=tuple(points[start:]))


def _with(bar: Bar, *, open_us: int, width_us: int | None = None) -> Bar:
    return Bar(
        open_us=open_us,
        width_us=bar.width_us if width_us is None else width_us,
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        volume=bar.volume,
    )


def _minute_of(points: Sequence[Point], open_us: int) -> Bar:
    """Return the bar of one minute of ticks; without a trade it stands at the bid."""
    bars = fold(points, MINUTE_US)
    if bars:
        return bars[0]
    bid = points[-1].bid
    return Bar(
        open_us=open_us, width_us=MINUTE_US, open=bid, high=bid, low=bid, close=bid, volume=0
    )


def _open_us(bar: Bar) -> int:
    return bar.open_us


def _time_us(point: Point) -> int:
    return point.time_us
