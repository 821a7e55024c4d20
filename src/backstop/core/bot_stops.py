"""Says of a bot that trades by itself that a position of it had no stop in time."""

from backstop.core.policy import MILLISECOND_NS
from backstop.core.protection_situation import Situation
from backstop.core.step import Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.denial import DenialCode


def tell_no_stop_in_time(work: Workbench, now: Situation) -> None:
    """Name the order that put contracts into a position and brought no stop for them.

    Only where a stop is required; what the guard does about the position is told by that itself.
    """
    book = work.book
    if not book.policy.is_drop_copy or not book.policy.stop_required:
        return
    if not now.is_naked or now.record.repairs:
        return  # it was told of this position
    trade = book.trades.get(now.record.newest_trade_id)
    if trade is None or trade.side.sign != now.record.sign:
        return
    if trade.broker_order_id not in book.external.foreign:
        return
    naked_ms = (work.now_ns - now.view.naked_since_ns) // MILLISECOND_NS
    work.alert(
        Severity.WARNING,
        AlertCode.ORDER_OUTSIDE_LIMITS,
        f"{DenialCode.STOP_REQUIRED}: {now.quantity - now.covered} of {now.view.quantity:+d} "
        f"{book.symbol_of(now.contract_id)} have no working stop {naked_ms} ms after order "
        f"{trade.broker_order_id} has filled.",
    )
