"""The market-data feed: the quotes and trades of every contract, merged in time order, lazily.

Contracts that follow the same index are driven by one source, each in its own ticks. A contract
with data of its own follows that instead. All of them have a quote and a last trade at the start.
"""

import heapq
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from pathlib import Path
from random import Random

from msgspec import Struct

from backstop.adapters.projectx.wire import WireSide
from backstop.simulator.bars import data_files, read_series
from backstop.simulator.contracts import Listing, Product
from backstop.simulator.generator import HISTORY_STEP_US
from backstop.simulator.price_paths import Point
from backstop.simulator.sessions import MINUTE_US, SECOND_US
from backstop.simulator.sources import (
    HISTORY_SESSIONS,
    Calendar,
    PriceSource,
    recorded_data,
)

_BUSY = frozenset({"ES", "NQ"})
_ACTIVE = frozenset({"RTY", "YM", "CL", "GC"})
_BUSY_QUOTES, _ACTIVE_QUOTES, _OTHER_QUOTES = 480, 60, 12  # a minute, by leading product
_PRICES_MAX = 50_000  # prices of one contract kept ready; then they are made anew


class FeedItem(Struct, frozen=True, kw_only=True):
    """One change of one contract's market.

    ``last`` is the price of a trade that came with it, None for a quote alone. Prices are points,
    sizes contracts, the time microseconds since 1970 UTC.
    """

    time_us: int
    contract_id: str
    bid: Decimal
    ask: Decimal
    bid_size: int
    ask_size: int
    last: Decimal | None = None
    last_size: int = 0
    aggressor: WireSide | None = None


class Outlet:
    """One contract that a source drives: turns the source's ticks into the contract's prices."""

    def __init__(self, contract_id: str, product: Product, *, source_tick: Decimal) -> None:
        self.contract_id = contract_id
        self.product = product
        self._source_tick = source_tick
        self._same = product.tick_size == source_tick
        self._prices: dict[tuple[int, str], Decimal] = {}

    def price(self, ticks: int, rounding: str = ROUND_HALF_EVEN) -> Decimal:
        """Return the contract's price nearest to ``ticks`` of the source."""
        known = self._prices.get((ticks, rounding))
        if known is None:
            if len(self._prices) >= _PRICES_MAX:
                self._prices.clear()
            known = self._rounded(ticks, rounding)
            self._prices[ticks, rounding] = known
        return known

    def item(self, point: Point, *, time_us: int) -> FeedItem:
        """Return what ``point`` is for this contract; the touch never closes up."""
        bid = self.price(point.bid, ROUND_FLOOR)
        ask = self.price(point.ask, ROUND_CEILING)
        last = None if point.last is None else self.price(point.last)
        if last is not None and not self._same:
            # A coarser tick may put the trade outside of the touch that it came from.
            bid, ask = min(bid, last), max(ask, last)
        return FeedItem(
            time_us=time_us,
            contract_id=self.contract_id,
            bid=bid,
            ask=ask if ask > bid else bid + self.product.tick_size,
            bid_size=point.bid_size,
            ask_size=point.ask_size,
            last=last,
            last_size=point.last_size,
            aggressor=point.aggressor,
        )

    def _rounded(self, ticks: int, rounding: str) -> Decimal:
        if self._same:
            return ticks * self._source_tick
        exact = ticks * self._source_tick / self.product.tick_size
        return exact.to_integral_value(rounding) * self.product.tick_size


class Drive(Struct, frozen=True, kw_only=True):
    """One source and the contracts that it drives."""

    source: PriceSource
    outlets: tuple[Outlet, ...]


