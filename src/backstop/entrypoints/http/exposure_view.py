"""Risk dollars, headroom and correlations, for people and programs."""

from decimal import Decimal

from fastapi import FastAPI
from msgspec import Struct
from starlette.responses import Response

from backstop.app.policy import PPM_IN_PERCENT
from backstop.core.correlation import Correlation, CorrelationOrigin
from backstop.core.correlation_protection import LimitReading
from backstop.core.exposure import LimitName, dollars
from backstop.core.exposure_snapshot import ExposureSnapshot, RootRisk
from backstop.domain.numbers import plain
from backstop.domain.utc import utc_text
from backstop.entrypoints.http.answers import json_answer
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.openapi import described

_ERRORS = (401, 403)


class RootExposure(Struct, frozen=True, kw_only=True):
    """One contract month: contracts, and risk dollars at a one-sigma day.

    ``risk`` is of what is held, negative for short; ``worst_long`` and ``worst_short`` are what it
    comes to if every order that could fill on that side does. All three are null without a price.
    """

    symbol: str
    contract_id: str
    family: str
    quantity: int
    contract_risk: str | None
    risk: str | None
    worst_long: str | None
    worst_short: str | None


class FamilyVolatilityView(Struct, frozen=True, kw_only=True):
    """A family's daily volatility, per cent of its price; ``origin`` says which rule gave it."""

    family: str
    sigma_percent: str
    origin: str
    as_of: str | None


class LimitView(Struct, frozen=True, kw_only=True):
    """One limit as it stands: ``headroom`` is what is left of it, negative in a breach.

    ``subject`` is a family, ``LONG``, ``SHORT`` or ``ALL``, which also stands for the families
    where none of them has exposure that the limit is about.
    """

    limit: LimitName
    subject: str
    value: str
    allowed: str
    headroom: str
    breached: bool


class ExposureView(Struct, frozen=True, kw_only=True):
    """What is held and what could fill, in risk dollars, against every limit.

    ``limits`` is empty while correlation protection is off (``enforced`` is false). ``unpriced``
    names families whose risk is not known: nothing may be added until it is.
    """

    at: str
    enforced: bool
    roots: tuple[RootExposure, ...]
    volatilities: tuple[FamilyVolatilityView, ...]
    limits: tuple[LimitView, ...]
    unpriced: tuple[str, ...]


class CorrelationEntry(Struct, frozen=True, kw_only=True):
    """One pair: only a ``MEASURED`` value is used, anything else counts as 1 and hedges nothing."""

    value: str | None
    origin: CorrelationOrigin
    age_s: int | None
    aligned_bars: int


class CorrelationsView(Struct, frozen=True, kw_only=True):
    """Every pair of families from both ends."""

    matrix: dict[str, dict[str, CorrelationEntry]]


EXPOSURE_SHAPES = (ExposureView, CorrelationsView)


def add_exposure_routes(api: FastAPI, guard: Guard) -> None:
    """Add the readings of exposure."""

    @api.get("/v1/exposure", **described(answers={200: ExposureView}, errors=_ERRORS))
    async def exposure() -> Response:
        """Show risk dollars per root, and how much room every limit leaves."""
        return json_answer(exposure_view(guard.exposure()))

    @api.get("/v1/correlations", **described(answers={200: CorrelationsView}, errors=_ERRORS))
    async def correlations() -> Response:
        """Show how much the families move together, how that is known, and how old it is."""
        return json_answer(correlations_view(guard.exposure()))


def exposure_view(snapshot: ExposureSnapshot) -> ExposureView:
    """Return ``snapshot`` as the interface shows it."""
    return ExposureView(
        at=utc_text(snapshot.utc_us),
        enforced=snapshot.limits is not None,
        roots=tuple(_root(root) for root in snapshot.roots),
        volatilities=tuple(
            FamilyVolatilityView(
                family=it.family,
                sigma_percent=f"{plain(Decimal(it.sigma_ppm) / PPM_IN_PERCENT):f}",
                origin=it.origin,
                as_of=None if it.as_of_utc_us is None else utc_text(it.as_of_utc_us),
            )
            for it in snapshot.volatilities
        ),
        limits=_limit_views(snapshot),
        unpriced=snapshot.report.unpriced,
    )


def _root(root: RootRisk) -> RootExposure:
    def risk(contracts: int) -> str | None:
        each = root.contract_risk_micros
        return None if each is None else dollars(contracts * each)

    return RootExposure(
        symbol=root.symbol,
        contract_id=root.contract_id,
        family=root.family,
        quantity=root.quantity,
        contract_risk=risk(1),
        risk=risk(root.quantity),
        worst_long=risk(root.worst_long),
        worst_short=risk(root.worst_short),
    )


def _limit_views(snapshot: ExposureSnapshot) -> tuple[LimitView, ...]:
    """Return every limit: one that no family takes anything of is shown as well, with all room."""
    limits = snapshot.limits
    if limits is None:
        return ()
    readings = snapshot.report.readings
    used = {it.limit for it in readings}
    unused = (
        LimitReading(limit=limit, subject="ALL", value_micros=0, limit_micros=limit_micros)
        for limit, limit_micros in (
            (LimitName.CORRELATION, limits.correlation_micros),
            (LimitName.ES_NQ_COMBINED, limits.es_nq_combined_micros),
        )
        if limit not in used
    )
    return tuple(_limit(it) for it in (*unused, *readings))


def _limit(reading: LimitReading) -> LimitView:
    return LimitView(
        limit=reading.limit,
        subject=reading.subject,
        value=dollars(reading.value_micros),
        allowed=dollars(reading.limit_micros),
        # What is left is never shown as more than it is.
        headroom=dollars(reading.headroom_micros // 10_000 * 10_000),
        breached=reading.is_breached,
    )


def correlations_view(snapshot: ExposureSnapshot) -> CorrelationsView:
    """Return the matrix of ``snapshot``; a family has no entry with itself."""
    return CorrelationsView(
        matrix={
            first: {
                second: _entry(snapshot.correlations.correlation(first, second))
                for second in snapshot.families
                if second != first
            }
            for first in snapshot.families
        }
    )


def _entry(correlation: Correlation) -> CorrelationEntry:
    value = correlation.value
    return CorrelationEntry(
        value=None if value is None else f"{value:.4f}",
        origin=correlation.origin,
        age_s=correlation.age_s,
        aligned_bars=correlation.aligned_bars,
    )
