"""What a decision makes of an estimate by the time it uses it: whatever grew old counts in full.

An estimate stays in the book until the next one comes, and comes back from the record after a stop.
So its age counts at the decision, not when it was made: what is older than one trading day of
market time, or lies ahead of the clock, is no measurement any more.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from backstop.core.bars import BAR_US, TRADING_DAY_S, market_age_s, outdated_utc_us
from backstop.core.correlation import Correlation, CorrelationOrigin, CorrelationView
from backstop.core.instrument_table import family_profile
from backstop.core.volatility import VolatilityOrigin
from backstop.domain.events import FamilyVolatility, PairCorrelation, RiskEstimated


def is_outdated(as_of_utc_us: int, now_utc_us: int) -> bool:
    """Say whether what was true at ``as_of`` is too old, or ahead of the clock, at ``now``."""
    return (
        market_age_s(as_of_utc_us, now_utc_us) > TRADING_DAY_S or as_of_utc_us - now_utc_us > BAR_US
    )


def correlation_view(estimate: RiskEstimated | None, now_utc_us: int) -> CorrelationView:
    """Return the correlations of ``estimate`` as they count now; a pair it lacks is unknown."""
    if estimate is None:
        return CorrelationView()
    return CorrelationView(
        {
            (pair.first, pair.second): _correlation(pair, estimate, now_utc_us)
            for pair in estimate.correlations
        }
    )


def _correlation(pair: PairCorrelation, estimate: RiskEstimated, now_utc_us: int) -> Correlation:
    as_of_utc_us = _as_of(pair, estimate)
    correlation = Correlation(
        origin=CorrelationOrigin(pair.origin),
        value=pair.value,
        aligned_bars=pair.aligned_bars,
        as_of_utc_us=pair.as_of_utc_us,
        age_s=None if pair.as_of_utc_us is None else (now_utc_us - as_of_utc_us) // 1_000_000,
    )
    measured = correlation.origin is CorrelationOrigin.MEASURED
    if measured and is_outdated(as_of_utc_us, now_utc_us):
        return replace(correlation, origin=CorrelationOrigin.STALE)
    return correlation


def volatilities_now(
    estimate: RiskEstimated | None, now_utc_us: int
) -> tuple[FamilyVolatility, ...]:
    """Return the volatilities of ``estimate`` as they count now: an old one at its stress value."""
    if estimate is None:
        return ()
    return tuple(_volatility(each, estimate, now_utc_us) for each in estimate.volatilities)


def _volatility(
    volatility: FamilyVolatility, estimate: RiskEstimated, now_utc_us: int
) -> FamilyVolatility:
    if not is_outdated(_as_of(volatility, estimate), now_utc_us):
        return volatility
    stress = family_profile(volatility.family).stress_volatility_ppm
    if volatility.sigma_ppm >= stress:
        return volatility
    return replace(volatility, sigma_ppm=stress, origin=str(VolatilityOrigin.STRESS_STALE))


def _as_of(part: PairCorrelation | FamilyVolatility, estimate: RiskEstimated) -> int:
    """Return what ``part`` is true of; records of before that was told say when it was made."""
    return estimate.utc_us if part.as_of_utc_us is None else part.as_of_utc_us


def same_ages(estimate: RiskEstimated | None, now_utc_us: int) -> tuple[int | None, int | None]:
    """Return the span of time around ``now`` in which every part of ``estimate`` counts the same.

    From the first moment up to, but not including, the second; None: without an end.
    """
    changes = set() if estimate is None else set(_changes(estimate))
    return (
        max((it for it in changes if it <= now_utc_us), default=None),
        min((it for it in changes if it > now_utc_us), default=None),
    )


def _changes(estimate: RiskEstimated) -> Iterator[int]:
    known = {_as_of(part, estimate) for part in estimate.volatilities}
    known |= {_as_of(part, estimate) for part in estimate.correlations}
    for as_of_utc_us in sorted(known):
        yield as_of_utc_us - BAR_US
        yield outdated_utc_us(as_of_utc_us, TRADING_DAY_S)
