"""The journal in a process that is killed, and on a disk that is full."""

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from backstop.adapters.sqlite.journal import SqliteJournal
from backstop.adapters.sqlite.schema import connect_read_only, open_for_reading
from backstop.core.journal_leaf import leaf_hash

CHILD = Path(__file__).with_name("journal_child.py")


@contextmanager
def a_writer(database: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, CHILD, database, *arguments]
    with subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


async def written(database: Path) -> list[int]:
    """The sequence numbers that a new process finds; opening repairs what the crash left."""
    journal = SqliteJournal.open(database, account="42", epoch=0, leaf_hash=leaf_hash)
    try:
        return [record.seq for record in journal.read_all()]
    finally:
        await journal.close()


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_was_acknowledged_survives_a_kill(database: Path, seed: int) -> None:
    """kill -9 in the middle of commits, three processes one after the other on one file."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable choice, not a secret
    acknowledged = 0
    for _ in range(3):
        kill_at = acknowledged + chance.randrange(20, 200)
        with a_writer(database, 10**9) as process:
            assert process.stdout is not None
            for line in process.stdout:
                acknowledged = max(acknowledged, int(line.split()[1]))
                if acknowledged >= kill_at:
                    process.kill()
                    break
            # What it printed before it died was acknowledged as well.
            for line in process.stdout:
                if line.endswith("\n"):
                    acknowledged = max(acknowledged, int(line.split()[1]))

        found = await written(database)

        assert found == list(range(1, len(found) + 1))
        assert len(found) >= acknowledged
        acknowledged = len(found)


async def test_records_and_rows_agree_after_a_kill(database: Path) -> None:
    with a_writer(database, 10**9) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("durable 150"):
                break

    found = await written(database)

    with closing(open_for_reading(database)) as connection:
        assert connection.execute("SELECT count(*) FROM OrderAudit").fetchone() == (len(found),)
        assert connection.execute("SELECT count(*) FROM FillAudit").fetchone() == (len(found),)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


async def test_a_full_disk_fails_loudly_and_keeps_what_was_acknowledged(database: Path) -> None:
    with a_writer(database, 10**9, 300_000) as process:
        output, _ = process.communicate(timeout=60)
    lines = output.splitlines()
    durable = [int(line.split()[1]) for line in lines if line.startswith("durable")]
    failed = [line for line in lines if line.startswith("failed")]

    assert durable
    assert failed
    assert all("cannot write: OperationalError: " in line for line in failed)
    assert (await written(database))[: len(durable)] == durable
    assert process.returncode == 0


async def test_another_process_reads_while_one_writes(database: Path) -> None:
    with a_writer(database, 10**9) as process:
        assert process.stdout is not None
        seen = 0
        for line in process.stdout:
            acknowledged = int(line.split()[1])
            if acknowledged % 20 == 0:
                with closing(connect_read_only(database)) as connection:
                    (count,) = connection.execute("SELECT count(*) FROM Journal").fetchone()
                assert count >= acknowledged
                seen += 1
            if seen == 10:
                break
