"""Fills that an order's row tells of before a trade shows them: the position is about to move.

A trade alone counts for the position. But to protect contracts whose exit is on record would open
others, and contracts of an entry that the venue calls filled are naked already.
"""

from collections.abc import Iterator
from itertools import chain

from backstop.core.book import Book
from backstop.core.positions import SNAPSHOT_LAG_NS, PositionView
from backstop.core.protection_record import AwaitedFill
from backstop.core.step import Workbench
from backstop.domain.broker import BrokerOrder, BrokerStatus


def evident_quantity(book: Book, view: PositionView) -> int:
    """Return the signed position with the fills that rows tell of and no trade has shown yet.

    Where rows and trades of the position differ, the row is the newer word and says the total.
    What reads have moved the ledger by, because no trade explained it, are such fills: they count
    there and not once more.
    """
    if not book.recovered or not view.is_agreed:
        return view.quantity
    quantity, unexplained = view.quantity, view.adjustment
    for fill in book.protection.awaited.values():
        if fill.contract_id != view.contract_id:
            continue
        quantity += fill.quantity
        if fill.quantity * unexplained > 0 and fill.told_utc_us <= view.adjusted_utc_us:
            counted = min(abs(fill.quantity), abs(unexplained)) * (1 if unexplained > 0 else -1)
            quantity -= counted
            unexplained -= counted
    return quantity


def await_fills(work: Workbench) -> None:
    """Note which orders have filled more than their trades show: the position is about to move."""
    book = work.book
    awaited = book.protection.awaited
    for row, counted in chain(_touched_rows(work), _rows_of_new_trades(work)):
        told = row.filled_quantity
        if row.status is BrokerStatus.FILLED:
            told = max(told, row.quantity)  # rows of old samples lack the filled quantity
        lacking = told - counted
        if lacking <= 0:
            awaited.pop(row.broker_order_id, None)
            continue
        held = awaited.get(row.broker_order_id)
        awaited[row.broker_order_id] = AwaitedFill(
            contract_id=row.contract_id,
            quantity=lacking * row.side.sign,
            since_ns=work.now_ns if held is None else held.since_ns,
            told_utc_us=row.updated_utc_us,
        )
    for broker_order_id, fill in list(awaited.items()):
        view = book.position(fill.contract_id)
        if view.is_proven and view.agreed_ns >= fill.since_ns + SNAPSHOT_LAG_NS:
            # Reads that were sent long after the fill agree without its trade.
            del awaited[broker_order_id]


def _touched_rows(work: Workbench) -> Iterator[tuple[BrokerOrder, int]]:
    """Yield the rows of this step's orders, with the contracts that their trades show."""
    book = work.book
    for name in work.touched_orders:
        order = book.orders[name]
        if order.venue is not None:
            yield order.venue, order.filled_quantity + order.voided_quantity
    for number in work.touched_venue_orders:
        yield book.venue_orders[number].row, _traded(book, number)


def _rows_of_new_trades(work: Workbench) -> Iterator[tuple[BrokerOrder, int]]:
    book = work.book
    for trade in work.new_trades.values():
        held = book.venue_orders.get(trade.broker_order_id)
        if held is not None:
            yield held.row, _traded(book, trade.broker_order_id)


def _traded(book: Book, broker_order_id: int) -> int:
    trades = (book.trades.get(number) for number in book.trades_of.get(broker_order_id, ()))
    return sum(trade.quantity for trade in trades if trade is not None)
