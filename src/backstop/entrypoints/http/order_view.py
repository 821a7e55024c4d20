"""What the interface shows of orders: the published shapes, and pure functions from core types.

Prices and averages are exact decimal text, moments ISO-8601 text in UTC, quantities whole
contracts.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from backstop.core.book import Book, VenueOrder
from backstop.core.past import PastOrder
from backstop.core.tracked_order import TrackedOrder, final_quantity, levels
from backstop.domain.broker import BrokerStatus, BrokerTrade
from backstop.domain.events import Answer
from backstop.domain.instrument import Instrument
from backstop.domain.numbers import decimal_text, fraction_text, plain
from backstop.domain.order import LegRole, OrderState, OrderType, Rejection, Side
from backstop.domain.utc import utc_text


class FillRecord(Struct, frozen=True, kw_only=True):
    """One trade of an order; ``fill_id`` is the broker's trade id."""

    fill_id: int
    price: str
    quantity: int
    time: str


class TransitionRecord(Struct, frozen=True, kw_only=True, rename={"from_state": "from"}):
    """One change of state and the fact that caused it."""

    from_state: OrderState
    to: OrderState
    cause: str
    time: str


class LegRecord(Struct, frozen=True, kw_only=True):
    """One protective order of an entry, as the venue shows it."""

    broker_order_id: int
    role: LegRole | None
    status: BrokerStatus
    quantity: int
    filled_quantity: int
    price: str | None


class CancelRecord(Struct, frozen=True, kw_only=True):
    """The end of an order was asked for ``times`` times, and why.

    ``answer`` is the newest of the venue, in its words ``message``; null: none yet. ``asks_again``:
    the guard asks until the order is over.
    """

    reason: str
    times: int
    answer: Answer | None
    message: str
    asks_again: bool


class ChangeRecord(Struct, frozen=True, kw_only=True):
    """What an order was asked to become and the venue does not show yet, or refused.

    Null members stay as they are. ``answer`` and ``message`` are as for a cancel.
    """

    reason: str
    quantity: int | None
    limit_price: str | None
    stop_price: str | None
    answer: Answer | None
    message: str


class OrderRecord(Struct, frozen=True, kw_only=True):
    """One order of ours; quantity and level prices are those it has now, on the tick.

    A change that the venue shows is in them, and one that it does not show yet is in ``change``.
    The trailing level and the bracket are as sent.
    ``rejection`` says what kind of no a REJECTED order got.
    """

    client_order_id: str
    broker_order_id: int | None
    symbol: str
    contract_id: str
    side: Side
    quantity: int
    type: OrderType
    limit_price: str | None
    stop_price: str | None
    stop_loss_price: str | None
    take_profit_price: str | None
    strategy_id: str | None
    state: OrderState
    filled_quantity: int
    average_price: str | None
    fills: tuple[FillRecord, ...]
    venue_message: str
    cancel: CancelRecord | None
    change: ChangeRecord | None
    rejection: Rejection | None
    transitions: tuple[TransitionRecord, ...]
    custom_tag: str
    requested_at: str
    legs: tuple[LegRecord, ...]


class OrderList(Struct, frozen=True, kw_only=True):
    """Orders, newest first; ``total`` counts those that match, shown or not."""

    orders: tuple[OrderRecord, ...]
    total: int


def order_record(book: Book, order: TrackedOrder) -> OrderRecord:
    """Return the published record of ``order``."""
    return order_records(book, [order])[0]


def order_records(book: Book, orders: Sequence[TrackedOrder]) -> tuple[OrderRecord, ...]:
    """Return the published records of ``orders``, looking through all legs only once."""
    legs: dict[str, list[LegRecord]] = {order.client_order_id: [] for order in orders}
    for leg in book.venue_orders.values():
        if leg.owner in legs:
            legs[leg.owner].append(_leg(leg))
    return tuple(_order_record(book, order, legs[order.client_order_id]) for order in orders)


