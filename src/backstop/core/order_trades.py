"""Whose a trade is: of the order that has its number, or of one that had that number before.

A trade bears the number of its order and nothing else. Where the venue gave one number to a second
order (``core.reused_ids``), the trades of the first stay its own, whatever is told of them later.
"""

from backstop.core.book import Book
from backstop.core.tracked_order import TrackedOrder, fits
from backstop.domain.broker import BrokerTrade


def has_its_number(book: Book, order: TrackedOrder) -> bool:
    """Say whether what the venue tells under the number of ``order`` is of this order."""
    owner = book.client_of_broker_id.get(order.broker_order_id or 0)
    return owner == order.client_order_id


def owner_of(book: Book, trade: BrokerTrade) -> TrackedOrder | None:
    """Return the order of ours that ``trade`` is of; None: of one that is not ours, or gone."""
    name = book.kept_trades.get(trade.trade_id)
    if name is None:
        name = book.client_of_broker_id.get(trade.broker_order_id, "")
    return book.orders.get(name)


def trade_ids_of(book: Book, order: TrackedOrder) -> tuple[int, ...]:
    """Return the trades that were told of ``order``, also those that cannot be of it."""
    name, number = order.client_order_id, order.broker_order_id
    told = book.trades_of.get(number or 0, ()) if has_its_number(book, order) else ()
    if not book.kept_trades:
        return told
    return (*(it for it, owner in book.kept_trades.items() if owner == name), *told)


def trades_of_order(book: Book, order: TrackedOrder) -> tuple[BrokerTrade, ...]:
    """Return the trades that ``order`` is made of, voided ones included."""
    told = (book.trades[trade_id] for trade_id in trade_ids_of(book, order))
    return tuple(trade for trade in told if fits(order, trade.contract_id, trade.side))
