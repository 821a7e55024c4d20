"""While a latch holds, no order of ours that could open or enlarge a position stays working."""

from backstop.core.policy import SECOND_NS
from backstop.core.step import Workbench
from backstop.domain.commands import CancelOrder
from backstop.domain.order import OrderState

CANCEL_AGAIN_NS = 2 * SECOND_NS
"""How long a cancel may take before it is asked for again."""


def cancel_entries_while_halted(work: Workbench) -> None:
    """Ask the venue to cancel our working entries; exits and protective legs stay."""
    book = work.book
    halt = next((latch for latch in book.latches if latch.kind.halts), None)
    if halt is None or not book.policy.sends:
        return
    for order in list(book.live_orders()):
        broker_order_id = order.broker_order_id
        if broker_order_id is None or order.state is OrderState.UNKNOWN or book.is_exit(order):
            continue
        asked_ns = book.asked.get(broker_order_id)
        if asked_ns is not None and work.now_ns - asked_ns < CANCEL_AGAIN_NS:
            continue
        book.asked[broker_order_id] = work.now_ns
        work.commands.append(
            CancelOrder(
                account_id=order.intent.account_id,
                broker_order_id=broker_order_id,
                reason=f"halted: {halt.cause}",
            )
        )
