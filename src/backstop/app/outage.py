"""While the disk takes nothing: what leaves all the same, and the account that is kept of it.

What may leave without a record is for the core to say: only what reduces risk, for a full disk must
not hold a position open. Everything else of a step is answered as never sent. Each step is counted
until its records are on disk after all, or certain never to be.
"""

from msgspec.structs import replace

from backstop.app.pending_step import PendingStep
from backstop.core.book import Book
from backstop.core.unrecorded import may_leave_unrecorded, needs_record
from backstop.domain.commands import Change
from backstop.domain.events import JournalFailed, JournalRecovered
from backstop.domain.not_sent import not_sent
from backstop.errors import JournalError, JournalFullError
from backstop.ports import Clock, FactSink

NOT_DURABLE = "the intent could not be made durable"


class Outage:
    """Begins with the first step that leaves unrecorded; ends when all of them are written.

    Attributes:
        reason: why the disk takes nothing; None while there is no outage.
    """

    def __init__(self, *, clock: Clock, put: FactSink) -> None:
        """Prepare; there is none.

        Args:
            clock: for the times of what is told of it.
            put: takes the answers to requests that did not leave, and the fact that it began.
        """
        self.reason: str | None = None
        self._clock = clock
        self._put = put
        self._began_utc_us = 0
        self._waiting = 0
        self._decisions = 0
        self._lost = 0
        self._first_seq = 0
        self._last_seq = 0

    @property
    def lost(self) -> int:
        """Steps of this outage, or of the one that ended last, that no record will have."""
        return self._lost

    def curb(self, book: Book, pending: PendingStep, error: JournalError) -> None:
        """Leave of ``pending``, which the disk did not take, only what may go without a record.

        ``pending.left`` says after that whether its records are still to be written.
        """
        pending.left = not isinstance(error, JournalFullError)
        self._count(pending, reason=str(error))
        result = pending.result
        withheld = [it for it in result.commands if not may_leave_unrecorded(book, it)]
        for command in withheld:
            if isinstance(command, Change):
                utc_us = self._clock.utc_us()
                self._put(not_sent(command, utc_us=utc_us, message=NOT_DURABLE))
        if withheld or needs_record(pending.fact, result.decision):
            left = tuple(it for it in result.commands if it not in withheld)
            pending.result = replace(result, commands=left)
            pending.refuse(error)

    def _count(self, pending: PendingStep, *, reason: str) -> None:
        began = self.reason is None
        self.reason = reason
        if began:
            self._decisions = self._lost = 0
            self._first_seq = pending.seq
            self._began_utc_us = self._clock.utc_us()
            self._put(JournalFailed(utc_us=self._began_utc_us, reason=reason))
        if pending.left:
            self._waiting += 1
            self._decisions += 1
            self._last_seq = pending.last_seq
        else:
            self._lost += 1

    def written(self) -> None:
        """Count one step that is on disk now."""
        self._waiting -= 1

    def ended(self) -> JournalRecovered | None:
        """Return what is to be recorded at the end; None while there is none, or it goes on."""
        if self._waiting or self.reason is None:
            return None
        recovered = JournalRecovered(
            utc_us=self._clock.utc_us(),
            began_utc_us=self._began_utc_us,
            reason=self.reason,
            decisions=self._decisions,
            first_seq=self._first_seq,
            last_seq=self._last_seq,
            lost=self._lost,
        )
        self.reason = None
        return recovered
