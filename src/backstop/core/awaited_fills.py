"""Fills that an order's row tells of before a trade shows them: the position is about to move.

A trade alone counts for the position. But to protect contracts whose exit is on record would open
others, and contracts of an entry that the venue calls filled are naked already.
"""

from collections.abc import Iterator
from itertools import chain

from backstop.core import positions
from backstop.core.book import Book
from backstop.core.clock_readings import read_span
from backstop.core.fills_to_come import contracts_to_come, quantity_to_come, uncounted
from backstop.core.positions import SNAPSHOT_LAG_NS, PositionView
from backstop.core.protection_record import AwaitedFill
from backstop.core.step import Workbench
from backstop.core.venue_clock import Span
from backstop.domain.broker import BrokerOrder, BrokerStatus


def evident_quantity(book: Book, view: PositionView) -> int:
    """Return the signed position with the fills that rows tell of and no trade has shown yet.

    Where rows and trades of the position differ, the row is the newer word and says the total.
    """
    if not book.recovered or not view.is_agreed:
        return view.quantity
    return quantity_to_come(book, view)


def await_fills(work: Workbench) -> None:
    """Note which orders have filled more than their trades show: the position is about to move."""
    book = work.book
    awaited = book.protection.awaited
    for row, counted in chain(_touched_rows(work), _rows_of_new_trades(work)):
        told = row.filled_quantity
        if row.status is BrokerStatus.FILLED:
            told = max(told, row.quantity)  # rows of old samples lack the filled quantity
        lacking = told - counted
        held = awaited.get(row.broker_order_id)
        if lacking > 0:
            awaited[row.broker_order_id] = AwaitedFill(
                contract_id=row.contract_id,
                quantity=lacking * row.side.sign,
                since_ns=work.now_ns if held is None else held.since_ns,
                told_utc_us=row.updated_utc_us,
            )
        elif held is not None:
            del awaited[row.broker_order_id]
        if awaited.get(row.broker_order_id) != held:
            book.changed.note(row.contract_id)
    _let_go_of_what_was_read(work)


def _let_go_of_what_was_read(work: Workbench) -> None:
    """Await nothing of a contract that reads, sent long after all of it was told, agree without.

    An entry and its exit are let go together: one of them alone would seem to have moved what both
    have left as it was.
    """
    book, awaited = work.book, work.book.protection.awaited
    for contract_id in contracts_to_come(book):
        fills = {number: it for number, it in awaited.items() if it.contract_id == contract_id}
        newest_ns = _agreed_ns(book, book.position(contract_id))
        if newest_ns < max(it.since_ns for it in fills.values()) + SNAPSHOT_LAG_NS:
            continue
        _count_both_ways(
            work, contract_id, told_utc_us=max(it.told_utc_us for it in fills.values())
        )
        for number in fills:
            del awaited[number]
        book.changed.note(contract_id)


def _count_both_ways(work: Workbench, contract_id: str, *, told_utc_us: int) -> None:
    """Remember that reads have fills of both sides in their total: they cancel out in it.

    Of one side alone the row may have been wrong.
    """
    book = work.book
    view = book.position(contract_id)
    contracts = min(uncounted(book, view))
    taken = read_span(work, _agreed_ns(book, view))
    if taken is not None and contracts:
        taken = Span(earliest_us=taken.earliest_us, latest_us=max(taken.latest_us, told_utc_us))
        book.positions[contract_id] = positions.counted_both_ways(view, contracts, taken=taken)


def _agreed_ns(book: Book, view: PositionView) -> int:
    """Return when the newest read was sent that agrees with all that is known; 0: none does."""
    if not view.is_proven:
        return 0
    if view.is_proven_late:
        # The reads that agree since then are not noted in it; one that does not would be.
        return max(view.agreed_ns, book.audit.complete_sent_ns)
    return view.agreed_ns


def _touched_rows(work: Workbench) -> Iterator[tuple[BrokerOrder, int]]:
    """Yield the rows of this step's orders, with the contracts that their trades show."""
    book = work.book
    for name in work.touched_orders:
        order = book.orders[name]
        if order.venue is not None:
            yield order.venue, order.filled_quantity + order.voided_quantity
    for number in work.touched_venue_orders:
        yield book.venue_orders[number].row, book.traded(number)


def _rows_of_new_trades(work: Workbench) -> Iterator[tuple[BrokerOrder, int]]:
    book = work.book
    for trade in work.new_trades.values():
        held = book.venue_orders.get(trade.broker_order_id)
        if held is not None:
            yield held.row, book.traded(trade.broker_order_id)
