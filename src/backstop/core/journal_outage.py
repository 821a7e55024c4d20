"""While the disk takes no record: no new exposure, and a person is told; exits go on.

The book learns of it by facts like all others. They are kept in order with the rest of the outage
and are written with it, so the record tells when it stood still and why.
"""

from backstop.core.cancels_followed import cancels_unheld
from backstop.core.catastrophe import declare
from backstop.core.step import Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.events import JournalFailed, JournalRecovered, StateFileFailed
from backstop.domain.utc import utc_text

DECISIONS_LOST = "decisions of an outage of the disk are missing from the record"


def journal_changed(work: Workbench, event: JournalFailed | JournalRecovered) -> None:
    """Refuse entries while nothing becomes durable."""
    match event:
        case JournalFailed():
            work.book.links.journal_failed = True
            work.alert(
                Severity.CRITICAL,
                AlertCode.JOURNAL_FAILED,
                f"{event.reason} Entries are refused; exits, stops and the cancels of entries "
                "still leave.",
            )
        case JournalRecovered():
            work.book.links.journal_failed = False
            work.alert(
                Severity.CRITICAL if event.lost else Severity.WARNING,
                AlertCode.JOURNAL_RECOVERED,
                f"The disk took nothing from {utc_text(event.began_utc_us)} to "
                f"{utc_text(event.utc_us)}: {event.reason} Now {event.decisions} decisions of that "
                f"time are written, records {event.first_seq} to {event.last_seq}."
                + _missing(event.lost),
            )
            if event.lost:
                # A halt that a person asked for may be among what nobody wrote down.
                declare(work, DECISIONS_LOST, f"{event.lost} {DECISIONS_LOST}.")
            else:
                # Those that could not be recorded wait no longer than for the disk.
                cancels_unheld(work)


def state_file_failed(work: Workbench, event: StateFileFailed) -> None:
    """Tell a person, while the journal still has room: nothing is lost by this alone.

    A disk that takes no records either is told of as that, which is graver.
    """
    if work.book.links.journal_failed:
        return
    work.alert(
        Severity.WARNING,
        AlertCode.STATE_NOT_SAVED,
        f"{event.reason} The journal still takes every decision, so nothing is lost and trading "
        "goes on; only the next start takes longer. When the journal's own room is used up as "
        "well, entries are refused.",
    )


def _missing(lost: int) -> str:
    if not lost:
        return ""
    return (
        f" {lost} later ones could not be kept and are missing: the guard starts anew and reads "
        "what is true from the broker."
    )
