"""Volatility and correlation by the venue's bars, by code that shares nothing with the guard's.

What the guard measured from the bars that it read is held against what the bars say: it may count a
volatility too high and never too low, and a correlation as it is.
"""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.storm.history import BAR_US, Close, FamilyBars

UP_S: Final = 60.0
"""A guard that runs for so long has read the bars."""

LAG_US: Final = 120_000_000
"""A bar that closed so long ago has been read, where no read fails."""

SESSION_WEIGHT: Final = 0.94

HALF_LIFE_BARS: Final = 276

ALIGNED_BARS: Final = 60

RETURNS_OF_A_SESSION: Final = 60

MEASURED: Final = "MEASURED"

SIGMA_ROOM: Final = 0.05

RHO_ROOM: Final = 0.05


class EstimateWatch:
    """Judges what the guard has measured, whenever it is asked to."""

    def __init__(
        self,
        *,
        bars: Mapping[str, FamilyBars],
        guard: Callable[[], CriticalSystemManager | None],
        up_s: Callable[[], float],
        reads_fail: bool,
        broke: Callable[[str, str], None],
    ) -> None:
        """Prepare.

        Args:
            bars: that the venue has served, by family.
            guard: the one that runs; None while there is none.
            up_s: for how long it runs.
            reads_fail: calls fail, so that the guard may not have the newest bars.
            broke: takes what does not hold.
        """
        self._bars = bars
        self._guard = guard
        self._up_s = up_s
        self._reads_fail = reads_fail
        self._broke = broke

    def compare(self) -> None:
        """Hold what the guard measured against the bars that the venue has."""
        guard = self._guard()
        if guard is None or self._reads_fail or self._up_s() < UP_S:
            return
        estimate = guard.book.estimate
        if estimate is None:
            return
        until_us = estimate.utc_us - LAG_US
        for it in estimate.volatilities:
            bars = self._bars.get(it.family)
            own = None if bars is None else sigma_of(bars.closes, until_us)
            if own is not None and it.sigma_ppm / 1e6 < own * (1.0 - SIGMA_ROOM):
                self._broke(
                    "within limits",
                    f"the volatility of {it.family} counts as {it.sigma_ppm} ppm ({it.origin}), "
                    f"and the bars have {own * 1e6:.0f}",
                )
        for pair in estimate.correlations:
            first, second = self._bars.get(pair.first), self._bars.get(pair.second)
            if first is None or second is None or pair.origin != MEASURED or pair.value is None:
                continue
            rho = rho_of(first.closes, second.closes, pair.as_of_utc_us)
            if rho is not None and abs(rho - pair.value) > RHO_ROOM:
                self._broke(
                    "within limits",
                    f"the correlation of {pair.first} and {pair.second} counts as "
                    f"{pair.value:.3f}, and the bars have {rho:.3f}",
                )


def counted_by(
    guard: CriticalSystemManager,
) -> tuple[dict[str, float], dict[frozenset[str], float | None]]:
    """Return what counts for the guard just now: volatility by family, correlation by pair."""
    snapshot = guard.exposure()
    return (
        {it.family: it.sigma_ppm / 1e6 for it in snapshot.volatilities},
        {
            frozenset((first, second)): it.value if str(it.origin) == MEASURED else None
            for first, second, it in snapshot.correlations.pairs()
        },
    )


def sigma_of(closes: list[Close], until_us: int) -> float | None:
    """Return the volatility of a day by the bars that closed by ``until_us``, as a share.

    A session ends where the next bar is more than half an hour away. None without a whole session.
    """
    known = [it for it in closes if it.open_us + BAR_US <= until_us]
    variance: float | None = None
    running, returns = 0.0, 0
    for before, after in pairwise(known):
        if after.open_us - before.open_us > 6 * BAR_US:
            if returns >= RETURNS_OF_A_SESSION:
                variance = (
                    running
                    if variance is None
                    else SESSION_WEIGHT * variance + (1.0 - SESSION_WEIGHT) * running
                )
            running, returns = 0.0, 0
        running += math.log(after.ticks / before.ticks) ** 2
        returns += 1
    return None if variance is None else math.sqrt(variance)


def rho_of(first: list[Close], second: list[Close], until_us: int | None) -> float | None:
    """Return the correlation of two families' returns by the bars that closed by ``until_us``."""
    ours, theirs = _returns(first), _returns(second)
    common = [it for it in ours if it in theirs and (until_us is None or it + BAR_US <= until_us)]
    if len(common) < ALIGNED_BARS:
        return None
    newest = len(common) - 1
    weights = [0.5 ** ((newest - place) / HALF_LIFE_BARS) for place in range(len(common))]
    xs = sum(w * ours[it] ** 2 for w, it in zip(weights, common, strict=True))
    ys = sum(w * theirs[it] ** 2 for w, it in zip(weights, common, strict=True))
    both = sum(w * ours[it] * theirs[it] for w, it in zip(weights, common, strict=True))
    return both / math.sqrt(xs * ys) if xs > 0.0 and ys > 0.0 else None


def _returns(closes: list[Close]) -> dict[int, float]:
    """Return the logarithm of each bar's return, by its begin; over a hole there is none."""
    return {
        after.open_us: math.log(after.ticks / before.ticks)
        for before, after in pairwise(closes)
        if after.open_us - before.open_us == BAR_US
    }
