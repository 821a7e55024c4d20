"""Correlation of every pair of families, measured from five-minute bars aligned by their start.

Source: exponentially weighted covariance about zero (RiskMetrics technical document, 1996,
section 5.2); five-minute returns are so small that their mean is noise.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable

from msgspec import Struct

from backstop.core.bars import BAR_US, TRADING_DAY_S, Bar, log_ratio, market_age_s
from backstop.core.correlation import (
    UNKNOWN_CORRELATION,
    Correlation,
    CorrelationOrigin,
    CorrelationView,
)
from backstop.errors import DomainError

HALF_LIFE_BARS = 276
"""Aligned bars after which a return weighs half: one full session of 23 hours."""

MINIMUM_ALIGNED_BARS = 60
"""Fewer common returns than this (five hours) are no measurement."""

RECENT_RETURNS = 2 * HALF_LIFE_BARS
"""Returns kept per family to meet the other family's: how far two feeds may run apart."""

SMALLEST_SQUARE_SUM = 1e-12
"""Squared returns that add up to less than this are no movement: one tick of ES is 1e-9."""

_DECAY = 0.5 ** (1 / HALF_LIFE_BARS)


class PairState(Struct, frozen=True, kw_only=True):
    """The weighted sums of one pair, newest return weighing 1."""

    first: str
    second: str
    aligned_bars: int
    last_start_utc_us: int
    first_squares: float
    second_squares: float
    products: float


class SeriesState(Struct, frozen=True, kw_only=True):
    """One family's last bar and its recent returns by bar start, oldest first."""

    family: str
    last_bar: Bar | None
    recent: tuple[tuple[int, float], ...]
    rejected_bars: int = 0


class CorrelationState(Struct, frozen=True, kw_only=True):
    """Everything the estimator knows, for the journal."""

    series: tuple[SeriesState, ...]
    pairs: tuple[PairState, ...]


class _Series:
    """One family's recent returns."""

    __slots__ = ("close", "family", "last_bar", "recent", "rejected_bars")

    def __init__(self, family: str) -> None:
        self.family = family
        self.last_bar: Bar | None = None
        self.close = math.nan  # of the last bar
        # Bar start -> return, oldest first; a plain dict is slow to lose its first key.
        self.recent: OrderedDict[int, float] = OrderedDict()
        self.rejected_bars = 0


class _Sums:
    """The weighted sums of one pair."""

    __slots__ = ("aligned_bars", "first_squares", "last_start_utc_us", "products", "second_squares")

    def __init__(self) -> None:
        self.aligned_bars = 0
        self.last_start_utc_us = 0
        self.first_squares = 0.0
        self.second_squares = 0.0
        self.products = 0.0


