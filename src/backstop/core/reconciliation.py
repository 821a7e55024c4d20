"""Our book against the broker's: what complete reads of the account say, and what they cannot.

A part that could not be read is None and proves nothing. An order that is missing from a list is
searched by its tag; only two complete searches can speak for its absence.
"""

from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from backstop.core.book import FIRST_LOOK_BACK_US, UNLISTED_READS_MAX, Book, Search
from backstop.core.changes_followed import changes_read
from backstop.core.clock_readings import covers, now_us, read_to_us
from backstop.core.evidence import apply_order_step, ask_for_audit
from backstop.core.execution_verification import Ask, OrderStep, looked_up
from backstop.core.known_rows import row_is_known, trade_is_known
from backstop.core.moves_followed import orders_read
from backstop.core.order_evidence import book_order_row
from backstop.core.policy import SECOND_NS
from backstop.core.position_evidence import book_position_read
from backstop.core.protection_changes import protection_read
from backstop.core.repeated_requests import unclear_read
from backstop.core.step import Tag, Workbench
from backstop.core.trade_evidence import book_trade
from backstop.core.unowned_fills import number_that_may_be
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerOrder, BrokerPosition, BrokerTrade
from backstop.domain.commands import Severity
from backstop.domain.events import AccountAudited, OrderLookedUp
from backstop.domain.order import OrderState

SEARCH_PAUSE_NS = 4 * SECOND_NS
"""First pause between searches for an order that no list shows; it doubles."""

SEARCH_PAUSE_MAX_NS = 120 * SECOND_NS
"""And never grows beyond this: the order may still come to light."""


def book_audit(work: Workbench, event: AccountAudited) -> None:
    """Book one audit; orders before trades before positions, so that each finds its reason."""
    clock = work.book.audit
    clock.requested_ns = 0
    for row in (*(event.orders or ()), *(event.live_orders or ())):
        book_order_row(work, row)
    # Oldest first, as they happened: the venue lists the newest first.
    for trade in sorted(event.trades or (), key=_trade_id):
        book_trade(work, trade, seen_ns=event.sent_ns)
    if event.live_orders is not None:
        listed = {row.broker_order_id for row in event.live_orders}
        _search_missing(work, listed, sent_ns=event.sent_ns)
        _reach_for_unlisted(work, listed)
        orders_read(work, listed, sent_ns=event.sent_ns)
        changes_read(work, listed, sent_ns=event.sent_ns)
        protection_read(work, listed, sent_ns=event.sent_ns)
        unclear_read(work, listed, sent_ns=event.sent_ns)
    if event.positions is not None:
        _book_positions(work, event.positions, sent_ns=event.sent_ns)
    parts = (event.orders, event.live_orders, event.trades, event.positions)
    if any(part is None for part in parts):
        work.warn(Tag.CRITICAL_SYSTEM, "audit_incomplete", fault=event.fault)
        return
    _complete(work, event.sent_ns)


def _complete(work: Workbench, sent_ns: int) -> None:
    book, clock = work.book, work.book.audit
    clock.complete_sent_ns = sent_ns
    clock.complete_ns = work.now_ns
    if any(order.lacks_trades for order in book.live_orders()):
        ask_for_audit(work)
    else:
        read_us = read_to_us(work, clock.newest_utc_us)
        clock.cursor_utc_us = max(clock.cursor_utc_us, read_us)
    fresh = book.links.user_up and sent_ns >= book.links.user_since_ns
    settled = all(view.is_settled for view in book.positions.values())
    if not book.recovered and fresh and settled:
        book.recovered = True
        work.note(
            Tag.CRITICAL_SYSTEM,
            "recovered",
            positions=sum(view.quantity != 0 for view in book.positions.values()),
            live_orders=len(book.live),
        )


def _search_missing(work: Workbench, listed: AbstractSet[int], *, sent_ns: int) -> None:
    """Search orders that we hold for working and that the list of live ones lacks.

    Searches that find nothing are repeated ever more slowly: the venue counts our calls. The order
    counts as live all the while, and a person is told.
    """
    book = work.book
    for order in list(book.live_orders()):
        if order.broker_order_id is None or order.broker_order_id in listed:
            if book.missing.pop(order.client_order_id, None) is not None:
                book.changed.note(order.intent.contract_id)
            continue
        working = order.state in {OrderState.WORKING, OrderState.PARTIALLY_FILLED}
        finished_at_venue = order.venue is not None and not order.venue.status.is_live
        search = book.missing.get(order.client_order_id, Search())
        due = work.now_ns >= search.due_ns and sent_ns > order.sent_ns
        if not working or finished_at_venue or not due:
            continue
        pause_ns = min(SEARCH_PAUSE_NS << search.times, SEARCH_PAUSE_MAX_NS)
        times = min(search.times + 1, UNLISTED_READS_MAX + 2)
        book.missing[order.client_order_id] = Search(times=times, due_ns=work.now_ns + pause_ns)
        book.changed.note(order.intent.contract_id)
        if times == UNLISTED_READS_MAX + 1:
            work.alert(
                Severity.WARNING,
                AlertCode.ORDER_VANISHED,
                f"Order {order.client_order_id} ({order.broker_order_id}) is in no list of live "
                f"orders and no search says how it ended; it still counts as {order.state}, and "
                "protects nothing.",
            )
        apply_order_step(work, OrderStep(order=order, ask=Ask.LOOK_UP))


