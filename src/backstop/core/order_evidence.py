"""Books an order row: of an order of ours, of a leg, or of somebody else."""

from msgspec.structs import replace

from backstop.core.book import Book
from backstop.core.changes_followed import change_shown
from backstop.core.evidence import (
    apply_order_step,
    book_venue_order,
    contradiction,
    is_anothers,
    is_foreign_account,
)
from backstop.core.execution_verification import OrderStep, doubled, reported
from backstop.core.moves_followed import row_shown
from backstop.core.order_trades import trade_ids_of
from backstop.core.reused_ids import handed_over, other_by_tag
from backstop.core.step import Workbench
from backstop.core.tracked_order import TrackedOrder, fits, is_of, newer_row
from backstop.core.trade_evidence import recount_trades
from backstop.core.undecided import (
    hold_row,
    is_undecided_row,
)
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerOrder
from backstop.domain.commands import Severity
from backstop.errors import InvalidTransitionError


def book_order_row(work: Workbench, row: BrokerOrder) -> None:
    """Book one order row: of an order of ours, of a leg, or of somebody else."""
    book = work.book
    if is_foreign_account(work, row.account_id):
        return
    book.audit.newest_utc_us = max(book.audit.newest_utc_us, row.created_utc_us, row.updated_utc_us)
    work.touched_contracts[row.contract_id] = None
    if is_undecided_row(book, row):
        hold_row(work, row)
        return
    book.doubt.rows.pop(row.broker_order_id, None)
    client_order_id = book.client_of_broker_id.get(row.broker_order_id)
    if client_order_id is None and row.custom_tag is not None:
        client_order_id = book.client_of_tag.get(row.custom_tag)
    if client_order_id is None:
        book_venue_order(work, row)
        return
    order = book.orders[client_order_id]
    other = other_by_tag(work, row, order)
    if other is not None:
        if not handed_over(work, row, holder=order, other=other):
            return
        order = other
        client_order_id = order.client_order_id
    if not is_of(order, row.contract_id, row.side):
        what = f"{row.side} {row.quantity} {row.contract_id}"
        if is_anothers(work, order, row.broker_order_id, what):
            book_venue_order(work, row)
        return
    if row.broker_order_id in order.refused_twins:
        return
    if not fits(order, row.contract_id, row.side):
        _mismatched(work, order, row)
        return
    try:
        if order.broker_order_id in {None, row.broker_order_id}:
            order = _with_levels(book, order, row.broker_order_id)
            row = _taken_over(work, row)
            found: OrderStep | None = reported(order, row, utc_us=work.utc_us)
        else:
            found = doubled(order, row, utc_us=work.utc_us, now_ns=work.now_ns)
    except InvalidTransitionError as error:
        contradiction(work, str(error))
        return
    if found is None:
        if row.broker_order_id not in book.venue_orders:
            _doubled_order(work, order, row)
        book_venue_order(work, row)
        return
    apply_order_step(work, found)
    row_shown(work, client_order_id)
    change_shown(work, client_order_id)
    now = book.orders[client_order_id]
    if not _has_its_trades(book, now):
        recount_trades(work, now, cause="trades of the order")


def _has_its_trades(book: Book, order: TrackedOrder) -> bool:
    """Say whether the trades of ``order`` are those booked under its number, none of them voided.

    To count them all again for every row of an order with many fills would cost more than the row.
    """
    if order.voided_quantity or order.broker_order_id is None:
        return False
    booked = trade_ids_of(book, order)
    of_this_number = not order.fills or order.fills[0].broker_order_id == order.broker_order_id
    return of_this_number and len(order.fills) == len(booked)


def _doubled_order(work: Workbench, order: TrackedOrder, row: BrokerOrder) -> None:
    """Tell a person of the worst there is: one intent that stands at the venue twice."""
    work.book.counters.contradictions += 1
    work.alert(
        Severity.CRITICAL if row.status.is_live else Severity.WARNING,
        AlertCode.ORDER_DOUBLED,
        f"Order {order.client_order_id} is order {order.broker_order_id} at the venue, and "
        f"{row.broker_order_id} carries its tag as well; both count.",
    )


def _mismatched(work: Workbench, order: TrackedOrder, row: BrokerOrder) -> None:
    """Tell a person once of a row that names our order and cannot be of it; the order stays as is.

    Under a number of its own it is booked as an order of somebody else: it may fill.
    """
    work.book.counters.contradictions += 1
    number = row.broker_order_id
    if number not in work.book.client_of_broker_id:
        book_venue_order(work, row)
    told = f"{row.side} {row.quantity} {row.contract_id}"
    if order.told_as == told:
        return
    work.keep(replace(order, told_as=told))
    intent = order.intent
    work.alert(
        Severity.CRITICAL,
        AlertCode.ORDER_MISMATCHED,
        f"The venue tells order {order.client_order_id} ({number}) as {told}, and it is "
        f"{intent.side} {intent.quantity} {intent.contract_id}: that proves nothing for the order. "
        "Compare orders with the venue's own list.",
    )


def _taken_over(work: Workbench, row: BrokerOrder) -> BrokerOrder:
    """Return ``row`` with what was held of it before it was known to be of an order of ours."""
    held = work.book.venue_orders.pop(row.broker_order_id, None)
    if held is None:
        return row
    of_another = (held.row.contract_id, held.row.side) != (row.contract_id, row.side)
    work.book.live_venue.pop(row.broker_order_id, None)
    work.book.unlisted.pop(row.broker_order_id, None)
    work.touched_venue_orders.pop(row.broker_order_id, None)
    return row if of_another else newer_row(held.row, row)


def _with_levels(book: Book, order: TrackedOrder, broker_order_id: int) -> TrackedOrder:
    """Return ``order`` with where it stood before it was known to be of ours."""
    held = book.venue_orders.get(broker_order_id)
    return order if held is None else replace(order, levels_seen=held.levels_seen)
