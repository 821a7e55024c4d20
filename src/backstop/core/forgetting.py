"""What the book lets go of so that it stays small, and what it takes back.

With an archive behind it (``Policy.archives``) an order leaves soon after it is finished: once the
reads of the account no longer reach back to it, and FINISHED_KEPT newer ones are there. Without one
it stays as long as memory allows. Which of the two holds is written in the record, so a replay
forgets what the process of that time forgot.
"""

from collections.abc import Iterator

from backstop.core.account_rules.bookkeeping import trades_left
from backstop.core.book import ORDERS_KEPT, TRADES_KEPT, VENUE_ORDERS_KEPT, Book, VenueOrder
from backstop.core.order_trades import has_its_number, owner_of, trade_ids_of
from backstop.core.past import PastOrder, decoded_entry
from backstop.core.realised import realised
from backstop.core.step import Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.broker import BrokerTrade
from backstop.domain.events import PastRecalled

FINISHED_KEPT = 64
"""Finished orders of ours, and of others, that are held whatever their age: what people and bots
ask for again; each is a few kilobytes in every checkpoint."""

STILL_READ_US = 120_000_000
"""Reads go back a minute before the cursor; what is twice as old is in none of them any more."""

LOOKS_MAX = 8
"""Orders looked at in one step: two leave for each that comes, so the rest can wait."""


def forget_the_oldest(work: Workbench) -> tuple[PastOrder, ...]:
    """Keep the book small; returns what leaves it, for the archive."""
    book = work.book
    if not book.policy.archives:
        _keep_within_memory(book)
        return ()
    _line_up(work)
    return (*_leaving_orders(work), *_leaving_venue_orders(book), *_leaving_trades(book))


# -- with an archive -----------------------------------------------------------------------------


def _line_up(work: Workbench) -> None:
    """Put what finished in this step at the end of the line, and take out what is live again."""
    book = work.book
    for name in work.touched_orders:
        book.finished.pop(name, None)
        if name in book.orders and name not in book.live:
            book.finished[name] = None
    for number in work.touched_venue_orders:
        book.finished_venue.pop(number, None)
        if number in book.venue_orders and number not in book.live_venue:
            book.finished_venue[number] = None
    # A book that had no archive until now has nobody in line.
    if len(book.finished) + len(book.live) != len(book.orders):
        book.finished = dict.fromkeys(name for name in book.orders if name not in book.live)
    if len(book.finished_venue) + len(book.live_venue) != len(book.venue_orders):
        book.finished_venue = dict.fromkeys(
            number for number in book.venue_orders if number not in book.live_venue
        )


def _leaving_orders(work: Workbench) -> Iterator[PastOrder]:
    book = work.book
    for _ in range(LOOKS_MAX):
        if len(book.finished) <= FINISHED_KEPT:
            return
        name = next(iter(book.finished))
        if name in work.touched_orders:
            return  # its proof and its row are still to be made, and those after it are newer
        order = book.orders[name]
        if _is_young(book, PastOrder(order=order, trades=order.fills)):
            return
        legs = tuple(it for it in book.venue_orders.values() if it.owner == name)
        past = PastOrder(order=order, venue_orders=legs, trades=_trades(book, order, legs))
        if _is_in_use(book, order, legs) or _is_young(book, past):
            # Look at the others first: a position can be held by the legs of one entry for days.
            del book.finished[name]
            book.finished[name] = None
        else:
            _drop(book, past)
            yield past


def _leaving_venue_orders(book: Book) -> Iterator[PastOrder]:
    for _ in range(LOOKS_MAX):
        if len(book.finished_venue) <= FINISHED_KEPT:
            return
        number = next(iter(book.finished_venue))
        held = book.venue_orders[number]
        past = PastOrder(venue_orders=(held,), trades=_trades(book, None, (held,)))
        if held.owner in book.orders:
            # A leg leaves together with its entry.
            del book.finished_venue[number]
            book.finished_venue[number] = None
        elif _is_young(book, past):
            return
        else:
            _drop(book, past)
            yield past


def _leaving_trades(book: Book) -> Iterator[PastOrder]:
    """Let go of trades of orders that were never shown to us, when there are very many."""
    for _ in range(len(book.trades) - TRADES_KEPT):
        trade = book.trades[next(iter(book.trades))]
        number = trade.broker_order_id
        known = number in book.client_of_broker_id or number in book.venue_orders
        if known or trade.trade_id in book.kept_trades:
            book.trades.move_to_end(trade.trade_id)
            continue
        others = tuple(it for it in book.trades_of.pop(number) if it != trade.trade_id)
        past = PastOrder(trades=(trade,))
        _drop(book, past)
        if others:
            book.trades_of[number] = others
        yield past


def _is_in_use(book: Book, order: TrackedOrder, legs: tuple[VenueOrder, ...]) -> bool:
    """Say whether something is still expected of a finished order, or of its legs."""
    return order.lacks_trades or any(leg.row.broker_order_id in book.live_venue for leg in legs)


def _trades(
    book: Book, order: TrackedOrder | None, legs: tuple[VenueOrder, ...]
) -> tuple[BrokerTrade, ...]:
    """Return the trades of an order and its legs; a venue may have given its number to another."""
    numbers = [leg.row.broker_order_id for leg in legs]
    ids: dict[int, None] = {}
    if order is not None:
        ids = dict.fromkeys(trade_ids_of(book, order))
    for number in numbers:
        ids |= dict.fromkeys(book.trades_of.get(number, ()))
    return tuple(book.trades[trade_id] for trade_id in ids if trade_id in book.trades)


