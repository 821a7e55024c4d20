"""What the state on disk costs while a guard runs, and what it saves when one starts."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, cast

from backstop.adapters.clock import SystemClock
from backstop.adapters.disk import Disk
from backstop.adapters.state_file import BACKUP, CURRENT, GENERATIONS, StateFiles
from backstop.app.dispatch import Dispatcher
from backstop.app.loop import DecisionLoop
from backstop.app.proofs import ProofMaker
from backstop.app.state_opening import OpenedState
from backstop.core.policy import Policy
from backstop.core.state_checkpoint import captured, encoded
from benchmarks.decisions import ACCOUNT
from benchmarks.figures import Figure, Goal, Of
from benchmarks.records import RecordMaker

TOOLS = Path(__file__).parents[1]

FEW = 100
"""One of so many orders is in the record that the long one is compared with."""

MADE_AT_A_TIME = 2

BEAT_S = 0.1
"""Also the time between two orders where orders come: far above what an account sends."""

AUDIT_S = 5.0
AN_HOUR_S = 3600
ORDERS_BEFORE = 200


class Cost(NamedTuple):
    """What a second of keeping the state takes."""

    mib_per_h: float
    cpu_percent: float


class CountingDisk(Disk):
    """Counts the bytes that are written."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, descriptor: int, data: bytes, *, offset: int) -> None:
        """Write and count."""
        self.written += len(data)
        super().write(descriptor, data, offset=offset)


# -- the start -------------------------------------------------------------------------------------


def measure_start(
    *, rounds: int, past_orders: int, short_tail: int, long_tail: int
) -> Iterator[Figure]:
    """Yield the time from nothing but files to the whole state, after a crash."""
    few = max(1, past_orders // FEW)
    with tempfile.TemporaryDirectory() as folder:
        tails = (("short_tail", short_tail), ("long_tail", long_tail))
        folders = [Path(folder) / name for name in ("long", "short", *(name for name, _ in tails))]
        long, short, *tail_folders = folders
        with ThreadPoolExecutor(MADE_AT_A_TIME) as threads:  # each of them waits for a process
            orders = (past_orders, few, few, few)
            list(threads.map(make_apart, folders, orders, (0, 0, short_tail, long_tail)))
        yield Figure(
            key="state_start_ms",
            what=f"state after a crash, {past_orders} past orders",
            unit="ms",
            rounds=tuple(opened_ms(long) for _ in range(rounds)),
            baseline=f"{few} past orders",
            baseline_rounds=tuple(opened_ms(short) for _ in range(rounds)),
            goal=Goal(of=Of.VALUE, bound=10, at_least=False),
        )
        for (name, tail), made in zip(tails, tail_folders, strict=True):
            yield Figure(
                key=f"state_start_{name}_ms",
                what=f"state, {tail} records after the last checkpoint",
                unit="ms",
                rounds=tuple(opened_ms(made) for _ in range(rounds)),
            )
        for name in GENERATIONS:
            (long / name).unlink(missing_ok=True)
        yield Figure(
            key="state_start_from_journal_ms",
            what=f"state from the journal alone, {past_orders} past orders",
            unit="ms",
            rounds=tuple(opened_ms(long) for _ in range(rounds)),
        )


def make_apart(folder: Path, orders: int, tail: int) -> None:
    """Make ``folder`` as a killed guard leaves it."""
    folder.mkdir(mode=0o700)
    _run("make", str(folder), str(orders), str(tail))


def opened_ms(made: Path) -> float:
    """Return what a new process takes to have the state of ``made``, which stays as it is.

    It says so itself: milliseconds, without what it takes to start a process.
    """
    with tempfile.TemporaryDirectory(dir=made.parent) as parent:
        folder = Path(parent) / "state"
        shutil.copytree(made, folder)
        return float(_run("open", str(folder)))


def _run(*words: str) -> str:
    return subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "benchmarks.state", *words],
        cwd=TOOLS,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


async def _make(folder: Path, orders: int, tail: int) -> None:
    maker = RecordMaker(folder)
    await maker.begin()
    await maker.past_orders(orders)
    await maker.persistence().beat()
    if tail:
        await maker.records(tail)


async def _open(folder: Path) -> float:
    began_ns = time.perf_counter_ns()
    clock = SystemClock()
    state = OpenedState(
        folder,
        account_id=ACCOUNT,
        epoch=1,
        clock=clock,
        mirror=None,
        on_fault=lambda *_: None,
        on_note=lambda _: None,
    )
    policy = Policy(account_id=ACCOUNT)
    loop = DecisionLoop(
        book=state.new_book(policy),
        journal=state.trail,
        clock=clock,
        dispatcher=cast("Dispatcher", SimpleNamespace(bind=lambda _: None, not_sent=None)),
        on_note=lambda _: None,
        proofs=ProofMaker(state.trail.keys),
        past=state.past,
    )
    state.replay_into(loop, policy)
    return (time.perf_counter_ns() - began_ns) / 1e6


