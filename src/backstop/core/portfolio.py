"""The book as risk: what is held and what could fill, per contract, for the exposure limits.

Worst case counts: working, in-flight and UNKNOWN orders in full. Protective legs up to the
position they protect count zero; legs beyond it, and foreign orders, could open a position and
count like any order.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from backstop.core.book import Book
from backstop.core.correlation import Correlation, CorrelationOrigin, CorrelationView
from backstop.core.exposure import FamilyExposure, Holding, family_exposures
from backstop.core.exposure_book import ExposureBook
from backstop.domain.denial import Denial
from backstop.domain.events import PairCorrelation, RiskEstimated
from backstop.domain.order import LegRole, OrderIntent, Side
from backstop.domain.quote import Mark


def correlation_view(estimate: RiskEstimated | None) -> CorrelationView:
    """Return the correlations of the newest estimate; a pair it lacks is unknown."""
    if estimate is None:
        return CorrelationView()
    return CorrelationView(
        {(pair.first, pair.second): _correlation(pair) for pair in estimate.correlations}
    )


def _correlation(pair: PairCorrelation) -> Correlation:
    return Correlation(
        origin=CorrelationOrigin(pair.origin),
        value=pair.value,
        aligned_bars=pair.aligned_bars,
        as_of_utc_us=pair.as_of_utc_us,
        age_s=pair.age_s,
    )


def holdings(book: Book, marks: Iterable[Mark], *, candidate: str | None = None) -> list[Holding]:
    """Return what each contract contributes; ``candidate`` is included even when it is flat."""
    prices: Mapping[str, Decimal] = {mark.contract_id: mark.price for mark in marks}
    pending = _pending(book)
    contracts = dict.fromkeys(
        (
            *(view.contract_id for view in book.positions.values() if view.quantity),
            *pending,
            *(() if candidate is None else (candidate,)),
        )
    )
    found: list[Holding] = []
    for contract_id in contracts:
        instrument = book.instruments.get(contract_id)
        view = book.position(contract_id)
        buys, sells = pending.get(contract_id, (0, 0))
        found.append(
            Holding(
                symbol=contract_id if instrument is None else instrument.symbol,
                price=prices.get(contract_id, view.average_price),
                point_value_micros=0 if instrument is None else instrument.point_value_micros,
                filled=view.quantity,
                pending_buys=buys,
                pending_sells=sells,
            )
        )
    return found


def _pending(book: Book) -> dict[str, tuple[int, int]]:
    """Return (buys, sells) that could fill per contract, legs up to the position left out."""
    totals: dict[str, dict[Side, int]] = {}

    def add(contract_id: str, side: Side, quantity: int) -> None:
        sides = totals.setdefault(contract_id, {Side.BUY: 0, Side.SELL: 0})
        sides[side] += quantity

    legs: dict[tuple[str, Side], dict[LegRole, int]] = {}

    def add_leg(contract_id: str, side: Side, role: LegRole, quantity: int) -> None:
        roles = legs.setdefault((contract_id, side), {})
        roles[role] = roles.get(role, 0) + quantity

    for order in book.live_orders():
        intent = order.intent
        if order.role is None:
            add(intent.contract_id, intent.side, order.open_quantity)
        else:
            add_leg(intent.contract_id, intent.side, order.role, order.open_quantity)
    for venue_order in book.live_venue_orders():
        row = venue_order.row
        open_quantity = row.quantity - row.filled_quantity
        if venue_order.owner is None:
            add(row.contract_id, row.side, open_quantity)
        else:
            role = venue_order.role or LegRole.STOP_LOSS
            add_leg(row.contract_id, row.side, role, open_quantity)
    for (contract_id, side), roles in legs.items():
        position = book.position(contract_id).quantity
        entries = sum(
            order.open_quantity
            for order in book.live_orders()
            if order.intent.contract_id == contract_id
            and order.intent.side is side.opposite
            and order.role is None
        )
        protected = max(0, -position * side.sign) + entries
        # Stop and target of one entry exclude each other: the larger of the two can fill.
        add(contract_id, side, max(0, max(roles.values()) - protected))
    return {contract_id: (s[Side.BUY], s[Side.SELL]) for contract_id, s in totals.items()}


def exposures(
    book: Book, marks: Iterable[Mark], *, candidate: str | None = None
) -> tuple[FamilyExposure, ...]:
    """Return every family's exposure in risk dollars at the newest volatilities."""
    sigma_ppm = {
        volatility.family: volatility.sigma_ppm
        for volatility in (book.estimate.volatilities if book.estimate is not None else ())
    }
    return family_exposures(holdings(book, marks, candidate=candidate), sigma_ppm)


def exposure_denials(book: Book, intent: OrderIntent, marks: Iterable[Mark]) -> tuple[Denial, ...]:
    """Return the exposure limits that ``intent`` would break, none when the component is off."""
    limits = book.policy.exposure_limits
    if limits is None or intent.quantity <= 0:
        return ()
    families = exposures(book, marks, candidate=intent.contract_id)
    judged = ExposureBook(limits, correlation_view(book.estimate), families)
    return judged.check(symbol=intent.symbol, side=intent.side, quantity=intent.quantity)
