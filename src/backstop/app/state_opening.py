"""Opens the state folder: record, past orders and checkpoints, in the order that recovery needs.

Nothing is decided about the account here. What comes out is the book as the last process left it,
the journal to go on with, and how that process ended.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec.structs import replace

from backstop.adapters.machine import machine
from backstop.adapters.record_aside import records_aside
from backstop.adapters.sqlite.past_archive import PAST_DATABASE
from backstop.adapters.state_file import StateFiles
from backstop.adapters.state_folder import Opening, close_state_folder
from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.app.audit_trail import FaultSink as ComponentFaultSink
from backstop.app.journal_fold import policy_batch
from backstop.app.loop import DecisionLoop
from backstop.app.past_orders import PastOrders
from backstop.app.past_rebuild import PastRebuild
from backstop.app.record_opening import open_record
from backstop.app.state_persistence import CLOSE_LIMIT_S as STATE_LIMIT_S
from backstop.app.state_persistence import FaultSink, Process, StatePersistence
from backstop.app.state_start import NOTHING, WHOLE_JOURNAL, Ahead, Before, StateSearch
from backstop.core.book import Book
from backstop.core.engine import new_book
from backstop.core.policy import Policy
from backstop.core.record_fold import fold
from backstop.core.step import Note, Tag
from backstop.core.taken_state import payload_of
from backstop.domain.commands import Severity
from backstop.domain.record_kind import RecordKind
from backstop.errors import StateFileError
from backstop.ports import Clock, JournalBatch, JournalRecord

PAST_ORDERS_AT_ONCE = 500
"""Orders that leave the book during a replay, before they are put on disk: bounds the memory."""

CLOSE_LIMIT_S = 3.5
"""From the begin of a stop until all of it is closed. One limit for what comes one after the other:
a disk that is slow once finds the time that nothing else has used."""


class OpenedState:
    """The state folder of one account, opened by the process that holds the right to send.

    Attributes:
        trail: the journal to go on with.
        past: what has left the book.
        before: how the process before this one ended; all of it is known after ``replay_into``.
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

        ``comes_back``: a guard was here a moment ago, so modes that a person is to mend before a
        first start hold up nothing.

        Raises:
            StateFolderError: the folder cannot be used, is that of another account, or holds a
                record that is not what was signed.
        """
        self.clean_stop = False
        self._clock = clock
        self._on_note = on_note
        self._closed_by_s: float | None = None  # by the event loop's clock: a stop has begun
        self._persistence: StatePersistence | None = None
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
        self.past = PastOrders(folder / PAST_DATABASE)
        search = StateSearch(self._files, self.past, account_id=account_id)
        record = open_record(
            folder,
            account_id=account_id,
            epoch=epoch,
            clock=clock,
            mirror=mirror,
            on_fault=on_fault,
            known=search.trees,
        )
        self.trail, self.record_kept = record.trail, record.kept
        self._find_book(search)
        newest_seq = self._newest_seq(search, signed=record.signed)
        search.set_aside(self._say_set_aside)
        self.records_lost = max(0, newest_seq - self.trail.start.size)
        if self.records_lost:
            self._say_lost(newest_seq)

    def _find_book(self, search: StateSearch) -> None:
        """Take the newest book there is, and see how the process before this one ended."""
        start = self.trail.start
        self._book: Book | None = None
        self._next_seq = 1
        self.source = WHOLE_JOURNAL if start.size else NOTHING
        chosen = search.book(size=start.size, known=start.known)
        if chosen is not None:
            self._book, checkpoint, self.source = chosen
            self._next_seq = checkpoint.journal_seq + 1
        self._ahead = search.ahead(start.record, start.size)
        self.before: Before = search.before(
            size=start.size, clock=self._clock, boot_id=self._process.boot_id, ahead=self._ahead
        )

    def _newest_seq(self, search: StateSearch, *, signed: int) -> int:
        """Return the newest entry that anything says was on record, and prepare to go on from it.

        ``signed`` entries of a record that is gone were.
        """
        start = self.trail.start
        newest_seq = max(signed, search.newest_seq(start.record))
        if self._ahead is not None:
            # What a start before this one took may be in the record, or what it latched may not be.
            self.source = self._ahead.source
            search.take_out(self._ahead)
            return max(newest_seq, start.size + 1)
        if not start.size and not newest_seq and (aside := records_aside(self._files.folder)):
            # A start before this one set the record aside, and died before the new one began.
            self.record_kept = f"What is left of the record before is kept in {aside[-1].name}."
            return 1
        return newest_seq

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
        self.before = self.before.told_by(loop.book)
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
            kind=RecordKind.STATE,
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
        self,
        loop: DecisionLoop,
        *,
        interval_ns: int,
        calls_made: Callable[[], tuple[int, ...]],
        on_fault: FaultSink,
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
            calls_made=calls_made,
            on_fault=on_fault,
            on_set_aside=self._say_set_aside,
        )
        return self._persistence

    def mended_past(self, loop: DecisionLoop) -> PastRebuild:
        """Return what makes the archive of past orders again when it is found to be damaged."""
        return PastRebuild(
            past=self.past, trail=self.trail, tell=loop.put, clock=self._clock, book=loop.book
        )

    def begin_to_close(self) -> None:
        """Let the time run in which all is to be closed; ``close_journal`` does, if nobody did."""
        if self._closed_by_s is None:
            self._closed_by_s = asyncio.get_running_loop().time() + CLOSE_LIMIT_S

    def _left_s(self) -> float:
        self.begin_to_close()
        assert self._closed_by_s is not None  # noqa: S101 - it has begun by now
        return max(0.0, self._closed_by_s - asyncio.get_running_loop().time())

    async def close_journal(self) -> None:
        """Write down what is pending, within all the time but that for the last checkpoint.

        Raises:
            JournalError: the disk did not take the rest in time.
        """
        within_s = max(0.0, self._left_s() - STATE_LIMIT_S)
        await self.trail.close_journal(within_s=within_s)

    async def close_outside(self) -> None:
        """Write down outside how far the record goes, in what time is left."""
        await self.trail.close_outside(within_s=self._left_s())

    async def close(self) -> None:
        """Write the last checkpoint and close the files; the journal is closed already."""
        if self._persistence is not None:
            await self._persistence.close(clean_stop=self.clean_stop)
        else:
            self.past.close()

    def _say_lost(self, newest_seq: int) -> None:
        """State in full which records are gone; the alert follows from the first fact."""
        size = self.trail.start.size
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
