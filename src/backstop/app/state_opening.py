"""Opens the state folder: record, past orders and checkpoints, in the order that recovery needs.

Nothing is decided about the account here. What comes out is the book as the last process left it,
the journal to go on with, and how that process ended.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from backstop.adapters.machine import machine
from backstop.adapters.record_aside import records_aside, set_record_aside
from backstop.adapters.signing import PUBLIC_KEY_FILE
from backstop.adapters.sqlite.past_archive import PAST_DATABASE
from backstop.adapters.state_file import StateFiles
from backstop.adapters.state_folder import Opening, close_state_folder
from backstop.app.audit_trail import AuditTrail
from backstop.app.audit_trail import FaultSink as ComponentFaultSink
from backstop.app.journal_fold import fold, policy_batch
from backstop.app.loop import DecisionLoop
from backstop.app.past_orders import PastOrders
from backstop.app.past_rebuild import PastRebuild
from backstop.app.state_layout import AUDIT_DATABASE, CHECKPOINT_FOLDER, KEY_FOLDER
from backstop.app.state_persistence import FaultSink, Process, StatePersistence
from backstop.app.state_start import NOTHING, WHOLE_JOURNAL, Ahead, Before, StateSearch
from backstop.core.book import Book
from backstop.core.engine import new_book
from backstop.core.policy import Policy
from backstop.core.step import Note, Tag
from backstop.core.taken_state import TAKEN_STATE_KIND, payload_of
from backstop.domain.commands import Severity
from backstop.domain.numbers import count_text
from backstop.errors import RecordGoneError, StateFileError
from backstop.ports import Clock, JournalBatch, JournalRecord

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
        record_kept: what was signed of a record that is gone as a whole, and where what is left of
            it is kept; empty: the record goes on.
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

        So is what is left of a record that is gone, and a new one begins: nothing of it could be
        gone on with, and a position may wait for its guard. A record that is there and does not
        hold is another matter: to begin anew beside it is for a person to decide.

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
        opened = partial(
            AuditTrail.open,
            folder,
            account=str(account_id),
            epoch=epoch,
            clock=clock,
            mirror=mirror,
            on_fault=on_fault,
            known=search.trees,
        )
        signed = 0
        self.record_kept = ""
        try:
            self.trail = opened()
        except RecordGoneError as gone:
            signed = gone.size
            far = mirror / f"backstop-{account_id}" if isinstance(mirror, Path) else None
            kept = _begin_anew(folder, mirror=far, utc_us=clock.utc_us())
            self.record_kept = (
                f"{count_text(signed, 'record')} with the root {gone.root} had been signed, and "
                f"none is left: what was beside them is kept in {kept.name}, and a new record "
                "begins."
            )
            self.trail = opened()
        start = self.trail.start
        chosen = search.book(size=start.size, known=start.known)
        self._book: Book | None = None
        self._next_seq = 1
        self.source = WHOLE_JOURNAL if start.size else NOTHING
        checkpoint = None
        if chosen is not None:
            self._book, checkpoint, self.source = chosen
            self._next_seq = checkpoint.journal_seq + 1
        self._ahead = search.ahead(start.record, start.size)
        self.before: Before = search.before(
            checkpoint,
            size=start.size,
            clock=clock,
            boot_id=self._process.boot_id,
            ahead=None if self._ahead is None else self._ahead.checkpoint,
        )
        newest_seq = max(signed, search.newest_seq(start.record))
        if self._ahead is not None:
            # What a start before this one took may be in the record, or what it latched may not be.
            newest_seq = max(newest_seq, start.size + 1)
            self.source = self._ahead.source
            search.take_out(self._ahead)
        elif not start.size and not newest_seq and (aside := records_aside(folder)):
            # A start before this one set the record aside, and died before the new one began.
            self.record_kept = f"What is left of the record before is kept in {aside[-1].name}."
            newest_seq = 1
        search.set_aside(self._say_set_aside)
        self.records_lost = 0
        self._say_lost(newest_seq, size=start.size)

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
        """Fold what the checkpoint lacks into the book, which has ``policy`` after that.

        A state that knows more than the record goes on record first.
        """
        loop.replay(self._records())
        loop.book.policy = policy
        if self._ahead is not None:
            self._take(self._ahead, loop.book, policy)
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

    def _take(self, ahead: Ahead, book: Book, policy: Policy) -> None:
        """Put a state that knows more than the record into both, at once with the first record."""
        taken = ahead.entry(kept=self.record_kept)
        if taken.digest == book.taken_digest:
            return  # a start before this one did, and died before its first state file
        now_ns, utc_us, seq = self._clock.monotonic_ns(), self._clock.utc_us(), self.trail.next_seq
        rules = policy_batch(policy, seq=seq, monotonic_ns=now_ns, utc_us=utc_us).records
        state = JournalRecord(
            seq=seq + len(rules),
            kind=TAKEN_STATE_KIND,
            monotonic_ns=now_ns,
            utc_us=utc_us,
            payload=payload_of(taken),
        )
        rows = fold(book, state)
        batch = JournalBatch(records=(*rules, state))
        if rows is not None:
            batch = replace(batch, orders=rows.order_rows, fills=rows.fill_rows)
        self.trail.submit(batch, lambda _error: None)

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
                    "from the newest state file and the broker. Entries are refused until a person "
                    f"resumes.{' ' if self.record_kept else ''}{self.record_kept}",
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


def _begin_anew(folder: Path, *, mirror: Path | None, utc_us: int) -> Path:
    """Set aside what is left of a record that is gone; returns the folder that holds it."""
    files = (AUDIT_DATABASE, f"{AUDIT_DATABASE}-wal", f"{AUDIT_DATABASE}-shm")
    return set_record_aside(
        folder,
        parts=(*files, CHECKPOINT_FOLDER),
        copies=(f"{KEY_FOLDER}/{PUBLIC_KEY_FILE}",),
        mirror=mirror,
        utc_us=utc_us,
    )