def _order_record(book: Book, order: TrackedOrder, legs: Iterable[LegRecord]) -> OrderRecord:
    intent, average = order.intent, order.average_price
    instrument = book.instruments.get(intent.contract_id)
    limit, stop = (None, None) if instrument is None else levels(order, instrument)
    return OrderRecord(
        client_order_id=order.client_order_id,
        broker_order_id=order.broker_order_id,
        symbol=intent.symbol,
        contract_id=intent.contract_id,
        side=intent.side,
        quantity=final_quantity(order),
        type=intent.type,
        limit_price=None if limit is None else decimal_text(limit),
        stop_price=None if stop is None else decimal_text(stop),
        stop_loss_price=level_text(instrument, intent.stop_loss_ticks),
        take_profit_price=level_text(instrument, intent.take_profit_ticks),
        strategy_id=intent.strategy_id,
        state=order.state,
        filled_quantity=order.filled_quantity,
        average_price=None if average is None else fraction_text(average),
        fills=tuple(_fill(trade) for trade in order.fills),
        venue_message=order.venue_message,
        cancel=_cancel(order),
        change=_change(order, instrument),
        rejection=order.rejection if order.state is OrderState.REJECTED else None,
        transitions=tuple(
            TransitionRecord(
                from_state=step.from_state,
                to=step.to_state,
                cause=step.cause,
                time=utc_text(step.utc_us),
            )
            for step in order.transitions
        ),
        custom_tag=order.custom_tag,
        requested_at=utc_text(order.requested_utc_us),
        legs=tuple(legs),
    )


def _cancel(order: TrackedOrder) -> CancelRecord | None:
    asked = order.cancel
    if asked is None:
        return None
    return CancelRecord(
        reason=asked.reason,
        times=asked.times,
        answer=asked.answer,
        message=asked.message,
        asks_again=bool(asked.due_ns) and not order.is_terminal,
    )


def _change(order: TrackedOrder, instrument: Instrument | None) -> ChangeRecord | None:
    asked = order.change
    if asked is None:
        return None
    return ChangeRecord(
        reason=asked.reason,
        quantity=asked.quantity,
        limit_price=level_text(instrument, asked.limit_ticks),
        stop_price=level_text(instrument, asked.stop_ticks),
        answer=asked.answer,
        message=asked.message,
    )


def past_record(book: Book, past: PastOrder) -> OrderRecord | None:
    """Return the published record of an order that the book has let go of; None: not ours."""
    if past.order is None:
        return None
    return _order_record(book, past.order, [_leg(leg) for leg in past.venue_orders])


def order_list(
    book: Book,
    *,
    state: OrderState | None,
    limit: int,
    past: tuple[Sequence[PastOrder], int],
) -> OrderList:
    """Return the newest ``limit`` orders, of one state if it is given.

    ``past`` has the newest of those that the book has let go of, and how many there are.
    """
    matching = [order for order in book.orders.values() if state in {None, order.state}]
    shown = list(order_records(book, matching[-limit:][::-1]))
    # One that was called back is in both.
    older, total = past
    records = [past_record(book, it) for it in older]
    twice = {it.client_order_id for it in records if it} & book.orders.keys()
    shown += [it for it in records if it is not None and it.client_order_id not in twice]
    return OrderList(orders=tuple(shown[:limit]), total=len(matching) + total - len(twice))


def _fill(trade: BrokerTrade) -> FillRecord:
    return FillRecord(
        fill_id=trade.trade_id,
        price=f"{plain(trade.price):f}",
        quantity=trade.quantity,
        time=utc_text(trade.created_utc_us),
    )


def _leg(leg: VenueOrder) -> LegRecord:
    row = leg.row
    return LegRecord(
        broker_order_id=row.broker_order_id,
        role=leg.role,
        status=row.status,
        quantity=row.quantity,
        filled_quantity=row.filled_quantity,
        price=decimal_text(row.stop_price if row.limit_price is None else row.limit_price),
    )


def level_text(instrument: Instrument | None, ticks: int | None) -> str | None:
    """Return a level in ticks as a price in points."""
    return None if instrument is None or ticks is None else decimal_text(instrument.price(ticks))
