"""Our book against the broker's: what complete reads of the account say, and what they cannot.

A part that could not be read is None and proves nothing. An order that is missing from a list is
searched by its tag; only two complete searches can speak for its absence.
"""

from msgspec.structs import replace

from backstop.core.book import Book
from backstop.core.evidence import (
    apply_order_step,
    ask_for_audit,
    book_order_row,
    book_position_read,
    book_trade,
)
from backstop.core.execution_verification import Ask, OrderStep, looked_up
from backstop.core.step import Tag, Workbench
from backstop.domain.broker import BrokerOrder, BrokerPosition
from backstop.domain.events import AccountAudited, OrderLookedUp
from backstop.domain.order import OrderState
from backstop.errors import InvalidTransitionError


def book_audit(work: Workbench, event: AccountAudited) -> None:
    """Book one audit; orders before trades before positions, so that each finds its reason."""
    clock = work.book.audit
    clock.requested_ns = 0
    for row in (*(event.orders or ()), *(event.live_orders or ())):
        book_order_row(work, row)
    for trade in event.trades or ():
        book_trade(work, trade)
    if event.live_orders is not None:
        _search_missing(work, event.live_orders, sent_ns=event.sent_ns)
    if event.positions is not None:
        _book_positions(work, event.positions, sent_ns=event.sent_ns)
    parts = (event.orders, event.live_orders, event.trades, event.positions)
    if any(part is None for part in parts):
        work.note(Tag.CRITICAL_SYSTEM, "audit_incomplete", fault=event.fault)
        return
    _complete(work, event.sent_ns)


def _complete(work: Workbench, sent_ns: int) -> None:
    book, clock = work.book, work.book.audit
    clock.complete_sent_ns = sent_ns
    clock.complete_ns = work.now_ns
    if not any(order.lacks_trades for order in book.live_orders()):
        clock.cursor_utc_us = max(clock.cursor_utc_us, work.utc_us)
    if not book.recovered and book.links.user_up and sent_ns >= book.links.user_since_ns:
        book.recovered = True
        work.note(
            Tag.CRITICAL_SYSTEM,
            "recovered",
            positions=sum(view.quantity != 0 for view in book.positions.values()),
            live_orders=len(book.live),
        )


def _search_missing(work: Workbench, live_orders: tuple[BrokerOrder, ...], *, sent_ns: int) -> None:
    """Search orders that we hold for working and that the list of live ones lacks."""
    listed = {row.broker_order_id for row in live_orders}
    for order in list(work.book.live_orders()):
        if order.broker_order_id is None or order.broker_order_id in listed:
            continue
        working = order.state in {OrderState.WORKING, OrderState.PARTIALLY_FILLED}
        finished_at_venue = order.venue is not None and not order.venue.status.is_live
        if working and not finished_at_venue and sent_ns > order.sent_ns:
            apply_order_step(work, OrderStep(order=order, ask=Ask.LOOK_UP))


def _book_positions(work: Workbench, rows: tuple[BrokerPosition, ...], *, sent_ns: int) -> None:
    by_contract = {row.contract_id: row for row in rows}
    contracts = dict.fromkeys((*by_contract, *work.book.positions))
    for contract_id in contracts:
        book_position_read(work, contract_id, by_contract.get(contract_id), sent_ns=sent_ns)


def book_look_up(work: Workbench, event: OrderLookedUp) -> None:
    """Book what a search for one tag found; that it found nothing is weighed, not believed."""
    for row in event.orders:
        book_order_row(work, row)
    for trade in event.trades:
        book_trade(work, trade)
    order = work.book.orders.get(event.client_order_id)
    if order is None:
        return
    try:
        apply_order_step(work, looked_up(order, event, now_ns=work.now_ns))
    except InvalidTransitionError as error:
        work.note(Tag.CRITICAL, "contradiction", message=str(error))
    now = work.book.orders[event.client_order_id]
    if now.lacks_trades:
        ask_for_audit(work)


def condensed(book: Book, event: AccountAudited) -> AccountAudited:
    """Return the audit without the rows that the book holds already, for a journal that lasts.

    Orders and trades are evidence row by row, so known rows add nothing. Live orders and
    positions are pictures: their completeness is the evidence, so they keep their rows, without
    the raw text of those that did not change.
    """
    orders, live_orders, trades = event.orders, event.live_orders, event.trades
    return replace(
        event,
        orders=None if orders is None else tuple(row for row in orders if not _held(book, row)),
        live_orders=None
        if live_orders is None
        else tuple(replace(row, raw="") if _held(book, row) else row for row in live_orders),
        trades=None
        if trades is None
        else tuple(
            trade
            for trade in trades
            if trade.trade_id not in book.trades
            or (trade.voided and not book.trades[trade.trade_id].voided)
        ),
    )


def _held(book: Book, row: BrokerOrder) -> bool:
    client_order_id = book.client_of_broker_id.get(row.broker_order_id)
    held: BrokerOrder | None
    if client_order_id is not None:
        held = book.orders[client_order_id].venue
    else:
        venue_order = book.venue_orders.get(row.broker_order_id)
        held = None if venue_order is None else venue_order.row
    if held is None:
        return False
    if not held.status.is_live:
        return True
    return _essence(held) == _essence(row)


def _essence(row: BrokerOrder) -> tuple[object, ...]:
    return (row.status, row.quantity, row.filled_quantity, row.limit_price, row.stop_price)
