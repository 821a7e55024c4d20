"""Follows the changes of resting orders: asked for, answered, shown, read (``asked_changes``)."""

from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from backstop.core import asked_changes
from backstop.core.asked_changes import AskedChange
from backstop.core.book import Book
from backstop.core.protection_levels import level_ticks
from backstop.core.step import Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.events import ModifyAnswered


def change_asked(work: Workbench, client_order_id: str, change: AskedChange) -> None:
    """Keep with an order what the venue is asked to make of it now."""
    order = work.book.orders[client_order_id]
    before = 0 if order.change is None else order.change.unanswered
    change = replace(change, asked_ns=work.now_ns, unanswered=before + 1)
    work.keep(replace(order, change=change))


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


def changes_read(work: Workbench, listed: AbstractSet[int], *, sent_ns: int) -> None:
    """Believe a complete list of live orders, sent at ``sent_ns``, about what came of changes."""
    for order in list(work.book.live_orders()):
        change = order.change
        if change is None or order.broker_order_id not in listed:
            continue
        if asked_changes.is_known_by(change, sent_ns=sent_ns):
            work.keep(replace(order, change=None))


def changes_restarted(work: Workbench) -> None:
    """Wait for reads to show what an earlier process asked for."""
    for order in list(work.book.live_orders()):
        if order.change is not None or order.cut is not None:
            held = order.change
            change = None if held is None else asked_changes.restarted(held, now_ns=work.now_ns)
            work.keep(replace(order, change=change, cut=None))


def _is_shown(book: Book, order: TrackedOrder, change: AskedChange) -> bool:
    row, instrument = order.venue, book.instruments.get(order.intent.contract_id)
    if row is None:
        return False
    return (
        change.quantity in {None, row.quantity}
        and change.limit_ticks in {None, level_ticks(row.limit_price, instrument)}
        and change.stop_ticks in {None, level_ticks(row.stop_price, instrument)}
    )
