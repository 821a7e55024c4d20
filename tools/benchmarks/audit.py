"""The audit trail: orders made durable with everything, and the check of a whole record.

An audited order is its record with leaf hash, the tree, a signature, its rows in both tables, and
an fsync. Three ways: one by one, each waiting for the one before; in groups of ten, as a bot that
sends baskets has them, likewise; and groups of ten of which the next is handed in while one waits
for the disk, as a steady stream has them. Baselines: the same rows into the same tables by plain
SQLite, without hashes, tree and signatures, as many of them in each transaction; and bare
signatures. Both in the same rounds.
"""

import asyncio
import json
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from backstop.adapters.clock import SystemClock
from backstop.adapters.signing import AuditKeys, verify_raw
from backstop.adapters.sqlite.schema import open_for_writing
from backstop.app.audit_reading import AuditReading
from backstop.app.audit_trail import AuditTrail
from backstop.app.audit_verification import verify_record
from backstop.app.journal_fold import policy_batch
from backstop.core.policy import Policy
from backstop.domain.audit import AuditRow, FillRow
from backstop.domain.events import TimerFired
from backstop.ports import JournalBatch, JournalRecord
from benchmarks.figures import Figure, Goal, Of

ACCOUNT = "42"
GROUP = 10
PAYLOAD = b'{"kind":"TradeReported","trade":{"price":"5000.25","quantity":1}}'.ljust(400)
UTC_US = 1_762_093_800_000_000
RECORDS_AT_ONCE = 1000

ONE_EACH = "plain SQLite: the same rows, one order per commit"
TEN_EACH = "plain SQLite: the same rows, ten orders per commit"


class Way(Struct, frozen=True, kw_only=True):
    """One way in which orders are handed in."""

    key: str
    what: str
    together: int = 1  # orders in one decision
    under_way: int = 1  # decisions that wait for the disk at the same time
    goal_per_s: int | None = None

    @property
    def baseline(self) -> str:
        """What it is compared with."""
        return ONE_EACH if self.together == 1 else TEN_EACH


WAYS = (
    Way(key="one_by_one", what="audited orders, one by one", goal_per_s=4_000),
    Way(key="ten_waiting", what="audited orders, ten waiting at a time", under_way=GROUP),
    Way(
        key="groups_of_ten",
        what="audited orders, in groups of ten",
        together=GROUP,
        goal_per_s=30_000,
    ),
    Way(
        key="stream_of_tens",
        what="audited orders, groups of ten without a pause",
        together=GROUP,
        under_way=2,
        goal_per_s=30_000,
    ),
)


def measure_orders(folder: Path, *, rounds: int, commits: int) -> list[Figure]:
    """Return audited orders a second; each round measures all ways, so that noise hits all."""
    plain: dict[str, list[float]] = {ONE_EACH: [], TEN_EACH: []}
    found: dict[str, list[float]] = {way.key: [] for way in WAYS}
    for _ in range(rounds):
        for baseline, together in ((ONE_EACH, 1), (TEN_EACH, GROUP)):
            work = partial(_plain_orders_per_s, commits=commits, together=together)
            plain[baseline].append(_in_new_folder(folder, work))
        for way in WAYS:
            work = partial(_orders_per_s, way=way, commits=commits)
            found[way.key].append(_in_new_folder(folder, work))
    return [
        Figure(
            key=f"audited_orders_{way.key}_per_s",
            what=way.what,
            unit="1/s",
            rounds=tuple(found[way.key]),
            baseline=way.baseline,
            baseline_rounds=tuple(plain[way.baseline]),
            goal=None
            if way.goal_per_s is None
            else Goal(of=Of.VALUE, bound=way.goal_per_s, at_least=True),
        )
        for way in WAYS
    ]


