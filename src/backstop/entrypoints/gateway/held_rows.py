"""What the guard has proof of and the broker's lists do not show yet.

The broker's lists may lag behind its own stream by seconds. A bot that comes back just then was not
there when the guard was told, and nothing tells it again: what its first reads lack, it never gets
to know. So a list of the broker is completed by what the guard holds of the same window.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol, TypeVar

from backstop.adapters.projectx.wire import OrderRow, TradeRow
from backstop.adapters.projectx.wire_rows import order_row, trade_row
from backstop.core.book import Book
from backstop.domain.broker import BrokerOrder, BrokerTrade
from backstop.entrypoints.gateway.user_events_rows import held_order, with_proven_fills


class _Row(Protocol):
    @property
    def id(self) -> int:
        """The broker's number."""


Row = TypeVar("Row", bound=_Row)


def trades_proven(
    book: Book, start_us: int | None, end_us: int | None
) -> Iterator[tuple[int, BrokerTrade]]:
    """Yield the trades of the window that the guard has counted, with their numbers."""
    for number, trade in book.trades.items():
        if is_within(trade.created_utc_us, start_us, end_us):
            yield number, trade


def orders_proven(
    book: Book, start_us: int | None, end_us: int | None
) -> Iterator[tuple[int, BrokerOrder]]:
    """Yield the orders created in the window that the guard knows, with their numbers."""
    for number in dict.fromkeys((*book.client_of_broker_id, *book.venue_orders)):
        order = held_order(book, number)
        if order is not None and is_within(order.created_utc_us, start_us, end_us):
            yield number, order


def trades_held(
    book: Book, start_us: int | None, end_us: int | None, *, shown: AbstractSet[int]
) -> dict[int, TradeRow]:
    """Return as rows the trades of the window that are counted and not ``shown``, by number.

    A row costs more than all else here, and next to all of a long day are shown.
    """
    held = trades_proven(book, start_us, end_us)
    return {number: trade_row(trade) for number, trade in held if number not in shown}


def orders_held(
    book: Book, start_us: int | None, end_us: int | None, *, shown: AbstractSet[int]
) -> dict[int, OrderRow]:
    """Return as rows the orders of the window that are known and not ``shown``, by number.

    They go by the broker's tags.
    """
    held = orders_proven(book, start_us, end_us)
    return {
        number: with_proven_fills(book, order_row(order))
        for number, order in held
        if number not in shown
    }


def completed(rows: Sequence[Row], held: Mapping[int, Row], *, newest_first: bool) -> Sequence[Row]:
    """Return the broker's ``rows`` with those that are ``held`` and that it does not show.

    What it shows stays as it shows it.
    """
    shown = {row.id for row in rows}
    lacking = [row for number, row in held.items() if number not in shown]
    if not lacking:
        return rows
    return sorted((*rows, *lacking), key=lambda row: row.id, reverse=newest_first)


def is_within(created_us: int, start_us: int | None, end_us: int | None) -> bool:
    """Say whether a moment is in a window; None: it has no such end."""
    return (start_us is None or created_us >= start_us) and (end_us is None or created_us <= end_us)