# -- keeping it ------------------------------------------------------------------------------------


def measure_keeping(*, rounds: int, seconds: float) -> Iterator[Figure]:
    """Yield bytes and processor time of the checkpoints, at rest and while orders come."""
    for name, what, orders in (
        ("idle", "at rest", False),
        ("trading", "with ten orders a second", True),
    ):
        ours: list[Cost] = []
        plain: list[Cost] = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                ours.append(asyncio.run(_kept(Path(folder), seconds=seconds, orders=orders)))
            with tempfile.TemporaryDirectory() as folder:
                plain.append(asyncio.run(_rewritten(Path(folder), seconds=seconds, orders=orders)))
        baseline = "indented JSON and a copy of it on every beat"
        yield Figure(
            key=f"state_{name}_mib_per_h",
            what=f"written for the state, {what}",
            unit="MiB/h",
            rounds=tuple(it.mib_per_h for it in ours),
            baseline=baseline,
            baseline_rounds=tuple(it.mib_per_h for it in plain),
            goal=None if orders else Goal(of=Of.RATIO, bound=0.05, at_least=False),
        )
        yield Figure(
            key=f"state_{name}_cpu_percent",
            what=f"one processor for the state, {what}",
            unit="%",
            rounds=tuple(it.cpu_percent for it in ours),
            baseline=baseline,
            baseline_rounds=tuple(it.cpu_percent for it in plain),
            goal=None if orders else Goal(of=Of.VALUE, bound=1.5, at_least=False),
        )


async def _kept(folder: Path, *, seconds: float, orders: bool) -> Cost:
    """Return what our checkpoints cost; what it takes to make the facts is not part of it."""
    maker = await _with_orders(folder)
    disk = CountingDisk()
    persistence = maker.persistence(StateFiles(folder, disk=disk))
    await persistence.beat()
    disk.written = 0

    used_s = await _beats(maker, persistence.beat, seconds=seconds, orders=orders)
    return _cost(disk.written, used_s, seconds)


async def _rewritten(folder: Path, *, seconds: float, orders: bool) -> Cost:
    """Return what it costs to write everything every time."""
    maker = await _with_orders(folder)
    written = 0

    async def beat() -> float:
        nonlocal written
        text = json.dumps(json.loads(encoded(captured(maker.book))), indent=2)
        current = folder / CURRENT
        if current.exists():
            written += shutil.copyfile(current, folder / BACKUP).stat().st_size
        new = current.with_suffix(".new")
        with new.open("w") as file:
            file.write(text)
            os.fsync(file.fileno())
        new.replace(current)
        written += len(text)
        return BEAT_S

    await beat()
    written = 0
    used_s = await _beats(maker, beat, seconds=seconds, orders=orders)
    return _cost(written, used_s, seconds)


async def _with_orders(folder: Path) -> RecordMaker:
    maker = RecordMaker(folder)
    await maker.begin()
    await maker.past_orders(ORDERS_BEFORE)
    return maker


async def _beats(
    maker: RecordMaker, beat: Callable[[], Awaitable[float]], *, seconds: float, orders: bool
) -> float:
    """Beat in real time for so long; returns the processor time of the beats alone."""
    used_s = 0.0
    began_s = next_fact_s = time.monotonic()
    every_s = BEAT_S if orders else AUDIT_S
    while (now_s := time.monotonic()) < began_s + seconds:
        while next_fact_s <= now_s:
            next_fact_s += every_s
            await (maker.one_order() if orders else maker.audit())
        before_s = time.process_time()
        pause_s = await beat()
        used_s += time.process_time() - before_s
        await asyncio.sleep(pause_s)
    return used_s


def _cost(written: int, used_s: float, seconds: float) -> Cost:
    return Cost(written / 2**20 / seconds * AN_HOUR_S, used_s / seconds * 100)


def _child(verb: str, *words: str) -> None:
    folder = Path(words[0])
    if verb == "make":
        asyncio.run(_make(folder, *map(int, words[1:])))
    else:
        print(asyncio.run(_open(folder)))
    sys.stdout.flush()
    os._exit(0)  # as a killed process: the files stay as they are


if __name__ == "__main__":
    _child(*sys.argv[1:])