def measure_signatures(folder: Path, *, rounds: int, count: int) -> list[Figure]:
    """Return how many signatures are made and checked in a second."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        keys = AuditKeys.open(Path(name) / "keys")
        public_key, signature = keys.public_key().public_bytes_raw(), keys.sign(PAYLOAD)
        made = [_rate(lambda: keys.sign(PAYLOAD), count) for _ in range(rounds)]
        checked = [
            _rate(lambda: verify_raw(public_key, signature, PAYLOAD), count) for _ in range(rounds)
        ]
    return [
        Figure(key="signatures_per_s", what="Ed25519 signatures", unit="1/s", rounds=tuple(made)),
        Figure(
            key="signature_checks_per_s",
            what="Ed25519 signatures checked",
            unit="1/s",
            rounds=tuple(checked),
        ),
    ]


def measure_verification(folder: Path, *, rounds: int, records: int, proofs: int) -> list[Figure]:
    """Return how fast a whole record is checked, in how much memory, and how fast it proves."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        state = Path(name) / "state"
        asyncio.run(_fill(state, records))
        checks = [check_in_a_process(state) for _ in range(rounds)]
        keys = AuditKeys.open(state / "keys")
        reading = AuditReading(
            state / "audit.db",
            public_key=keys.public_key().public_bytes_raw(),
            key_id=keys.key_id,
        )
        reading.inclusion(1)  # reads the tree once
        rates = []
        for _ in range(rounds):
            places = iter(range(1, records, max(1, records // proofs)))
            rates.append(_rate(partial(_next_proof, reading, places), proofs))
        shutil.rmtree(state)
    return [
        Figure(
            key="verified_records_per_s",
            what=f"audit verify, {records} records",
            unit="1/s",
            rounds=tuple(check.records_per_s for check in checks),
        ),
        Figure(
            key="verification_memory_mib",
            what="audit verify: memory beyond the start of the process",
            unit="MiB",
            rounds=tuple(check.memory_mib for check in checks),
        ),
        Figure(
            key="inclusion_proofs_per_s",
            what=f"inclusion proofs out of {records} records",
            unit="1/s",
            rounds=tuple(rates),
        ),
    ]


def _in_new_folder(folder: Path, work: Callable[[Path], float]) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        return work(Path(name))


def _plain_orders_per_s(folder: Path, commits: int, together: int) -> float:
    path = folder / "baseline.db"
    open_for_writing(path).close()  # lays out the tables
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    groups = [
        [_plain_rows(number) for number in range(first, first + together)]
        for first in range(1, commits * together, together)
    ]
    began_ns = time.perf_counter_ns()
    for group in groups:
        connection.execute("BEGIN IMMEDIATE")
        for insert, rows in zip(_PLAIN_INSERTS, zip(*group, strict=True), strict=True):
            connection.executemany(insert, rows)
        connection.execute("COMMIT")
    elapsed_ns = time.perf_counter_ns() - began_ns
    connection.close()
    return commits * together * 1e9 / elapsed_ns


_PLAIN_INSERTS = (
    "INSERT INTO Journal VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    "INSERT INTO OrderAudit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "INSERT INTO FillAudit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
)


def _plain_rows(number: int) -> tuple[tuple[object, ...], ...]:
    """Return what ``_order`` leads to in the three tables; in place of a hash are zeros."""
    order_id, moment = str(3_400_000_000 + number), "2025-11-02T14:30:00.000000Z"
    return (
        (number, "event", ACCOUNT, 1, number, UTC_US, PAYLOAD, bytes(32)),
        (
            *(order_id, f"entry-{number}", moment, "MES", "BUY", 1, "5000.25", "FILLED"),
            *(None, "2025-11-02 14:30:00", ACCOUNT, number),
        ),
        (str(number), order_id, moment, "5000.25", 1, "0.37", 0, ACCOUNT, number),
    )


def _orders_per_s(folder: Path, way: Way, commits: int) -> float:
    return asyncio.run(_hand_in(folder / "state", way, commits))


async def _hand_in(state: Path, way: Way, commits: int) -> float:
    trail = AuditTrail.open(state, account=ACCOUNT, epoch=1, clock=SystemClock())
    outside = asyncio.create_task(trail.run())
    orders = commits * way.together
    batches = iter([_orders(1 + n, n, way.together) for n in range(0, orders, way.together)])

    async def bot() -> None:
        for batch in batches:
            await trail.append(batch)

    began_ns = time.perf_counter_ns()
    await asyncio.gather(*(bot() for _ in range(way.under_way)))
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


def _next_proof(reading: AuditReading, places: Iterator[int]) -> object:
    return reading.inclusion(next(places))


def _rate(work: Callable[[], object], count: int) -> float:
    began_ns = time.perf_counter_ns()
    for _ in range(count):
        work()
    return count * 1e9 / (time.perf_counter_ns() - began_ns)


async def _fill(state: Path, records: int) -> None:
    trail = AuditTrail.open(state, account=ACCOUNT, epoch=1, clock=SystemClock())
    await trail.append(
        policy_batch(Policy(account_id=int(ACCOUNT)), seq=1, monotonic_ns=1, utc_us=UTC_US)
    )
    payload = msgspec.json.encode(TimerFired(utc_us=UTC_US))
    while trail.next_seq <= records:
        first = trail.next_seq
        count = min(RECORDS_AT_ONCE, records - first + 1)
        await trail.append(
            JournalBatch(records=tuple(_record(first + place, payload) for place in range(count)))
        )
    await trail.close()


# -- in a process of its own, so that its memory is its own ----------------------------------------


class Check(Struct, frozen=True, kw_only=True):
    """What one check of a whole record took."""

    records_per_s: float
    memory_mib: float


def check_in_a_process(state: Path) -> Check:
    """Have a new process check the record of ``state``."""
    tools = str(Path(__file__).parents[1])
    done = subprocess.run(  # noqa: S603 - this very file
        [sys.executable, "-m", "benchmarks.audit", str(state)],
        check=True,
        capture_output=True,
        cwd=tools,
    )
    return msgspec.json.decode(done.stdout, type=Check)


def _check(state: Path) -> Check:
    before_kib = _peak_kib()
    began_ns = time.perf_counter_ns()
    report = verify_record(state)
    elapsed_s = (time.perf_counter_ns() - began_ns) / 1e9
    return Check(
        records_per_s=report.records / elapsed_s, memory_mib=(_peak_kib() - before_kib) / 1024
    )


def _peak_kib() -> int:
    """Return the most memory this process ever had; Linux keeps it apart from its parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(msgspec.to_builtins(_check(Path(sys.argv[1])))))
