"""While the disk takes no record: no new exposure, and a person is told; exits go on.

The book learns of it by facts like all others. They are kept in order with the rest of the outage
and are written with it, so the record tells when it stood still and why.
"""

from msgspec.structs import replace

from backstop.core.book import Outages, Wake
from backstop.core.cancels_followed import cancels_unheld
from backstop.core.catastrophe import declare
from backstop.core.policy import SECOND_NS
from backstop.core.step import Tag, Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.events import JournalFailed, JournalRecovered, StateFileFailed
from backstop.domain.utc import utc_text

DECISIONS_LOST = "decisions of an outage of the disk are missing from the record"

STEADY_NS = 60 * SECOND_NS
"""A disk that fails again within this time has not come back: one that is full but for what was
freed just now takes one record and not the next, several times in a second. It is far more than the
5 s that the writer waits at most before it tries again."""

TOLD_MAX = 2
"""Failures of such a disk that a person is told of: the first, and that it was not the only one."""

_AGAIN = (
    "It had just come back; that it has for good is said once it has taken everything for "
    f"{STEADY_NS // SECOND_NS} s, and no further failure before. "
)


def journal_changed(work: Workbench, event: JournalFailed | JournalRecovered) -> None:
    """Refuse entries while nothing becomes durable."""
    match event:
        case JournalFailed():
            work.book.links.journal_failed = True
            _failed(work, event)
        case JournalRecovered():
            work.book.links.journal_failed = False
            _recovered(work, event)


def _failed(work: Workbench, event: JournalFailed) -> None:
    """Tell a person, but no more than ``TOLD_MAX`` times of a disk that comes and goes."""
    book = work.book
    if work.now_ns >= book.outages.ended_ns + STEADY_NS:
        _tell_recovered(work)  # in the moment in which that was due
        book.outages = Outages()
    times = book.outages.times + 1
    book.outages = replace(book.outages, times=times)
    if times > TOLD_MAX:
        work.warn(Tag.CRITICAL_SYSTEM, "journal_failed_again", reason=event.reason)
        return
    work.alert(
        Severity.CRITICAL,
        AlertCode.JOURNAL_FAILED,
        f"{event.reason} {_AGAIN if times > 1 else ''}Entries are refused; exits, stops and the "
        "cancels of entries still leave.",
    )


def _recovered(work: Workbench, event: JournalRecovered) -> None:
    """Tell a person: at once, unless the disk had just come back before and nothing is lost."""
    book, held = work.book, work.book.outages
    together = _together(held.untold, event)
    book.outages = replace(held, ended_ns=work.now_ns, untold=together)
    if event.lost:
        _tell_recovered(work)
        # A halt that a person asked for may be among what nobody wrote down.
        declare(work, DECISIONS_LOST, f"{event.lost} {DECISIONS_LOST}.")
        return
    if held.times > 1:
        book.wake(Wake.JOURNAL, work.now_ns + STEADY_NS)
    else:
        _tell_recovered(work)
    # Those that could not be recorded wait no longer than for the disk.
    cancels_unheld(work)


def tell_recovery(work: Workbench) -> None:
    """Tell a person of a disk that went on and off, once it has taken everything for a while."""
    book = work.book
    if not book.woken(Wake.JOURNAL, work.now_ns) or book.links.journal_failed:
        return
    due_ns = book.outages.ended_ns + STEADY_NS
    if work.now_ns < due_ns:
        book.wake(Wake.JOURNAL, due_ns)
        return
    _tell_recovered(work)
    book.outages = Outages()


def outages_restarted(work: Workbench) -> None:
    """Wait anew in a new process: it has just written to the disk, and has to see that it holds."""
    book = work.book
    if book.outages.untold is None:
        book.outages = Outages()
        return
    book.outages = replace(book.outages, ended_ns=work.now_ns)
    book.wake(Wake.JOURNAL, work.now_ns + STEADY_NS)


def _tell_recovered(work: Workbench) -> None:
    held = work.book.outages
    event = held.untold
    if event is None:
        return
    work.book.outages = replace(held, untold=None)
    times = f", in {held.times - 1} outages" if held.times > TOLD_MAX else ""
    work.alert(
        Severity.CRITICAL if event.lost else Severity.WARNING,
        AlertCode.JOURNAL_RECOVERED,
        f"The disk took nothing from {utc_text(event.began_utc_us)} to "
        f"{utc_text(event.utc_us)}{times}: {event.reason} Now {event.decisions} decisions of that "
        f"time are written, records {event.first_seq} to {event.last_seq}." + _missing(event.lost),
    )


def _together(before: JournalRecovered | None, event: JournalRecovered) -> JournalRecovered:
    """Return what was written of several outages as that of one."""
    if before is None:
        return event
    return replace(
        event,
        began_utc_us=before.began_utc_us,
        decisions=before.decisions + event.decisions,
        first_seq=before.first_seq,
    )


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
