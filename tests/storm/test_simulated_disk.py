"""A disk that forgets what was not synced, and nothing else."""

import asyncio
import sqlite3
from pathlib import Path
from random import Random

import pytest

from backstop.adapters.machine import running_on
from backstop.storm.machine import StormMachine
from backstop.storm.network import Network, StormLoop
from backstop.storm.simulated_disk import SimulatedDisk


def a_disk(seed: int = 1) -> SimulatedDisk:
    return SimulatedDisk(Random(seed), lambda: 0.0)  # noqa: S311 - repeatable


def write(disk: SimulatedDisk, path: Path, content: bytes, *, synced: bool) -> None:
    descriptor = disk.create(path)
    disk.write(descriptor, content, offset=0)
    if synced:
        disk.sync(descriptor)
    disk.close(descriptor)


@pytest.mark.parametrize("seed", range(10))
def test_what_was_synced_is_there_after_a_power_cut(seed: int, tmp_path: Path) -> None:
    disk = a_disk(seed)
    write(disk, tmp_path / "new", b"state", synced=True)
    disk.replace(tmp_path / "new", tmp_path / "state")
    disk.sync_folder(tmp_path)
    disk.lose_what_is_not_synced()
    assert (tmp_path / "state").read_bytes() == b"state"


def test_bytes_that_were_not_synced_may_be_gone_or_torn(tmp_path: Path) -> None:
    left = set()
    for seed in range(40):
        disk, path = a_disk(seed), tmp_path / f"state-{seed}"
        write(disk, path, b"state", synced=False)
        disk.sync_folder(tmp_path)
        disk.lose_what_is_not_synced()
        left.add(path.read_bytes())
    assert b"" in left
    assert any(0 < len(content.rstrip(b"\0")) < 5 for content in left)


def test_a_name_that_was_not_synced_may_be_gone(tmp_path: Path) -> None:
    there = set()
    for seed in range(20):
        disk, path = a_disk(seed), tmp_path / f"state-{seed}"
        write(disk, path, b"state", synced=True)
        disk.lose_what_is_not_synced()
        there.add(path.exists())
    assert there == {True, False}


def test_a_full_disk_refuses_files_and_transactions(tmp_path: Path) -> None:
    loop = StormLoop(Network(Random(1)))  # noqa: S311 - repeatable
    machine = StormMachine(loop, Random(1), tmp_path, start_utc_us=0)  # noqa: S311 - repeatable
    try:
        with running_on(machine):
            database = machine.database(tmp_path / "a.db", timeout_s=1.0)
        machine.simulated_disk.is_full = True
        with pytest.raises(OSError, match="No space left"):
            machine.simulated_disk.create(tmp_path / "new")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            database.execute("BEGIN IMMEDIATE")
        machine.simulated_disk.recover()
        database.execute("BEGIN IMMEDIATE")
        database.execute("COMMIT")
        database.close()
    finally:
        loop.close()


def test_a_command_was_decided_before_its_record_was_on_a_slow_disk(tmp_path: Path) -> None:
    loop = StormLoop(Network(Random(1)))  # noqa: S311 - repeatable
    machine = StormMachine(loop, Random(1), tmp_path, start_utc_us=0)  # noqa: S311 - repeatable
    disk = machine.simulated_disk
    try:
        database = machine.database(tmp_path / "journal.db", timeout_s=1.0)
        database.execute(
            "CREATE TABLE Journal (seq, kind, account, epoch, monotonic_ns, utc_us, payload, leaf)"
        )
        decided_s, decided_ns = loop.now_s, machine.clock.monotonic_ns()
        loop.run_until_complete(asyncio.sleep(0.5))
        database.execute("BEGIN IMMEDIATE")
        payload = b'{"kind":"CancelOrder","broker_order_id":17}'
        row = (1, "command", 1, 1, decided_ns, 0, payload, b"")
        database.executemany("INSERT INTO Journal VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [row])
        database.execute("COMMIT")
        database.close()
        assert disk.decided_s("cancel", "17") == pytest.approx(decided_s, abs=1e-6)
        assert disk.recorded_s("cancel", "17") == pytest.approx(decided_s + 0.5, abs=1e-6)
    finally:
        loop.close()
