"""Books a position: what the hub pushed, and what a complete read says."""

from backstop.core import positions
from backstop.core.book import FIRST_LOOK_BACK_US
from backstop.core.clock_readings import now_us, read_span, snapshot_span
from backstop.core.closed_untraded import closed_untraded
from backstop.core.evidence import (
    ask_for_audit,
    is_foreign_account,
)
from backstop.core.policy import SECOND_NS
from backstop.core.step import Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerPosition
from backstop.domain.commands import Severity


def book_position_row(work: Workbench, row: BrokerPosition) -> None:
    """Book a position row that the hub pushed."""
    book = work.book
    if is_foreign_account(work, row.account_id):
        return
    late = read_span(work, work.now_ns - positions.LATE_ROW_NS)
    view = positions.after_row(
        book.position(row.contract_id),
        row.quantity,
        row.average_price,
        now_ns=work.now_ns,
        has_until_utc_us=0 if late is None else late.earliest_us,
    )
    book.positions[row.contract_id] = view
    work.touched_contracts[row.contract_id] = None
    if not view.is_agreed:
        # Its trade is on the way, or lost: read the account once it had time to settle.
        ask_for_audit(work)


def book_position_read(
    work: Workbench, contract_id: str, row: BrokerPosition | None, *, sent_ns: int
) -> None:
    """Weigh what a complete read says of one contract; no row is one reading of flat."""
    book = work.book
    held = book.position(contract_id)
    view, delta = positions.after_read(
        held,
        0 if row is None else row.quantity,
        None if row is None else row.average_price,
        sent_ns=sent_ns,
        taken=snapshot_span(work, sent_ns),
        closed=closed_untraded(book, held),
    )
    if view.in_question:
        look_ns, clock = view.taken_ns + positions.LATER_NS, book.audit
        clock.due_ns = min(clock.due_ns or look_ns, look_ns)
    if not view.is_settled and (view.differing is not None or not view.in_question):
        lags_to_ns = view.evidence_ns + positions.SNAPSHOT_LAG_NS
        ask_for_audit(work, from_ns=0 if view.differing is None else lags_to_ns)
    if view == held:
        return
    book.positions[contract_id] = view
    work.touched_contracts[contract_id] = None
    if delta:
        book.counters.adjustments += 1
        if not _gives_back(held, delta):
            work.adjustments[contract_id] = delta
        work.alert(
            Severity.CRITICAL,
            AlertCode.POSITION_ADJUSTED,
            f"Two fresh reads say {view.quantity:+d} {contract_id} and the trades we know add up "
            f"to {view.quantity - delta:+d}: {_believed(view)}",
        )
        _look_for_trades_taken_back(work)


def _gives_back(held: positions.PositionView, delta: int) -> bool:
    """Say whether reads show again what reads alone had taken away: nobody has traded."""
    return held.taken * delta > 0 and abs(delta) <= abs(held.taken)


def _believed(view: positions.PositionView) -> str:
    if not view.in_question:
        return "the broker is believed."
    return (
        "no trade, event or order says the same. Its stops stay, and entries wait, until a read "
        f"{positions.LATER_NS // SECOND_NS} s later does."
    )


def _look_for_trades_taken_back(work: Workbench) -> None:
    """Read a day back: a trade that was missed is young, one that was taken back may be old."""
    audit, since_us = work.book.audit, now_us(work) - FIRST_LOOK_BACK_US
    audit.reach_back_utc_us = min(audit.reach_back_utc_us or since_us, since_us)
    ask_for_audit(work)
