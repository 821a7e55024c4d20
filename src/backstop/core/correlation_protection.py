"""Does this order make the portfolio one big bet? Limits, the report of them, and their test.

Four limits on risk dollars, each taken at the worst outcome of all pending orders:

- L1, every family: its own risk, plus what moves with it, less half of what moves against it.
- L2, ES and NQ: the same formula over these two alone, the larger of the two.
- L3, each side: the sum of all longs, the sum of all shorts; the stress in which everything
  moves together.
- L4, both sides: the sum of every family's larger side.

One thing no limit on orders can promise: closing a hedge is always allowed, because closing
always is, and it can leave L1 or L2 above its limit, as can a price, a volatility or a
correlation. Such a breach shows in the report and blocks what would increase it.
"""

from collections.abc import Sequence

from msgspec import Struct

from backstop.core.correlated_risk import Direction, correlated_micros, worst_contribution
from backstop.core.correlation import CorrelationView
from backstop.core.exposure import ExposureLimits, FamilyExposure, LimitName
from backstop.core.exposure_book import ES_NQ_FAMILIES, ExposureBook
from backstop.domain.denial import Denial
from backstop.domain.order import Side


class LimitReading(Struct, frozen=True, kw_only=True):
    """One limit as it stands; ``subject`` is a family, ``LONG``, ``SHORT`` or ``ALL``."""

    limit: LimitName
    subject: str
    value_micros: int
    limit_micros: int

    @property
    def headroom_micros(self) -> int:
        """What is left of the limit; negative in a breach."""
        return self.limit_micros - self.value_micros

    @property
    def is_breached(self) -> bool:
        """The value is above the limit."""
        return self.value_micros > self.limit_micros


class FamilyRisk(Struct, frozen=True, kw_only=True):
    """One family's risk dollars in micros; ``filled_micros`` positive for long, None unpriced."""

    family: str
    filled_units: int
    filled_micros: int | None
    worst_long_micros: int
    worst_short_micros: int


class ExposureReport(Struct, frozen=True, kw_only=True):
    """Everything a person needs to see of exposure."""

    families: tuple[FamilyRisk, ...]
    readings: tuple[LimitReading, ...]
    unpriced: tuple[str, ...]  # families with exposure whose risk is not known

    @property
    def breaches(self) -> tuple[LimitReading, ...]:
        """The readings above their limit: nothing that increases them may be added."""
        return tuple(reading for reading in self.readings if reading.is_breached)


def evaluate(
    exposures: Sequence[FamilyExposure], correlations: CorrelationView, limits: ExposureLimits
) -> ExposureReport:
    """Return every limit's value at the worst outcome of all pending orders, from scratch."""
    readings = [
        LimitReading(
            limit=LimitName.CORRELATION,
            subject=exposure.family,
            value_micros=_correlated(exposure, exposures, correlations),
            limit_micros=limits.correlation_micros,
        )
        for exposure in exposures
    ]
    es_nq = [exposure for exposure in exposures if exposure.family in ES_NQ_FAMILIES]
    readings += [
        LimitReading(
            limit=LimitName.ES_NQ_COMBINED,
            subject=exposure.family,
            value_micros=_correlated(exposure, es_nq, correlations),
            limit_micros=limits.es_nq_combined_micros,
        )
        for exposure in es_nq
    ]
    for direction, value_micros in (
        (Direction.LONG, sum(exposure.worst_long_micros for exposure in exposures)),
        (Direction.SHORT, sum(exposure.worst_short_micros for exposure in exposures)),
    ):
        readings.append(
            LimitReading(
                limit=LimitName.DIRECTIONAL,
                subject=direction,
                value_micros=value_micros,
                limit_micros=limits.directional_micros,
            )
        )
    readings.append(
        LimitReading(
            limit=LimitName.GROSS,
            subject="ALL",
            value_micros=sum(
                max(exposure.worst_long_micros, exposure.worst_short_micros)
                for exposure in exposures
            ),
            limit_micros=limits.gross_micros,
        )
    )
    return ExposureReport(
        families=tuple(_family_risk(exposure) for exposure in exposures),
        readings=tuple(readings),
        unpriced=tuple(
            exposure.family
            for exposure in exposures
            if exposure.unit_risk_micros is None and not exposure.is_flat
        ),
    )


def check_order(
    exposures: Sequence[FamilyExposure],
    correlations: CorrelationView,
    limits: ExposureLimits,
    *,
    symbol: str,
    side: Side,
    quantity: int,
) -> tuple[Denial, ...]:
    """Return why an order is refused, one denial per limit; nothing if it may go.

    The family of ``symbol`` must be among ``exposures`` even when it is flat, because its price
    is needed. Whoever asks often keeps an ``ExposureBook`` and asks that.
    """
    book = ExposureBook(limits, correlations, exposures)
    return book.check(symbol=symbol, side=side, quantity=quantity)


class _Probe(Struct, frozen=True, kw_only=True):
    """One order that a limit must refuse."""

    exposures: tuple[FamilyExposure, ...]
    symbol: str
    side: Side


