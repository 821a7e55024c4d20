"""Fills of orders that nobody has named: one of ours that is of unknown fate may be theirs.

A trade bears the number of its order and no tag. While the venue shows trades under a number whose
order it lists nowhere, an order of ours that was never heard of can be that one. So such a fill
speaks against its absence, and the venue is asked for the order of that number.
"""

from backstop.core.book import Book
from backstop.core.expected_closes import counted_trades
from backstop.core.tracked_order import TrackedOrder


def number_that_may_be(book: Book, order: TrackedOrder) -> int | None:
    """Return the number of an order that has traded and may be ``order``; None without one.

    An order whose row was shown is known by its tag, and one that traded before ``order`` was made
    is another one.
    """
    if order.broker_order_id is not None:
        return None
    intent = order.intent
    return next(
        (
            number
            for number, sighting in book.external.sightings.items()
            if sighting.contract_id == intent.contract_id
            and number not in book.client_of_broker_id
            and number not in book.venue_orders
            and number not in order.refused_twins
            and any(
                trade.side is intent.side and trade.created_utc_us >= (order.venue_from_us or 0)
                for trade in counted_trades(book, number)
            )
        ),
        None,
    )
