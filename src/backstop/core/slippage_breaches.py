"""Counts executions outside the tolerance, and reduces when there are too many in one session.

An order is judged when its evidence is complete and again whenever that changes, so it counts once,
and a trade that the venue takes back takes its breach back as well. The latch that the count put
on stays: a person lifts it.
"""

from backstop.core.execution_verification import Verdict, Verification, verify
from backstop.core.lifecycle import MACHINE, latched
from backstop.core.step import Tag, Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.core.trading_state import Latch, LatchKind
from backstop.domain.commands import Severity
from backstop.domain.numbers import plain

BREACHES_KEPT = 1000
"""Breaches that are remembered: as many as the setting can ask for before it reduces."""


def count_breaches(work: Workbench) -> None:
    """Judge every order of ours that this event changed."""
    for client_order_id in work.touched_orders:
        order = work.book.orders[client_order_id]
        counted = client_order_id in work.book.breaches
        if counted or order.is_terminal:
            _judge(work, order, counted=counted)


def _judge(work: Workbench, order: TrackedOrder, *, counted: bool) -> None:
    book = work.book
    # What was filled is all that is expected: the rest of a cancelled order has no price.
    verification = verify(
        order,
        book.instruments[order.intent.contract_id],
        expected_quantity=order.filled_quantity,
        max_slippage_ticks=book.policy.max_slippage_ticks,
    )
    breach = verification.verdict is Verdict.BREACH
    if breach and not counted:
        book.breaches[order.client_order_id] = book.trade_date
        if len(book.breaches) > BREACHES_KEPT:
            del book.breaches[next(iter(book.breaches))]
        _tell(work, order, verification)
    elif counted and not breach:
        del book.breaches[order.client_order_id]
        work.note(Tag.TRADE, "slippage_breach_taken_back", client_order_id=order.client_order_id)


def _tell(work: Workbench, order: TrackedOrder, verification: Verification) -> None:
    book, intent = work.book, order.intent
    count = sum(trade_date == book.trade_date for trade_date in book.breaches.values())
    limit = book.policy.slippage_breaches_to_reduce
    reference = order.reference_price
    measured = "" if reference is None else f", measured from {plain(reference):f}"
    work.alert(
        Severity.WARNING,
        "SLIPPAGE_BREACH",
        f"{intent.side} {order.filled_quantity} {intent.symbol} ({order.client_order_id}) was "
        f"{verification.reason}{measured}. Breach {count} of this session; at {limit} only exits "
        "pass.",
    )
    if count < limit or any(latch.kind is LatchKind.SLIPPAGE for latch in book.latches):
        return
    cause = (
        f"{count} executions with more than {plain(book.policy.max_slippage_ticks):f} adverse "
        f"ticks in one session, {limit} are allowed for"
    )
    latch = Latch(kind=LatchKind.SLIPPAGE, cause=cause, operator=MACHINE, utc_us=work.utc_us)
    if latched(work, latch):
        work.alert(
            Severity.CRITICAL,
            "SLIPPAGE_REDUCING",
            f"Entries are refused: {cause}. Exits pass. Look at the market and at the orders, "
            "then resume with a name and a reason.",
        )
