"""No order of ours that could open or enlarge a position stays working when none may be taken on.

While a latch halts, and when the calendar says that positions have to be left soon.
"""

from collections.abc import Iterator

from backstop.core.book import Wake
from backstop.core.hours_kept import entry_barred
from backstop.core.policy import SECOND_NS
from backstop.core.step import Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.commands import CancelOrder
from backstop.domain.order import OrderState

CANCEL_AGAIN_NS = 2 * SECOND_NS
"""How long a cancel may take before it is asked for again."""


def cancel_entries_while_halted(work: Workbench) -> None:
    """Ask the venue to cancel our working entries; exits and protective legs stay."""
    book = work.book
    if not book.latches and not book.hours.no_entries and Wake.HALTING not in book.wakes:
        return
    book.woken(Wake.HALTING, work.now_ns)
    if not book.policy.sends:
        return
    for order, cause in _halted_entries(work):
        broker_order_id = order.broker_order_id
        unsure = order.state is OrderState.UNKNOWN or not order.is_shown
        if broker_order_id is None or unsure:
            continue  # what it is called will be another fact, and a look at it
        asked_ns = book.asked.get(broker_order_id)
        if asked_ns is None or work.now_ns >= asked_ns + CANCEL_AGAIN_NS:
            book.asked[broker_order_id] = asked_ns = work.now_ns
            work.commands.append(
                CancelOrder(
                    account_id=order.intent.account_id,
                    broker_order_id=broker_order_id,
                    reason=cause,
                )
            )
        book.wake(Wake.HALTING, asked_ns + CANCEL_AGAIN_NS)


def _halted_entries(work: Workbench) -> Iterator[tuple[TrackedOrder, str]]:
    """Yield every working entry that a latch or the calendar stops, with the cause."""
    book = work.book
    halts = [latch for latch in book.latches if latch.kind.halts]
    if not halts and not book.hours.no_entries:
        return
    for order in list(book.live_orders()):
        contract_id = order.intent.contract_id
        latched = (f"halted: {it.cause}" for it in halts if it.binds(contract_id))
        cause = next(latched, None) or entry_barred(book, contract_id)
        # A stop that is larger than its position for a moment must not be taken away whole.
        if cause is not None and order.role is None and not book.is_exit(order):
            yield order, cause
