"""The one thread that writes ``audit.db``, and what it does when the disk will not take a record.

After an error nothing is taken for granted: a later success of the same file handle would prove
nothing, because a system may forget the pages that it could not write. The writer tries again with
a new connection, looks at what is there, and writes all the rest anew, in order, with pauses that
grow, until it succeeds or is told to stop.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from backstop.adapters.machine import machine
from backstop.adapters.sqlite.audit_rows import RowWriter
from backstop.adapters.sqlite.journal_group import Group, Intake
from backstop.adapters.sqlite.schema import connect_again
from backstop.adapters.sqlite.write_ahead_log import LogCopier
from backstop.errors import StateFolderError

PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Before each new attempt; the last one again and again. A disk that is full now may have room in a
moment, and one that is not mended in seconds is not mended by asking it more often."""

AT_ONCE = 0.0
"""Pause before a group that was there when the one before it had been written."""

_INSERT_RECORD = """
INSERT INTO Journal (seq, kind, account, epoch, monotonic_ns, utc_us, payload, leaf_hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""

_PUT_HEAD = """
INSERT INTO TreeHead (id, size, note) VALUES (1, ?, ?)
ON CONFLICT (id) DO UPDATE SET size = excluded.size, note = excluded.note
"""


class WriterReport(Protocol):
    """Who hears of the writer's work; called on its thread."""

    def on_durable(self, group: Group) -> None:
        """``group``, the next one in order, is on disk."""

    def on_failure(self, reason: str) -> None:
        """The next group is not on disk; it is tried again."""


class JournalWriter:
    """Writes what the intake holds, group by group."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        path: Path,
        account: str,
        last_seq: int,
        intake: Intake,
        report: WriterReport,
    ) -> None:
        self._connection = connection
        self._path = path
        self._file = _file_at(path)
        self._intake = intake
        self._account = account
        self._last_seq = last_seq  # of the newest record that is known to be durable
        self._report = report
        self._rows = RowWriter(connection, account=account)
        self._asked = False  # to look into the intake, which it has not done yet
        self._group: Group | None = None  # taken, and not on disk yet
        self._write_next: Callable[[Group], None] = self._write
        self._attempts = 0  # that failed, in a row
        self._given_up = False
        self._copier = LogCopier(path)
        self._line = machine().line("journal")

    def look(self) -> None:
        """Have what the intake holds written; never blocks.

        A commit waits for the disk, about as long for one decision as for a hundred. So what comes
        while one is under way is taken together when that one has ended.
        """
        if not self._asked:
            self._asked = True
            self._line.put(self._write_what_came)

    def stop(self) -> None:
        """Write what the intake holds, once more if the disk failed, and close the file."""
        self._line.stop(self._close)

    async def ended(self, limit_s: float) -> bool:
        """Wait until all is written or given up, and the file closed; say whether it is."""
        return await self._line.ended(limit_s)

    # -- on the thread ---------------------------------------------------------------------------

    def _close(self) -> None:
        self._copier.stop()
        self._connection.close()

    def _write_what_came(self) -> float | None:
        """Write one group; return how long to wait before the next one, or the next attempt.

        Given up, with all that follows, when the journal was stopped before the attempt.
        """
        if self._given_up:
            return None
        if self._group is None:
            self._group = self._taken()
        group = self._group
        if group is None:
            return None
        stopping = self._line.is_stopping
        try:
            self._write_next(group)
        except Exception as error:  # noqa: BLE001 - who waits must hear of every failure, bugs too
            self._report.on_failure(f"{type(error).__name__}: {error}")
            self._given_up = stopping
            self._write_next = self._write_again
            self._attempts += 1
            return None if stopping else PAUSES_S[min(self._attempts, len(PAUSES_S)) - 1]
        self._write_next, self._attempts, self._group = self._write, 0, None
        if group.records:
            self._last_seq = group.records[-1][0]
        self._report.on_durable(group)
        self._copier.after_commit(
            self._connection, records=len(group.records), rows=group.rows, size=group.size
        )
        return AT_ONCE if self._intake else None

    def _taken(self) -> Group | None:
        """Take what the intake holds; None when that is nothing, or cannot be recorded."""
        self._asked = False  # before it is looked for: what comes from now on asks again
        try:
            return self._intake.take()
        except Exception as error:  # noqa: BLE001 - a bug of ours, and who waits must hear of it
            # To write what comes after it would tear a hole into the record.
            self._given_up = True
            self._report.on_failure(f"{type(error).__name__}: {error}")
            return None

    def _write(self, group: Group) -> None:
        """Write ``group`` in one transaction."""
        self._expect_the_file()
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(_INSERT_RECORD, group.records)
            self._write_rows(group)
            if group.head is not None:
                # In the transaction that adds the last record: so none can be added behind our
                # back without a head that only our key can sign.
                execute(_PUT_HEAD, group.head)
            execute("COMMIT")
        except BaseException:
            self._rows.forget()
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise

    def _expect_the_file(self) -> None:
        """Refuse to write what nobody could find: a deleted file goes on taking records.

        They are gone with the process, and so would be whatever was sent on their word.
        """
        if self._file is not None and _file_at(self._path) != self._file:
            raise StateFolderError(
                f"{self._path} is not the file that was opened any more: it was deleted, moved or "
                "replaced while this process writes it. Put the file back"
            )

    def _write_rows(self, group: Group) -> None:
        last_seq = self._last_seq
        for batch in group.batches:
            records = batch.records
            if records:
                last_seq = records[-1].seq
            if batch.orders or batch.fills:
                utc_us = records[0].utc_us if records else 0
                self._rows.add(batch.orders, batch.fills, seq=last_seq, utc_us=utc_us)
        self._rows.flush()

    # -- after an error --------------------------------------------------------------------------

    def _write_again(self, group: Group) -> None:
        """Begin with a new connection, find out what is there, and write what is not."""
        self._expect_the_file()
        # The new one is opened before the old one is closed: the last connection to leave would
        # delete the log, and with it the room that is reserved there.
        connection = connect_again(self._path)
        self._connection.close()
        self._connection = connection
        self._rows = RowWriter(connection, account=self._account)
        (there,) = connection.execute("SELECT max(seq) FROM Journal").fetchone()
        if (there or 0) == self._last_seq:
            self._write(group)
        else:
            self._find(group, there)

    def _find(self, group: Group, there: int | None) -> None:
        """Take ``group`` for written if it is there whole, and make sure that it is on disk."""
        found = self._connection.execute(
            "SELECT seq, leaf_hash FROM Journal WHERE seq > ? ORDER BY seq", (self._last_seq,)
        ).fetchall()
        if found != [(record[0], record[-1]) for record in group.records]:
            raise StateFolderError(
                f"{self._path} ends with record {there}, and {self._last_seq} were acknowledged: "
                "it is not the file that was written"
            )
        # Its error said nothing about which pages arrived. Copied from the log into the database
        # they are written, and waited for, once more.
        (busy, *_) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StateFolderError(f"{self._path} is being read, so its log cannot be copied yet")


def _file_at(path: Path) -> tuple[int, int] | None:
    """Return which file goes by ``path``; None: none does that can be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
