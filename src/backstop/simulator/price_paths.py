"""Quotes and trades inside a bar, and bars made of trades: two ways of one road.

A bar says where the price began, how far it went both ways and where it ended. The path visits
exactly these prices and never leaves them, so the bar that its trades make is the bar it came from.
Prices are whole ticks, times are microseconds since 1970 UTC. Equal seeds make equal paths.
"""

from collections.abc import Iterable
from itertools import groupby, pairwise
from random import Random

from msgspec import Struct

from backstop.adapters.projectx.wire import WireSide

MOST_SPREAD_TICKS = 4
"""The spread grows with the market's haste, up to this: wider ones are for faults to make."""

_TRADED_SHARE = 0.5  # recorded: about 20 trades to 42 quotes a second
_LARGEST_SIZE = 30  # contracts shown at one touch
_JITTER = 0.9  # of the distance between two points; below 1 they stay in order


class Bar(Struct, frozen=True, kw_only=True, gc=False):
    """One bar in ticks; ``volume`` in contracts, None where the source has none."""

    open_us: int
    width_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int | None = None


class Point(Struct, frozen=True, kw_only=True, gc=False):
    """One change of the market: the touch, and the trade that came with it, if one did."""

    time_us: int
    bid: int
    ask: int
    bid_size: int
    ask_size: int
    last: int | None = None
    last_size: int = 0
    aggressor: WireSide | None = None


def quote_path(bar: Bar, *, seed: str, quotes: int, hasty_ticks: int = 0) -> tuple[Point, ...]:
    """Return the points of one bar, in time order, the first at its open.

    Args:
        bar: where the price must go.
        seed: names the path; equal seeds and bars give equal paths.
        quotes: how many points; more if the bar has more turning points than that.
        hasty_ticks: a bar's height from which on the spread widens, a tick for each such height;
            0 keeps it at one tick.

    Returns:
        Points whose trades open, peak, bottom and close as the bar does and sum up to its volume
        (a volume too small for the turning points is raised to one contract for each).
    """
    rng = Random(seed)  # noqa: S311 - a market, not a secret
    turns = _turning_points(bar, rng)
    count = max(quotes, len(turns))
    prices, turning = _prices(bar, turns, count, rng)
    traded = _traded(turning, bar.volume, rng)
    sizes = _sizes(sum(traded), bar.volume, rng)
    spread = _spread(bar, hasty_ticks)
    points = []
    uniform = rng.random
    for index, price in enumerate(prices):
        at_ask = uniform() < 0.5  # noqa: PLR2004 - a fair coin
        last = traded[index]
        points.append(
            Point(
                time_us=bar.open_us
                + int(bar.width_us * (index + (uniform() * _JITTER if index else 0.0)) / count),
                bid=price - spread if at_ask else price,
                ask=price if at_ask else price + spread,
                bid_size=1 + int(uniform() * _LARGEST_SIZE),
                ask_size=1 + int(uniform() * _LARGEST_SIZE),
                last=price if last else None,
                last_size=sizes.pop() if last else 0,
                aggressor=(WireSide.BID if at_ask else WireSide.ASK) if last else None,
            )
        )
    return tuple(points)


def fold(points: Iterable[Point], width_us: int) -> list[Bar]:
    """Return the bars of ``width_us`` that the trades among ``points`` make, in time order.

    A stretch without a trade has no bar.
    """
    trades = [(point.time_us, point.last, point.last_size) for point in points if point.last_size]
    bars = []
    for slot, group in groupby(trades, key=lambda trade: trade[0] // width_us):
        _, prices, sizes = zip(*group, strict=True)
        bars.append(
            Bar(
                open_us=slot * width_us,
                width_us=width_us,
                open=prices[0],
                high=max(prices),
                low=min(prices),
                close=prices[-1],
                volume=sum(sizes),
            )
        )
    return bars


def _turning_points(bar: Bar, rng: Random) -> list[int]:
    """Return open, the two extremes in a likely order, and close; neighbours differ."""
    heads = bar.close == bar.open and rng.random() < 0.5  # noqa: PLR2004 - a fair coin
    rising = bar.close > bar.open or heads
    # A rising bar more often makes its low first.
    low_first = rising == (rng.random() < 0.75)  # noqa: PLR2004 - three in four
    extremes = (bar.low, bar.high) if low_first else (bar.high, bar.low)
    return [price for price, _ in groupby((bar.open, *extremes, bar.close))]


def _prices(bar: Bar, turns: list[int], count: int, rng: Random) -> tuple[list[int], list[bool]]:
    """Return ``count`` prices through all ``turns``, and which of them are turns."""
    inner = sorted(rng.sample(range(1, count - 1), len(turns) - 2)) if len(turns) > 1 else []
    places = [0, *inner, count - 1] if len(turns) > 1 else [0]
    prices = [turns[0]] * count
    wander = (bar.high - bar.low) / 6
    for (left, right), (start, end) in zip(pairwise(places), pairwise(turns), strict=True):
        step = (end - start) / (right - left)
        noise = 0.0
        for index in range(left + 1, right):
            noise = 0.8 * noise + (rng.random() - 0.5) * wander
            price = round(start + step * (index - left) + noise)
            prices[index] = min(bar.high, max(bar.low, price))
        prices[right] = end
    turning = [False] * count
    for place in places:
        turning[place] = True
    return prices, turning


def _traded(turning: list[bool], volume: int | None, rng: Random) -> list[bool]:
    """Return which points trade: every turn, and others as far as the volume reaches."""
    traded = [turn or rng.random() < _TRADED_SHARE for turn in turning]
    if volume is not None:
        others = [index for index, turn in enumerate(turning) if traded[index] and not turn]
        excess = sum(traded) - volume
        for index in rng.sample(others, min(len(others), max(0, excess))):
            traded[index] = False
    return traded


def _sizes(trades: int, volume: int | None, rng: Random) -> list[int]:
    """Return a size of at least one contract for each trade; they sum up to ``volume``."""
    if volume is None:
        return [1 + int(rng.random() * 3) for _ in range(trades)]
    spare = max(0, volume - trades)
    cuts = sorted(int(rng.random() * (spare + 1)) for _ in range(trades - 1))
    return [1 + end - start for start, end in pairwise([0, *cuts, spare])]


def _spread(bar: Bar, hasty_ticks: int) -> int:
    if hasty_ticks <= 0:
        return 1
    return min(MOST_SPREAD_TICKS, 1 + (bar.high - bar.low) // hasty_ticks)
