"""Closes a position, or a part of it, for a bot: no latch, never the other side.

A full close is a run like a liquidation, of one contract and without its latch. A part is asked for
once: what may have been closed is never asked for again, for more than was wanted would go.
"""

from backstop.core.book import Book
from backstop.core.closing import is_executing
from backstop.core.contract_end import try_again
from backstop.core.entry_gate import gate_denial
from backstop.core.fills_to_come import held_by_any_word
from backstop.core.liquidation import Cause, CloseAttempt, Liquidation, LiquidationState
from backstop.core.liquidation_register import joined, put_on_record, running
from backstop.core.liquidation_scope import open_quantity
from backstop.core.positions import SNAPSHOT_LAG_NS
from backstop.core.step import Decision, DecisionKind, Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import ClosePosition, Severity
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.events import Answer, CloseRequested
from backstop.domain.numbers import count_text


def close_requested(work: Workbench, event: CloseRequested) -> None:
    """Close all of a position, or ``quantity`` contracts, for somebody who asked."""
    book = work.book
    try_again(work, event.contract_id)
    cause = Cause(text=event.reason, operator=event.operator, utc_us=event.utc_us)
    run = running(book, event.contract_id) if book.policy.sends else None
    if run is not None and (event.quantity is None or not run.is_partial):
        # All of it goes, whatever part was asked for.
        _accept(work, joined(work, run, cause, event.contract_id, latches=False))
        return
    view = book.position(event.contract_id)
    held = held_by_any_word(book, view)
    closable = max(0, abs(held) - book.open_exits(event.contract_id, held))
    gate = gate_denial(book.policy)
    if event.quantity is not None and event.quantity > closable:
        _refuse(work, event, _beyond(event.quantity, closable, held))
    elif gate is not None:
        _refuse(work, event, gate)
    elif run is not None:
        message = f"{run.liquidation_id} is closing a part of the position; ask again after it"
        work.decision = Decision(kind=DecisionKind.NOT_POSSIBLE, message=message)
    elif not held and view.is_proven:
        work.decision = Decision(kind=DecisionKind.ACCEPTED, message="it is flat already")
    elif event.quantity is None or event.quantity == abs(held):
        _accept(work, put_on_record(work, cause, event.contract_id, latches=False))
    else:
        keep = closable - event.quantity
        run = put_on_record(
            work, cause, event.contract_id, latches=False, quantity=event.quantity, keep=keep
        )
        _accept(work, run)


def part_ended(work: Workbench, run: Liquidation) -> LiquidationState | None:
    """Return DONE once nothing more comes of the request; None while something may."""
    book, contract_id = work.book, run.contract_id or ""
    attempt, view = book.closes.get(contract_id), book.position(contract_id)
    under_way = attempt is not None and attempt.may_be_filling
    if not under_way and view.is_proven and abs(held_by_any_word(book, view)) <= run.keep:
        return LiquidationState.DONE  # it was closed, by whomever
    if attempt is None:
        return None
    if attempt.needs_look or attempt.is_refused_for_now or attempt.answer is Answer.NOT_SENT:
        return None
    if any(is_executing(book, row) for row in book.working_rows(contract_id)):
        return None
    if _may_be_done_unseen(book, attempt):
        return None
    _tell_incomplete(work, run, attempt)
    return LiquidationState.DONE


def _may_be_done_unseen(book: Book, attempt: CloseAttempt) -> bool:
    """Say whether it may have closed more than any trade shows: pictures lag behind.

    Whoever was told that it did nothing would ask again, and an exit of all that is believed to be
    held would open the other side.
    """
    if attempt.answer is Answer.NO or not book.left_of(attempt):
        return False
    differs = book.position(attempt.contract_id).differing is not None
    return differs or book.audit.complete_sent_ns < attempt.answered_ns + SNAPSHOT_LAG_NS


def _tell_incomplete(work: Workbench, run: Liquidation, attempt: CloseAttempt) -> None:
    now = open_quantity(work.book, work.book.position(attempt.contract_id))
    if abs(now) <= abs(attempt.quantity) - attempt.wanted:
        return
    work.alert(
        Severity.WARNING,
        AlertCode.CLOSE_INCOMPLETE,
        f"{run.liquidation_id} was to close {attempt.wanted} of {attempt.quantity:+d} "
        f"{attempt.contract_id}; the position is {now:+d}. The request was answered "
        f"{attempt.answer} and is not repeated: ask again for what is still wanted.",
    )


def _beyond(quantity: int, closable: int, position: int) -> Denial:
    return Denial.of_quantity(
        DenialCode.POSITION_FLIP,
        f"{quantity} is more than the {count_text(closable, 'contract')} that can still close the "
        f"position of {position:+d}",
        quantity=quantity,
        passes=closable,
    )


def _accept(work: Workbench, run: Liquidation) -> None:
    work.decision = Decision(kind=DecisionKind.ACCEPTED, liquidation_id=run.liquidation_id)


def _refuse(work: Workbench, event: CloseRequested, denial: Denial) -> None:
    planned = ClosePosition(
        account_id=work.book.policy.account_id,
        contract_id=event.contract_id,
        quantity=event.quantity,
        reason=event.reason,
    )
    only_the_gate = denial.code is not DenialCode.POSITION_FLIP
    work.decision = Decision(
        kind=DecisionKind.REFUSED,
        denials=(denial,),
        would_send=(planned,) if only_the_gate else (),
    )
