"""The state on disk: current within a beat, equal to the journal, and never ahead of it."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.power_loss import RecordingDisk
from tests.app.desk import PATIENCE_S, Desk, forget_failures, until
from tests.app.state_folders import (
    a_day,
    from_the_checkpoint,
    from_the_journal,
    generations,
    same,
    state,
    written,
)

from backstop.adapters.disk import Disk
from backstop.adapters.machine import Machine, running_on
from backstop.adapters.projectx.rate_budget import CALLS_MAX
from backstop.adapters.state_file import BACKUP, CURRENT, OLDER, StateFiles
from backstop.app import loop, state_persistence
from backstop.app.recording import Recorder
from backstop.app.state_persistence import pause_s
from backstop.domain.events import StrategySaved
from backstop.domain.order import Side

pytestmark = pytest.mark.asyncio(loop_scope="module")


def is_kept(desk: Desk, bars: int) -> bool:
    document = json.loads((state(desk) / CURRENT).read_text())
    return bool(document["state"]["book"]["strategy_states"].get("momentum") == {"bars": bars})


# -- current -------------------------------------------------------------------------------------


async def test_a_guard_that_comes_back_counts_the_calls_of_the_one_before(desk: Desk) -> None:
    """The gateway does, for a minute: else what is kept for a close is there on paper alone."""
    async with desk.guard() as guard:
        left = guard.manager.parts.gateway.budget.left()
        await written(guard)
    async with desk.guard(ready=False) as again:
        assert again.manager.parts.gateway.budget.left() <= left < CALLS_MAX


async def test_what_happened_is_in_the_file_and_equals_the_journal(desk: Desk) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
        await guard.agrees()
        await written(guard)
        for bars in (8, 9):  # two files more than the first, however few the day took
            guard.manager.save_strategy("momentum", {"bars": bars})
            await until(partial(is_kept, desk, bars), "the strategy's state")
        document = json.loads((state(desk) / CURRENT).read_text())
        book = document["state"]["book"]
        assert [view["quantity"] for view in book["positions"].values()] == [2]
        assert len(book["live"]) == 1
        assert document["state"]["process_id"] > 0
        for name in (CURRENT, BACKUP, OLDER):
            kept = from_the_checkpoint(state(desk), desk.account, name)
            assert same(kept, from_the_journal(state(desk)))


async def test_while_nothing_happens_only_the_heartbeat_moves(desk: Desk) -> None:
    async with desk.guard() as guard:
        await written(guard)

        def beats() -> tuple[int, int, int]:
            path, before = state(desk) / CURRENT, 0
            while before != (file := path.stat().st_ino):  # it may be replaced while it is read
                before = file
                (found, *_) = generations(state(desk), desk.account)
            assert found.heartbeat is not None
            assert found.checkpoint is not None
            return found.heartbeat.monotonic_ns, found.checkpoint.journal_seq, file

        seen: set[tuple[int, int, int]] = set()
        while len(seen) < 10:
            seen.add(beats())
            await asyncio.sleep(0)
        by_record: dict[int, set[int]] = {}
        for _, seq, file in seen:
            by_record.setdefault(seq, set()).add(file)
        # However often it beats, there is one file for each record.
        assert all(len(files) == 1 for files in by_record.values())
        assert len(by_record) < len(seen)


async def test_a_file_that_somebody_took_away_is_written_again(desk: Desk) -> None:
    async with desk.guard():
        for path in state(desk).glob("trading_state*"):
            path.unlink()

        await until((state(desk) / CURRENT).exists, "the state file to come back")


async def test_a_folder_that_takes_nothing_is_a_fault_and_no_end(desk: Desk) -> None:
    async with desk.guard() as guard:
        blocked = state(desk) / "trading_state.new"
        blocked.mkdir()
        await guard.enter(Side.BUY, 1)
        await until(lambda: "state file" in guard.manager.components, "the fault to be told")
        assert "trading_state.json cannot be written" in guard.manager.components["state file"]
        await guard.enter(Side.BUY, 1)
        blocked.rmdir()
        await until(lambda: "state file" not in guard.manager.components, "all to be well again")
        await written(guard)


# -- never ahead of the journal ------------------------------------------------------------------


async def test_a_state_waits_for_its_journal_and_the_heartbeat_does_not(desk: Desk) -> None:
    async with desk.guard() as guard:
        await written(guard)
        with closing(sqlite3.connect(state(desk) / "audit.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # the journal cannot write meanwhile
            guard.manager.save_strategy("momentum", {"bars": 1})
            await until(lambda: bool(guard.book.strategy_states), "the book to know it")
            seen: set[int] = set()

            def beats_on() -> bool:
                (durable,) = other.execute("SELECT max(seq) FROM Journal").fetchone()
                found = next(iter(generations(state(desk), desk.account)))
                assert found.checkpoint is not None
                assert found.heartbeat is not None
                assert found.checkpoint.journal_seq <= durable
                seen.add(found.heartbeat.monotonic_ns)
                return len(seen) > 5 and guard.manager.decisions.failure is not None

            await until(beats_on, "heartbeats during the outage")
            other.execute("ROLLBACK")
        await written(guard)
        assert from_the_checkpoint(state(desk), desk.account).strategy_states


async def test_whatever_a_power_cut_leaves_the_state_is_not_ahead_of_the_journal(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every content that a file could have, with the journal as it was acknowledged by then."""
    disk = RecordingDisk()

    class Watched(Machine):
        def disk(self) -> Disk:
            return disk

    cuts: list[tuple[Path, set[bytes]]] = []
    write = StateFiles.write

    def cut_before_and_after(files: StateFiles, *arguments: Any) -> int:
        cuts.append(what_is_left(disk, desk, tmp_path / f"cut-{len(cuts)}"))
        done = write(files, *arguments)
        cuts.append(what_is_left(disk, desk, tmp_path / f"cut-{len(cuts)}"))
        return done

    monkeypatch.setattr(StateFiles, "write", cut_before_and_after)
    with running_on(Watched()):
        async with desk.guard() as guard:
            await a_day(guard)
            await written(guard)

    assert len(cuts) >= 4
    checked = 0
    for folder, contents in cuts:
        whole = from_the_journal(folder)
        for content in contents:
            (folder / CURRENT).write_bytes(content)
            (found,) = generations(folder, desk.account)
            if found.checkpoint is not None:
                assert same(from_the_checkpoint(folder, desk.account), whole)
                checked += 1
    assert checked >= 4


