"""Which nameless market orders came of a close that we asked the venue for.

The close call is answered with a yes alone. The order that it leads to bears no tag and no number
that we know, just like one that a person sends by hand; it is told by its contract, its side, its
size, and by being new when it is heard of soon after the request.
"""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.book import Book
from backstop.core.external_record import OwnClose
from backstop.core.policy import SECOND_NS
from backstop.core.step import Workbench
from backstop.domain.broker import BrokerTrade
from backstop.domain.order import OrderType, Side

CLOSE_WINDOW_NS = 60 * SECOND_NS
"""An order that is heard of later than this after the request is not what came of it."""

CLOSES_KEPT = 64
"""Requests to close that are remembered; a liquidation of many contracts takes some dozens."""


def close_expected(work: Workbench, contract_id: str, quantity: int | None) -> OwnClose:
    """Note that a close of ours leaves now: the market order it leads to is not somebody else's.

    Args:
        work: the step that sends the request.
        contract_id: what is closed.
        quantity: contracts; None: all of the position, as many as the venue holds.

    Returns:
        What was noted.
    """
    view = work.book.position(contract_id)
    held = view.quantity or view.ledger
    side = None if not held else Side.SELL if held > 0 else Side.BUY
    close = OwnClose(
        contract_id=contract_id,
        asked_ns=work.now_ns,
        newest_order_id=_newest_order_id(work.book),
        side=side,
        quantity=quantity,
    )
    record = work.book.external
    record.closes = (*record.closes, close)[-CLOSES_KEPT:]
    return close


def close_not_expected(work: Workbench, contract_id: str) -> None:
    """Forget the newest close of a contract: the venue refused it, so no order comes of it."""
    record = work.book.external
    for place, close in reversed(tuple(enumerate(record.closes))):
        if close.contract_id == contract_id:
            if not close.claims:
                record.closes = (*record.closes[:place], *record.closes[place + 1 :])
            return


def forget_old_closes(work: Workbench) -> None:
    """Let go of what requests did not lead to in time; a restart must not bring it back.

    A restart gives all of them a new time, also those that were over long before.
    """
    record, now_ns = work.book.external, work.now_ns
    kept = tuple(
        _as_done(it) if _is_late(it, now_ns) else it
        for it in record.closes
        if it.claims or not _is_late(it, now_ns)
    )
    if kept != record.closes:
        record.closes = kept


def _as_done(close: OwnClose) -> OwnClose:
    """Return a request as one for just what came of it: it explains no other order any more."""
    done = sum(contracts for _, contracts in close.claims)
    if close.quantity in {None, done}:
        return close  # one of everything leads to one order, and has it
    return replace(close, quantity=done)


def _is_late(close: OwnClose, now_ns: int) -> bool:
    """Say whether an order that is heard of now comes too late."""
    return now_ns > close.asked_ns + CLOSE_WINDOW_NS


def _newest_order_id(book: Book) -> int:
    """Return the highest order number that is known; what the venue makes from now on is higher."""
    known = (*book.client_of_broker_id, *book.venue_orders, *book.trades_of)
    return max(*known, book.forgotten_order_id or 0, 0)


def is_own_close(work: Workbench, number: int) -> bool:
    """Say whether the venue's order ``number`` came of a close that we asked for; remember it."""
    book, record = work.book, work.book.external
    if is_claimed_close(book, number):
        return True
    told = _told_order(book, number) if record.closes else None
    if told is None:
        return False
    for place, close in enumerate(record.closes):
        new = number > close.newest_order_id and not _is_late(close, work.now_ns)
        # A bot that trades by itself sends such orders too: then only a known side tells.
        sided = close.side is not None or not book.policy.is_drop_copy
        if new and sided and _fits(close, told):
            claimed = replace(close, claims=(*close.claims, (number, told.quantity)))
            record.closes = (*record.closes[:place], claimed, *record.closes[place + 1 :])
            return True
    return False


class _ToldOrder(Struct, frozen=True, kw_only=True):
    """A nameless market order as its row, or only its trades, tell of it."""

    contract_id: str
    side: Side
    quantity: int


def is_claimed_close(book: Book, broker_order_id: int) -> bool:
    """Say whether an order was taken for one by which the venue closed a position for us."""
    return any(broker_order_id in dict(close.claims) for close in book.external.closes)


def _told_order(book: Book, number: int) -> _ToldOrder | None:
    held = book.venue_orders.get(number)
    if held is not None:
        row = held.row
        if row.custom_tag or row.parent_order_id or row.type not in {OrderType.MARKET, None}:
            return None
        return _ToldOrder(
            contract_id=row.contract_id,
            side=row.side,
            quantity=row.quantity,
        )
    trades = tuple(counted_trades(book, number))
    if not trades:
        return None
    first = trades[0]
    return _ToldOrder(
        contract_id=first.contract_id,
        side=first.side,
        quantity=sum(trade.quantity for trade in trades),
    )


def _fits(close: OwnClose, told: _ToldOrder) -> bool:
    if close.contract_id != told.contract_id or close.side not in {None, told.side}:
        return False
    if close.quantity is None:
        return not close.claims
    return sum(contracts for _, contracts in close.claims) + told.quantity <= close.quantity


def counted_trades(book: Book, number: int) -> Iterator[BrokerTrade]:
    """Yield the trades of an order that count."""
    for trade_id in book.trades_of.get(number, ()):
        trade = book.trades[trade_id]
        if not trade.voided:
            yield trade
