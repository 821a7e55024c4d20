"""Takes the account, or one contract, flat; ends only in proof, or calls a person and goes on.

The order of acts: the latch, durable before anything leaves; our entries, and in a liquidation
those of others, are cancelled; each position is closed with the venue's close call, which cannot
open one; its stop stays until it is proven closed; then every order that can still fill is
cancelled; then two fresh reads have to show nothing left. All of it is repeated with growing pauses
for as long as that proof is missing. The state is a fold over the record, so a new process goes on
where the old one stopped, after it has read what is true now.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from backstop.core.book import Wake
from backstop.core.closing import closes_after_restart, closes_looked_at, look_due_ns
from backstop.core.contract_end import try_again
from backstop.core.lifecycle import latched
from backstop.core.liquidation import (
    Cause,
    Liquidation,
    LiquidationState,
    Remaining,
    RemainingKind,
    pause_ns,
)
from backstop.core.liquidation_acts import act, act_once
from backstop.core.liquidation_again import begin_again
from backstop.core.liquidation_escalation import escalated
from backstop.core.liquidation_register import finished, joined, put_on_record, running
from backstop.core.liquidation_scope import (
    is_in_scope,
    open_quantity,
    remaining,
    unfinished,
    views,
)
from backstop.core.position_close import part_ended
from backstop.core.positions import SETTLE_NS
from backstop.core.step import Decision, DecisionKind, Tag, Workbench
from backstop.core.trading_state import Latch, LatchKind
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.events import (
    AccountAudited,
    Answer,
    Fact,
    LiquidationRequested,
    OrderLookedUp,
    PositionCloseAnswered,
    TimerFired,
)

READS_NEEDED = 2
"""Fresh reads in a row that must show nothing left before it is over."""

__all__ = ["advance", "begin", "liquidation_requested", "restarted", "unfinished"]


# -- how one begins ------------------------------------------------------------------------------


def liquidation_requested(work: Workbench, event: LiquidationRequested) -> None:
    """Take the account, or one contract, flat for somebody who asked."""
    try_again(work, event.contract_id)
    run = begin(work, cause=event.reason, operator=event.operator, contract_id=event.contract_id)
    work.decision = Decision(kind=DecisionKind.ACCEPTED, liquidation_id=run.liquidation_id)


def begin(
    work: Workbench,
    *,
    cause: str,
    operator: str,
    contract_id: str | None = None,
    latches: bool = True,
) -> Liquidation:
    """Begin to take flat what is asked for, or add the cause to the run that does it already.

    Args:
        work: the step it happens in; its first acts follow at the end of that step.
        cause: why, for people.
        operator: who asked, a person or a component.
        contract_id: one contract; None: the whole account.
        latches: False to close only: no latch, and the orders of others stay.
    """
    reason = Cause(text=cause, operator=operator, utc_us=work.utc_us)
    if latches:
        latched(
            work,
            Latch(
                kind=LatchKind.LIQUIDATION,
                contract_id=contract_id,
                cause=cause,
                operator=operator,
                utc_us=work.utc_us,
            ),
        )
    run = running(work.book, contract_id)
    if run is None:
        return put_on_record(work, reason, contract_id, latches=latches)
    return joined(work, run, reason, contract_id, latches=latches)


def restarted(work: Workbench) -> None:
    """Let every run begin anew in a new process: it reads first, and then goes on."""
    book = work.book
    closes_after_restart(work)
    for run in unfinished(book):
        book.liquidations[run.liquidation_id] = replace(
            run,
            begun_ns=work.now_ns,
            reads_first=True,
            moved_ns=work.now_ns,
            clear_reads=0,
            looks=0,
            read_due_ns=work.now_ns + SETTLE_NS,
            progress_ns=work.now_ns,
            escalated_ns=work.now_ns,
        )
        work.note(
            Tag.CRITICAL_SYSTEM,
            "liquidation_goes_on",
            liquidation_id=run.liquidation_id,
            state=str(run.state),
        )


# -- what every step does about it ---------------------------------------------------------------


def advance(work: Workbench, fact: Fact) -> None:
    """Take every unfinished run as far as ``fact`` and the time allow; called last in a step."""
    book = work.book
    begin_again(work)
    if not book.liquidating:
        return
    book.woken(Wake.LIQUIDATION, work.now_ns)
    if isinstance(fact, AccountAudited):
        closes_looked_at(work, fact)
    for run in unfinished(book):
        _advance(work, run, fact)
    if not book.liquidating:
        # Nobody would take the wake any more: the guard would be woken for it for ever.
        book.wakes.pop(Wake.LIQUIDATION, None)


def _advance(work: Workbench, run: Liquidation, fact: Fact) -> None:
    book, before = work.book, run.state
    if isinstance(fact, AccountAudited):
        run = _with_read(work, run, fact)
    else:
        run = _moved(work, run, fact)
    if book.policy.sends and not run.waits_for_read(work.now_ns):
        (act_once if run.is_partial else act)(work, run)
    left = remaining(book, run)
    end = part_ended(work, run) if run.is_partial else _proven(run)
    if end is not None:
        _over(work, finished(work, run, end))
        return
    run = _stated(_measured(work, run, left), left, now_ns=work.now_ns)
    run = escalated(work, run, left)
    book.liquidations[run.liquidation_id] = run
    if run.state is not before:
        _note_state(work, run, before)
    _schedule(work, run)


def _moved(work: Workbench, run: Liquidation, fact: Fact) -> Liquidation:
    """Note that something happened in the contracts of ``run``: what was read before is old."""
    if isinstance(fact, TimerFired | OrderLookedUp):
        return run
    answered = isinstance(fact, PositionCloseAnswered) and run.covers(fact.contract_id)
    if not answered and not any(run.covers(touched) for touched in work.touched_contracts):
        return run
    if answered and isinstance(fact, PositionCloseAnswered):
        run = replace(run, venue_said=fact.message if fact.answer is Answer.NO else "")
    # Soon, but ever less soon while nothing gets better: a read costs four of the venue's calls.
    soon_ns = work.now_ns + max(SETTLE_NS, pause_ns(run.looks) // 4)
    return replace(
        run, moved_ns=work.now_ns, clear_reads=0, read_due_ns=min(run.read_due_ns, soon_ns)
    )


def _with_read(work: Workbench, run: Liquidation, event: AccountAudited) -> Liquidation:
    """Weigh a read: two fresh complete ones that show nothing left are the proof."""
    run = replace(run, looks=run.looks + 1, read_due_ns=work.now_ns + _read_pause_ns(work, run))
    if event.positions is None or event.live_orders is None or event.sent_ns < run.begun_ns:
        return run
    run = replace(run, reads_first=False)
    if event.orders is None or event.trades is None or event.sent_ns <= run.moved_ns:
        return run
    if remaining(work.book, run) or _shows_something(work, run, event):
        return replace(run, clear_reads=0)
    if run.clear_reads and event.sent_ns < run.clear_ns + SETTLE_NS:
        return run
    return replace(
        run,
        clear_reads=run.clear_reads + 1,
        clear_ns=event.sent_ns,
        read_due_ns=work.now_ns + SETTLE_NS,
    )


def _read_pause_ns(work: Workbench, run: Liquidation) -> int:
    """Return the pause before the next read: short while it is all that a proof waits for."""
    closed = (view for view in views(work.book, run) if not open_quantity(work.book, view))
    if any(view.agreed_reads and not view.is_proven for view in closed):
        return SETTLE_NS
    return pause_ns(run.looks)


def _shows_something(work: Workbench, run: Liquidation, event: AccountAudited) -> bool:
    """Say whether the read itself lists something, whatever else was heard of it since."""
    positions, orders = event.positions or (), event.live_orders or ()
    return any(row.quantity and run.covers(row.contract_id) for row in positions) or any(
        row.status.is_live and is_in_scope(work.book, run, row) for row in orders
    )


# -- where it stands -----------------------------------------------------------------------------


def _proven(run: Liquidation) -> LiquidationState | None:
    return LiquidationState.FLAT if run.clear_reads >= READS_NEEDED else None


def _measured(work: Workbench, run: Liquidation, left: Sequence[Remaining]) -> Liquidation:
    """Note progress: fewer contracts, orders and doubts than there ever were."""
    count = sum(abs(it.quantity) or 1 for it in left)
    if run.least is not None and count >= run.least:
        return run
    return replace(run, least=count, progress_ns=work.now_ns, looks=0)


def _stated(run: Liquidation, left: Sequence[Remaining], *, now_ns: int) -> Liquidation:
    if run.waits_for_read(now_ns) or run.state is LiquidationState.ESCALATED:
        return run
    held = any(it.kind is RemainingKind.POSITION and it.quantity for it in left)
    return replace(run, state=LiquidationState.CLOSING if held else LiquidationState.VERIFYING)


def _schedule(work: Workbench, run: Liquidation) -> None:
    """Have the account read, and be woken to try again."""
    book, clock = work.book, work.book.audit
    book.wake(Wake.LIQUIDATION, work.now_ns + pause_ns(run.looks))
    looks_ns = [look_due_ns(it) for it in book.closes.values() if run.covers(it.contract_id)]
    # A look that was due already was taken and said nothing: the pauses of the run go for it.
    due_ns = min((it for it in looks_ns if it > work.now_ns), default=run.read_due_ns)
    due_ns = min(due_ns, run.read_due_ns)
    if not clock.requested_ns:
        clock.due_ns = min(clock.due_ns or due_ns, due_ns)


def _over(work: Workbench, run: Liquidation) -> None:
    if run.latches:
        work.alert(
            Severity.INFO,
            AlertCode.LIQUIDATION_FLAT,
            f"{run.liquidation_id}: two fresh reads show nothing left. Entries stay refused until "
            "a person resumes.",
        )


def _note_state(work: Workbench, run: Liquidation, before: LiquidationState) -> None:
    work.note(
        Tag.CRITICAL_SYSTEM,
        "liquidation_state",
        liquidation_id=run.liquidation_id,
        from_state=str(before),
        state=str(run.state),
    )