class StuckDisk(Disk):
    """Takes its time for a file from when it is told to until it is let go on."""

    def __init__(self) -> None:
        self.sticks, self.goes_on = threading.Event(), threading.Event()
        self.is_stuck = False
        self.closed_meanwhile = self.closed = 0

    def sync(self, descriptor: int) -> None:
        if self.sticks.is_set():
            self.is_stuck = True
            self.goes_on.wait(PATIENCE_S)
            self.is_stuck = False
        super().sync(descriptor)

    def close(self, descriptor: int) -> None:
        self.closed_meanwhile += self.is_stuck
        super().close(descriptor)
        self.closed += 1


async def test_a_stop_closes_no_file_in_which_the_disk_is_still_at_work(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_persistence, "CLOSE_LIMIT_S", 0.05)
    disk = StuckDisk()

    class Stuck(Machine):
        def disk(self) -> Disk:
            return disk

    with running_on(Stuck()):
        async with desk.guard() as guard:
            await written(guard)
            disk.sticks.set()
            guard.manager.save_strategy("momentum", {"bars": 8})
            await until(lambda: disk.is_stuck, "the disk to be at work")
        before = disk.closed
        disk.goes_on.set()
        await until(lambda: disk.closed >= before + 2, "the file before and the one after it")

    assert disk.closed_meanwhile == 0


class BrokenError(Exception):
    """A bug of ours."""


def breaking_after(real: Callable[..., Any], strategy: str) -> Callable[..., Any]:
    """Return ``real``, which fails once it has done what the state of ``strategy`` asks for."""

    def does_it_and_fails(*arguments: Any, **keywords: Any) -> Any:
        result = real(*arguments, **keywords)
        if any(isinstance(it, StrategySaved) and it.strategy_id == strategy for it in arguments):
            raise BrokenError
        return result

    return does_it_and_fails


@pytest.mark.parametrize(("owner", "name"), [(loop, "step"), (Recorder, "batch")])
async def test_a_guard_that_fails_amid_a_fact_leaves_no_state_that_the_record_does_not_explain(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    async with desk.guard() as guard:
        await written(guard)
        monkeypatch.setattr(owner, name, breaking_after(getattr(owner, name), "unrecorded"))
        guard.manager.save_strategy("unrecorded", {"bars": 8})
        with pytest.raises(ExceptionGroup):
            async with asyncio.timeout(PATIENCE_S):
                await guard.manager.failed()
        assert "unrecorded" in guard.book.strategy_states
        await guard.manager.parts.persistence.beat()
    forget_failures()

    kept = from_the_checkpoint(state(desk), desk.account)
    assert same(kept, from_the_journal(state(desk)))
    monkeypatch.undo()
    async with desk.guard(ready=False) as guard:
        assert "unrecorded" not in guard.book.strategy_states


def what_is_left(disk: RecordingDisk, desk: Desk, folder: Path) -> tuple[Path, set[bytes]]:
    """Return the record as another process would find it now, and what state files may hold."""
    contents = set(disk.contents())
    folder.mkdir()
    with (
        closing(sqlite3.connect(state(desk) / "audit.db")) as record,
        closing(sqlite3.connect(folder / "audit.db")) as copy,
    ):
        record.backup(copy)
    return folder, contents


@pytest.mark.parametrize("taken_ms", [0, 1, 4, 10, 20])
async def test_the_state_on_disk_is_replaced_before_it_is_older_than_the_interval(
    taken_ms: int,
) -> None:
    rest_s = pause_s(interval_s=0.1, taken_s=taken_ms / 1000)

    assert rest_s + 2 * taken_ms / 1000 <= 0.1


async def test_a_slow_disk_is_given_a_rest_all_the_same() -> None:
    assert pause_s(interval_s=0.1, taken_s=3.0) == 0.05
