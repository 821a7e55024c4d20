"""``past_orders.db``: finished orders that the book has let go of, found by any name they have.

It is derived from the journal and can be made again from it, so it is no part of the audit record.
But nothing that the newest checkpoint counts on is missing from it: what left the book is on disk
here before a checkpoint without it is. One thread writes, another may read at the same time.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from msgspec import Struct

from backstop.adapters.kept_aside import kept_aside, next_kept_name
from backstop.adapters.sqlite.schema import READ_TIMEOUT_S, is_damage, one_line
from backstop.adapters.sqlite.write_ahead_log import LOG_SUFFIX, PAGE_BYTES
from backstop.errors import DamagedDatabaseError, StateFolderError

PAST_DATABASE = "past_orders.db"
LAYOUT_VERSION = 1
APPLICATION_ID = 0x42535041
"""``BSPA``: so that no foreign database is taken for ours."""

KEYS_AT_ONCE = 500
"""Keys in one question: below the number of parameters that every SQLite takes."""

LOG_PAGES = 100
"""Pages after which the write-ahead log is copied and cut: a start after a crash reads it all, in
three milliseconds for each MiB, also what is copied already."""

_CUT = "PRAGMA wal_checkpoint(TRUNCATE)"

KEPT_ASIDE_MAX = 3
"""Archives that could not be used, kept for people; the oldest goes when there are more."""

_LAYOUT = f"""
BEGIN IMMEDIATE;
CREATE TABLE Past (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    value BLOB NOT NULL
);
CREATE INDEX PastByState ON Past (state, id);
CREATE TABLE PastKey (key TEXT PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE PastUpTo (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    record TEXT NOT NULL,
    seq INTEGER NOT NULL
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {LAYOUT_VERSION};
COMMIT;
"""

_PUT = """
INSERT INTO Past (name, state, value) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET state = excluded.state, value = excluded.value
RETURNING id
"""


class PastRow(Struct, frozen=True, kw_only=True):
    """One entry.

    Attributes:
        name: no other one has it.
        keys: everything it can be found by.
        state: a word to choose by; empty for entries that no list shows.
        value: its bytes.
    """

    name: str
    keys: tuple[str, ...]
    state: str
    value: bytes


class PastReading:
    """Answers from the archive at ``path``; each of these is for one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Name the file; it is opened at the first question."""
        self.path = path
        self._connection: sqlite3.Connection | None = None

    def find(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return what is known by each of ``keys``; those without an entry are left out.

        Raises:
            DamagedDatabaseError: its bytes are not sound.
            StateFolderError: it cannot be read, so nothing can be said.
        """
        found: dict[str, bytes] = {}
        for start in range(0, len(keys), KEYS_AT_ONCE):
            part = keys[start : start + KEYS_AT_ONCE]
            marks = ",".join("?" * len(part))
            found.update(
                self._ask(
                    f"SELECT key, value FROM PastKey JOIN Past USING (id) WHERE key IN ({marks})",  # noqa: S608 - marks only
                    part,
                )
            )
        return found

    def newest(self, *, limit: int, skip: int = 0, state: str | None = None) -> list[bytes]:
        """Return listed entries, newest first, of one state if it is given.

        Raises:
            StateFolderError: it cannot be read.
        """
        rows = self._ask(
            "SELECT value FROM Past WHERE state != '' AND (?1 IS NULL OR state = ?1)"
            " ORDER BY id DESC LIMIT ?2 OFFSET ?3",
            (state, limit, skip),
        )
        return [value for (value,) in rows]

    def count(self, *, state: str | None = None) -> int:
        """Return how many entries are listed, of one state if it is given; errors likewise."""
        ((count,),) = self._ask(
            "SELECT count(*) FROM Past WHERE state != '' AND (?1 IS NULL OR state = ?1)", (state,)
        )
        return int(count)

    def _ask(self, question: str, parameters: Sequence[object]) -> list[Any]:
        try:
            if self._connection is None:
                self._connection = _connect(self.path)
                self._connection.execute("PRAGMA query_only = ON")
            return self._connection.execute(question, parameters).fetchall()
        except sqlite3.Error as error:
            if is_damage(error):
                raise self.damaged(str(error)) from error
            raise StateFolderError(
                f"{self.path} cannot be read: {one_line(str(error))}. Whether an order of the past "
                "is meant is not known, so new orders wait."
            ) from error

    def damaged(self, finding: str) -> DamagedDatabaseError:
        """Return what to raise for what is in it and cannot be."""
        return DamagedDatabaseError(
            f"{self.path} is damaged: {one_line(finding)}. It is kept aside as evidence and made "
            "again from the journal; until then new orders wait."
        )

    def close(self) -> None:
        """Close the connection; the next question opens another one."""
        _close(self._connection)
        self._connection = None


class PastArchive(PastReading):
    """The archive that belongs to one record, with a connection of its own for its writer.

    Attributes:
        path: the database.
        record: names the record, by the hash of its first entry.
        seq: everything that had left the book up to this journal record is here.
    """

    def __init__(self, path: Path, writer: sqlite3.Connection, *, record: str, seq: int) -> None:
        super().__init__(path)
        self.record = record
        self.seq = seq
        self._writer = writer

    @classmethod
    def open(cls, path: Path, *, record: str) -> Self | None:
        """Open the archive of ``record``; None when there is none.

        Raises:
            StateFolderError: what is there cannot be used: another record's, foreign or damaged.
        """
        if not path.is_file():
            return None
        writer: sqlite3.Connection | None = None
        try:
            writer = _connect(path)
            row = _up_to(writer)
            if row is not None and row[0] == record:
                _make_durable(writer)
                return cls(path, writer, record=record, seq=row[1])
            fault = "it is not the archive of this record"
        except sqlite3.Error as error:
            fault = one_line(str(error))
        if writer is not None:
            writer.close()
        raise StateFolderError(f"{path} cannot be used: {fault}.")

    @classmethod
    def anew(cls, path: Path, *, record: str) -> Self:
        """Begin an empty archive of ``record``; one that is there already is kept aside.

        Raises:
            StateFolderError: the file cannot be made.
        """
        try:
            _set_aside(path)
            writer = _connect(path)
            path.chmod(0o600)
            _make_durable(writer)
            writer.executescript(_LAYOUT)
            writer.execute("INSERT INTO PastUpTo (id, record, seq) VALUES (1, ?, 0)", (record,))
        except (sqlite3.Error, OSError) as error:
            raise StateFolderError(
                f"{path} cannot be made: {error}. Check that this user can write {path.parent} "
                "and that the disk has room."
            ) from error
        return cls(path, writer, record=record, seq=0)

    # -- writing, on one thread ----------------------------------------------------------------

    def add(self, rows: Iterable[PastRow], *, seq: int) -> None:
        """Keep ``rows``, all that left the book up to record ``seq``; on disk when this returns.

        Raises:
            DamagedDatabaseError: its bytes are not sound.
            StateFolderError: it could not be written; nothing of it is there.
        """
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                for row in rows:
                    self._put(row)
                self._writer.execute("UPDATE PastUpTo SET seq = max(seq, ?)", (seq,))
                self._writer.execute("COMMIT")
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            if is_damage(error):
                raise self.damaged(str(error)) from error
            raise StateFolderError(f"{self.path} cannot be written: {error}.") from error
        self.seq = max(self.seq, seq)
        self._cut_log()

    def _cut_log(self) -> None:
        """Empty a long log; what somebody still reads stays for the next time."""
        log = self.path.with_name(self.path.name + LOG_SUFFIX)
        with suppress(OSError, sqlite3.Error):
            if log.stat().st_size >= LOG_PAGES * PAGE_BYTES:
                self._writer.execute(_CUT).fetchone()

    def _put(self, row: PastRow) -> None:
        ((number,),) = self._writer.execute(_PUT, (row.name, row.state, row.value)).fetchall()
        self._writer.executemany(
            "INSERT OR REPLACE INTO PastKey (key, id) VALUES (?, ?)",
            [(key, number) for key in row.keys],
        )

    def close(self) -> None:
        """Close the file."""
        super().close()
        _close(self._writer)


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        with suppress(sqlite3.Error):
            connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, timeout=READ_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )


def _make_durable(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")


def _up_to(connection: sqlite3.Connection) -> tuple[str, int] | None:
    ((application_id,),) = connection.execute("PRAGMA application_id").fetchall()
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    if (application_id, version) != (APPLICATION_ID, LAYOUT_VERSION):
        return None
    row: tuple[str, int] | None = connection.execute(
        "SELECT record, seq FROM PastUpTo WHERE id = 1"
    ).fetchone()
    return row


def _set_aside(path: Path) -> None:
    """Give an archive that is there, with its write-ahead log, a name of the past."""
    if not path.exists():
        return
    kept = kept_aside(path.parent, path.stem)
    for oldest in kept[: max(0, len(kept) - KEPT_ASIDE_MAX + 1)]:
        for suffix in ("", "-wal", "-shm"):
            oldest.with_name(oldest.name + suffix).unlink(missing_ok=True)
    target = next_kept_name(path.parent, path.stem)
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(target.with_name(target.name + suffix))
