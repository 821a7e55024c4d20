"""The journal in SQLite: what is decided goes in here, and comes back when it is on disk.

This is the side of the event loop, which never waits for the disk; ``journal_writer`` has the
thread that does. When the disk fails, everybody who waits is told at once, and so is whoever hands
in more: who may act without a record does so. The batches are kept, in order, and written when the
disk takes them again.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from backstop.adapters.sqlite.journal_group import Group, Intake, TreeHeads
from backstop.adapters.sqlite.journal_view import JournalView, LeafHash
from backstop.adapters.sqlite.journal_writer import JournalWriter
from backstop.adapters.sqlite.record_owner import refuse_other_owner
from backstop.adapters.sqlite.schema import FIRST_SEQ, open_for_writing
from backstop.errors import InvariantError, JournalError, JournalFullError
from backstop.ports import JournalBatch, JournalRecord, Told

MAX_PENDING_BATCHES = 100_000
"""Decisions that wait for the disk: minutes of the busiest market, hours of a usual one."""

MAX_PENDING_BYTES = 64 * 2**20
"""Payload that waits for the disk; with its rows and its Python objects about three times as much
memory. A full disk is noticed long before: a person is alerted at its first refusal."""

STALL_LIMIT_S = 2.0
"""A disk that has not answered for so long counts as failed: exits do not wait for it."""

STALL_LOOK_S = 0.05
"""Looks at a disk that does not answer come no closer together than this: a clock of coarse steps
can call a wait over while less than one step of it is left."""

CLOSE_DEADLINE_S = 3.0
"""For the last commit, where whoever closes has no limit of its own for all that it closes."""

CommitSink = Callable[[int, bool, float], None]
"""Hears of each commit: records, whether there were audit rows, seconds that the oldest waited."""


class _Waiting:
    """One batch on its way to the disk, and who waits for it."""

    __slots__ = ("records", "rows", "since_s", "size", "told", "warned")

    def __init__(self, batch: JournalBatch, *, size: int, told: Told, since_s: float) -> None:
        self.records = len(batch.records)
        self.rows = bool(batch.orders or batch.fills)
        self.size = size
        self.told = told
        self.since_s = since_s
        self.warned = False  # told that it is not on disk now


class SqliteJournal:
    """Implements ``ports.Journal`` on ``audit.db``; one account, one writer, one event loop.

    Attributes:
        path: the database file.
        account: the account whose records these are.
        epoch: the number of the right to send under which this process writes.
        failure: why nothing becomes durable now; None while all is well.
        signed_head: the note over all records that are durable; None before the first of this
            process, and always in a journal that nobody signs.
        durable_seq: the newest record that is on disk.
        on_commit: hears of every commit.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        path: Path,
        account: str,
        epoch: int,
        leaf_hash: LeafHash,
        heads: TreeHeads | None = None,
    ) -> None:
        self.path = path
        self.account = account
        self.epoch = epoch
        self.failure: str | None = None
        self.signed_head: str | None = None
        self.on_commit: CommitSink = lambda _records, _rows, _waited_s: None
        self._leaf_hash = leaf_hash
        self._next_seq = _next_seq(connection, path, account)
        self.durable_seq = self._next_seq - 1
        self._intake = Intake(account=account, epoch=epoch, leaf_hash=leaf_hash, heads=heads)
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._beyond: deque[tuple[JournalBatch, _Waiting]] = deque()  # of this turn of the loop
        self._full = False
        self._watching = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._writer = JournalWriter(
            connection,
            path=path,
            account=account,
            last_seq=self._next_seq - 1,
            intake=self._intake,
            report=_OnTheLoop(self),
        )

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        account: str,
        epoch: int,
        leaf_hash: LeafHash,
        heads: TreeHeads | None = None,
        checked: bool = True,
    ) -> Self:
        """Open the journal at ``path`` (``audit.db`` in the state folder); makes it if needed.

        ``heads`` stands at the last record of the file. Without it nothing is signed. Without
        ``checked`` a file that is there is not looked at: this process has just done that.

        Raises:
            StateFolderError: the file cannot be used; it is left as it was.
        """
        connection = open_for_writing(path, checked=checked)
        try:
            return cls(
                connection,
                path=path,
                account=account,
                epoch=epoch,
                leaf_hash=leaf_hash,
                heads=heads,
            )
        except BaseException:
            connection.close()
            raise

    @property
    def next_seq(self) -> int:
        """The sequence number that the next record handed in must have."""
        return self._next_seq

    def read_all(self) -> JournalView:
        """Return every durable record in order, read as it is iterated over.

        Raises:
            StateFolderError: while iterating, a record is missing or was changed.
        """
        return JournalView(self.path, leaf_hash=self._leaf_hash)

    def read_from(self, seq: int) -> Iterator[JournalRecord]:
        """Iterate over the durable records from ``seq`` on; errors as ``read_all``."""
        return self.read_all().read_from(seq)

    # -- in --------------------------------------------------------------------------------------

    def append(self, batch: JournalBatch) -> asyncio.Future[None]:
        """Return a future that ends when ``batch`` is on disk, or raises JournalError.

        What was refused for now and comes on disk later is not told of a second time.

        Raises:
            InvariantError: as ``submit``.
        """
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def told(error: JournalError | None) -> None:
            if durable.done():
                return  # whoever waited was cancelled, or has heard
            if error is None:
                durable.set_result(None)
            else:
                durable.set_exception(error)

        self.submit(batch, told)
        # Not at once: what else is appended in this turn of the event loop shares the commit.
        durable.get_loop().call_soon(self.flush)
        return durable

    def submit(self, batch: JournalBatch, told: Told) -> None:
        """Take ``batch``; ``told`` hears what becomes of it. Call ``flush`` at the end of a turn.

        Must be called on the event loop, always the same one; does not block.

        Args:
            batch: records that continue the sequence, and rows that they imply.
            told: is called on the event loop, never from within ``submit``, in the order of the
                batches. With None: it is on disk. With an error: it is not, now; it is kept, and
                ``told`` is called again with None when it is. Only after JournalFullError, or
                when the process ends before, there is no second call.

        Raises:
            InvariantError: the records do not continue the sequence.
        """
        loop = self._own_loop()
        if self._closed:
            loop.call_soon(told, self._error())
            return
        if self._full:
            loop.call_soon(self._refuse, told)
            return
        self._next_seq = _continued(self._next_seq, batch)
        size = sum([len(record.payload) for record in batch.records])
        waiting = _Waiting(batch, size=size, told=told, since_s=loop.time())
        if self._beyond or not self._has_room(waiting):
            self._beyond.append((batch, waiting))
            loop.call_soon(self._look_beyond)
            return
        if self.failure is not None:
            waiting.warned = True
            loop.call_soon(told, self._error())
        self._take(batch, waiting)

    def _take(self, batch: JournalBatch, waiting: _Waiting) -> None:
        """Have ``batch`` written; whoever waits for it knows by now if the disk takes nothing."""
        self._waiting.append(waiting)
        self._waiting_bytes += waiting.size
        if self.failure is None and not self._watching:
            self._watching = True
            self._own_loop().call_later(STALL_LIMIT_S, self._look_for_a_stall)
        # Last: from here on the writer may have it on disk at any moment, and its word for that
        # must not come before our own that it is not.
        self._intake.put(batch)

    def _has_room(self, waiting: _Waiting) -> bool:
        if not self._waiting:
            return True  # larger than the limit alone: there is nothing to wait for
        fits = self._waiting_bytes + waiting.size <= MAX_PENDING_BYTES
        return fits and len(self._waiting) < MAX_PENDING_BATCHES

    def _look_beyond(self) -> None:
        """Take what came beyond the limit, or refuse it.

        Not before its turn to hear: what waited then may have been on disk, and the word of that
        on the way to us. Who is refused when nothing waits any more would wait for ever.
        """
        while self._beyond and self._has_room(self._beyond[0][1]):
            batch, waiting = self._beyond.popleft()
            if self.failure is not None:
                waiting.warned = True
                waiting.told(self._error())
            self._take(batch, waiting)
        self.flush()
        if not self._beyond:
            return
        # To leave one out and take the next would tear a hole into the record.
        self._full = True
        refused = [waiting for _, waiting in self._beyond]
        self._beyond.clear()
        self._next_seq -= sum(waiting.records for waiting in refused)
        for waiting in refused:
            self._refuse(waiting.told)

    def flush(self) -> None:
        """Have what was submitted written, together with all that comes before it is its turn."""
        if self._intake:
            self._writer.look()

    def take_again(self) -> None:
        """Take batches again after JournalFullError, once nothing waits any more.

        For the one record that says how many are missing: the state that follows from the record
        is not that of the process any more.
        """
        if not self._waiting:
            self._full = False
            self.failure = None

    async def close(self, *, within_s: float | None = None) -> None:
        """Write what is pending and close the file.

        Args:
            within_s: how long it may take; None: CLOSE_DEADLINE_S.

        Raises:
            JournalError: the disk did not take the rest, or not in time.
        """
        limit_s = CLOSE_DEADLINE_S if within_s is None else within_s
        if not self._closed:
            self._look_beyond()
            self._closed = True
            self.flush()
            self._writer.stop()
        ended = await self._writer.ended(limit_s)
        if not ended or self._waiting:
            raise JournalError(
                f"The disk did not take the last {len(self._waiting)} decisions for {self.path} "
                f"within {limit_s:.3g} s{_because(self.failure)}. They are lost."
            )

    # -- out -------------------------------------------------------------------------------------

    def durable(self, group: Group) -> None:
        """Take the writer's word that ``group`` is on disk."""
        if group.head is not None:
            _, self.signed_head = group.head
        self.failure = None
        waited_s = self._own_loop().time() - self._waiting[0].since_s
        records, rows = 0, False
        done = [self._waiting.popleft() for _ in group.batches]
        for waiting in done:
            self._waiting_bytes -= waiting.size
            records += waiting.records
            rows = rows or waiting.rows
        self.durable_seq += records
        self.on_commit(records, rows, waited_s)
        for waiting in done:
            waiting.told(None)

    def failed(self, reason: str) -> None:
        """Take the writer's word that what waits is not on disk, and is tried again."""
        self.failure = reason
        error = self._error()
        for waiting in tuple(self._waiting):
            if not waiting.warned:
                waiting.warned = True
                waiting.told(error)

    def _refuse(self, told: Told) -> None:
        if self.failure is None:
            self.failed("the disk does not keep up")
        told(self._full_error())

    def _look_for_a_stall(self) -> None:
        """Notice a disk that does not answer at all; as long as anything waits, look again."""
        self._watching = False
        if not self._waiting or self.failure is not None or self._closed:
            return
        loop = self._own_loop()
        waited_s = loop.time() - self._waiting[0].since_s
        if waited_s >= STALL_LIMIT_S:
            self.failed(f"the disk has not answered for {STALL_LIMIT_S:g} s")
            return
        self._watching = True
        loop.call_later(max(STALL_LIMIT_S - waited_s, STALL_LOOK_S), self._look_for_a_stall)

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise InvariantError("A journal is written from one event loop, and this is another.")
        return loop

    def _error(self) -> JournalError:
        if self._closed:
            return JournalError(f"The journal {self.path} is closed; nothing was written.")
        return JournalError(
            f"The journal {self.path} cannot write{_because(self.failure)}. This record is not on "
            "disk. It is kept and tried again; until then only what reduces risk is sent."
        )

    def _full_error(self) -> JournalFullError:
        return JournalFullError(
            f"The journal {self.path} cannot write{_because(self.failure)}. {len(self._waiting)} "
            f"decisions with {self._waiting_bytes} bytes wait already: this record is not kept. "
            "Only what reduces risk is sent. The guard starts anew when the disk has taken what "
            "waits."
        )