def self_test(limits: ExposureLimits) -> tuple[LimitName, ...]:
    """Return the limits that let a synthetic violating order pass; empty when all refuse.

    The orders take the way of real ones, through ``ExposureBook.check``.
    """
    # No correlation at all between the two, so that a sum is caught by the limit it is meant for.
    correlations = CorrelationView.measured({("PROBE-A", "PROBE-B"): 0.0})
    return tuple(
        name
        for name in LimitName
        if not all(
            _refuses(ExposureBook(limits, view, probe.exposures), name, probe)
            for probe, view in (
                *((probe, correlations) for probe in _probes(name, limits)),
                *((probe, CorrelationView()) for probe in _correlated_probes(name, limits)),
            )
        )
    )


def _refuses(book: ExposureBook, limit: LimitName, probe: _Probe) -> bool:
    denials = book.check(symbol=probe.symbol, side=probe.side, quantity=1)
    return any(denial.code is limit.denial_code for denial in denials)


def _probes(limit: LimitName, limits: ExposureLimits) -> tuple[_Probe, ...]:
    """Return one contract too many on either side: the first, one more, and for sums another's."""
    root, family = ("MES", "ES") if limit is LimitName.ES_NQ_COMBINED else ("PROBE-A", "PROBE-A")
    allowed = _allowed_micros(limit, limits)
    single = tuple(
        _Probe(exposures=(_flat(family, allowed + 1),), symbol=root, side=side) for side in Side
    )
    single += tuple(
        _Probe(exposures=(_filled(family, allowed, side.sign),), symbol=root, side=side)
        for side in Side
    )
    match limit:
        case LimitName.DIRECTIONAL:
            sums = tuple(
                _Probe(
                    exposures=(_filled("PROBE-A", allowed, side.sign), _flat("PROBE-B", 1)),
                    symbol="PROBE-B",
                    side=side,
                )
                for side in Side
            )
        case LimitName.GROSS:
            sums = tuple(
                _Probe(
                    exposures=(_filled("PROBE-A", allowed, side.sign), _flat("PROBE-B", 1)),
                    symbol="PROBE-B",
                    side=side.opposite,
                )
                for side in Side
            )
        case LimitName.CORRELATION | LimitName.ES_NQ_COMBINED:
            sums = ()
    return single + sums


def _correlated_probes(limit: LimitName, limits: ExposureLimits) -> tuple[_Probe, ...]:
    """Return orders that only break a limit together with what moves alike."""
    allowed = _allowed_micros(limit, limits)
    match limit:
        case LimitName.CORRELATION:
            first, second, symbol = "PROBE-A", "PROBE-B", "PROBE-B"
        case LimitName.ES_NQ_COMBINED:
            first, second, symbol = "ES", "NQ", "MNQ"
        case LimitName.DIRECTIONAL | LimitName.GROSS:
            return ()
    return tuple(
        _Probe(
            exposures=(_filled(first, allowed, side.sign), _flat(second, 1)),
            symbol=symbol,
            side=side,
        )
        for side in Side
    )


def _allowed_micros(limit: LimitName, limits: ExposureLimits) -> int:
    match limit:
        case LimitName.CORRELATION:
            return limits.correlation_micros
        case LimitName.ES_NQ_COMBINED:
            return limits.es_nq_combined_micros
        case LimitName.DIRECTIONAL:
            return limits.directional_micros
        case LimitName.GROSS:
            return limits.gross_micros


def _flat(family: str, unit_risk_micros: int) -> FamilyExposure:
    return FamilyExposure(family=family, unit_risk_micros=unit_risk_micros)


def _filled(family: str, unit_risk_micros: int, units: int) -> FamilyExposure:
    return FamilyExposure(
        family=family,
        unit_risk_micros=unit_risk_micros,
        filled_units=units,
        net_if_buys_fill_units=units,
        net_if_sells_fill_units=units,
    )


def _correlated(
    judged: FamilyExposure, exposures: Sequence[FamilyExposure], correlations: CorrelationView
) -> int:
    """Return the larger of both sides of ``judged``, with what all others do to it."""
    values = []
    for direction, own_micros in (
        (Direction.LONG, judged.worst_long_micros),
        (Direction.SHORT, judged.worst_short_micros),
    ):
        effects = [
            worst_contribution(
                correlations.weight(judged.family, other.family),
                direction,
                other.net_if_sells_fill_units * (other.unit_risk_micros or 0),
                other.net_if_buys_fill_units * (other.unit_risk_micros or 0),
            )
            for other in exposures
            if other.family != judged.family
        ]
        adds = sum(effect for effect in effects if effect > 0)
        hedges = -sum(effect for effect in effects if effect < 0)
        values.append(correlated_micros(own_micros, adds, hedges))
    return max(values)


def _family_risk(exposure: FamilyExposure) -> FamilyRisk:
    risk = exposure.unit_risk_micros
    return FamilyRisk(
        family=exposure.family,
        filled_units=exposure.filled_units,
        filled_micros=None if risk is None else exposure.filled_units * risk,
        worst_long_micros=exposure.worst_long_micros,
        worst_short_micros=exposure.worst_short_micros,
    )
