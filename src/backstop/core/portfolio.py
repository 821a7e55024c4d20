"""The book as risk: what is held and what could fill, per contract, for the exposure limits.

Two ways to the same figures: from scratch, for reports and for checks of the other one; and the
standing exposure of the book, which decisions use.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from backstop.core.book import Book
from backstop.core.estimate_age import volatilities_now
from backstop.core.exposure import FamilyExposure, Holding, family_exposures
from backstop.core.fillable import contracts_in_reach
from backstop.core.standing_exposure import holding
from backstop.domain.denial import Denial
from backstop.domain.order import OrderIntent
from backstop.domain.quote import Mark


def holdings(book: Book, marks: Iterable[Mark], *, candidate: str | None = None) -> list[Holding]:
    """Return what each contract contributes; ``candidate`` is included even when it is flat."""
    prices: Mapping[str, Decimal] = {mark.contract_id: mark.price for mark in marks}
    contracts = contracts_in_reach(book)
    if candidate is not None:
        contracts[candidate] = None
    return [holding(book, contract_id, prices.get(contract_id)) for contract_id in contracts]


def exposures(
    book: Book, marks: Iterable[Mark], utc_us: int, *, candidate: str | None = None
) -> tuple[FamilyExposure, ...]:
    """Return every family's exposure in risk dollars, as volatilities count at ``utc_us``."""
    sigma_ppm = {it.family: it.sigma_ppm for it in volatilities_now(book.estimate, utc_us)}
    return family_exposures(holdings(book, marks, candidate=candidate), sigma_ppm)


def exposure_denials(
    book: Book, intent: OrderIntent, marks: tuple[Mark, ...], utc_us: int, *, counted: int = 0
) -> tuple[Denial, ...]:
    """Return the exposure limits that ``intent`` would break, none when the component is off.

    ``counted`` contracts of it count already, as an entry of its side that it replaces.
    """
    limits = book.policy.exposure_limits
    if limits is None or intent.quantity <= 0:
        return ()
    return book.standing.denials(book, limits, intent, marks, utc_us, counted=counted)
