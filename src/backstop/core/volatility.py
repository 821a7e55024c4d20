"""Daily volatility of each family from its five-minute bars; uncertainty never lowers it.

A session's variance is the sum of its squared five-minute returns, the opening gap included.
Sessions are averaged with exponential weights (lambda 0.94). The running session can raise the
estimate while it lasts and cannot lower it, so a crash counts from its first bar.

Source: RiskMetrics technical document (1996), section 5.2 for the weights; realised variance as
the sum of squared intraday returns.
"""

import math
from collections.abc import Sequence
from enum import StrEnum
from statistics import median

from msgspec import Struct

from backstop.core.bars import BAR_US, TRADING_DAY_S, Bar, log_ratio, market_age_s
from backstop.core.instrument_table import family_profile
from backstop.errors import DomainError

SESSION_WEIGHT = 0.94
"""What one more session leaves of the weight of those before."""

MEDIAN_SESSIONS = 60
"""Sessions whose median volatility bounds the estimate from below: about a quarter."""

MINIMUM_SESSION_BARS = 60
"""A session with fewer returns (a holiday, a hole) is not a session: five hours of bars."""

LONGEST_OPENING_GAP_S = 3 * TRADING_DAY_S
"""A step over more market time than this is a hole in the history, not an opening gap."""


_LONGEST_OPENING_GAP_US = LONGEST_OPENING_GAP_S * 1_000_000


class VolatilityOrigin(StrEnum):
    """Which rule a volatility comes from."""

    MEASURED = "MEASURED"
    MEDIAN_FLOOR = "MEDIAN_FLOOR"  # half of the 60-session median
    TABLE_FLOOR = "TABLE_FLOOR"
    STRESS_MISSING = "STRESS_MISSING"  # no complete session was seen
    STRESS_STALE = "STRESS_STALE"  # the last bar is more than one trading day old


class DailyVolatility(Struct, frozen=True, kw_only=True):
    """One-sigma move of a day, parts per million of the price, rounded up; and why."""

    family: str
    sigma_ppm: int
    origin: VolatilityOrigin
    sessions: int = 0
    as_of_utc_us: int | None = None  # end of the newest bar in it


class VolatilityState(Struct, frozen=True, kw_only=True):
    """Everything one family's estimator knows, for the journal."""

    family: str
    variance: float | None = None  # of a day, over complete sessions
    sessions: int = 0
    recent_sigmas: tuple[float, ...] = ()  # after each of the last 60 sessions, oldest first
    session_variance: float = 0.0  # of the running session so far
    session_returns: int = 0
    last_bar: Bar | None = None
    rejected_bars: int = 0


