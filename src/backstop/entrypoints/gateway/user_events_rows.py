"""Order rows as the guard has proof for them: trades say more of an order than a row that lags.

The broker may show a trade before the row of its order says so, and the row of an order may be
lost. A bot is told of the order first all the same, so the row is completed by the trades.
"""

from decimal import Decimal

from msgspec.structs import replace

from backstop.adapters.projectx.wire import OrderRow, WireOrderStatus
from backstop.core.book import Book
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.broker import BrokerOrder, BrokerStatus, BrokerTrade

_ENDED = frozenset(
    {
        WireOrderStatus.FILLED,
        WireOrderStatus.CANCELLED,
        WireOrderStatus.EXPIRED,
        WireOrderStatus.REJECTED,
    }
)


def held_order(book: Book, broker_order_id: int) -> BrokerOrder | None:
    """Return the newest row of an order; without one it is made of what was sent and filled."""
    held = book.venue_orders.get(broker_order_id)
    if held is not None:
        return held.row
    order = book.orders.get(book.client_of_broker_id.get(broker_order_id, ""))
    if order is None:
        return None
    if order.venue is not None:
        return order.venue if order.venue.broker_order_id == broker_order_id else None
    return _as_sent(book, order, broker_order_id) if order.fills else None


def with_proven_fills(book: Book, row: OrderRow) -> OrderRow:
    """Return ``row`` with the fills that trades prove, where it does not state them yet."""
    trades = [
        trade
        for trade_id in book.trades_of.get(row.id, ())
        if (trade := book.trades.get(trade_id)) is not None and not trade.voided
    ]
    proven = sum(trade.quantity for trade in trades)
    if proven <= row.fill_volume:
        unpriced = trades and row.filled_price is None
        return replace(row, filled_price=_average(trades)) if unpriced else row
    status = row.status
    if status not in _ENDED:
        status = WireOrderStatus.FILLED if proven >= row.size else WireOrderStatus.OPEN
    return replace(row, status=int(status), fill_volume=proven, filled_price=_average(trades))


def _as_sent(book: Book, order: TrackedOrder, broker_order_id: int) -> BrokerOrder:
    intent, instrument = order.intent, book.instruments[order.intent.contract_id]
    limit, stop = intent.limit_ticks, intent.stop_ticks
    first_us = min(fill.created_utc_us for fill in order.fills)
    return BrokerOrder(
        broker_order_id=broker_order_id,
        account_id=intent.account_id,
        contract_id=intent.contract_id,
        status=BrokerStatus.OPEN,
        type=intent.type,
        side=intent.side,
        quantity=intent.quantity,
        limit_price=None if limit is None else instrument.price(limit),
        stop_price=None if stop is None else instrument.price(stop),
        custom_tag=order.custom_tag or None,
        created_utc_us=first_us,
        updated_utc_us=first_us,
    )


def _average(trades: list[BrokerTrade]) -> Decimal:
    quantity = sum(trade.quantity for trade in trades)
    return sum((trade.price * trade.quantity for trade in trades), Decimal(0)) / quantity
