"""Orders that somebody else sends and wants verified: followed like ours, never placed by us.

A bot that places its own orders names each one here before it leaves (by the tag under which the
venue will show it) or after it left (by the venue's number). From then on there is no difference:
it counts at its worst case, is looked up while nothing is heard of it, and only two complete reads
prove that it never arrived.
"""

from collections.abc import Iterator
from decimal import Decimal

from msgspec.structs import replace

from backstop.core.book import Book
from backstop.core.clock_readings import earliest_us
from backstop.core.evidence import apply_order_step
from backstop.core.execution_verification import numbered, registered
from backstop.core.order_evidence import book_order_row
from backstop.core.order_numbers import number_faults, off_tick_faults, on_the_tick
from backstop.core.pre_trade import remember_entry
from backstop.core.same_wish import registered_otherwise
from backstop.core.sender_warning import sender_warning
from backstop.core.step import Decision, DecisionKind, Workbench
from backstop.core.tracked_order import TrackedOrder, is_of
from backstop.core.trade_evidence import recount_trades
from backstop.core.wishes import reference_price
from backstop.domain.broker import BrokerOrder
from backstop.domain.events import OrderRegistered
from backstop.domain.instrument import Instrument
from backstop.domain.order import TAG_PREFIX, OrderIntent, OrderType

TAG_LENGTH_MAX = 128
"""The venue's own limit is not published; UUIDs with a prefix and the suffix of a leg are far
shorter, and what is longer than this is no tag."""


def order_registered(work: Workbench, event: OrderRegistered) -> None:
    """Follow an order from now on; whatever the venue has told about it already counts."""
    book, request = work.book, event.request
    held = book.orders.get(request.client_order_id)
    if held is not None:
        _registered_again(work, held, event)
        return
    instrument = book.instrument_for(request.symbol)
    if instrument is None:
        work.decision = Decision(
            kind=DecisionKind.UNKNOWN_SYMBOL, message=f"no contract goes by {request.symbol}"
        )
        return
    denials = number_faults(request, instrument) or off_tick_faults(request, instrument)
    if denials:
        work.decision = Decision(kind=DecisionKind.REFUSED, denials=denials)
        return
    intent = on_the_tick(request, instrument, book.policy)
    order = TrackedOrder(
        request=request,
        intent=intent,
        custom_tag=event.custom_tag or "",
        registered=True,
        broker_order_id=event.broker_order_id,
        reference_price=_measured_from(event, intent, instrument),
        requested_utc_us=work.utc_us,
        venue_from_us=earliest_us(work),
    )
    work.decision = _unusable(event) or _taken(book, order)
    if work.decision is not None:
        return
    if order.custom_tag:
        book.client_of_tag[order.custom_tag] = order.client_order_id
    apply_order_step(work, registered(order, utc_us=work.utc_us, now_ns=work.now_ns))
    _catch_up(work, order.client_order_id)
    kept = book.orders[order.client_order_id]
    if not book.is_exit(kept):
        remember_entry(book, request, work.now_ns)
    work.decision = Decision(
        kind=DecisionKind.ACCEPTED,
        order=kept,
        trading_state=book.trading_state(work.now_ns, kept.intent.contract_id),
        message=sender_warning(work, kept, event),
    )


def _measured_from(
    event: OrderRegistered, intent: OrderIntent, instrument: Instrument
) -> Decimal | None:
    """Return what its fills are measured from, in points; None when that is UNKNOWN.

    The quote of now says nothing of an order that has its number already: it was sent before, and
    what the market was then is kept nowhere.
    """
    if intent.type is OrderType.MARKET and event.broker_order_id is not None:
        return None
    return reference_price(intent, instrument, event.reference)


def _registered_again(work: Workbench, held: TrackedOrder, event: OrderRegistered) -> None:
    """Answer a repeat; the number that the venue gave since is taken along."""
    number = event.broker_order_id
    work.decision = registered_otherwise(held, event)
    if work.decision is not None:
        return
    if number is not None and held.broker_order_id is None:
        work.decision = _taken(work.book, replace(held, broker_order_id=number))
        if work.decision is not None:
            return
        step = numbered(held, broker_order_id=number, utc_us=work.utc_us, now_ns=work.now_ns)
        apply_order_step(work, step)
        _catch_up(work, held.client_order_id)
    kept = work.book.orders[held.client_order_id]
    work.decision = Decision(
        kind=DecisionKind.REPEATED,
        order=kept,
        trading_state=work.book.trading_state(work.now_ns, kept.intent.contract_id),
        message=sender_warning(work, kept, event),
    )


def _catch_up(work: Workbench, client_order_id: str) -> None:
    """Book what the venue told before anybody said whose order it is."""
    book = work.book
    for row in _rows_of(book, book.orders[client_order_id]):
        book_order_row(work, row)
    recount_trades(work, book.orders[client_order_id], cause="trades of the order")


def _rows_of(book: Book, order: TrackedOrder) -> list[BrokerOrder]:
    """Return what is held of the venue's orders with the number or the tag of ``order``."""
    if order.broker_order_id is not None:
        held = book.venue_orders.get(order.broker_order_id)
        return [] if held is None else [held.row]
    tag = order.custom_tag
    return [held.row for held in book.venue_orders.values() if held.row.custom_tag == tag]


# -- refusals ------------------------------------------------------------------------------------


def _unusable(event: OrderRegistered) -> Decision | None:
    """Return why an order cannot be told by what was given; None when it can."""
    tag, message = event.custom_tag, ""
    if not tag and event.broker_order_id is None:
        message = (
            "neither a tag nor the venue's number was given: without one of them its rows and "
            "trades cannot be told from those of others"
        )
    elif tag and tag.startswith(TAG_PREFIX):
        message = (
            f"tags that begin with {TAG_PREFIX} are given by Backstop to the orders that it "
            "places; give this one another tag"
        )
    elif tag and (len(tag) > TAG_LENGTH_MAX or tag != tag.strip()):
        message = (
            f"a tag has at most {TAG_LENGTH_MAX} characters and no white space around it; this "
            f"one has {len(tag)} characters"
        )
    return Decision(kind=DecisionKind.NOT_POSSIBLE, message=message) if message else None


def _taken(book: Book, order: TrackedOrder) -> Decision | None:
    """Return why the tag or the number of ``order`` is that of another one; None when it is not."""
    message = next(_other_owners(book, order), "")
    return Decision(kind=DecisionKind.CONFLICT, message=message) if message else None


def _other_owners(book: Book, order: TrackedOrder) -> Iterator[str]:
    name, tag, number = order.client_order_id, order.custom_tag, order.broker_order_id
    owner = book.client_of_tag.get(tag, name)
    if owner != name:
        yield f"tag {tag} belongs to order {owner}"
    owner = book.client_of_broker_id.get(number or 0, name)
    if owner != name:
        yield f"order {number} of the venue is order {owner}"
    for row in _rows_of(book, order):
        told = f"order {row.broker_order_id} of the venue"
        leg = book.venue_orders[row.broker_order_id]
        if leg.owner is not None:
            yield f"{told} is the {leg.role} of order {leg.owner}"
        if not is_of(order, row.contract_id, row.side):
            yield f"{told} is {row.side} {row.quantity} {row.contract_id}"
        if tag and row.custom_tag not in {None, tag}:
            yield f"{told} has the tag {row.custom_tag}"
    for trade_id in book.trades_of.get(number or 0, ()):
        trade = book.trades[trade_id]
        if not is_of(order, trade.contract_id, trade.side):
            yield f"order {number} of the venue has traded {trade.side} {trade.contract_id}"
