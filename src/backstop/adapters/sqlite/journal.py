"""The journal in SQLite: one writer thread, many decisions in one commit, nothing lost in silence.

A commit waits for the disk (fsync), about as long for one decision as for a hundred. So while one
commit runs, whatever comes in is collected, and all of it goes into the next transaction. The
event loop never waits for the disk.

When a write fails, the journal has failed for good: after an I/O error a later success proves
nothing about what came before. Everyone who waits or appends then gets a JournalError.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from backstop.adapters.sqlite.audit_rows import RowWriter
from backstop.adapters.sqlite.journal_view import JournalView, LeafHash
from backstop.adapters.sqlite.schema import FIRST_SEQ, open_for_writing
from backstop.errors import InvariantError, JournalError, StateFolderError
from backstop.ports import JournalBatch, JournalRecord

MAX_PENDING_BATCHES = 8192
"""Decisions waiting for the disk: several seconds of the busiest market on a slow disk."""

MAX_PENDING_BYTES = 64 * 2**20
"""Payload waiting for the disk; above it the disk is not slow but gone."""

MAX_GROUP_BATCHES = 512
"""Decisions in one transaction, so that the first of them does not wait for a long one."""

CLOSE_DEADLINE_S = 3.0
"""For the last commit; a stop has five seconds in all."""

_INSERT_RECORD = """
INSERT INTO Journal (seq, kind, account, epoch, monotonic_ns, utc_us, payload, leaf_hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


_PUT_HEAD = """
INSERT INTO TreeHead (id, size, note) VALUES (1, ?, ?)
ON CONFLICT (id) DO UPDATE SET size = excluded.size, note = excluded.note
"""


class TreeHeads(Protocol):
    """Grows with the records and signs what it has become; used by the writer thread alone."""

    def append(self, leaf_hash: bytes) -> None:
        """Add the hash of the next record."""

    def signed_head(self) -> tuple[int, str]:
        """Return how many records there are, and the signed note over all of them."""


class _Waiting(NamedTuple):
    """One batch on its way to the disk, and who waits for it."""

    batch: JournalBatch
    size: int
    durable: asyncio.Future[None]


class SqliteJournal:
    """Implements ``ports.Journal`` on ``audit.db``; one account, one writer, one event loop.

    Attributes:
        path: the database file.
        account: the account whose records these are.
        epoch: the number of the right to send under which this process writes.
        signed_head: the note over all records that are durable; None before the first of this
            process, and always in a journal that nobody signs.
        durable_seq: the newest record that is on disk.
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
        self.signed_head: str | None = None
        self._heads = heads
        self._refusal: str | None = None  # why no more is taken; what was taken is still written
        self._write_failure: str | None = None  # set by the writer thread, once
        self._connection = connection
        self._leaf_hash = leaf_hash
        self._rows = RowWriter(connection, account=account)
        self._next_seq = _next_seq(connection, path, account)
        self._last_written = self._next_seq - 1  # of the writer thread
        self.durable_seq = self._next_seq - 1
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._pending_batches = 0
        self._pending_bytes = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._ended = threading.Event()
        # A daemon: a process that must end now does not wait for a hanging disk.
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()

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
        ``checked`` the file is not read as a whole: somebody else does that beside.

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
    def failure(self) -> str | None:
        """Why nothing can be appended any more; None while all is well."""
        return self._write_failure or self._refusal

    @property
    def next_seq(self) -> int:
        """The sequence number that the next appended record must have."""
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

    def append(self, batch: JournalBatch) -> Awaitable[None]:
        """Return an awaitable that ends when ``batch`` is on disk, or raises JournalError.

        Must be called on the event loop, always the same one; does not block.

        Raises:
            InvariantError: the records do not continue the sequence.
        """
        loop = self._own_loop()
        durable: asyncio.Future[None] = loop.create_future()
        if self.failure is not None or self._closed:
            durable.set_exception(self._error())
            return durable
        size = sum(len(record.payload) for record in batch.records)
        if (
            self._pending_batches >= MAX_PENDING_BATCHES
            or self._pending_bytes + size > MAX_PENDING_BYTES
        ):
            # To leave this one out and take the next would tear a hole into the record.
            self._refusal = (
                f"the disk does not keep up: {self._pending_batches} decisions with "
                f"{self._pending_bytes} bytes wait for it"
            )
            durable.set_exception(self._error())
            return durable
        self._next_seq = _continued(self._next_seq, batch)
        self._pending_batches += 1
        self._pending_bytes += size
        self._queue.put(_Waiting(batch, size, durable))
        return durable

    async def close(self) -> None:
        """Write what is pending and close the file.

        Raises:
            JournalError: the disk did not take the rest within CLOSE_DEADLINE_S.
        """
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(None, self._ended.wait, CLOSE_DEADLINE_S):
            raise JournalError(
                f"The disk did not take the last records of {self.path} within "
                f"{CLOSE_DEADLINE_S:g} s. What was not acknowledged may be lost."
            )

    # -- on the event loop -----------------------------------------------------------------------

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise InvariantError("A journal is written from one event loop, and this is another.")
        return loop

    def _settle(self, group: list[_Waiting], failure: str | None, head: str | None) -> None:
        self.signed_head = head or self.signed_head
        if failure is None:
            records = (waiting.batch.records for waiting in group)
            self.durable_seq += sum(map(len, records))
        for waiting in group:
            self._pending_batches -= 1
            self._pending_bytes -= waiting.size
            if waiting.durable.done():
                continue  # whoever waited was cancelled; the record is durable all the same
            if failure is None:
                waiting.durable.set_result(None)
            else:
                waiting.durable.set_exception(self._error())

    def _error(self) -> JournalError:
        if self.failure is None:
            return JournalError(f"The journal {self.path} is closed; nothing was written.")
        return JournalError(
            f"The journal {self.path} cannot write: {self.failure}. This record is not on disk. "
            "New exposure must stop; restart when the cause is mended."
        )

    # -- on the writer thread --------------------------------------------------------------------

    def _write(self) -> None:
        last = False
        try:
            while not last:
                group, last = self._next_group()
                if group:
                    self._report(group, self._commit(group))
            self._connection.close()
        finally:
            self._ended.set()

    def _next_group(self) -> tuple[list[_Waiting], bool]:
        """Wait for one batch, then take along all that queued up; True when no more will come."""
        group: list[_Waiting] = []
        waiting = self._queue.get()
        while waiting is not None:
            group.append(waiting)
            if len(group) == MAX_GROUP_BATCHES:
                return group, False
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _commit(self, group: list[_Waiting]) -> str | None:
        """Write ``group`` in one transaction, or note why nothing can be written any more.

        Returns the head that it signed, once that is durable.
        """
        if self._write_failure is not None:
            return None
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._insert(group)
                head = self._sign_head()
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except Exception as error:  # noqa: BLE001 - a waiter must hear of every failure, bugs too
            self._write_failure = f"{type(error).__name__}: {error}"
            return None
        return head

    def _sign_head(self) -> str | None:
        """Put the head over all records into the transaction that adds the last of them.

        So no record can be added behind our back without a head that only our key can sign.
        """
        if self._heads is None:
            return None
        size, note = self._heads.signed_head()
        self._connection.execute(_PUT_HEAD, (size, note))
        return note

    def _insert(self, group: list[_Waiting]) -> None:
        self._connection.executemany(
            _INSERT_RECORD,
            [self._row(record) for waiting in group for record in waiting.batch.records],
        )
        for waiting in group:
            batch = waiting.batch
            seq = batch.records[-1].seq if batch.records else self._last_written
            self._last_written = seq
            self._rows.add(batch.orders, batch.fills, seq=seq, utc_us=_moment(batch))
        self._rows.flush()

    def _row(self, record: JournalRecord) -> tuple[object, ...]:
        leaf = self._leaf_hash(
            seq=record.seq,
            kind=record.kind,
            account=self.account,
            epoch=self.epoch,
            monotonic_ns=record.monotonic_ns,
            utc_us=record.utc_us,
            payload=record.payload,
        )
        if self._heads is not None:
            self._heads.append(leaf)
        return (
            record.seq,
            record.kind,
            self.account,
            self.epoch,
            record.monotonic_ns,
            record.utc_us,
            record.payload,
            leaf,
        )

    def _report(self, group: list[_Waiting], head: str | None) -> None:
        loop = self._loop
        assert loop is not None  # noqa: S101 - append has set it before anything was queued
        try:
            loop.call_soon_threadsafe(self._settle, group, self._write_failure, head)
        except RuntimeError:
            return  # the loop has ended, and with it everyone who waited


def _continued(next_seq: int, batch: JournalBatch) -> int:
    for record in batch.records:
        if record.seq != next_seq:
            raise InvariantError(
                f"Journal record {record.seq} was appended where {next_seq} is next."
            )
        next_seq += 1
    return next_seq


def _moment(batch: JournalBatch) -> int:
    """Return when a batch was made; rows without a record of their own have no time."""
    return batch.records[0].utc_us if batch.records else 0


def _next_seq(connection: sqlite3.Connection, path: Path, account: str) -> int:
    last = connection.execute(
        "SELECT seq, account FROM Journal ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    if last is None:
        return FIRST_SEQ
    seq, owner = last
    if owner != account:
        raise StateFolderError(
            f"{path} holds the record of account {owner}, not of {account}. "
            "Set BACKSTOP_STATE_DIR to a folder of its own for each account."
        )
    return int(seq) + 1
