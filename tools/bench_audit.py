"""Measures the audit trail: signed commits, the check of a whole record, signatures, proofs.

Every rate stands beside a baseline of the same run on the same disk: plain SQLite with one row in
each transaction, and one fdatasync. ``python tools/bench_audit.py [--folder DIR] [--json]``; other
benchmarks call ``measure``.
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from backstop.adapters.clock import SystemClock
from backstop.adapters.signing import AuditKeys, verify_raw
from backstop.adapters.sqlite.schema import connect_read_only
from backstop.app.audit_reading import AuditReading
from backstop.app.audit_trail import AuditTrail
from backstop.app.audit_verification import verify_record
from backstop.app.journal_fold import policy_batch
from backstop.core.policy import Policy
from backstop.domain.audit import AuditRow, FillRow
from backstop.domain.events import TimerFired
from backstop.ports import JournalBatch, JournalRecord

ACCOUNT = "42"
ROUNDS = 3
COMMITS = 3000
GROUP = 10
VERIFIED_RECORDS = 100_000
SIGNATURES = 5000
PROOFS = 200
PAYLOAD = b'{"kind":"TradeReported","trade":{"price":"5000.25","quantity":1}}'.ljust(400)
UTC_US = 1_762_093_800_000_000

GOALS = {"orders_one_by_one_per_s": 4_000, "orders_in_groups_of_ten_per_s": 30_000}


def measure(folder: Path) -> dict[str, float]:
    """Return every figure by its name with its unit; ``folder`` is on the disk that matters."""
    rows = [_round(folder) for _ in range(ROUNDS)]
    figures = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    raw = figures["raw_sqlite_rows_per_s"]
    figures["one_by_one_to_raw"] = figures["orders_one_by_one_per_s"] / raw
    figures["ten_waiting_to_raw"] = figures["orders_ten_waiting_per_s"] / raw
    figures["groups_of_ten_to_raw"] = figures["orders_in_groups_of_ten_per_s"] / raw
    return figures | _signatures(folder) | _verification(folder)


def _round(folder: Path) -> dict[str, float]:
    """Measure baseline and trail in turn, so that a busy moment of the disk touches both."""
    return {
        "raw_fdatasyncs_per_s": _in_new_folder(folder, _raw_fdatasyncs_per_s),
        "raw_sqlite_rows_per_s": _in_new_folder(folder, _raw_rows_per_s),
        "orders_one_by_one_per_s": _in_new_folder(
            folder, lambda it: asyncio.run(_orders_per_s(it))
        ),
        "orders_ten_waiting_per_s": _in_new_folder(
            folder, lambda it: asyncio.run(_orders_per_s(it, waiting=GROUP))
        ),
        "orders_in_groups_of_ten_per_s": _in_new_folder(
            folder, lambda it: asyncio.run(_orders_per_s(it, together=GROUP))
        ),
    }


def _in_new_folder(folder: Path, work: Callable[[Path], float]) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        return work(Path(name))


def _raw_fdatasyncs_per_s(folder: Path) -> float:
    sync = getattr(os, "fdatasync", os.fsync)
    with (folder / "file").open("wb") as file:
        began_ns = time.perf_counter_ns()
        for _ in range(COMMITS):
            file.write(PAYLOAD)
            file.flush()
            sync(file.fileno())
        return COMMITS * 1e9 / (time.perf_counter_ns() - began_ns)


def _raw_rows_per_s(folder: Path) -> float:
    connection = sqlite3.connect(folder / "baseline.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE Journal (seq INTEGER PRIMARY KEY, payload BLOB)")
    began_ns = time.perf_counter_ns()
    for seq in range(COMMITS):
        connection.execute("INSERT INTO Journal VALUES (?, ?)", (seq, PAYLOAD))
    elapsed_ns = time.perf_counter_ns() - began_ns
    connection.close()
    return COMMITS * 1e9 / elapsed_ns


async def _orders_per_s(folder: Path, *, waiting: int = 1, together: int = 1) -> float:
    """Make orders durable with record, leaf hash, tree, signed head, rows and fsync.

    Args:
        folder: on the disk that matters.
        waiting: decisions that wait for the disk at the same time.
        together: orders in one decision, as a bot that sends a basket has them.
    """
    trail = AuditTrail.open(folder / "state", account=ACCOUNT, epoch=1, clock=SystemClock())
    outside = asyncio.create_task(trail.run())
    orders = COMMITS * waiting * together
    batches = [_orders(1 + first, first, together) for first in range(0, orders, together)]
    began_ns = time.perf_counter_ns()
    for first in range(0, len(batches), waiting):
        await asyncio.gather(*map(trail.append, batches[first : first + waiting]))
    elapsed_ns = time.perf_counter_ns() - began_ns
    outside.cancel()
    await asyncio.gather(outside, return_exceptions=True)
    await trail.close()
    return orders * 1e9 / elapsed_ns


def _orders(seq: int, number: int, count: int) -> JournalBatch:
    parts = [_order(seq + place, number + place) for place in range(count)]
    return JournalBatch(
        records=tuple(it for part in parts for it in part.records),
        orders=tuple(it for part in parts for it in part.orders),
        fills=tuple(it for part in parts for it in part.fills),
    )


def _order(seq: int, number: int) -> JournalBatch:
    order = AuditRow(
        order_id=str(3_400_000_000 + number),
        client_order_id=f"entry-{number}",
        submitted_utc_us=UTC_US,
        symbol="MES",
        side="BUY",
        quantity=1,
        price="5000.25",
        status="FILLED",
    )
    fill = FillRow(
        fill_id=str(number),
        order_id=order.order_id,
        fill_utc_us=UTC_US,
        price="5000.25",
        quantity=1,
        commission="0.37",
    )
    return JournalBatch(records=(_record(seq, PAYLOAD),), orders=(order,), fills=(fill,))


def _record(seq: int, payload: bytes) -> JournalRecord:
    return JournalRecord(seq=seq, kind="event", monotonic_ns=seq, utc_us=UTC_US, payload=payload)


def _signatures(folder: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        keys = AuditKeys.open(Path(name) / "keys")
        public_key, signature = keys.public_key().public_bytes_raw(), keys.sign(PAYLOAD)
        return {
            "signatures_per_s": _rate(lambda: keys.sign(PAYLOAD), SIGNATURES),
            "signature_checks_per_s": _rate(
                lambda: verify_raw(public_key, signature, PAYLOAD), SIGNATURES
            ),
        }


def _rate(work: Callable[[], object], count: int) -> float:
    began_ns = time.perf_counter_ns()
    for _ in range(count):
        work()
    return count * 1e9 / (time.perf_counter_ns() - began_ns)


def _verification(folder: Path) -> dict[str, float]:
    """Check a record of VERIFIED_RECORDS in a process of its own, and prove records out of it."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        state = Path(name) / "state"
        asyncio.run(_fill(state))
        report = json.loads(
            subprocess.run(  # noqa: S603 - this very file
                [sys.executable, __file__, "--check", str(state)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        keys = AuditKeys.open(state / "keys")
        reading = AuditReading(
            state / "audit.db",
            public_key=keys.public_key().public_bytes_raw(),
            key_id=keys.key_id,
        )
        reading.inclusion(1)  # reads the tree once
        places = iter(range(1, VERIFIED_RECORDS, VERIFIED_RECORDS // PROOFS))
        proofs = _rate(lambda: reading.inclusion(next(places)), PROOFS)
        with connect_read_only(state / "audit.db") as connection:
            (records,) = connection.execute("SELECT count(*) FROM Journal").fetchone()
        shutil.rmtree(state)
    return {
        "verified_records": records,
        "verified_records_per_s": report["records_per_s"],
        "verification_memory_mib": report["memory_mib"],
        "inclusion_proofs_per_s": proofs,
    }


async def _fill(state: Path) -> None:
    trail = AuditTrail.open(state, account=ACCOUNT, epoch=1, clock=SystemClock())
    await trail.append(policy_batch(Policy(account_id=42), seq=1, monotonic_ns=1, utc_us=UTC_US))
    payload = msgspec.json.encode(TimerFired(utc_us=UTC_US))
    while trail.next_seq <= VERIFIED_RECORDS:
        first = trail.next_seq
        await trail.append(
            JournalBatch(records=tuple(_record(first + place, payload) for place in range(1000)))
        )
    await trail.close()


def _check(state: Path) -> dict[str, float]:
    before_kib = _peak_kib()
    began_ns = time.perf_counter_ns()
    report = verify_record(state)
    elapsed_s = (time.perf_counter_ns() - began_ns) / 1e9
    after_kib = _peak_kib()
    return {
        "records_per_s": report.records / elapsed_s,
        "memory_mib": (after_kib - before_kib) / 1024,
    }


def _peak_kib() -> int:
    """Return the most memory this process ever had; Linux keeps it apart from its parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0])


def _say(figures: dict[str, Any]) -> None:
    width = max(len(name) for name in figures)
    for name, value in figures.items():
        goal = GOALS.get(name)
        against = "" if goal is None else f"   goal {goal}: {'met' if value >= goal else 'MISSED'}"
        shown = f"{value:,.2f}" if value < 100 else f"{value:,.0f}"  # noqa: PLR2004 - for reading
        print(f"{name:<{width}}  {shown:>12}{against}")


def main() -> int:
    """Measure and print; ends with 0."""
    parser = argparse.ArgumentParser(description="Benchmarks of the audit trail.")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.check is not None:
        print(json.dumps(_check(options.check)))
        return 0
    figures = measure(options.folder)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        _say(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
