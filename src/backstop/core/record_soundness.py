"""While the audit record is known to be unsound: no new exposure, and nothing can be resumed.

A check beside the running guard finds what the start, which read only the end, could not see. What
it found stands in the book, so the next process knows it too; only a whole check that finds nothing
takes it away. After the start on a large record entries wait until its structure was looked through
once. Exits, stops and liquidation never wait for it.
"""

from backstop.core.book import Book
from backstop.core.step import Tag, Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.events import RecordFoundSound, RecordFoundUnsound

WHAT_TO_DO = (
    "Stop the guard, keep a copy of the whole state folder, and run 'backstop audit verify'. Then "
    "restore the folder from a backup, or move audit.db* (with its -wal) to another one: a new "
    "record begins with what the newest state file knows. A check of the whole record that finds "
    "nothing ends this by itself"
)


def record_checked(work: Workbench, event: RecordFoundSound | RecordFoundUnsound) -> None:
    """Refuse entries from the finding on until a whole check finds nothing.

    A sound structure says that the file can be written to; older records may still be untrue.
    """
    book = work.book
    book.record_unread = False
    match event:
        case RecordFoundUnsound():
            if book.record_finding == event.finding:
                return
            book.record_finding = event.finding
            work.alert(
                Severity.CRITICAL,
                AlertCode.RECORD_UNSOUND,
                f"The audit record is not sound: {event.finding} Entries are refused; exits, stops "
                f"and liquidation go on. {WHAT_TO_DO}.",
            )
        case RecordFoundSound():
            if event.whole and book.record_finding:
                work.warn(
                    Tag.CRITICAL_SYSTEM, "record_found_sound", found_before=book.record_finding
                )
                book.record_finding = ""


def record_refusal(book: Book) -> str:
    """Return why nothing can be resumed on this record, and what to do; empty when it is sound."""
    if not book.record_finding:
        return ""
    return f"the audit record is not sound: {book.record_finding} {WHAT_TO_DO}"
