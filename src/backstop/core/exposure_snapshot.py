"""Everything that a person needs to see of exposure at one moment, from scratch."""

from msgspec import Struct

from backstop.core.book import Book
from backstop.core.correlation import CorrelationView
from backstop.core.correlation_protection import ExposureReport, evaluate
from backstop.core.estimate_age import correlation_view, volatilities_now
from backstop.core.exposure import ExposureLimits, family_exposures, unit_risk_micros
from backstop.core.instrument_table import contract_profile, family_profile
from backstop.core.portfolio import holdings
from backstop.core.volatility import VolatilityOrigin
from backstop.domain.events import FamilyVolatility
from backstop.domain.quote import Mark


class RootRisk(Struct, frozen=True, kw_only=True):
    """What one contract month holds, and what it could come to if every order filled.

    Attributes:
        symbol: the exchange's root.
        contract_id: the month.
        family: the underlying it adds up with.
        quantity: contracts, positive for long.
        worst_long: contracts if every buy that could fill does, and no sell; 0 if that is short.
        worst_short: likewise of sells, as a positive number.
        contract_risk_micros: risk dollars of one contract; None without a usable price.
    """

    symbol: str
    contract_id: str
    family: str
    quantity: int
    worst_long: int
    worst_short: int
    contract_risk_micros: int | None


class ExposureSnapshot(Struct, frozen=True, kw_only=True):
    """Exposure as it counts at ``utc_us``; ``limits`` None: correlation protection is off."""

    utc_us: int
    limits: ExposureLimits | None
    roots: tuple[RootRisk, ...]
    report: ExposureReport
    volatilities: tuple[FamilyVolatility, ...]  # of the families that may be traded, or are held
    correlations: CorrelationView

    @property
    def families(self) -> tuple[str, ...]:
        """Every family that may be traded or is held, in the order of the names."""
        return tuple(volatility.family for volatility in self.volatilities)


_UNLIMITED = ExposureLimits(
    correlation_micros=2**63 - 1,
    es_nq_combined_micros=2**63 - 1,
    directional_micros=2**63 - 1,
    gross_micros=2**63 - 1,
)
"""Stands in where there are no limits, so that risk can be shown all the same."""


def exposure_snapshot(book: Book, marks: tuple[Mark, ...], utc_us: int) -> ExposureSnapshot:
    """Return what ``book`` comes to at the prices ``marks``, as estimates count at ``utc_us``."""
    limits = book.policy.exposure_limits
    held = holdings(book, marks)
    known = {it.family: it for it in volatilities_now(book.estimate, utc_us)}
    sigma_ppm = {family: it.sigma_ppm for family, it in known.items()}
    correlations = correlation_view(book.estimate, utc_us)
    roots = tuple(
        RootRisk(
            symbol=it.symbol,
            contract_id=it.contract_id,
            family=contract_profile(it.symbol).family,
            quantity=it.filled,
            worst_long=max(0, it.filled + it.pending_buys),
            worst_short=max(0, it.pending_sells - it.filled),
            contract_risk_micros=_contract_risk(
                unit_risk_micros(
                    it.symbol,
                    price=it.price,
                    point_value_micros=it.point_value_micros,
                    sigma_ppm=_sigma(sigma_ppm, it.symbol),
                ),
                it.symbol,
            ),
        )
        for it in held
    )
    families = {contract_profile(symbol).family for symbol in book.policy.symbols}
    report = evaluate(family_exposures(held, sigma_ppm), correlations, limits or _UNLIMITED)
    return ExposureSnapshot(
        utc_us=utc_us,
        limits=limits,
        roots=tuple(sorted(roots, key=lambda it: (it.family, it.symbol, it.contract_id))),
        report=report,
        volatilities=tuple(
            known.get(family) or _stress(family)
            for family in sorted(families | {it.family for it in roots})
        ),
        correlations=correlations,
    )


def _sigma(sigma_ppm: dict[str, int], symbol: str) -> int:
    family = contract_profile(symbol).family
    return sigma_ppm.get(family, family_profile(family).stress_volatility_ppm)


def _contract_risk(unit_micros: int | None, symbol: str) -> int | None:
    return None if not unit_micros else unit_micros * contract_profile(symbol).units


def _stress(family: str) -> FamilyVolatility:
    """Return what counts for a family of which nothing was measured."""
    return FamilyVolatility(
        family=family,
        sigma_ppm=family_profile(family).stress_volatility_ppm,
        origin=str(VolatilityOrigin.STRESS_MISSING),
    )
