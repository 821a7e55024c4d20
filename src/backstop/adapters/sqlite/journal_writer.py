"""The one thread that writes ``audit.db``, and what it does when the disk will not take a record.

A commit waits for the disk (fsync), about as long for one decision as for a hundred. So while one
commit runs, whatever comes in is collected, and all of it goes into the next transaction.

After an error nothing is taken for granted: a later success of the same file handle would prove
nothing, because a system may forget the pages that it could not write. The writer tries again with
a new connection, looks at what is there, and writes all the rest anew, in order, with pauses that
grow, until it succeeds or is told to stop.
"""

import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from backstop.adapters.sqlite.audit_rows import RowWriter
from backstop.adapters.sqlite.journal_view import LeafHash
from backstop.adapters.sqlite.schema import connect_again
from backstop.adapters.sqlite.write_ahead_log import LogCopier
from backstop.errors import StateFolderError
from backstop.ports import JournalBatch, JournalRecord

MAX_GROUP_BATCHES = 512
"""Decisions in one transaction, so that the first of them does not wait for a long one."""

PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Before each new attempt; the last one again and again. A disk that is full now may have room in a
moment, and one that is not mended in seconds is not mended by asking it more often."""

_INSERT_RECORD = """
INSERT INTO Journal (seq, kind, account, epoch, monotonic_ns, utc_us, payload, leaf_hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""

_PUT_HEAD = """
INSERT INTO TreeHead (id, size, note) VALUES (1, ?, ?)
ON CONFLICT (id) DO UPDATE SET size = excluded.size, note = excluded.note
"""


class TreeHeads(Protocol):
    """Signs the tree over the records; used by the writer thread alone."""

    def signed_head(self, leaf_hashes: Sequence[bytes]) -> tuple[int, str]:
        """Return how many records there are with these added, and the signed note over all.

        They are kept only by ``keep``: until then the tree is as it was.
        """

    def keep(self) -> None:
        """Keep the records of the last signed head: they are in the file."""


class WriterReport(Protocol):
    """Who hears of the writer's work; called on its thread."""

    def on_durable(self, batches: int, head: str | None) -> None:
        """So many batches more, the next ones in order, are on disk; ``head`` is over all."""

    def on_failure(self, reason: str) -> None:
        """The next batches are not on disk; they are tried again."""


class JournalWriter:
    """Writes batches in the order in which they are handed over."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        path: Path,
        account: str,
        epoch: int,
        last_seq: int,
        leaf_hash: LeafHash,
        heads: TreeHeads | None,
        report: WriterReport,
    ) -> None:
        self.ended = threading.Event()
        self._connection = connection
        self._path = path
        self._account = account
        self._epoch = epoch
        self._last_seq = last_seq  # of the newest record that is known to be durable
        self._leaf_hash = leaf_hash
        self._heads = heads
        self._report = report
        self._rows = RowWriter(connection, account=account)
        self._queue: queue.SimpleQueue[list[JournalBatch] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._copier = LogCopier(path)
        # A daemon: a process that must end now does not wait for a hanging disk.
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def hand_over(self, batches: list[JournalBatch]) -> None:
        """Take ``batches`` after all that were taken before; never blocks."""
        self._queue.put(batches)

    def stop(self) -> None:
        """Write what was handed over, once more if the disk failed, and close the file."""
        self._stopping.set()
        self._queue.put(None)

    # -- on the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        last, given_up = False, False
        try:
            while not last:
                group, last = self._next_group()
                if group and not given_up:
                    given_up = not self._made_durable(group)
            self._copier.stop()
            self._connection.close()
        finally:
            self.ended.set()

    def _next_group(self) -> tuple[list[JournalBatch], bool]:
        """Wait for one turn's batches, then take along all that queued up; True at the end."""
        group: list[JournalBatch] = []
        handed = self._queue.get()
        while handed is not None:
            group += handed
            if len(group) >= MAX_GROUP_BATCHES:
                return group, False
            try:
                handed = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _made_durable(self, group: list[JournalBatch]) -> bool:
        """Write ``group``, however often it takes; False when the journal was stopped meanwhile."""
        attempts = 0
        write: Callable[[list[JournalBatch]], str | None] = self._write
        while True:
            stopping = self._stopping.is_set()
            try:
                head = write(group)
            except Exception as error:  # noqa: BLE001 - who waits must hear of every failure, bugs too
                self._report.on_failure(f"{type(error).__name__}: {error}")
            else:
                break
            if stopping:
                return False
            self._stopping.wait(PAUSES_S[min(attempts, len(PAUSES_S) - 1)])
            attempts += 1
            write = self._write_again
        self._report.on_durable(len(group), head)
        self._copier.after_commit(self._connection)
        return True

    def _write(self, group: list[JournalBatch]) -> str | None:
        """Write ``group`` in one transaction; returns the head over all records, if one is kept."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            leaf_hashes, last_seq = self._insert(group)
            head = None
            if self._heads is not None:
                # In the transaction that adds the last record: so none can be added behind our
                # back without a head that only our key can sign.
                size, head = self._heads.signed_head(leaf_hashes)
                execute(_PUT_HEAD, (size, head))
            execute("COMMIT")
        except BaseException:
            self._rows.forget()
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        self._keep(last_seq)
        return head

    def _keep(self, last_seq: int) -> None:
        self._last_seq = last_seq
        if self._heads is not None:
            self._heads.keep()

    def _insert(self, group: list[JournalBatch]) -> tuple[list[bytes], int]:
        """Insert records and rows; returns the leaf hashes and the number of the last record."""
        last_seq = self._last_seq
        stored = []
        for batch in group:
            records = batch.records
            stored += [self._stored(record) for record in records]
            if records:
                last_seq = records[-1].seq
            if batch.orders or batch.fills:
                utc_us = records[0].utc_us if records else 0
                self._rows.add(batch.orders, batch.fills, seq=last_seq, utc_us=utc_us)
        self._connection.executemany(_INSERT_RECORD, stored)
        self._rows.flush()
        return [row[-1] for row in stored], last_seq

    def _stored(self, record: JournalRecord) -> tuple[int, str, str, int, int, int, bytes, bytes]:
        seq, kind, monotonic_ns, utc_us, payload = (
            record.seq,
            record.kind,
            record.monotonic_ns,
            record.utc_us,
            record.payload,
        )
        leaf = self._leaf_hash(
            seq=seq,
            kind=kind,
            account=self._account,
            epoch=self._epoch,
            monotonic_ns=monotonic_ns,
            utc_us=utc_us,
            payload=payload,
        )
        return seq, kind, self._account, self._epoch, monotonic_ns, utc_us, payload, leaf

    # -- after an error --------------------------------------------------------------------------

    def _write_again(self, group: list[JournalBatch]) -> str | None:
        """Begin with a new connection, find out what is there, and write what is not."""
        # The new one is opened before the old one is closed: the last connection to leave would
        # delete the log, and with it the room that is reserved there.
        connection = connect_again(self._path)
        self._connection.close()
        self._connection = connection
        self._rows = RowWriter(connection, account=self._account)
        there = _last_seq(connection)
        if there == self._last_seq:
            return self._write(group)
        return self._found(group, there)

    def _found(self, group: list[JournalBatch], there: int) -> str | None:
        """Take ``group`` for written if it is there whole, and make sure that it is on disk."""
        stored = [self._stored(record) for batch in group for record in batch.records]
        found = self._connection.execute(
            "SELECT seq, leaf_hash FROM Journal WHERE seq > ? ORDER BY seq", (self._last_seq,)
        ).fetchall()
        if found != [(row[0], row[-1]) for row in stored]:
            raise StateFolderError(
                f"{self._path} ends with record {there}, and {self._last_seq} were acknowledged: "
                "it is not the file that was written"
            )
        # Its error said nothing about which pages arrived. Copied from the log into the database
        # they are written, and waited for, once more.
        (busy, *_) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StateFolderError(f"{self._path} is being read, so its log cannot be copied yet")
        head: str | None = None
        if self._heads is not None:
            _, head = self._heads.signed_head([row[-1] for row in stored])
        self._keep(there)
        return head


def _last_seq(connection: sqlite3.Connection) -> int:
    (last,) = connection.execute("SELECT max(seq) FROM Journal").fetchone()
    return 0 if last is None else int(last)
