"""The write-ahead log of a database: its room is made in advance, and it is emptied off the path.

A commit appends to the log and waits for the disk. It waits twice as long while the file has to
grow, for then the file system writes its own books as well: so the log gets its room before it is
used, and SQLite uses the same room again once everything in it has been copied into the database.
That copying (SQLite's checkpoint) takes milliseconds. A thread with a connection of its own does
nearly all of it beside the commits; the writer copies the few pages that came meanwhile, because
only a log that is copied to its end is used again from its beginning.
"""

import os
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

from backstop.adapters.machine import machine

LOG_SUFFIX = "-wal"

RESERVED_BYTES = 8 * 2**20
"""Room of a new log: a second of the busiest market; laid out in about 10 ms.

It is also what can still be recorded after a disk has become full."""

COPY_EVERY_PAGES = 512
"""Pages of 4 KiB that commits have written, by a rough count, when they are copied. What a crash
leaves in the log is read by the next start before anything else, in three milliseconds for each
MiB: so it is kept to two of them, and not to the room that there is."""

JOURNAL_PAGES, TABLE_PAGES = 2, 6
"""Pages of a commit: the end of the journal and the head; the two audit tables with their indices,
when it puts rows there."""

ENTRIES_IN_A_PAGE = 4
"""Records and rows that share one page of those that a large commit adds."""

PAGE_BYTES = 4096

COPY = "PRAGMA wal_checkpoint(PASSIVE)"
"""Waits for nobody: what a reader still needs stays for the next time."""

STOP_LIMIT_S = 1.0
"""How long a stop waits for a copy that is under way; a disk that hangs holds nobody."""

_BLOCK = bytes(2**20)


def reserve(database: Path) -> None:
    """Give the log of ``database`` its room, unless it holds something already.

    SQLite takes a log of zeros for an empty one. Without room on the disk there is just none.
    Must be called while this process has no connection to ``database``.
    """
    if has_log(database):
        return
    log = database.with_name(database.name + LOG_SUFFIX)
    try:
        descriptor = os.open(log, os.O_CREAT | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.writelines(_BLOCK for _ in range(RESERVED_BYTES // len(_BLOCK)))
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            os.truncate(log, 0)  # give back what there was: records need it more


def has_log(database: Path) -> bool:
    """Tell whether the log of ``database`` holds something, as after a crash."""
    log = database.with_name(database.name + LOG_SUFFIX)
    return log.exists() and log.stat().st_size > 0


class LogCopier:
    """Copies the log into the database beside its writer, which calls the methods."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._pages = 0
        self._copied = threading.Event()
        self._line = machine().line("log copier")

    def after_commit(
        self, connection: sqlite3.Connection, *, records: int, rows: int, size: int
    ) -> None:
        """Count one commit of ``connection``; have the log copied, or finish a copy, when due.

        Args:
            connection: the writer's.
            records: that the commit added to the journal.
            rows: that it put into the audit tables.
            size: bytes of the payloads of its records.
        """
        self._pages += JOURNAL_PAGES + (records + rows) // ENTRIES_IN_A_PAGE + size // PAGE_BYTES
        if rows:
            self._pages += TABLE_PAGES
        if self._copied.is_set():
            self._copied.clear()
            with suppress(sqlite3.Error):  # what is not copied now is copied next time
                connection.execute(COPY).fetchone()
        elif self._pages >= COPY_EVERY_PAGES:
            self._pages = 0
            self._line.put(self._copy)

    def stop(self) -> None:
        """End the thread; the writer's connection is the last one then."""
        self._line.stop()
        self._line.join(STOP_LIMIT_S)

    def _copy(self) -> None:
        if self._line.is_stopping:
            return
        # A connection for each copy: one that had an error is not to be used again.
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(self._database, isolation_level=None)) as connection,
        ):
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute("PRAGMA checkpoint_fullfsync = ON")
            connection.execute(COPY).fetchone()
        self._copied.set()
