"""What is still to be lost: of positions down to their stops, of orders once they fill.

Every contract is taken to be stopped out, with as much slippage as is tolerated and with its fees;
what no stop bounds counts with the loss of a one-sigma day at its market's stress volatility.
"""

from decimal import Decimal
from fractions import Fraction
from math import ceil

from backstop.core.account_rules.bookkeeping import worth
from backstop.core.account_rules.limits import AccountLimits
from backstop.core.book import Book
from backstop.core.instrument_table import PPM, contract_profile, family_profile
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.instrument import Instrument, Rounding
from backstop.domain.order import OrderIntent


def contract_risk_micros(
    book: Book, instrument: Instrument, stop_distance_ticks: int, limits: AccountLimits
) -> int:
    """Return what one contract loses that is stopped out at this distance, rounded up."""
    # Whole numbers: this is asked of every order that could fill.
    above, below = book.policy.max_slippage_ticks.as_integer_ratio()
    ticks = max(0, stop_distance_ticks) * below + above
    return -(-ticks * instrument.tick_value_micros // below) + limits.fees_micros


def unbounded_risk_micros(
    instrument: Instrument, price: Decimal | None, limits: AccountLimits
) -> int | None:
    """Return what one contract without a stop counts as; None: its price is not known."""
    if price is None:
        return None
    family = family_profile(contract_profile(instrument.symbol).family)
    value = abs(worth(instrument, max(abs(price), family.price_floor), 1))
    return ceil(value * family.stress_volatility_ppm / PPM) + limits.fees_micros


def order_risk_micros(
    book: Book,
    intent: OrderIntent,
    entry_ticks: int | None,
    limits: AccountLimits,
    *,
    price: Decimal | None,
) -> int | None:
    """Return what one contract of an entry may lose; None: nobody can say."""
    instrument = book.instruments[intent.contract_id]
    if intent.stop_loss_ticks is not None and entry_ticks is not None:
        distance = (entry_ticks - intent.stop_loss_ticks) * intent.side.sign
        return contract_risk_micros(book, instrument, distance, limits)
    return unbounded_risk_micros(instrument, price, limits)


def working_risk_micros(
    book: Book, order: TrackedOrder, limits: AccountLimits, *, price: Decimal | None
) -> int | None:
    """Return what one contract of an order of ours may lose as it works now."""
    return order_risk_micros(book, order.intent, _entry_of(book, order), limits, price=price)


def pending_risk_micros(
    book: Book,
    limits: AccountLimits,
    prices: dict[str, Decimal],
    *,
    but: TrackedOrder | None = None,
) -> int | None:
    """Return what is still to be lost in all that is held or could fill; None: nobody can say.

    ``but`` is an order that does not count.
    """
    total = 0
    for view in book.positions.values():
        price, worst = prices.get(view.contract_id), 0
        for quantity in filter(None, view.possible):
            risk = _position_risk(book, view.contract_id, quantity, price, limits)
            if risk is None:
                return None
            worst = max(worst, risk)
        total += worst
    for order in book.live_orders():
        if order.role is not None or not order.open_quantity or book.is_exit(order):
            continue
        if but is not None and order.client_order_id == but.client_order_id:
            continue
        price = prices.get(order.intent.contract_id)
        each = working_risk_micros(book, order, limits, price=price)
        if each is None:
            return None
        total += each * order.open_quantity
    return total


def _entry_of(book: Book, order: TrackedOrder) -> int | None:
    """Return where an order is expected to fill, in ticks: as it stands at the venue by now."""
    intent, row = order.intent, order.venue
    level = None if row is None else row.limit_price or row.stop_price
    if level is None and intent.limit_ticks is None and intent.stop_ticks is None:
        level = order.reference_price
    if level is not None:
        return book.instruments[intent.contract_id].rounded_ticks(level, Rounding.NEAREST)
    return intent.limit_ticks if intent.limit_ticks is not None else intent.stop_ticks


def _position_risk(
    book: Book, contract_id: str, quantity: int, price: Decimal | None, limits: AccountLimits
) -> int | None:
    instrument = book.instruments.get(contract_id)
    if instrument is None or price is None:
        return None
    sign = 1 if quantity > 0 else -1
    here = Fraction(price) / Fraction(instrument.tick_size)
    left, total = abs(quantity), 0
    for level, covered in _stops(book, contract_id, quantity, instrument):
        counted = min(left, covered)
        distance = ceil((here - level) * sign)
        total += counted * contract_risk_micros(book, instrument, distance, limits)
        left -= counted
    return total + left * (unbounded_risk_micros(instrument, price, limits) or 0)


def _stops(
    book: Book, contract_id: str, quantity: int, instrument: Instrument
) -> list[tuple[Fraction, int]]:
    """Return levels in ticks and contracts: stops that work, then those that are on the way."""
    working = [
        (
            Fraction(row.stop_price) / Fraction(instrument.tick_size),
            row.quantity - row.filled_quantity,
        )
        for row in book.working_stops(contract_id, quantity)
        if row.stop_price is not None
    ]
    record = book.protection.records.get(contract_id)
    lots = () if record is None else record.lots
    wanted = [
        (Fraction(lot.stop_ticks), lot.quantity)
        for lot in lots
        if lot.stop_ticks is not None and lot.sign * quantity > 0
    ]
    # The farthest first: at the worst those are the ones that count.
    farthest = sorted(wanted, key=lambda it: it[0], reverse=quantity < 0)
    return [*working, *farthest]
