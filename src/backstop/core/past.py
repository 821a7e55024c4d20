"""Finished orders that the book has let go of: how they are kept, and when they are asked for.

A finished order with its legs and all their trades leaves the book as one ``PastOrder`` and stays
in an archive. A fact that names something of it (a client id, a tag, a number of the venue) is
handled after the archive was asked, and what that gave back stands in the record as a fact of its
own: so a replay needs no archive, and each trade counts once for ever, however late it comes again.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from backstop.core.book import Book, VenueOrder
from backstop.core.known_rows import row_is_known, trade_is_known
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.broker import BrokerOrder, BrokerTrade
from backstop.domain.events import (
    AccountAudited,
    CancelRequested,
    Fact,
    ModifyRequested,
    OrderLookedUp,
    OrderRegistered,
    OrderReported,
    OrderRequested,
    PastRecalled,
    PlaceAnswered,
    TradeReported,
)
from backstop.domain.order import leg_of


class PastOrder(Struct, frozen=True, kw_only=True):
    """What leaves the book together, and comes back together.

    Attributes:
        order: the order of ours; None for an order of somebody else.
        venue_orders: its legs, or the order of somebody else.
        trades: of all of them, voided ones included, in the order they were told.
    """

    order: TrackedOrder | None = None
    venue_orders: tuple[VenueOrder, ...] = ()
    trades: tuple[BrokerTrade, ...] = ()

    @property
    def name(self) -> str:
        """The key that no other one has."""
        return next(_names(self))

    @property
    def keys(self) -> tuple[str, ...]:
        """Everything by which a fact can name it."""
        return tuple(dict.fromkeys(_names(self)))


def client_key(client_order_id: str) -> str:
    """Return the key of the order with this client id."""
    return f"c{client_order_id}"


def _tag_key(custom_tag: str) -> str:
    return f"t{custom_tag}"


def order_key(broker_order_id: int) -> str:
    """Return the key of the order with this number at the venue."""
    return f"o{broker_order_id}"


def _trade_key(trade_id: int) -> str:
    return f"x{trade_id}"


def _names(past: PastOrder) -> Iterator[str]:
    if past.order is not None:
        yield client_key(past.order.client_order_id)
        if past.order.custom_tag:
            yield _tag_key(past.order.custom_tag)
        if past.order.broker_order_id is not None:
            yield order_key(past.order.broker_order_id)
    for held in past.venue_orders:
        yield order_key(held.row.broker_order_id)
    for trade in past.trades:
        yield _trade_key(trade.trade_id)


# -- what to ask the archive for -----------------------------------------------------------------


def unheard(book: Book, fact: Fact) -> tuple[str, ...]:
    """Return keys of what ``fact`` names and the book does not hold but may have held.

    New orders and trades have higher numbers than everything that was let go of, so in the usual
    course of things there is nothing to ask but the name of a new order.
    """
    if book.forgotten_order_id is None and not book.orders_forgotten:
        return ()
    return tuple(dict.fromkeys(_asked(book, fact)))


def _asked(book: Book, fact: Fact) -> Iterator[str]:
    match fact:
        case OrderRequested():
            yield from _of_client(book, fact.request.client_order_id)
        case OrderRegistered():
            yield from _of_client(book, fact.request.client_order_id)
            yield from _of_tag(book, fact.custom_tag)
            yield from _of_number(book, fact.broker_order_id)
        case CancelRequested() | ModifyRequested():
            yield from _of_client(book, fact.client_order_id)
        case PlaceAnswered():
            yield from _of_number(book, fact.broker_order_id)
        case OrderReported():
            yield from _of_rows(book, (fact.order,))
        case TradeReported():
            yield from _of_trades(book, (fact.trade,))
        case AccountAudited():
            yield from _of_rows(book, (*(fact.orders or ()), *(fact.live_orders or ())))
            yield from _of_trades(book, fact.trades or ())
        case OrderLookedUp():
            yield from _of_rows(book, fact.orders)
            yield from _of_trades(book, fact.trades)
        case _:
            return


def _of_client(book: Book, client_order_id: str) -> Iterator[str]:
    if client_order_id not in book.orders:
        yield client_key(client_order_id)


def _of_tag(book: Book, custom_tag: str | None) -> Iterator[str]:
    if custom_tag and custom_tag not in book.client_of_tag:
        yield _tag_key(custom_tag)


def _of_number(book: Book, broker_order_id: int | None) -> Iterator[str]:
    newest = book.forgotten_order_id
    if broker_order_id is None or newest is None or broker_order_id > newest:
        return
    if broker_order_id not in book.client_of_broker_id and broker_order_id not in book.venue_orders:
        yield order_key(broker_order_id)


def _of_rows(book: Book, rows: Iterable[BrokerOrder]) -> Iterator[str]:
    for row in rows:
        known = (
            row.broker_order_id in book.client_of_broker_id
            or row.broker_order_id in book.venue_orders
        )
        if known:
            continue
        yield from _of_number(book, row.broker_order_id)
        yield from _of_number(book, row.parent_order_id)
        entry_tag, _ = leg_of(row.custom_tag) or (None, None)
        if entry_tag not in book.client_of_tag:
            yield from _of_tag(book, row.custom_tag)
            yield from _of_tag(book, entry_tag)


def _of_trades(book: Book, trades: Iterable[BrokerTrade]) -> Iterator[str]:
    newest = book.forgotten_trade_id
    for trade in trades:
        if trade.trade_id in book.trades:
            continue
        if newest is not None and trade.trade_id <= newest:
            yield _trade_key(trade.trade_id)
        yield from _of_number(book, trade.broker_order_id)


# -- what came of it -----------------------------------------------------------------------------


def recollected(
    book: Book, fact: Fact, *, asked: Iterable[str], found: Mapping[str, PastOrder]
) -> tuple[Fact, PastRecalled | None]:
    """Return ``fact`` without what says nothing new, and the fact that goes before it.

    Args:
        book: what is held now.
        fact: what is to be handled.
        asked: every key that the archive was asked for.
        found: what it holds, by key.
    """
    if isinstance(fact, AccountAudited):
        fact = _sifted(fact, found)
        asked = unheard(book, fact)
    named = {past.name: past for past in (found[key] for key in asked if key in found)}
    told = _trades_of(fact)
    new_trades = tuple(
        trade.trade_id
        for trade in told
        if (key := _trade_key(trade.trade_id)) in asked and key not in found
    )
    if not named and not new_trades:
        return fact, None
    entries = tuple(msgspec.json.encode(past).decode() for past in named.values())
    return fact, PastRecalled(utc_us=fact.utc_us, entries=entries, new_trades=new_trades)


def _sifted(audit: AccountAudited, found: Mapping[str, PastOrder]) -> AccountAudited:
    """Return the audit without old rows that say what is known.

    A read that reaches far back lists hundreds of finished orders; none has to be held for that.
    """
    orders, trades = audit.orders, audit.trades
    news = None if trades is None else tuple(it for it in trades if not _was_counted(it, found))
    return replace(
        audit,
        known_trades=audit.known_trades + len(trades or ()) - len(news or ()),
        orders=None
        if orders is None
        else tuple(row for row in orders if not _says_the_same(row, found)),
        trades=news,
    )


def _says_the_same(row: BrokerOrder, found: Mapping[str, PastOrder]) -> bool:
    past = found.get(order_key(row.broker_order_id))
    if past is None:
        return False
    rows = [held.row for held in past.venue_orders]
    if past.order is not None and past.order.venue is not None:
        rows.append(past.order.venue)
    held = next((it for it in rows if it.broker_order_id == row.broker_order_id), None)
    return row_is_known(held, row)


def _was_counted(trade: BrokerTrade, found: Mapping[str, PastOrder]) -> bool:
    past = found.get(_trade_key(trade.trade_id))
    if past is None:
        return False
    held = next((it for it in past.trades if it.trade_id == trade.trade_id), None)
    return trade_is_known(held, trade)


def _trades_of(fact: Fact) -> tuple[BrokerTrade, ...]:
    match fact:
        case TradeReported():
            return (fact.trade,)
        case AccountAudited():
            return fact.trades or ()
        case OrderLookedUp():
            return fact.trades
        case _:
            return ()


_entries: msgspec.json.Decoder[PastOrder] = msgspec.json.Decoder(PastOrder)


def decoded_entry(text: str | bytes) -> PastOrder:
    """Return the entry that ``text`` (JSON) holds; raises ValueError when it is none."""
    return _entries.decode(text)
