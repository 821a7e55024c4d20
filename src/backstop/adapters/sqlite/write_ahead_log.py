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

LOG_SUFFIX = "-wal"

RESERVED_BYTES = 8 * 2**20
"""Room of a new log: a second of the busiest market; laid out in about 10 ms.

It is also what can still be recorded after a disk has become full."""

COPY_EVERY_COMMITS = 256
"""Commits between two copies: at most eight pages of 4 KiB each, so they fit into the room."""

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
        self._commits = 0
        self._asked = threading.Event()
        self._copied = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._copy, name="log copier", daemon=True)
        self._thread.start()

    def after_commit(self, connection: sqlite3.Connection) -> None:
        """Count one commit of ``connection``; have the log copied, or finish a copy, when due."""
        self._commits += 1
        if self._copied.is_set():
            self._copied.clear()
            with suppress(sqlite3.Error):  # what is not copied now is copied next time
                connection.execute(COPY).fetchone()
        elif self._commits >= COPY_EVERY_COMMITS:
            self._commits = 0
            self._asked.set()

    def stop(self) -> None:
        """End the thread; the writer's connection is the last one then."""
        self._stopping = True
        self._asked.set()
        self._thread.join(STOP_LIMIT_S)

    def _copy(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            if self._stopping:
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
