"""The file ``audit.db``: its tables, its layout, and how it is opened safely.

``OrderAudit`` and ``FillAudit`` begin with exactly the columns that other programs rely on; ours
come after them. Moments are ISO-8601 text in UTC. ``DECIMAL`` gives a column numeric affinity, so
SQLite keeps ``5000.25`` as a number; up to 15 significant digits come back exactly, which covers
every price and commission there is. The exact text stands in the journal.

A file that this version cannot use is refused untouched: it may be the only record of what was
executed.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from backstop.adapters.folders import sync_folder
from backstop.adapters.machine import machine
from backstop.adapters.sqlite.write_ahead_log import reserve
from backstop.errors import DamagedDatabaseError, StateFolderError

SCHEMA_VERSION = 2
"""The one layout that this version knows; SQLite's ``user_version``."""

APPLICATION_ID = 0x42535450
"""``BSTP``: SQLite's ``application_id``, so that no foreign database is taken for ours."""

FIRST_SEQ = 1
"""Sequence number of the first record of every journal; each next one is one more."""

READ_TIMEOUT_S = 2.0
"""How long a connection waits for another one's short exclusive moments (start and end)."""

_DAMAGE_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})

_TABLES = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE OrderAudit (
        OrderId TEXT PRIMARY KEY,
        ClientOrderId TEXT,
        SubmittedTime DATETIME,
        Symbol TEXT,
        Side TEXT,
        Quantity INTEGER,
        Price DECIMAL,
        Status TEXT,
        ExecutionProof TEXT,
        CreatedAt DATETIME DEFAULT CURRENT_TIMESTAMP,
        Account TEXT,
        JournalSeq INTEGER
    );
    CREATE INDEX OrderAuditByClientOrderId ON OrderAudit (ClientOrderId);
    CREATE TABLE FillAudit (
        FillId TEXT PRIMARY KEY,
        OrderId TEXT,
        FillTime DATETIME,
        FillPrice DECIMAL,
        FillQuantity INTEGER,
        Commission DECIMAL,
        Voided INTEGER NOT NULL DEFAULT 0,
        Account TEXT,
        JournalSeq INTEGER,
        FOREIGN KEY (OrderId) REFERENCES OrderAudit(OrderId)
    );
    CREATE INDEX FillAuditByOrderId ON FillAudit (OrderId);
    CREATE TABLE Journal (
        seq INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        account TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        monotonic_ns INTEGER NOT NULL,
        utc_us INTEGER NOT NULL,
        payload BLOB NOT NULL,
        leaf_hash BLOB NOT NULL
    );
    -- The signed head over all records: one row, renewed in the transaction of every record.
    CREATE TABLE TreeHead (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        size INTEGER NOT NULL,
        note TEXT NOT NULL
    );
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {SCHEMA_VERSION};
    COMMIT;