class CorrelationEstimator:
    """Correlations among a fixed list of families, kept up to date bar by bar.

    A bar costs one small step per other family. The bars of different families may come in any
    order among each other as long as no feed runs ahead by more than ``RECENT_RETURNS`` bars.
    """

    def __init__(self, families: Iterable[str]) -> None:
        names = sorted(set(families))
        self._series = {name: _Series(name) for name in names}
        self._sums = {
            (first, second): _Sums()
            for position, first in enumerate(names)
            for second in names[position + 1 :]
        }
        # Of each family every other one: their sums, and whether it is the first of the two.
        self._pairs = {
            name: {
                other: (self._sums[min(name, other), max(name, other)], name < other)
                for other in names
                if other != name
            }
            for name in names
        }
        # The newest start of a bar with a return, and the returns at it: feeds that keep up meet
        # there, and whoever has not come yet costs nothing.
        self._newest_us = 0
        self._newest: dict[str, float] = {}

    @classmethod
    def seeded(cls, families: Iterable[str], history: Iterable[Bar]) -> "CorrelationEstimator":
        """Return an estimator that has seen ``history``, in any order."""
        estimator = cls(families)
        for bar in sorted(history, key=lambda bar: (bar.start_utc_us, bar.family)):
            estimator.on_bar(bar)
        return estimator

    @classmethod
    def restored(cls, state: CorrelationState) -> "CorrelationEstimator":
        """Return the estimator that ``snapshot`` described."""
        estimator = cls(series.family for series in state.series)
        for saved in state.series:
            series = estimator._series[saved.family]
            series.last_bar = saved.last_bar
            series.close = math.nan if saved.last_bar is None else float(saved.last_bar.close)
            series.recent.update(saved.recent)
            for start_utc_us, step in saved.recent[-1:]:
                estimator._partners(saved.family, start_utc_us, step)
            series.rejected_bars = saved.rejected_bars
        for pair in state.pairs:
            sums = estimator._sums[pair.first, pair.second]
            sums.aligned_bars = pair.aligned_bars
            sums.last_start_utc_us = pair.last_start_utc_us
            sums.first_squares = pair.first_squares
            sums.second_squares = pair.second_squares
            sums.products = pair.products
        return estimator

    def snapshot(self) -> CorrelationState:
        """Return everything this estimator knows."""
        return CorrelationState(
            series=tuple(
                SeriesState(
                    family=series.family,
                    last_bar=series.last_bar,
                    recent=tuple(series.recent.items()),
                    rejected_bars=series.rejected_bars,
                )
                for series in self._series.values()
            ),
            pairs=tuple(
                PairState(
                    first=first,
                    second=second,
                    aligned_bars=sums.aligned_bars,
                    last_start_utc_us=sums.last_start_utc_us,
                    first_squares=sums.first_squares,
                    second_squares=sums.second_squares,
                    products=sums.products,
                )
                for (first, second), sums in self._sums.items()
            ),
        )

    def on_bar(self, bar: Bar) -> bool:
        """Take the next closed bar of one family.

        Returns:
            Whether it was used. A bar that is not newer than the family's last one, or whose
            close is not a positive number, is counted and left out.

        Raises:
            DomainError: the family is not one of this estimator's.
        """
        series = self._series.get(bar.family)
        if series is None:
            known = ", ".join(self._series)
            raise DomainError(f"A bar of {bar.family} came; correlations are kept of {known}.")
        before = series.last_bar
        is_old = before is not None and bar.start_utc_us <= before.start_utc_us
        if is_old or not (bar.close.is_finite() and bar.close > 0):
            series.rejected_bars += 1
            return False
        series.last_bar = bar
        close_before, series.close = series.close, float(bar.close)
        if before is None or not _is_next(before, bar):
            return True
        step = log_ratio(close_before, series.close)
        if step is not None:
            self._remember(series, bar.start_utc_us, step)
            self._align(bar.family, bar.start_utc_us, step)
        return True

    def view(self, now_utc_us: int) -> CorrelationView:
        """Return every pair's correlation as known at ``now_utc_us``."""
        return CorrelationView(
            {pair: _correlation(sums, now_utc_us) for pair, sums in self._sums.items()}
        )

    def _remember(self, series: _Series, start_utc_us: int, step: float) -> None:
        series.recent[start_utc_us] = step
        if len(series.recent) > RECENT_RETURNS:
            series.recent.popitem(last=False)

    def _align(self, family: str, start_utc_us: int, step: float) -> None:
        partners = self._partners(family, start_utc_us, step)
        # Once for each other family, with every bar: what can be known before is.
        pairs, decay, square = self._pairs[family], _DECAY, step * step
        for name, partner in partners.items():
            if name == family:
                continue
            sums, is_first = pairs[name]
            if is_first:
                sums.first_squares = decay * sums.first_squares + square
                sums.second_squares = decay * sums.second_squares + partner * partner
            else:
                sums.first_squares = decay * sums.first_squares + partner * partner
                sums.second_squares = decay * sums.second_squares + square
            sums.products = decay * sums.products + step * partner
            sums.aligned_bars += 1
            sums.last_start_utc_us = start_utc_us

    def _partners(self, family: str, start_utc_us: int, step: float) -> dict[str, float]:
        """Return the returns of all that have one at the start of a bar, ``family`` among them."""
        if start_utc_us > self._newest_us:
            self._newest_us, self._newest = start_utc_us, {}
        if start_utc_us == self._newest_us:
            self._newest[family] = step
            return self._newest
        return {
            name: series.recent[start_utc_us]
            for name, series in self._series.items()
            if start_utc_us in series.recent
        }


def _is_next(before: Bar, bar: Bar) -> bool:
    """Return whether ``bar`` follows without a hole, in the same contract.

    A return over a hole or over night spans another time than its partner's and would pair
    unequal things; a roll from one month to the next is no return at all.
    """
    return (
        bar.start_utc_us - before.start_utc_us == BAR_US and bar.contract_id == before.contract_id
    )


def _correlation(sums: _Sums, now_utc_us: int) -> Correlation:
    if sums.aligned_bars == 0:
        return UNKNOWN_CORRELATION
    as_of_utc_us = sums.last_start_utc_us + BAR_US
    value = _coefficient(sums)
    if value is None:
        origin = CorrelationOrigin.ZERO_VARIANCE
    elif sums.aligned_bars < MINIMUM_ALIGNED_BARS:
        origin = CorrelationOrigin.THIN
    elif market_age_s(as_of_utc_us, now_utc_us) > TRADING_DAY_S:
        origin = CorrelationOrigin.STALE
    elif as_of_utc_us - now_utc_us > BAR_US:
        # More than a bar ahead: one of the two clocks is wrong, and so is every age.
        origin = CorrelationOrigin.STALE
    else:
        origin = CorrelationOrigin.MEASURED
    return Correlation(
        origin=origin,
        value=value,
        aligned_bars=sums.aligned_bars,
        as_of_utc_us=as_of_utc_us,
        age_s=(now_utc_us - as_of_utc_us) // 1_000_000,
    )


def _coefficient(sums: _Sums) -> float | None:
    """Return the correlation, clamped against rounding, or None where it has no meaning."""
    if not (
        SMALLEST_SQUARE_SUM < sums.first_squares < math.inf
        and SMALLEST_SQUARE_SUM < sums.second_squares < math.inf
        and math.isfinite(sums.products)
    ):
        return None
    # Two roots: the product of the sums could leave the range of a float.
    value = sums.products / math.sqrt(sums.first_squares) / math.sqrt(sums.second_squares)
    return min(1.0, max(-1.0, value))
