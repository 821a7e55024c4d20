"""What must be gone in time is taken away: resting entries first, then the position.

Before a session ends that nothing may be held over, and before a contract month ends. It is a close
like any other and latches nothing: the next session, or the next month, is open to entries again.
"""

from backstop.core.book import Book, Wake
from backstop.core.liquidation import Cause
from backstop.core.liquidation_register import joined, put_on_record, running
from backstop.core.market_hours import NEVER_US, look_again
from backstop.core.step import Tag, Workbench
from backstop.domain.commands import Severity
from backstop.domain.events import SessionsScheduled

CLOSER = "calendar"
"""Who asked for the close, for the record."""


def sessions_scheduled(work: Workbench, event: SessionsScheduled) -> None:
    """Know when markets trade; what follows is looked at within this step."""
    hours = work.book.hours
    hours.plan = event
    hours.changes_utc_us = 0
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
    if hours.no_position and book.policy.sends and book.recovered:
        for view in list(book.positions.values()):
            why = hours.no_position.get(view.contract_id)
            if why is not None and view.quantity:
                _close(work, view.contract_id, view.quantity, why)


def _close(work: Workbench, contract_id: str, quantity: int, why: str) -> None:
    cause = Cause(text=why, operator=CLOSER, utc_us=work.utc_us)
    run = running(work.book, contract_id)
    if run is None:
        run = put_on_record(work, cause, contract_id, latches=False)
        work.alert(
            Severity.WARNING,
            "POSITION_PAST_ITS_TIME",
            f"{quantity:+d} {contract_id} is being closed by {run.liquidation_id}: {why}.",
        )
    elif run.is_partial:
        # All of it has to go, whatever part was asked for.
        joined(work, run, cause, contract_id, latches=False)


def entry_barred(book: Book, contract_id: str) -> str | None:
    """Return why no entry in ``contract_id`` may stay at the venue; None while one may."""
    return book.hours.no_entries.get(contract_id) if book.policy.keeps_hours else None
