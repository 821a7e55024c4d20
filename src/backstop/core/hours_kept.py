"""What must be gone in time is taken away: resting entries first, then the position.

Before a session ends that nothing may be held over, and before a contract month ends. It is a close
like any other and latches nothing: the next session, or the next month, is open to entries again.
"""

from backstop.core.book import Book, Wake
from backstop.core.liquidation import Cause
from backstop.core.liquidation_register import joined, put_on_record, running
from backstop.core.market_hours import NEVER_US, look_again, take
from backstop.core.step import Tag, Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.events import SessionsScheduled

CLOSER = "calendar"
"""Who asked for the close, for the record."""


def sessions_scheduled(work: Workbench, event: SessionsScheduled) -> None:
    """Know when markets trade; what follows is looked at within this step."""
    take(work.book.hours, event)
    work.note(
        Tag.CRITICAL_SYSTEM,
        "sessions_scheduled",
        sessions=len(event.sessions),
        contract_ends=len(event.contract_ends),
    )


def keep_hours(work: Workbench) -> None:
    """Close what may not be held any longer; ``halting`` cancels the entries meanwhile."""
    book = work.book
    hours = book.hours
    if hours.plan is None or not book.policy.keeps_hours:
        return
    woken = book.woken(Wake.HOURS, work.now_ns)
    if woken or work.utc_us >= hours.changes_utc_us:
        look_again(hours, book.instruments.values(), work.utc_us)
        if hours.changes_utc_us < NEVER_US:
            book.wake(Wake.HOURS, work.now_ns + (hours.changes_utc_us - work.utc_us) * 1000)
    if not book.recovered or not (hours.no_position or hours.held_over):
        return
    for view in [it for it in book.positions.values() if it.quantity]:
        why = hours.no_position.get(view.contract_id)
        if why is not None and book.policy.sends:
            _close(work, view.contract_id, view.quantity, why)
        if hours.held_over.get(view.contract_id) is False:
            hours.held_over[view.contract_id] = True
            _tell_held_over(work, view.contract_id, view.quantity)


def _close(work: Workbench, contract_id: str, quantity: int, why: str) -> None:
    cause = Cause(text=why, operator=CLOSER, utc_us=work.utc_us)
    run = running(work.book, contract_id)
    if run is None:
        run = put_on_record(work, cause, contract_id, latches=False)
        work.alert(
            Severity.WARNING,
            AlertCode.POSITION_PAST_ITS_TIME,
            f"{quantity:+d} {contract_id} is being closed by {run.liquidation_id}: {why}.",
        )
    elif run.is_partial:
        # All of it has to go, whatever part was asked for.
        joined(work, run, cause, contract_id, latches=False)


def _tell_held_over(work: Workbench, contract_id: str, quantity: int) -> None:
    if running(work.book, contract_id) is not None:
        return  # it is being closed, which tells by itself that the market does not take it
    work.alert(
        Severity.CRITICAL,
        AlertCode.POSITION_HELD_OVER,
        f"{quantity:+d} {contract_id} is held over the close of its session, which FLAT_BY does "
        "not permit: nobody closed it in time. The market is closed; its stops stay. Decide "
        "whether it is to be closed when the market opens.",
    )


def entry_barred(book: Book, contract_id: str) -> str | None:
    """Return why no entry in ``contract_id`` may stay at the venue; None while one may."""
    return book.hours.no_entries.get(contract_id) if book.policy.keeps_hours else None