"""
"""One transaction: a crash leaves an empty file or the whole layout, nothing between."""


def open_for_writing(path: Path, *, checked: bool = True) -> sqlite3.Connection:
    """Open ``path`` as its one writer; make it where there is none.

    The connection may be handed to another thread. Every commit on it is on disk (fsync). Without
    ``checked`` a file that is not empty is not looked at: this process has just done that.

    Raises:
        StateFolderError: the folder or file cannot be used, is damaged, belongs to another
            program or to another version; the file is left as it was.
    """
    new = _make_file(path)
    laid_out = not new and (not checked or _is_laid_out(path))
    try:
        if not laid_out:
            with closing(_connect(path)) as connection:
                _make_durable(connection, path)
                connection.executescript(_TABLES)
        reserve(path)
        connection = connect_again(path)
        if new:
            sync_folder(path.parent)
    except (sqlite3.Error, OSError) as error:
        raise _unusable(path, error) from error
    return connection


def connect_again(path: Path) -> sqlite3.Connection:
    """Connect to ``path`` as its one writer, without the checks; raises sqlite3.Error.

    For a writer that opened it before and whose connection had an error.
    """
    connection = _connect(path)
    try:
        _make_durable(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path, *, checked: bool = True) -> sqlite3.Connection:
    """Open ``path`` read-only, beside a writer or without one, after checking that it is sound.

    The check (SQLite's ``quick_check``) reads the whole file: about a second per gigabyte. Without
    ``checked`` it is left out, and only the layout is looked at.

    Raises:
        StateFolderError: there is no such file, or it cannot be used; it is left as it was.
    """
    if not path.is_file():
        raise StateFolderError(
            f"{path} does not exist. If this state folder was in use, its audit record is gone: "
            "restore it from a copy. Otherwise check BACKSTOP_STATE_DIR."
        )
    try:
        connection = connect_read_only(path)
        try:
            _check(connection, path, whole=checked)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    return connection


def scratch() -> sqlite3.Connection:
    """Return an empty database with our layout that is gone when it is closed.

    It lives in a private temporary file, so its size is no matter of memory.
    """
    connection = sqlite3.connect("", isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.executescript(_TABLES)
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Connect to ``path`` read-only and unchecked; raises sqlite3.Error."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=READ_TIMEOUT_S,
        isolation_level=None,
    )


def _connect(path: Path) -> sqlite3.Connection:
    return machine().database(path, timeout_s=READ_TIMEOUT_S)


def _is_laid_out(path: Path) -> bool:
    with closing(open_for_reading(path)) as connection:
        return _number(connection, "PRAGMA user_version") == SCHEMA_VERSION


def _make_file(path: Path) -> bool:
    """Make an empty private file at ``path``; False when there is one already."""
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True)
            sync_folder(path.parent.parent)
        if path.exists():
            # A power cut may have left an empty file behind: that one is new as well.
            return path.is_file() and path.stat().st_size == 0
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise _unusable(path, error) from error
    return True


def _make_durable(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StateFolderError(
            f"{path.parent} is on a file system without shared memory (often a network share), "
            "where commits cannot be made safely. Set BACKSTOP_STATE_DIR to a local folder."
        )
    connection.execute("PRAGMA synchronous = FULL")
    # On macOS a plain fsync leaves the data in the drive's cache; these two mean nothing elsewhere.
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA checkpoint_fullfsync = ON")
    connection.execute("PRAGMA foreign_keys = ON")
    # What commits append is copied beside them: write_ahead_log.LogCopier.
    connection.execute("PRAGMA wal_autocheckpoint = 0")


def _check(connection: sqlite3.Connection, path: Path, *, whole: bool) -> None:
    application_id = _number(connection, "PRAGMA application_id")
    version = _number(connection, "PRAGMA user_version")
    tables = _number(connection, "SELECT count(*) FROM sqlite_schema")
    if application_id != APPLICATION_ID and (tables or application_id):
        raise StateFolderError(
            f"{path} is a database of another program. It was not changed. "
            "Move it away, or set BACKSTOP_STATE_DIR to another folder."
        )
    if version > SCHEMA_VERSION:
        raise StateFolderError(
            f"{path} has layout {version}, written by a newer Backstop; this one knows layout "
            f"{SCHEMA_VERSION}. It was not changed. Install the newer version again, or set "
            "BACKSTOP_STATE_DIR to another folder."
        )
    if version < SCHEMA_VERSION and tables:
        # No layout before this one was ever released, so the number was lowered, or a test build
        # wrote the file: what is missing in it cannot be made up for.
        raise StateFolderError(
            f"{path} has layout {version}, of an older Backstop; this one knows layout "
            f"{SCHEMA_VERSION} only. It was not changed. If this version has used it before, "
            "somebody has changed it since: restore it from a copy. Otherwise use the version that "
            "wrote it, or set BACKSTOP_STATE_DIR to another folder."
        )
    if not whole:
        return
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise damaged(path, finding)


def _number(connection: sqlite3.Connection, statement: str) -> int:
    (number,) = connection.execute(statement).fetchone()
    return int(number)


def unreadable(path: Path, error: sqlite3.Error) -> StateFolderError:
    """Return what to raise when a question to ``path``, which was opened before, fails.

    Damage and a failing disk are DamagedDatabaseError; anything else may pass, and proves nothing.
    """
    if is_damage(error):
        return damaged(path, str(error))
    if _primary_code(error) == sqlite3.SQLITE_IOERR:
        return disk_fault(path, str(error))
    return StateFolderError(f"{path} cannot be read now: {one_line(str(error))}.")


def disk_fault(path: Path, finding: str) -> DamagedDatabaseError:
    """Return what to raise when the disk does not give the bytes of ``path``."""
    return DamagedDatabaseError(
        f"{path} cannot be read from its disk: {one_line(finding)}. The disk or its cable may be "
        "failing, which says nothing about who wrote what. Check the system's log, keep a copy of "
        "the whole folder, and move it to a disk that is well."
    )


def is_damage(error: sqlite3.Error) -> bool:
    """Say whether the bytes of a database are not sound; a lock or a failing disk is no damage."""
    return _primary_code(error) in _DAMAGE_CODES


def _primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 for an error of Python's own."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def one_line(text: str) -> str:
    """Return ``text`` on one line: SQLite's findings have several, log lines and errors one."""
    return " ".join(text.split())


def _unusable(path: Path, error: Exception) -> StateFolderError:
    broken = isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.OperationalError
    )
    if broken:
        return damaged(path, str(error))
    return StateFolderError(
        f"{path} cannot be opened: {error}. Check that BACKSTOP_STATE_DIR is a local folder that "
        "this user can write, and that the disk has room."
    )


def damaged(path: Path, finding: str) -> DamagedDatabaseError:
    """Return what to raise for a file whose bytes are not sound, and what to do."""
    return DamagedDatabaseError(
        f"{path} is damaged: {one_line(finding)}. It was not changed. {way_out(path)}"
    )


def way_out(path: Path) -> str:
    """Return what to do where nobody guards because of the record at ``path``, quickest first."""
    return (
        "While no guard runs, positions have only the stops that work at the venue. To take the "
        "account flat now: backstop liquidate. To guard on: keep a copy of the whole folder, move "
        f"{path.name}* (with its -wal) to another folder, and start again; a new record begins "
        "with what the newest state file knows, and entries wait for a person. Or restore "
        f"{path.name} from a backup of the whole folder."
    )