class _OnTheLoop:
    """Brings the writer's reports from its thread to the event loop."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal

    def on_durable(self, group: Group) -> None:
        """Report that the next batches are on disk."""
        self._call(self._journal.durable, group)

    def on_failure(self, reason: str) -> None:
        """Report that they are not."""
        self._call(self._journal.failed, reason)

    def _call(self, report: Callable[..., None], *arguments: object) -> None:
        loop = self._journal._loop  # noqa: SLF001 - the same file
        assert loop is not None  # noqa: S101 - submit has set it before anything was handed over
        with suppress(RuntimeError):  # the loop has ended, and with it everyone who waited
            loop.call_soon_threadsafe(report, *arguments)


def _continued(next_seq: int, batch: JournalBatch) -> int:
    for record in batch.records:
        if record.seq != next_seq:
            raise InvariantError(
                f"Journal record {record.seq} was appended where {next_seq} is next."
            )
        next_seq += 1
    return next_seq


def _because(failure: str | None) -> str:
    return f": {failure}" if failure else ""


def _next_seq(connection: sqlite3.Connection, path: Path, account: str) -> int:
    last = connection.execute(
        "SELECT seq, account FROM Journal ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    if last is None:
        return FIRST_SEQ
    seq, owner = last
    refuse_other_owner(path, owner=owner, account=account)
    return int(seq) + 1
