"""A database read as evidence: whole, and without a trace beside the original."""

import shutil
from pathlib import Path

import pytest

from backstop.adapters.sqlite.audit_store import AuditStore
from backstop.adapters.sqlite.evidence_copy import copied, readable
from backstop.adapters.sqlite.journal import SqliteJournal
from backstop.errors import StateFolderError
from backstop.ports import JournalBatch, JournalRecord


async def killed(journal: SqliteJournal, database: Path, to: Path) -> Path:
    """Return the files as a process leaves them that was killed: the newest is not merged yet."""
    for seq in range(1, 4):
        record = JournalRecord(seq=seq, kind="event", monotonic_ns=1, utc_us=1, payload=b"{}")
        await journal.append(JournalBatch(records=(record,)))
    shutil.copytree(database.parent, to, ignore=shutil.ignore_patterns("*-shm"))
    return to / "audit.db"


async def test_a_copy_has_what_a_killed_process_committed_last(
    journal: SqliteJournal, database: Path, tmp_path: Path
) -> None:
    left = await killed(journal, database, tmp_path / "left")
    before = {path.name: path.read_bytes() for path in left.parent.iterdir()}

    with copied(left) as copy, AuditStore(copy) as store:
        assert store.last_seq() == 3
        assert copy != left

    assert {path.name: path.read_bytes() for path in left.parent.iterdir()} == before
    assert not copy.exists()


async def test_a_folder_that_can_be_written_is_read_in_place(
    journal: SqliteJournal, database: Path, tmp_path: Path
) -> None:
    left = await killed(journal, database, tmp_path / "left")

    with readable(left) as path:
        assert path == left


def test_what_cannot_be_copied_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateFolderError, match="cannot be copied"), copied(tmp_path / "none"):
        pass
