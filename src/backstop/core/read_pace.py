"""How often the account may be read: at once at first, and never so often that no call is left.

A read takes four calls, of 200 that the gateway grants in 60 s. When many things need proof at a
time, each of them may ask for a read as soon as one can say something new: five a second, and after
a quarter of a minute nothing could be read any more for the rest of it.
"""

from typing import Final

from backstop.core.book import AUDIT_INTERVAL_NS, AuditClock, Book
from backstop.core.call_budget import pauses_for_liquidation
from backstop.core.policy import SECOND_NS

READS_AT_ONCE: Final = 20
"""So many reads may follow each other as soon as they are asked for: 80 calls."""

READS_AT_ONCE_LIQUIDATING: Final = 28
"""The same while everything else pauses for a liquidation: closes that get lost a dozen times take
three reads each, and should not wait for them."""

READ_EVERY_NS: Final = 3 * SECOND_NS
"""After them one in this time: 80 calls more in 60 s. What is left is for acts, for what is asked
again, and for a login. It is less than the pause between two reads of an account at rest."""


def read_due_ns(book: Book) -> int:
    """Return the monotonic time at which the account is read next; 0: nobody asked for it."""
    clock = book.audit
    if not clock.due_ns:
        return 0
    at_once = READS_AT_ONCE_LIQUIDATING if pauses_for_liquidation(book) else READS_AT_ONCE
    paced_ns = clock.paced_ns - (at_once - 1) * READ_EVERY_NS
    # What a liquidation read at once is not made up for by silence after it.
    return max(clock.due_ns, min(paced_ns, clock.read_ns + AUDIT_INTERVAL_NS))


def note_read(clock: AuditClock, *, now_ns: int) -> None:
    """Count a read that is asked for now."""
    clock.paced_ns = max(clock.paced_ns, now_ns) + READ_EVERY_NS
    clock.read_ns = now_ns
