"""The journal against the plainest way to do the same on the same disk.

Baseline: one row per transaction, ``synchronous=FULL``, so every row waits for its own fsync. Ours:
the journal with a number of decisions waiting at the same time, each with one record, as the guard
writes them.
"""

import asyncio
import sqlite3
import time
from pathlib import Path

from backstop.adapters.sqlite.journal import SqliteJournal
from backstop.core.journal_leaf import leaf_hash
from backstop.ports import JournalBatch, JournalRecord
from benchmarks.figures import Figure, Goal, Of, percentile

PAYLOAD = b'{"kind":"TradeReported","trade":{"price":"5000.25","quantity":1}}'.ljust(400)
CONCURRENCIES = (1, 8, 32, 128)
GROUP_COMMIT_AT = 32
GROUP_COMMIT_GOAL = Goal(of=Of.RATIO, bound=5, at_least=True)
BASELINE = "plain SQLite, one row per commit"


class Commits:
    """How long each of a number of commits took, and all of them together."""

    def __init__(self) -> None:
        self.waits_ms: list[float] = []
        self._began_ns = time.perf_counter_ns()
        self._elapsed_ns = 0

    def end(self) -> "Commits":
        """Stop the clock."""
        self._elapsed_ns = time.perf_counter_ns() - self._began_ns
        return self

    @property
    def per_second(self) -> float:
        """Commits in a second."""
        return len(self.waits_ms) * 1e9 / self._elapsed_ns


def measure(folder: Path, *, rounds: int, records: int) -> list[Figure]:
    """Return rates and waits; each round measures all of them, so that noise hits all."""
    singles: list[Commits] = []
    ours: dict[int, list[Commits]] = {count: [] for count in CONCURRENCIES}
    for _ in range(rounds):
        singles.append(_single_rows(folder, records))
        for count, found in ours.items():
            found.append(asyncio.run(_journal_rows(folder, records, concurrency=count)))
    return [figure for count, found in ours.items() for figure in _figures(count, found, singles)]


def _figures(count: int, found: list[Commits], singles: list[Commits]) -> list[Figure]:
    label = f"journal, {count} waiting at a time"
    figures = [
        Figure(
            key=f"journal_{count}_commits_per_s",
            what=f"{label}: commits",
            unit="1/s",
            rounds=tuple(each.per_second for each in found),
            baseline=BASELINE,
            baseline_rounds=tuple(each.per_second for each in singles),
            goal=GROUP_COMMIT_GOAL if count == GROUP_COMMIT_AT else None,
        )
    ]
    figures += [
        Figure(
            key=f"journal_{count}_wait_p{percent}_ms",
            what=f"{label}: wait p{percent}",
            unit="ms",
            rounds=tuple(percentile(each.waits_ms, percent / 100) for each in found),
            baseline=BASELINE,
            baseline_rounds=tuple(percentile(each.waits_ms, percent / 100) for each in singles),
        )
        for percent in (50, 99)
    ]
    return figures


def _single_rows(folder: Path, records: int) -> Commits:
    """Commit one row per transaction with plain sqlite3, nothing else."""
    path = folder / "baseline.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE Journal (seq INTEGER PRIMARY KEY, payload BLOB)")
    commits = Commits()
    for seq in range(records):
        began_ns = time.perf_counter_ns()
        connection.execute("INSERT INTO Journal VALUES (?, ?)", (seq, PAYLOAD))
        commits.waits_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
    commits.end()
    connection.close()
    path.unlink()
    return commits


async def _journal_rows(folder: Path, records: int, *, concurrency: int) -> Commits:
    path = folder / "audit.db"
    journal = SqliteJournal.open(path, account="1", epoch=0, leaf_hash=leaf_hash)
    commits = Commits()

    async def appender(share: int) -> None:
        for _ in range(share):
            record = JournalRecord(
                seq=journal.next_seq, kind="event", monotonic_ns=0, utc_us=0, payload=PAYLOAD
            )
            began_ns = time.perf_counter_ns()
            await journal.append(JournalBatch(records=(record,)))
            commits.waits_ms.append((time.perf_counter_ns() - began_ns) / 1e6)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(appender(max(1, records // concurrency)))
    commits.end()
    await journal.close()
    path.unlink()
    return commits
