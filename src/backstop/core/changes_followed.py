"""Follows the changes of resting orders: asked for, answered, shown, read (``asked_changes``).

An order counts at the smallest size that may come, until a read of late says what came.
"""

from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from backstop.core import asked_changes
from backstop.core.asked_changes import AskedChange
from backstop.core.book import AskedSize, Book
from backstop.core.order_moves import LATE_NS
from backstop.core.protection_levels import level_ticks
from backstop.core.step import Workbench
from backstop.core.tracked_order import TrackedOrder, final_quantity
from backstop.domain.events import Answer, ModifyAnswered


def change_asked(work: Workbench, client_order_id: str, change: AskedChange) -> None:
    """Keep with an order what the venue is asked to make of it now."""
    order = work.book.orders[client_order_id]
    before = 0 if order.change is None else order.change.unanswered
    change = replace(change, asked_ns=work.now_ns, unanswered=before + 1)
    work.keep(replace(order, change=change))
    if change.quantity is not None:
        _size_asked(work, order, change.quantity)


def change_answered(work: Workbench, event: ModifyAnswered) -> None:
    """Take what came back, and the venue's words."""
    order = work.book.orders.get(work.book.client_of_broker_id.get(event.broker_order_id, ""))
    if order is None or order.change is None:
        return
    change = asked_changes.answered(order.change, event.answer, event.message, now_ns=work.now_ns)
    work.keep(replace(order, change=change))
    change_shown(work, order.client_order_id)


def change_shown(work: Workbench, client_order_id: str) -> None:
    """Forget a change once the venue's row shows it, and every request for it was answered."""
    order = work.book.orders[client_order_id]
    change = order.change
    if change is None or change.unanswered or change.is_refused:
        return
    if order.is_terminal or _is_shown(work.book, order, change):
        work.keep(replace(order, change=None))


def size_answered(work: Workbench, event: ModifyAnswered) -> None:
    """Forget sizes that will not come; after silence they may, whatever a later one is told."""
    number, sizes = event.broker_order_id, work.book.asked_sizes
    held = sizes.get(number)
    if held is None:
        return
    if event.answer not in {Answer.NO, Answer.NOT_SENT}:
        known_after_ns = work.now_ns + LATE_NS
        sizes[number] = replace(held, may_come=True, known_after_ns=known_after_ns)
    elif not (held.may_come or _is_unanswered(work.book, number)):
        del sizes[number]


def changes_read(work: Workbench, listed: AbstractSet[int], *, sent_ns: int) -> None:
    """Believe a complete list of live orders, sent at ``sent_ns``, about what came of changes."""
    for order in list(work.book.live_orders()):
        change = order.change
        if change is None or order.broker_order_id not in listed:
            continue
        if asked_changes.is_known_by(change, sent_ns=sent_ns):
            work.keep(replace(order, change=None))
    _sizes_read(work, listed, sent_ns=sent_ns)


def changes_restarted(work: Workbench) -> None:
    """Wait for reads to show what an earlier process asked for."""
    for order in list(work.book.live_orders()):
        if order.change is not None or order.cut is not None:
            held = order.change
            change = None if held is None else asked_changes.restarted(held, now_ns=work.now_ns)
            work.keep(replace(order, change=change, cut=None))


def _size_asked(work: Workbench, order: TrackedOrder, quantity: int) -> None:
    """Count ``order`` at no more than ``quantity``, and at what was asked for before, if less."""
    number, sizes = order.broker_order_id or 0, work.book.asked_sizes
    held = sizes.get(number)
    under_way = order.change is not None and order.change.unanswered
    if held is None or (not under_way and final_quantity(order) <= held.quantity):
        sizes[number] = AskedSize(quantity=quantity, asked_ns=work.now_ns)
        return
    least = min(held.quantity, quantity)
    sizes[number] = replace(held, quantity=least, asked_ns=work.now_ns)


def _sizes_read(work: Workbench, listed: AbstractSet[int], *, sent_ns: int) -> None:
    """Believe a complete list of live orders, sent at ``sent_ns``, about their sizes."""
    sizes = work.book.asked_sizes
    for number in [it for it in sizes if it in listed]:
        held = sizes[number]
        unanswered = _is_unanswered(work.book, number)
        if held.may_come and sent_ns > held.known_after_ns and not unanswered:
            del sizes[number]


def _is_unanswered(book: Book, broker_order_id: int) -> bool:
    """Say whether an answer to a change of an order is still to come."""
    order = book.orders.get(book.client_of_broker_id.get(broker_order_id, ""))
    return order is not None and order.change is not None and order.change.unanswered > 0


def _is_shown(book: Book, order: TrackedOrder, change: AskedChange) -> bool:
    row, instrument = order.venue, book.instruments.get(order.intent.contract_id)
    if row is None:
        return False
    return (
        change.quantity in {None, row.quantity}
        and change.limit_ticks in {None, level_ticks(row.limit_price, instrument)}
        and change.stop_ticks in {None, level_ticks(row.stop_price, instrument)}
    )
