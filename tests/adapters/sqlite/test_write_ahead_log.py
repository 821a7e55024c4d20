"""The log of the database: its room is there before it is needed, and is used again."""

import resource
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backstop.adapters.sqlite.journal import SqliteJournal
from backstop.adapters.sqlite.schema import connect_read_only, open_for_writing
from backstop.adapters.sqlite.write_ahead_log import (
    COPY_EVERY_PAGES,
    JOURNAL_PAGES,
    RESERVED_BYTES,
)
from backstop.core.journal_leaf import leaf_hash
from backstop.ports import JournalBatch, JournalRecord

LARGEST_FILE_BYTES = 256 * 1024
"""Room for the database and for some commits, not for a log of the usual size."""


def a_batch(seq: int, payload: bytes = b"{}") -> JournalBatch:
    record = JournalRecord(seq=seq, kind="event", monotonic_ns=seq, utc_us=seq, payload=payload)
    return JournalBatch(records=(record,))


def the_log(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def count(database: Path) -> int:
    with closing(connect_read_only(database)) as connection:
        (found,) = connection.execute("SELECT count(*) FROM Journal").fetchone()
    return int(found)


async def test_the_log_has_its_room_before_the_first_record(
    journal: SqliteJournal, database: Path
) -> None:
    assert the_log(database).stat().st_size == RESERVED_BYTES
    await journal.append(a_batch(1))

    assert the_log(database).stat().st_size == RESERVED_BYTES
    assert count(database) == 1


async def test_the_room_is_used_again_however_many_commits_there_are(
    journal: SqliteJournal, database: Path
) -> None:
    """Each of these commits writes two pages: four times what there is room for."""
    commits = 4 * RESERVED_BYTES // (2 * 4096)
    for seq in range(1, commits + 1):
        await journal.append(a_batch(seq, b"x" * 3000))

    assert commits > 4 * COPY_EVERY_PAGES // JOURNAL_PAGES
    assert the_log(database).stat().st_size <= 2 * RESERVED_BYTES
    assert count(database) == commits


async def test_large_commits_leave_no_more_to_the_next_start_than_small_ones(
    journal: SqliteJournal, database: Path
) -> None:
    """A copy is due by what was written, not by how often: the log does not outgrow its room."""
    commits, together = 40, 250
    for commit in range(commits):
        first = 1 + commit * together
        batches = [a_batch(first + place, b"x" * 3000) for place in range(together)]
        for durable in [journal.append(batch) for batch in batches]:
            await durable

    assert commits * together * 3000 > 3 * RESERVED_BYTES
    assert the_log(database).stat().st_size <= 2 * RESERVED_BYTES
    assert count(database) == commits * together


async def test_what_a_killed_process_left_in_its_log_stays(
    journal: SqliteJournal, database: Path, tmp_path: Path
) -> None:
    for seq in range(1, 11):
        await journal.append(a_batch(seq))
    left = tmp_path / "left"
    shutil.copytree(database.parent, left)

    open_for_writing(left / database.name).close()

    assert count(left / database.name) == 10


async def test_without_room_on_the_disk_there_is_just_none(database: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, before[1]))
    try:
        journal = SqliteJournal.open(database, account="42", epoch=3, leaf_hash=leaf_hash)
        for seq in range(1, 11):
            await journal.append(a_batch(seq))
        size = the_log(database).stat().st_size
        await journal.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert size < LARGEST_FILE_BYTES
    assert count(database) == 10


async def test_a_reader_that_stays_loses_nothing_and_holds_up_nobody(
    journal: SqliteJournal, database: Path
) -> None:
    """What it still reads cannot be overwritten: the log grows meanwhile."""
    await journal.append(a_batch(1))
    with closing(connect_read_only(database)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM Journal").fetchone() == (1,)
        for seq in range(2, COPY_EVERY_PAGES):
            await journal.append(a_batch(seq))
        assert reader.execute("SELECT count(*) FROM Journal").fetchone() == (1,)

    assert count(database) == COPY_EVERY_PAGES - 1


@pytest.mark.parametrize("kept", [b"", b"\0" * 4096])
def test_a_log_of_zeros_is_an_empty_one(tmp_path: Path, kept: bytes) -> None:
    """That SQLite sees it so is what the room relies on."""
    database = tmp_path / "any.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE one (number INTEGER)")
        connection.execute("INSERT INTO one VALUES (1)")
    the_log(database).write_bytes(kept)

    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("INSERT INTO one VALUES (2)")
        assert connection.execute("SELECT number FROM one").fetchall() == [(1,), (2,)]