def _is_young(book: Book, past: PastOrder) -> bool:
    """Say whether reads of the account may still show it, while there is room for it."""
    if len(book.orders) > ORDERS_KEPT or len(book.venue_orders) > VENUE_ORDERS_KEPT:
        return False
    return _newest_us(past) >= book.audit.cursor_utc_us - STILL_READ_US


def _newest_us(past: PastOrder) -> int:
    """Return the time of the newest thing that is known of it: the venue's, and ours."""
    rows = [held.row for held in past.venue_orders]
    times = [trade.created_utc_us for trade in past.trades]
    if past.order is not None:
        times.append(past.order.requested_utc_us)
        times.extend(it.utc_us for it in past.order.transitions[-1:])
        rows.extend(() if past.order.venue is None else (past.order.venue,))
    times.extend(max(row.created_utc_us, row.updated_utc_us) for row in rows)
    return max(times)


def _drop(book: Book, past: PastOrder) -> None:
    order = past.order
    numbers = [held.row.broker_order_id for held in past.venue_orders]
    for number in numbers:
        del book.venue_orders[number]
        book.finished_venue.pop(number, None)
    if order is not None:
        del book.orders[order.client_order_id]
        del book.finished[order.client_order_id]
        book.orders_forgotten += 1
        if book.client_of_tag.get(order.custom_tag) == order.client_order_id:
            del book.client_of_tag[order.custom_tag]
        if order.broker_order_id is not None and has_its_number(book, order):
            numbers.append(order.broker_order_id)
            del book.client_of_broker_id[order.broker_order_id]
    for number in numbers:
        book.trades_of.pop(number, None)
        book.forgotten_order_id = max(book.forgotten_order_id or number, number)
    book.past_result += realised(past.trades)
    trades_left(book.account_rules, past.trades)
    for trade in past.trades:
        del book.trades[trade.trade_id]
        book.kept_trades.pop(trade.trade_id, None)
        book.forgotten_trade_id = max(book.forgotten_trade_id or trade.trade_id, trade.trade_id)


def past_recalled(work: Workbench, event: PastRecalled) -> None:
    """Take back what the archive gave; what is held already is newer and stays."""
    book = work.book
    for text in event.entries:
        _take_back(book, decoded_entry(text))
    for trade_id in event.new_trades:
        if trade_id not in book.trades:
            book.new_trades[trade_id] = None


def _take_back(book: Book, past: PastOrder) -> None:
    order = past.order
    if order is not None and order.client_order_id not in book.orders:
        book.orders[order.client_order_id] = order
        book.finished[order.client_order_id] = None
        if order.custom_tag:
            book.client_of_tag[order.custom_tag] = order.client_order_id
        if order.broker_order_id is not None:
            # A number that the venue gave to another order since is that one's.
            book.client_of_broker_id.setdefault(order.broker_order_id, order.client_order_id)
    for held in past.venue_orders:
        if held.row.broker_order_id not in book.venue_orders:
            book.venue_orders[held.row.broker_order_id] = held
            book.finished_venue[held.row.broker_order_id] = None
    for trade in past.trades:
        if trade.trade_id not in book.trades:
            book.past_result -= realised((trade,))
            trades_left(book.account_rules, (trade,), back=True)
            book.trades[trade.trade_id] = trade
            of_order = order is not None and trade.broker_order_id == order.broker_order_id
            if order is not None and of_order and not has_its_number(book, order):
                book.kept_trades[trade.trade_id] = order.client_order_id
                continue
            others = book.trades_of.get(trade.broker_order_id, ())
            book.trades_of[trade.broker_order_id] = (*others, trade.trade_id)


# -- without one ---------------------------------------------------------------------------------


def _keep_within_memory(book: Book) -> None:
    """Let finished orders and old trades go when there are very many; the journal keeps them."""
    while len(book.orders) > ORDERS_KEPT:
        oldest = next((name for name in book.orders if name not in book.live), None)
        if oldest is None:
            break
        order = book.orders.pop(oldest)
        book.orders_forgotten += 1
        book.client_of_tag.pop(order.custom_tag, None)
        if has_its_number(book, order):
            book.client_of_broker_id.pop(order.broker_order_id or 0, None)
    while len(book.venue_orders) > VENUE_ORDERS_KEPT:
        oldest_id = next((key for key in book.venue_orders if key not in book.live_venue), None)
        if oldest_id is None:
            break
        del book.venue_orders[oldest_id]
    for _ in range(len(book.trades) - TRADES_KEPT):
        _forget_trade(book, next(iter(book.trades)))


def _forget_trade(book: Book, trade_id: int) -> None:
    trade = book.trades[trade_id]
    if owner_of(book, trade) is not None:
        # Its order is still held, and is made of its trades: look at it again a round later.
        book.trades.move_to_end(trade_id)
        return
    del book.trades[trade_id]
    book.kept_trades.pop(trade_id, None)
    told = book.trades_of.pop(trade.broker_order_id, ())
    others = tuple(it for it in told if it != trade_id)
    if others:
        book.trades_of[trade.broker_order_id] = others
    # The venue numbers its trades upwards: what is older than this one was counted.
    book.forgotten_trade_id = max(book.forgotten_trade_id or trade_id, trade_id)
