"""Opens the state folder: record, past orders and checkpoints, in the order that recovery needs.

Nothing is decided about the account here. What comes out is the book as the last process left it,
the journal to go on with, and how that process ended.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from backstop.adapters.machine import machine
from backstop.adapters.sqlite.past_archive import PAST_DATABASE
from backstop.adapters.state_file import StateFiles
from backstop.adapters.state_folder import Opening, close_state_folder
from backstop.app.audit_trail import AuditTrail
from backstop.app.audit_trail import FaultSink as ComponentFaultSink
from backstop.app.loop import DecisionLoop
from backstop.app.past_orders import PastOrders
from backstop.app.past_rebuild import PastRebuild
from backstop.app.state_layout import AUDIT_DATABASE
from backstop.app.state_persistence import FaultSink, Process, StatePersistence
from backstop.app.state_start import NOTHING, WHOLE_JOURNAL, Before, StateSearch
from backstop.core.book import Book
from backstop.core.engine import new_book
from backstop.core.policy import Policy
from backstop.core.step import Note, Tag
from backstop.domain.commands import Severity
from backstop.errors import StateFileError
from backstop.ports import Clock, JournalRecord

PAST_ORDERS_AT_ONCE = 500
"""Orders that leave the book during a replay, before they are put on disk: bounds the memory."""


class OpenedState:
    """The state folder of one account, opened by the process that holds the right to send.

    Attributes:
        trail: the journal to go on with.
        past: what has left the book.
        before: how the process before this one ended.
        source: where the book is from, for people.
        openings: what of the folder was open to other users of this machine.
        records_lost: how many records are gone that were on disk once: a torn file, an older copy.
        clean_stop: set when a person stops the guard, before ``close``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        account_id: int,
        epoch: int,
        clock: Clock,
        mirror: Path | str | None,
        on_fault: ComponentFaultSink,
        on_note: Callable[[Note], None],
        comes_back: bool = False,
    ) -> None:
        """Open everything; what cannot be used is kept aside and named.

        ``comes_back``: a guard was here a moment ago, so modes that a person is to mend before a
        first start hold up nothing.

        Raises:
            StateFolderError: the folder cannot be used, is that of another account, or holds a
                record that is not what was signed.
        """
        self.clean_stop = False
        self._clock = clock
        self._on_note = on_note
        self.openings = close_state_folder(folder, refuse=not comes_back)
        for found in self.openings:
            self._say_open(found)
        host = machine()
        self._files = StateFiles(folder, disk=host.disk())
        self._process = Process(
            account_id=account_id,
            machine=host.name,
            boot_id=host.boot_id(),
            process_id=host.process_id,
        )
        self._persistence: StatePersistence | None = None
        self.past = PastOrders(folder / PAST_DATABASE)
        search = StateSearch(self._files, self.past, account_id=account_id)
        self.trail = AuditTrail.open(
            folder,
            account=str(account_id),
            epoch=epoch,
            clock=clock,
            mirror=mirror,
            on_fault=on_fault,
            known=search.trees,
        )
        start = self.trail.start
        chosen = search.book(size=start.size, known=start.known)
        self._book: Book | None = None
        self._next_seq = 1
        self.source = WHOLE_JOURNAL if start.size else NOTHING
        checkpoint = None
        if chosen is not None:
            self._book, checkpoint, self.source = chosen
            self._next_seq = checkpoint.journal_seq + 1
        self.before: Before = search.before(
            checkpoint, size=start.size, clock=clock, boot_id=self._process.boot_id
        )
        search.set_aside(self._say_set_aside)
        self.records_lost = 0
        if start.size:
            self._say_lost(search.newest_seq(self.trail.record_name()), size=start.size)

    @property
    def process_id(self) -> int:
        """The number of this process."""
        return self._process.process_id

    @property
    def boot_id(self) -> str:
        """The present boot of the machine."""
        return self._process.boot_id

    def new_book(self, policy: Policy) -> Book:
        """Return the book of the checkpoint, or an empty one."""
        return new_book(policy) if self._book is None else self._book

    def replay_into(self, loop: DecisionLoop, policy: Policy) -> None:
        """Fold what the checkpoint lacks into the book, which has ``policy`` after that."""
        loop.replay(self._records())
        loop.book.policy = policy
        self._on_note(
            Note(
                tag=Tag.CRITICAL_SYSTEM,
                name="state_restored",
                fields={
                    "source": self.source,
                    "records_replayed": self.trail.start.size - self._next_seq + 1,
                    "stop": str(self.before.stop),
                },
            )
        )

    def _records(self) -> Iterator[JournalRecord]:
        """Yield the records to fold; what leaves the book meanwhile goes to disk on the way."""
        for record in self.trail.read_from(self._next_seq):
            yield record
            if len(waiting := self.past.waiting) >= PAST_ORDERS_AT_ONCE:
                self.past.write(waiting, record=self.trail.record_name(), seq=record.seq)
                self.past.written(waiting)

    def keep(
        self, loop: DecisionLoop, *, interval_ns: int, on_fault: FaultSink
    ) -> StatePersistence:
        """Return what writes the state down from now on; it is closed together with this."""
        self._persistence = StatePersistence(
            loop=loop,
            trail=self.trail,
            past=self.past,
            files=self._files,
            process=self._process,
            guarded=self.before.guarded,
            clock=self._clock,
            interval_ns=interval_ns,
            on_fault=on_fault,
            on_set_aside=self._say_set_aside,
        )
        return self._persistence

    def mended_past(self, loop: DecisionLoop) -> PastRebuild:
        """Return what makes the archive of past orders again when it is found to be damaged."""
        return PastRebuild(
            past=self.past, trail=self.trail, tell=loop.put, clock=self._clock, book=loop.book
        )

    async def close(self) -> None:
        """Write the last checkpoint and close the files; the journal is closed already."""
        if self._persistence is not None:
            await self._persistence.close(clean_stop=self.clean_stop)
        else:
            self.past.close()

    def _say_lost(self, newest_seq: int, *, size: int) -> None:
        """State in full which records are gone; the alert follows from the first fact."""
        if newest_seq <= size:
            return
        self.records_lost = newest_seq - size
        self._on_note(
            Note(
                tag=Tag.CRITICAL,
                name="records_lost",
                fields={
                    "lost": self.records_lost,
                    "newest": newest_seq,
                    "kept": size,
                    "message": f"{AUDIT_DATABASE} ends at record {size}, and record {newest_seq} "
                    "was on disk: the file was torn, or is an older copy. What is missing is read "
                    "from the broker; decisions that nobody else knows are gone.",
                },
                severity=Severity.CRITICAL,
            )
        )

    def _say_open(self, found: Opening) -> None:
        self._on_note(
            Note(
                tag=Tag.CRITICAL_SYSTEM,
                name="state_folder_open",
                fields={
                    "path": str(found.path),
                    "mode": f"{found.mode:04o}",
                    "mode_now": f"{found.mode_now:04o}",
                    "message": found.told,
                },
                severity=Severity.WARNING,
            )
        )

    def _say_set_aside(self, fault: StateFileError, kept: Path) -> None:
        self._on_note(
            Note(
                tag=Tag.CRITICAL_SYSTEM,
                name="state_file_unusable",
                fields={"message": str(fault), "kept_as": kept.name, "instead": self.source},
                severity=Severity.WARNING,
            )
        )