class VolatilityEstimator:
    """Daily volatility of one family, kept up to date bar by bar."""

    def __init__(self, family: str) -> None:
        self._family = family
        self._variance: float | None = None
        self._sessions = 0
        self._recent_sigmas: list[float] = []
        self._session_variance = 0.0
        self._session_returns = 0
        self._last_bar: Bar | None = None
        self._close = math.nan  # of the last bar
        self._rejected_bars = 0

    @classmethod
    def seeded(cls, family: str, history: Sequence[Bar]) -> "VolatilityEstimator":
        """Return an estimator that has seen ``history``, in any order."""
        estimator = cls(family)
        for bar in sorted(history, key=lambda bar: bar.start_utc_us):
            estimator.on_bar(bar)
        return estimator

    @classmethod
    def restored(cls, state: VolatilityState) -> "VolatilityEstimator":
        """Return the estimator that ``snapshot`` described."""
        estimator = cls(state.family)
        estimator._variance = state.variance
        estimator._sessions = state.sessions
        estimator._recent_sigmas = list(state.recent_sigmas)
        estimator._session_variance = state.session_variance
        estimator._session_returns = state.session_returns
        estimator._last_bar = state.last_bar
        estimator._close = math.nan if state.last_bar is None else float(state.last_bar.close)
        estimator._rejected_bars = state.rejected_bars
        return estimator

    def snapshot(self) -> VolatilityState:
        """Return everything this estimator knows."""
        return VolatilityState(
            family=self._family,
            variance=self._variance,
            sessions=self._sessions,
            recent_sigmas=tuple(self._recent_sigmas),
            session_variance=self._session_variance,
            session_returns=self._session_returns,
            last_bar=self._last_bar,
            rejected_bars=self._rejected_bars,
        )

    def on_bar(self, bar: Bar) -> bool:
        """Take the next closed bar.

        Returns:
            Whether it was used. A bar that is not newer than the last one, or whose close is not
            a positive number, is counted and left out.

        Raises:
            DomainError: the bar belongs to another family.
        """
        if bar.family != self._family:
            raise DomainError(
                f"A bar of {bar.family} was given to the volatility of {self._family}."
            )
        before = self._last_bar
        is_old = before is not None and bar.start_utc_us <= before.start_utc_us
        if is_old or not (bar.close.is_finite() and bar.close > 0):
            self._rejected_bars += 1
            return False
        close_before, self._close = self._close, float(bar.close)
        if before is not None:
            if bar.trade_date != before.trade_date:
                self._close_session()
            self._add_return(before, bar, log_ratio(close_before, self._close))
        self._last_bar = bar
        return True

    def volatility(self, now_utc_us: int) -> DailyVolatility:
        """Return the volatility to count risk with at ``now_utc_us``: never an optimistic one."""
        profile = family_profile(self._family)
        stress = profile.stress_volatility_ppm
        if self._variance is None or self._last_bar is None:
            return DailyVolatility(
                family=self._family, sigma_ppm=stress, origin=VolatilityOrigin.STRESS_MISSING
            )
        running = SESSION_WEIGHT * self._variance + (1 - SESSION_WEIGHT) * self._session_variance
        candidates = [
            (_ppm_up(math.sqrt(max(self._variance, running))), VolatilityOrigin.MEASURED),
            (_ppm_up(median(self._recent_sigmas) / 2), VolatilityOrigin.MEDIAN_FLOOR),
            (profile.volatility_floor_ppm, VolatilityOrigin.TABLE_FLOOR),
        ]
        as_of_utc_us = self._last_bar.start_utc_us + BAR_US
        age_s = market_age_s(as_of_utc_us, now_utc_us)
        # An end that lies more than a bar ahead means that one of the two clocks is wrong.
        if age_s > TRADING_DAY_S or as_of_utc_us - now_utc_us > BAR_US:
            candidates.append((stress, VolatilityOrigin.STRESS_STALE))
        sigma_ppm, origin = max(candidates, key=lambda candidate: candidate[0])
        return DailyVolatility(
            family=self._family,
            sigma_ppm=sigma_ppm,
            origin=origin,
            sessions=self._sessions,
            as_of_utc_us=as_of_utc_us,
        )

    def _add_return(self, before: Bar, bar: Bar, step: float | None) -> None:
        if bar.contract_id != before.contract_id:
            return
        if _is_hole(before, bar):
            return
        if step is not None:
            self._session_variance += step * step
            self._session_returns += 1

    def _close_session(self) -> None:
        if self._session_returns >= MINIMUM_SESSION_BARS:
            day = self._session_variance
            self._variance = (
                day
                if self._variance is None
                else SESSION_WEIGHT * self._variance + (1 - SESSION_WEIGHT) * day
            )
            self._sessions += 1
            self._recent_sigmas.append(math.sqrt(self._variance))
            del self._recent_sigmas[:-MEDIAN_SESSIONS]
        self._session_variance = 0.0
        self._session_returns = 0


def _is_hole(before: Bar, bar: Bar) -> bool:
    # Market time never runs ahead of the clock, so next bars are told apart without it.
    return (
        bar.start_utc_us - before.start_utc_us > _LONGEST_OPENING_GAP_US
        and market_age_s(before.start_utc_us, bar.start_utc_us) > LONGEST_OPENING_GAP_S
    )


def _ppm_up(sigma: float) -> int:
    """Return ``sigma`` in parts per million, rounded up."""
    return math.ceil(sigma * 1e6)
