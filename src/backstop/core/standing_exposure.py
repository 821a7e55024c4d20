"""The exposure of the book, kept up to date, so that a decision does not walk what it holds.

Everything here is derived: at each use it is brought to what the book, the prices and the estimate
say, and only what changed since the last use is looked at again. The result is that of the way from
scratch in ``portfolio``; when it was used last, and for what, makes no difference.
"""

from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec.structs import replace

from backstop.core.estimate_age import correlation_view, same_ages, volatilities_now
from backstop.core.exposure import (
    ExposureLimits,
    FamilyExposure,
    Holding,
    family_exposures,
    sigma_of,
    unit_risk_micros,
)
from backstop.core.exposure_book import ExposureBook
from backstop.core.fillable import contracts_in_reach, is_in_reach, reach_of
from backstop.core.instrument_table import contract_profile
from backstop.domain.denial import Denial
from backstop.domain.order import OrderIntent, Side
from backstop.domain.quote import Mark

if TYPE_CHECKING:
    from backstop.core.book import Book
    from backstop.domain.events import RiskEstimated


def holding(book: "Book", contract_id: str, price: Decimal | None) -> Holding:
    """Return what one contract contributes; without a ``price`` its own average one counts."""
    instrument = book.instruments.get(contract_id)
    view = book.position(contract_id)
    least, most = reach_of(book, contract_id)
    return Holding(
        symbol=contract_id if instrument is None else instrument.symbol,
        price=view.average_price if price is None else price,
        point_value_micros=0 if instrument is None else instrument.point_value_micros,
        filled=view.quantity,
        pending_buys=most - view.quantity,
        pending_sells=view.quantity - least,
        contract_id=contract_id,
    )