def make_drives(
    listings: Iterable[Listing],
    *,
    seed: int,
    start_us: int,
    calendar: Calendar,
    data: Iterable[Path] = (),
    day: date | None = None,
    density: float = 1.0,
    history_sessions: int = HISTORY_SESSIONS,
) -> tuple[Drive, ...]:
    """Return the sources that drive the active month of every listing.

    Args:
        listings: the products and their contract months.
        seed: of every invented price and path.
        start_us: when the simulation starts.
        calendar: when invented markets trade.
        data: files, or folders of files, to replay; ES data drives MES as well, and so on.
        day: the trade date of the data to begin with; None: the first one.
        density: factor on the number of quotes.
        history_sessions: how much is known from before the start; what no file has is invented.

    Raises:
        DataFileError: a file cannot be used; it names file, line and fault.
    """
    series = [each for path in data for file in data_files(path) for each in read_series(file)]
    grid_us = start_us - start_us % HISTORY_STEP_US
    origin_us, recorded = (
        recorded_data(series, start_us=start_us, day=day) if series else (grid_us, {})
    )
    followers: dict[str, list[Listing]] = {}
    leaders: dict[str, Product] = {}
    for listing in listings:
        followers.setdefault(listing.product.index, []).append(listing)
    groups: dict[str, list[Listing]] = {}
    for members in followers.values():
        with_data = [each for each in members if each.product.code in recorded]
        default = (with_data or members)[0]
        for listing in members:
            leader = listing if listing.product.code in recorded else default
            leaders[leader.product.code] = leader.product
            groups.setdefault(leader.product.code, []).append(listing)
    return tuple(
        Drive(
            source=PriceSource(
                leaders[code],
                seed=seed,
                origin_us=origin_us if code in recorded else grid_us,
                calendar=calendar,
                quotes_per_minute=max(1, round(_quotes(leaders[code]) * density)),
                recorded=recorded.get(code),
                history_sessions=history_sessions,
            ),
            outlets=tuple(
                Outlet(each.active.id, each.product, source_tick=leaders[code].tick_size)
                for each in members
            ),
        )
        for code, members in groups.items()
    )


def feed_items(drives: Iterable[Drive], *, start_us: int, calendar: Calendar) -> Iterator[FeedItem]:
    """Yield the items of all drives from ``start_us`` on, in time order, without end.

    The first item of each contract comes at ``start_us`` and carries a trade.
    """
    streams = [_items(drive, start_us=start_us, calendar=calendar) for drive in drives]
    return heapq.merge(*streams, key=_time_us)


def _items(drive: Drive, *, start_us: int, calendar: Calendar) -> Iterator[FeedItem]:
    for point in _from_start(drive.source, start_us=start_us, calendar=calendar):
        for outlet in drive.outlets:
            yield outlet.item(point, time_us=point.time_us)


def _from_start(source: PriceSource, *, start_us: int, calendar: Calendar) -> Iterator[Point]:
    """Yield the points from the start on; a market that never closes never falls silent."""
    standing = _opening(source)
    started = False
    for stretch in source.stretches():
        for point in stretch.points:
            if point.time_us < start_us:
                standing = _after(standing, point)
                continue
            if not started and (point.time_us > start_us or point.last is None):
                yield _at(standing, start_us, last=standing.last)
                started = True
            if calendar is Calendar.ALWAYS_OPEN:
                yield from _silence(standing, source, max(start_us, standing.time_us), point)
            yield point
            started = True
            standing = _after(standing, point)


def _opening(source: PriceSource) -> Point:
    """Return the market before anything was played."""
    ticks = source.first_ticks
    return Point(
        time_us=source.origin_us,
        bid=ticks,
        ask=ticks + 1,
        bid_size=1,
        ask_size=1,
        last=ticks,
        last_size=1,
        aggressor=WireSide.ASK,
    )


def _after(standing: Point, point: Point) -> Point:
    """Return ``point`` with the last trade that there was: its own, or the one before it."""
    return point if point.last is not None else _at(point, point.time_us, last=standing.last)


def _at(point: Point, time_us: int, *, last: int | None) -> Point:
    return Point(
        time_us=time_us,
        bid=point.bid,
        ask=point.ask,
        bid_size=point.bid_size,
        ask_size=point.ask_size,
        last=last,
        last_size=0 if last is None else 1,
        aggressor=None if last is None else WireSide.ASK,
    )


def _silence(standing: Point, source: PriceSource, since_us: int, until: Point) -> Iterator[Point]:
    """Yield quotes at the standing price through a hole in the data, with sizes that change."""
    pause_us = max(SECOND_US, 2 * MINUTE_US // source.quotes_per_minute)
    sizes = Random(since_us)  # noqa: S311 - a market, not a secret
    for time_us in range(since_us + pause_us, until.time_us, pause_us):
        yield Point(
            time_us=time_us,
            bid=standing.bid,
            ask=standing.ask,
            bid_size=sizes.randint(1, 30),
            ask_size=sizes.randint(1, 30),
        )


def _quotes(product: Product) -> int:
    if product.index in _BUSY:
        return _BUSY_QUOTES
    return _ACTIVE_QUOTES if product.index in _ACTIVE else _OTHER_QUOTES


def _time_us(item: FeedItem) -> int:
    return item.time_us
