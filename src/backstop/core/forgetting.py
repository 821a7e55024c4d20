"""What the book lets go of so that memory has a limit; the journal keeps all of it."""

from backstop.core.book import ORDERS_KEPT, TRADES_KEPT, VENUE_ORDERS_KEPT, Book


def forget_the_oldest(book: Book) -> None:
    """Keep memory bounded: finished orders and old trades stay in the journal."""
    while len(book.orders) > ORDERS_KEPT:
        oldest = next((name for name in book.orders if name not in book.live), None)
        if oldest is None:
            break
        order = book.orders.pop(oldest)
        book.orders_forgotten += 1
        book.client_of_tag.pop(order.custom_tag, None)
        book.client_of_broker_id.pop(order.broker_order_id or 0, None)
    while len(book.venue_orders) > VENUE_ORDERS_KEPT:
        oldest_id = next((key for key in book.venue_orders if key not in book.live_venue), None)
        if oldest_id is None:
            break
        del book.venue_orders[oldest_id]
    for _ in range(len(book.trades) - TRADES_KEPT):
        _forget_trade(book, next(iter(book.trades)))


def _forget_trade(book: Book, trade_id: int) -> None:
    trade = book.trades[trade_id]
    if trade.broker_order_id in book.client_of_broker_id:
        # Its order is still held, and is made of its trades: look at it again a round later.
        book.trades.move_to_end(trade_id)
        return
    del book.trades[trade_id]
    others = tuple(it for it in book.trades_of[trade.broker_order_id] if it != trade_id)
    if others:
        book.trades_of[trade.broker_order_id] = others
    else:
        del book.trades_of[trade.broker_order_id]
    # The venue numbers its trades upwards: what is older than this one was counted.
    book.forgotten_trade_id = max(book.forgotten_trade_id or trade_id, trade_id)