class StandingExposure:
    """What a decision about exposure needs, with everything that it was made of."""

    def __init__(self) -> None:
        self._limits: ExposureLimits | None = None
        self._estimate: RiskEstimated | None = None
        self._span: tuple[int | None, int | None] = (None, None)
        self._seen = -1  # the version of the book's change log up to which all of this holds
        self._sigma_ppm: dict[str, int] = {}
        self._marks: tuple[Mark, ...] = ()
        self._prices: dict[str, Mark] = {}
        self._contracts: dict[str, dict[str, None]] = {}  # family -> held, or could fill
        self._family_of: dict[str, str] = {}  # contract -> family, of those
        self._judged: ExposureBook | None = None

    def exposures(
        self, book: "Book", limits: ExposureLimits, marks: tuple[Mark, ...], utc_us: int
    ) -> ExposureBook:
        """Return the sums that hold now; to be read only."""
        kept = self._judged
        if kept is None or not self._counts_as_before(book, limits, utc_us):
            return self._begun(book, limits, marks, utc_us)
        if book.changed.version == self._seen and marks is self._marks:
            return kept
        contracts = book.changed.since(self._seen)
        if contracts is None:
            return self._begun(book, limits, marks, utc_us)
        self._judged = None  # whatever interrupts this, the next makes it from scratch
        self._seen = book.changed.version
        families: dict[str, None] = {}
        for contract_id in contracts:
            families.update(dict.fromkeys(self._take_contract(book, contract_id)))
        repriced = {} if marks is self._marks else self._take_prices(marks)
        kept.update_all(self._exposure(book, family) for family in families)
        kept.update_all(
            self._repriced(book, kept.exposure_of(family))
            for family in repriced
            if family not in families
        )
        self._judged = kept
        return kept

    def denials(
        self,
        book: "Book",
        limits: ExposureLimits,
        intent: OrderIntent,
        marks: tuple[Mark, ...],
        utc_us: int,
        *,
        counted: int = 0,
    ) -> tuple[Denial, ...]:
        """Return the limits that an order would break.

        ``counted`` contracts of it count already: it replaces an entry of its side.
        """
        judged = self.exposures(book, limits, marks, utc_us)
        contract_id, symbol = intent.contract_id, intent.symbol
        if contract_id in self._family_of and not counted:
            return judged.check(symbol=symbol, side=intent.side, quantity=intent.quantity)
        family = contract_profile(symbol).family
        held = self._exposure(book, family)
        candidate = None if contract_id in self._family_of else contract_id
        alone = self._exposure(book, family, candidate=candidate)
        judged.update(_without(alone, symbol, intent.side, counted))
        found = judged.check(symbol=symbol, side=intent.side, quantity=intent.quantity)
        judged.update(held)
        return found

    # -- bringing it up to date ------------------------------------------------------------------

    def _counts_as_before(self, book: "Book", limits: ExposureLimits, utc_us: int) -> bool:
        since, until = self._span
        return (
            book.estimate is self._estimate
            and (limits is self._limits or limits == self._limits)
            and (since is None or since <= utc_us)
            and (until is None or utc_us < until)
        )

    def _begun(
        self, book: "Book", limits: ExposureLimits, marks: tuple[Mark, ...], utc_us: int
    ) -> ExposureBook:
        """Make everything from scratch: at the start, and with each new estimate."""
        self._judged = None
        self._limits, self._estimate = limits, book.estimate
        self._span = same_ages(book.estimate, utc_us)
        volatilities = volatilities_now(book.estimate, utc_us)
        self._sigma_ppm = {it.family: it.sigma_ppm for it in volatilities}
        self._marks, self._prices = marks, {mark.contract_id: mark for mark in marks}
        self._seen = book.changed.version
        self._contracts.clear()
        self._family_of.clear()
        for contract_id in contracts_in_reach(book):
            self._take_contract(book, contract_id)
        self._judged = ExposureBook(
            limits,
            correlation_view(book.estimate, utc_us),
            [self._exposure(book, family) for family in sorted(self._contracts)],
        )
        return self._judged

    def _take_contract(self, book: "Book", contract_id: str) -> list[str]:
        """Know whether a contract counts, and in which family; return those it touches."""
        touched = []
        before = self._family_of.pop(contract_id, None)
        if before is not None:
            del self._contracts[before][contract_id]
            touched.append(before)
        if is_in_reach(book, contract_id):
            family = contract_profile(book.symbol_of(contract_id)).family
            self._family_of[contract_id] = family
            self._contracts.setdefault(family, {})[contract_id] = None
            touched.append(family)
        return touched

    def _take_prices(self, marks: tuple[Mark, ...]) -> dict[str, None]:
        """Take over new prices; return the families of the contracts that have one."""
        self._marks, prices = marks, self._prices
        changed = []
        for mark in marks:
            before = prices.get(mark.contract_id)
            if before is not mark:
                prices[mark.contract_id] = mark
                if before is None or before.price != mark.price:
                    changed.append(mark.contract_id)
        if len(prices) != len(marks):
            present = {mark.contract_id for mark in marks}
            for contract_id in [it for it in prices if it not in present]:
                del prices[contract_id]
                changed.append(contract_id)
        families = (self._family_of.get(contract_id) for contract_id in changed)
        return {family: None for family in families if family is not None}

    def _repriced(self, book: "Book", exposure: FamilyExposure) -> FamilyExposure:
        """Return one family's exposure at new prices; what it holds and could hold stays."""
        risks = (self._unit_risk_micros(book, it) for it in self._contracts[exposure.family])
        return replace(exposure, unit_risk_micros=max((it or 0 for it in risks), default=0) or None)

    def _unit_risk_micros(self, book: "Book", contract_id: str) -> int | None:
        symbol, price = book.symbol_of(contract_id), self._price(contract_id)
        instrument = book.instruments.get(contract_id)
        return unit_risk_micros(
            symbol,
            price=book.position(contract_id).average_price if price is None else price,
            point_value_micros=0 if instrument is None else instrument.point_value_micros,
            sigma_ppm=sigma_of(symbol, self._sigma_ppm),
        )

    def _exposure(
        self, book: "Book", family: str, *, candidate: str | None = None
    ) -> FamilyExposure:
        """Return one family's exposure; flat and without a price where nothing counts in it."""
        contracts = [*self._contracts.get(family, ()), *(() if candidate is None else (candidate,))]
        if not contracts:
            return FamilyExposure(family=family, unit_risk_micros=None)
        (exposure,) = family_exposures(
            [holding(book, it, self._price(it)) for it in contracts],
            self._sigma_ppm,
        )
        return exposure

    def _price(self, contract_id: str) -> Decimal | None:
        mark = self._prices.get(contract_id)
        return None if mark is None else mark.price


def _without(exposure: FamilyExposure, symbol: str, side: Side, contracts: int) -> FamilyExposure:
    """Return ``exposure`` as it were without so many pending contracts of one side."""
    units = contracts * contract_profile(symbol).units
    if side is Side.BUY:
        most = max(exposure.filled_units, exposure.net_if_buys_fill_units - units)
        return replace(exposure, net_if_buys_fill_units=most)
    least = min(exposure.filled_units, exposure.net_if_sells_fill_units + units)
    return replace(exposure, net_if_sells_fill_units=least)