def _reach_for_unlisted(work: Workbench, listed: AbstractSet[int]) -> None:
    """Read back as far as legs and foreign orders that the list of live ones lacks.

    Such an order ended while nobody told us, and a read from the cursor on may not show it, for
    the venue lists orders by their creation.
    """
    book = work.book
    for venue_order in list(book.live_venue_orders()):
        row = venue_order.row
        if row.broker_order_id in listed:
            if book.unlisted.pop(row.broker_order_id, None) is not None:
                book.changed.note(row.contract_id)
            continue
        times = book.unlisted.get(row.broker_order_id, 0) + 1
        if times > UNLISTED_READS_MAX + 1:
            continue
        book.unlisted[row.broker_order_id] = times
        book.changed.note(row.contract_id)
        if times > UNLISTED_READS_MAX:
            work.alert(
                Severity.WARNING,
                AlertCode.ORDER_VANISHED,
                f"Order {row.broker_order_id} ({row.contract_id}) is in no list of live orders "
                f"and the venue does not say how it ended; it still counts as {row.status}, and "
                "protects nothing.",
            )
            continue
        since_us = row.created_utc_us or now_us(work) - FIRST_LOOK_BACK_US
        book.audit.reach_back_utc_us = min(book.audit.reach_back_utc_us or since_us, since_us)
        ask_for_audit(work)


def _book_positions(work: Workbench, rows: tuple[BrokerPosition, ...], *, sent_ns: int) -> None:
    by_contract = {row.contract_id: row for row in rows}
    contracts = dict.fromkeys((*by_contract, *work.book.positions))
    for contract_id in contracts:
        book_position_read(work, contract_id, by_contract.get(contract_id), sent_ns=sent_ns)


def book_look_up(work: Workbench, event: OrderLookedUp) -> None:
    """Book what a search for one tag found; that it found nothing is weighed, not believed."""
    for row in event.orders:
        book_order_row(work, row)
    for trade in sorted(event.trades, key=_trade_id):
        book_trade(work, trade, seen_ns=event.sent_ns)
    order = work.book.orders.get(event.client_order_id)
    if order is None:
        return
    if not covers(work, order, event.since_utc_us) or number_that_may_be(work.book, order):
        # It may have been made before the search began, or a fill that has no owner may be its
        # own: what is not found proves nothing then.
        event = replace(event, complete=False)
    apply_order_step(work, looked_up(order, event, now_ns=work.now_ns))
    if work.book.orders[event.client_order_id].lacks_trades:
        ask_for_audit(work)


def condensed(book: Book, event: AccountAudited) -> AccountAudited:
    """Return the audit without the rows that the book holds already, for a journal that lasts.

    Orders and trades are evidence row by row, so known rows add nothing. Live orders and
    positions are pictures: their completeness is the evidence, so they keep their rows, without
    the raw text of those that did not change.
    """
    orders, live_orders, trades = event.orders, event.live_orders, event.trades
    news = (
        None
        if trades is None
        else tuple(it for it in trades if not trade_is_known(book.trades.get(it.trade_id), it))
    )
    return replace(
        event,
        known_trades=event.known_trades + len(trades or ()) - len(news or ()),
        orders=None if orders is None else tuple(row for row in orders if not _held(book, row)),
        live_orders=None
        if live_orders is None
        else tuple(replace(row, raw="") if _held(book, row) else row for row in live_orders),
        trades=news,
    )


def _held(book: Book, row: BrokerOrder) -> bool:
    client_order_id = book.client_of_broker_id.get(row.broker_order_id)
    held: BrokerOrder | None
    if client_order_id is not None:
        held = book.orders[client_order_id].venue
    else:
        venue_order = book.venue_orders.get(row.broker_order_id)
        held = None if venue_order is None else venue_order.row
    return row_is_known(held, row)


def _trade_id(trade: BrokerTrade) -> int:
    """Return what orders trades in time: the venue counts them up."""
    return trade.trade_id
