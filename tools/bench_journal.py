"""Measures the journal against the plainest way to do the same on the same disk.

Baseline: one row per transaction, ``synchronous=FULL``, so every row waits for its own fsync. Ours:
the journal with a number of decisions waiting at the same time, each with one record, as the guard
writes them. Prints one table; every row is the median of several rounds.

Run with ``python tools/bench_journal.py [--folder DIR]`` on the disk that matters.
"""

import argparse
import asyncio
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from backstop.adapters.sqlite.journal import SqliteJournal
from backstop.core.journal_leaf import leaf_hash
from backstop.ports import JournalBatch, JournalRecord

ROUNDS = 5
RECORDS = 4000
PAYLOAD = b'{"kind":"TradeReported","trade":{"price":"5000.25","quantity":1}}'.ljust(400)
CONCURRENCIES = (1, 8, 32, 128)


def raw_fsyncs_per_second(folder: Path) -> float:
    """Append one payload and fsync, over and over: the ceiling of the disk itself."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        began_ns = time.perf_counter_ns()
        for _ in range(RECORDS):
            file.write(PAYLOAD)
            file.flush()
            os.fsync(file.fileno())
        return RECORDS * 1e9 / (time.perf_counter_ns() - began_ns)


def single_rows_per_second(folder: Path) -> float:
    """Commit one row per transaction with plain sqlite3, nothing else."""
    path = folder / "baseline.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE Journal (seq INTEGER PRIMARY KEY, payload BLOB)")
    began_ns = time.perf_counter_ns()
    for seq in range(RECORDS):
        connection.execute("INSERT INTO Journal VALUES (?, ?)", (seq, PAYLOAD))
    elapsed_ns = time.perf_counter_ns() - began_ns
    connection.close()
    path.unlink()
    return RECORDS * 1e9 / elapsed_ns


async def journal_rows_per_second(folder: Path, concurrency: int) -> tuple[float, float]:
    """Return records per second and the median time in ms from append to durable."""
    path = folder / "audit.db"
    journal = SqliteJournal.open(path, account="1", epoch=0, leaf_hash=leaf_hash)
    waits_ns: list[int] = []

    async def appender(share: int) -> None:
        for _ in range(share):
            record = JournalRecord(
                seq=journal.next_seq, kind="event", monotonic_ns=0, utc_us=0, payload=PAYLOAD
            )
            began_ns = time.perf_counter_ns()
            await journal.append(JournalBatch(records=(record,)))
            waits_ns.append(time.perf_counter_ns() - began_ns)

    began_ns = time.perf_counter_ns()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(appender(RECORDS // concurrency))
    elapsed_ns = time.perf_counter_ns() - began_ns
    await journal.close()
    path.unlink()
    return len(waits_ns) * 1e9 / elapsed_ns, statistics.median(waits_ns) / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure")
    chosen = parser.parse_args().folder
    fsyncs: list[float] = []
    singles: list[float] = []
    ours: dict[int, list[tuple[float, float]]] = {count: [] for count in CONCURRENCIES}
    with tempfile.TemporaryDirectory(dir=chosen) as made:
        folder = Path(made)
        for _ in range(ROUNDS):
            # One after the other in each round, so that a busy moment of the machine hits all.
            fsyncs.append(raw_fsyncs_per_second(folder))
            singles.append(single_rows_per_second(folder))
            for count, found in ours.items():
                found.append(asyncio.run(journal_rows_per_second(folder, count)))
    baseline = statistics.median(singles)
    fsync = statistics.median(fsyncs)
    print(f"{platform.platform()}, Python {platform.python_version()}")
    print(f"SQLite {sqlite3.sqlite_version}; {len(PAYLOAD)} bytes a record; {ROUNDS} rounds")
    print(f"{'':42}{'records/s':>10}{'x single':>10}{'median ms':>11}")
    print(f"{'plain file, fsync per record':42}{fsync:10.0f}{fsync / baseline:10.2f}")
    print(f"{'plain SQLite, one row per commit':42}{baseline:10.0f}{1:10.2f}")
    for count, found in ours.items():
        rate = statistics.median(rate for rate, _ in found)
        wait_ms = statistics.median(wait for _, wait in found)
        label = f"journal, {count} waiting at a time"
        print(f"{label:42}{rate:10.0f}{rate / baseline:10.2f}{wait_ms:11.2f}")


if __name__ == "__main__":
    main()
