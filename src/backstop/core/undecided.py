"""Old trades and rows that come while the archive of past orders cannot be read.

Whether they were counted long ago cannot be told then, and nothing is concluded from what cannot be
read: they are neither counted nor taken for second tellings, but held. Once the archive can be
asked again each of them is handled as if it had come just now.
"""

from collections.abc import Iterator

from backstop.core.book import Book
from backstop.core.past_doubt import UNDECIDED_MAX
from backstop.core.step import Tag, Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerOrder, BrokerTrade
from backstop.domain.commands import Severity
from backstop.domain.events import (
    Fact,
    OrderReported,
    PastReadable,
    PastUnreadable,
    Source,
    TradeReported,
)
from backstop.domain.numbers import plain


def past_changed(work: Workbench, event: PastUnreadable | PastReadable) -> None:
    """Refuse entries while an order id or a trade may be one of the past and nobody can tell."""
    book, doubt = work.book, work.book.doubt
    match event:
        case PastUnreadable():
            if not doubt.fault:
                work.alert(
                    Severity.CRITICAL,
                    AlertCode.PAST_UNREADABLE,
                    f"{event.reason} Entries are refused, and old trades that come now are held "
                    "until they can be judged; exits, stops and liquidation go on.",
                )
            doubt.fault = event.reason
        case PastReadable():
            if doubt.fault:
                work.alert(
                    Severity.WARNING,
                    AlertCode.PAST_READABLE,
                    "Past orders can be read again. What was held meanwhile is judged now: "
                    f"{len(doubt.trades)} trades, {len(doubt.rows)} orders.",
                )
            doubt.fault = ""
            if doubt.no_room_since_utc_us:
                audit, since_us = book.audit, doubt.no_room_since_utc_us
                audit.reach_back_utc_us = min(audit.reach_back_utc_us or since_us, since_us)
                doubt.no_room_since_utc_us = 0


def is_undecided_trade(book: Book, trade: BrokerTrade) -> bool:
    """Say whether a trade that is not held may have been counted, and nobody can tell."""
    newest = book.forgotten_trade_id
    old = newest is not None and trade.trade_id <= newest
    return bool(book.doubt.fault) and old and trade.trade_id not in book.new_trades


def is_undecided_row(book: Book, row: BrokerOrder) -> bool:
    """Say whether a finished order that is not held may be one of the past.

    One that still works is no order of the past: it counts as what it is.
    """
    newest, number = book.forgotten_order_id, row.broker_order_id
    return (
        bool(book.doubt.fault)
        and not row.status.is_live
        and newest is not None
        and number <= newest
        and number not in book.client_of_broker_id
        and number not in book.venue_orders
        and book.client_of_tag.get(row.custom_tag or "") is None
    )


def hold_trade(work: Workbench, trade: BrokerTrade) -> bool:
    """Keep ``trade`` until it can be judged; False when it was held already."""
    doubt = work.book.doubt
    before = doubt.trades.get(trade.trade_id)
    if before is not None and (before.voided or not trade.voided):
        return False
    if before is None and len(doubt.trades) >= UNDECIDED_MAX:
        _no_room(work, trade.created_utc_us)
        return True
    doubt.trades[trade.trade_id] = trade
    said = (
        f"Trade {trade.trade_id} of order {trade.broker_order_id} ({trade.side} {trade.quantity} "
        f"{trade.contract_id} at {plain(trade.price):f}) may have been counted long ago, which "
        f"cannot be told now: {doubt.fault}"
    )
    if len(doubt.trades) == 1:
        work.alert(
            Severity.CRITICAL,
            AlertCode.TRADE_UNDECIDED,
            f"{said} It is held, with those that follow, and the position is read from the venue.",
        )
    else:
        work.warn(Tag.TRADE, "trade_undecided", trade_id=trade.trade_id, message=said)
    return True


def hold_row(work: Workbench, row: BrokerOrder) -> None:
    """Keep the row of a finished order until it can be judged."""
    doubt = work.book.doubt
    if row.broker_order_id not in doubt.rows and len(doubt.rows) >= UNDECIDED_MAX:
        _no_room(work, row.created_utc_us)
        return
    doubt.rows[row.broker_order_id] = row


def _no_room(work: Workbench, created_utc_us: int) -> None:
    doubt = work.book.doubt
    oldest_us = min(doubt.no_room_since_utc_us or created_utc_us, created_utc_us)
    if not doubt.no_room_since_utc_us:
        work.warn(Tag.CRITICAL_SYSTEM, "undecided_full", held=UNDECIDED_MAX)
    doubt.no_room_since_utc_us = oldest_us


def settling(book: Book, *, utc_us: int) -> tuple[Fact, ...]:
    """Return the facts that end the doubt, once the archive can be asked; empty without one."""
    doubt = book.doubt
    if doubt.fault or doubt.trades or doubt.rows:
        return tuple(_settling(book, utc_us))
    return ()


def _settling(book: Book, utc_us: int) -> Iterator[Fact]:
    yield PastReadable(utc_us=utc_us)
    for row in book.doubt.rows.values():
        yield OrderReported(utc_us=utc_us, order=row, source=Source.REST)
    for trade in book.doubt.trades.values():
        yield TradeReported(utc_us=utc_us, trade=trade, source=Source.REST)
