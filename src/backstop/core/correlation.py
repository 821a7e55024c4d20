"""How much two families move together, how sure that is, and what the decision may make of it.

Estimates are floats; the decision takes ``PairWeight``: whole parts per million, rounded so that
a same bet is never counted too low and a hedge never too high. Whatever is not measured well
counts as the same bet in full and hedges nothing.
"""

from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum

from msgspec import Struct

from backstop.core.instrument_table import ES_FAMILY, NQ_FAMILY, PPM

ES_NQ_LEAST_SAME_BET_PPM = 850_000
"""ES and NQ on the same side never count as moving together less than this."""


class CorrelationOrigin(StrEnum):
    """How a correlation is known; only MEASURED may lower a risk."""

    MEASURED = "MEASURED"
    THIN = "THIN"  # fewer than 60 aligned bars
    STALE = "STALE"  # last aligned bar more than one trading day ago
    ZERO_VARIANCE = "ZERO_VARIANCE"  # one of the two did not move, or not by a finite amount
    MISSING = "MISSING"  # never seen together


class Correlation(Struct, frozen=True, kw_only=True):
    """One pair's correlation.

    Attributes:
        origin: how it is known.
        value: in [-1, 1]; None unless it could be computed. Also shown for STALE and THIN,
            where no decision uses it.
        aligned_bars: common returns seen.
        as_of_utc_us: end of the last aligned bar.
        age_s: calendar seconds from then to the moment of the view.
    """

    origin: CorrelationOrigin
    value: float | None = None
    aligned_bars: int = 0
    as_of_utc_us: int | None = None
    age_s: int | None = None


UNKNOWN_CORRELATION = Correlation(origin=CorrelationOrigin.MISSING)


class PairWeight(Struct, frozen=True, kw_only=True):
    """What one family's risk does to another's: parts per million of it, one number per case.

    Positive: it is the same bet and adds. Negative: it is a hedge of that size, before the rule
    that half of a hedge counts.
    """

    same_side_ppm: int
    opposite_side_ppm: int


UNKNOWN_WEIGHT = PairWeight(same_side_ppm=PPM, opposite_side_ppm=0)
"""Not measured: the same side is the same bet in full, the opposite side gets no credit."""


def pair_weight(first: str, second: str, correlation: Correlation) -> PairWeight:
    """Return what the decision makes of ``correlation`` between two families.

    For ES and NQ the floor of 0.85 holds whatever the measured sign: a measured zero or negative
    correlation does not turn long ES and long NQ into two bets.
    """
    weight = _weight(correlation)
    if {first, second} != {ES_FAMILY, NQ_FAMILY}:
        return weight
    floor = ES_NQ_LEAST_SAME_BET_PPM
    opposite = weight.opposite_side_ppm
    return PairWeight(
        same_side_ppm=max(weight.same_side_ppm, floor),
        opposite_side_ppm=max(opposite, floor) if opposite > 0 else opposite,
    )


def _weight(correlation: Correlation) -> PairWeight:
    value = correlation.value
    if correlation.origin is not CorrelationOrigin.MEASURED or value is None:
        return UNKNOWN_WEIGHT
    if not -1.0 <= value <= 1.0:  # also false for NaN
        return UNKNOWN_WEIGHT
    # The shortest decimal that names the float, so that 0.85 means 0.85 and not its neighbour.
    size_ppm = abs(Decimal(repr(value))) * PPM
    adds = int(size_ppm.to_integral_value(ROUND_CEILING))
    hedges = int(size_ppm.to_integral_value(ROUND_FLOOR))
    if value > 0:
        return PairWeight(same_side_ppm=adds, opposite_side_ppm=-hedges)
    return PairWeight(same_side_ppm=-hedges, opposite_side_ppm=adds)


def _pair(first: str, second: str) -> tuple[str, str]:
    return (first, second) if first <= second else (second, first)


class CorrelationView:
    """The correlations of one moment; a pair it does not hold is unknown."""

    def __init__(self, correlations: Mapping[tuple[str, str], Correlation] | None = None) -> None:
        self._correlations = {
            _pair(*pair): correlation for pair, correlation in (correlations or {}).items()
        }
        self._weights = {
            pair: pair_weight(*pair, correlation)
            for pair, correlation in self._correlations.items()
        }

    @classmethod
    def measured(cls, values: Mapping[tuple[str, str], float]) -> "CorrelationView":
        """Return a view in which each pair of ``values`` counts as measured."""
        return cls(
            {
                pair: Correlation(origin=CorrelationOrigin.MEASURED, value=value)
                for pair, value in values.items()
            }
        )

    def correlation(self, first: str, second: str) -> Correlation:
        """Return what is known of the pair, with origin and age."""
        return self._correlations.get(_pair(first, second), UNKNOWN_CORRELATION)

    def weight(self, first: str, second: str) -> PairWeight:
        """Return what the decision makes of the pair."""
        return self._weights.get(_pair(first, second), UNKNOWN_WEIGHT)

    def pairs(self) -> Iterator[tuple[str, str, Correlation]]:
        """Yield every pair once, in the order of the names."""
        for first, second in sorted(self._correlations):
            yield first, second, self._correlations[first, second]
