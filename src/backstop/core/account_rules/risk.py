"""What is still to be lost: of positions down to their stops, of orders once they fill.

Every contract is taken to be stopped out, with as much slippage as is tolerated and with its fees;
what no stop bounds counts with the loss of a one-sigma day at its market's stress volatility.
"""

from decimal import Decimal
from math import ceil

from backstop.core.account_rules.bookkeeping import worth
from backstop.core.account_rules.limits import AccountLimits
from backstop.core.book import Book
from backstop.core.instrument_table import PPM, contract_profile, family_profile
from backstop.core.tracked_order import TrackedOrder, possible_ticks
from backstop.domain.instrument import Instrument, Rounding
from backstop.domain.order import OrderIntent

Ratio = tuple[int, int]
"""An exact number as numerator and denominator: what a decision asks often is whole numbers."""


def contract_risk_micros(
    book: Book, instrument: Instrument, stop_distance_ticks: int, limits: AccountLimits
) -> int:
    """Return what one contract loses that is stopped out at this distance, rounded up."""
    # Whole numbers: this is asked of every order that could fill.
    above, below = book.policy.slippage_ratio
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
    """Return what one contract of an order of ours may lose, at the worst price it may be at."""
    worst = order_risk_micros(book, order.intent, _entry_of(book, order), limits, price=price)
    if order.moves.low is None or worst is None:
        return worst
    instrument = book.instruments[order.intent.contract_id]
    for ticks in possible_ticks(order, instrument):
        moved = order_risk_micros(book, order.intent, ticks, limits, price=price)
        worst = None if moved is None or worst is None else max(worst, moved)
    return worst


def contract_pending_micros(
    book: Book,
    contract_id: str,
    limits: AccountLimits,
    price: Decimal | None,
    *,
    but: TrackedOrder | None = None,
) -> int | None:
    """Return what is still to be lost in one contract: in what is held, and in what could fill.

    None: nobody can say. ``price`` is in points, None when none is fresh; ``but`` is an order that
    does not count.
    """
    total = 0
    for quantity in filter(None, book.position(contract_id).possible):
        risk = _position_risk(book, contract_id, quantity, price, limits)
        if risk is None:
            return None
        total = max(total, risk)
    for order in book.live_orders(contract_id):
        if order.role is not None or not order.open_quantity or book.is_exit(order):
            continue
        if but is not None and order.client_order_id == but.client_order_id:
            continue
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
    left, total = abs(quantity), 0
    for level, covered in _stops(book, contract_id, quantity, instrument):
        counted = min(left, covered)
        distance = _ticks_down(price.as_integer_ratio(), level, instrument, sign=sign)
        total += counted * contract_risk_micros(book, instrument, distance, limits)
        left -= counted
    return total + left * (unbounded_risk_micros(instrument, price, limits) or 0)


def _ticks_down(here: Ratio, level: Ratio, instrument: Instrument, *, sign: int) -> int:
    """Return how many ticks a position of ``sign`` loses from ``here`` to ``level``, rounded up."""
    tick_above, tick_below = instrument.tick_size.as_integer_ratio()
    apart = (here[0] * level[1] - level[0] * here[1]) * sign
    return -(-apart * tick_below // (here[1] * level[1] * tick_above))


def _stops(
    book: Book, contract_id: str, quantity: int, instrument: Instrument
) -> list[tuple[Ratio, int]]:
    """Return levels in points and contracts: stops that work, then those that are on the way."""
    working = [
        (row.stop_price.as_integer_ratio(), row.quantity - row.filled_quantity)
        for row in book.working_stops(contract_id, quantity)
        if row.stop_price is not None
    ]
    record = book.protection.records.get(contract_id)
    lots = () if record is None else record.lots
    wanted = [
        (lot.stop_ticks, lot.quantity)
        for lot in lots
        if lot.stop_ticks is not None and lot.sign * quantity > 0
    ]
    # The farthest first: at the worst those are the ones that count.
    farthest = sorted(wanted, key=lambda it: it[0], reverse=quantity < 0)
    return [
        *working,
        *((instrument.price(ticks).as_integer_ratio(), held) for ticks, held in farthest),
    ]
