"""When the account is read, whatever the hubs say, and from where: one read at a time.

``core.evidence.ask_for_audit`` wants one early, ``core.read_pace`` says how many may follow each
other, and what a read says is for ``core.reconciliation``.
"""

from typing import Final

from backstop.core.book import AUDIT_INTERVAL_NS, FIRST_LOOK_BACK_US, Book
from backstop.core.call_budget import reads_are_urgent
from backstop.core.clock_readings import now_us
from backstop.core.policy import SECOND_NS
from backstop.core.read_pace import note_read, read_due_ns
from backstop.core.step import Workbench
from backstop.core.venue_clock import LOOK_BACK_US
from backstop.domain.commands import AuditAccount

HURRIES_MAX: Final = 8
"""Doublings of the pause between early audits; the audit interval bounds it long before."""

AUDIT_ANSWER_LIMIT_NS: Final = 20 * SECOND_NS
"""An audit that has not come back by then is asked for again."""


def next_read_ns(book: Book) -> int:
    """Return the monotonic time at which ``read_when_due`` has something to do; 0: never."""
    if book.audit.requested_ns:
        return book.audit.requested_ns + AUDIT_ANSWER_LIMIT_NS
    return read_due_ns(book)


def read_when_due(work: Workbench) -> None:
    """Ask for the account audit when it is due and none is under way."""
    clock = work.book.audit
    if clock.requested_ns and work.now_ns < clock.requested_ns + AUDIT_ANSWER_LIMIT_NS:
        return
    if not clock.due_ns or work.now_ns < read_due_ns(work.book):
        return
    note_read(clock, now_ns=work.now_ns)
    clock.requested_ns = work.now_ns
    clock.due_ns = work.now_ns + AUDIT_INTERVAL_NS
    clock.hurries = min(clock.hurries + 1, HURRIES_MAX) if clock.asked else 0
    clock.asked = False
    since_us = clock.cursor_utc_us or now_us(work) - FIRST_LOOK_BACK_US
    since_us = min(since_us, clock.reach_back_utc_us or since_us)
    clock.reach_back_utc_us = 0
    work.commands.append(
        AuditAccount(
            reason="interval" if work.book.recovered else "recovery",
            account_id=work.book.policy.account_id,
            since_utc_us=since_us - LOOK_BACK_US,
            urgent=_is_unread(work) or reads_are_urgent(work.book),
        )
    )


def _is_unread(work: Workbench) -> bool:
    """Say whether nobody knows the account, or not of late: what is there may lack a stop.

    Such a read does not wait for a minute after a 429, as ordinary calls may have to.
    """
    return not work.book.recovered or work.book.account_stale_ns(work.now_ns) is not None
