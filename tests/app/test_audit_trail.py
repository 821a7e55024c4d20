"""The record as the guard opens and keeps it: what is refused, and what is written outside."""

import asyncio
import shutil
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest
from tests.app.desk import JumpingClock, until
from tests.app.record_story import Story, tell

from backstop.adapters import checkpoints
from backstop.adapters.checkpoints import CURRENT_FILE, CheckpointFolder
from backstop.adapters.clock import SystemClock
from backstop.adapters.key_folder import make_next
from backstop.adapters.signing import AuditKeys
from backstop.app import audit_trail, key_change
from backstop.app.audit_trail import CHECKPOINTS_FAULT, AuditTrail
from backstop.app.audit_verification import verify_record
from backstop.app.key_change import rotate_key
from backstop.core.checkpoint import parse
from backstop.domain.audit import AuditRow
from backstop.errors import RecordGoneError, StateFolderError
from backstop.ports import JournalBatch, JournalRecord

ORDER = AuditRow(
    order_id="9001",
    client_order_id="entry-1",
    submitted_utc_us=1_762_093_800_000_000,
    symbol="MES",
    side="BUY",
    quantity=1,
    price=None,
    status="SENT",
)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with pytest.MonkeyPatch.context() as environment:
        folder = tmp_path_factory.mktemp("story")
        environment.setenv("XDG_RUNTIME_DIR", str(folder))
        yield tell(folder)


@asynccontextmanager
async def a_trail(
    state: Path, *, clock: SystemClock | None = None, mirror: Path | str | None = None
) -> AsyncIterator[AuditTrail]:
    trail = AuditTrail.open(
        state, account="42", epoch=1, clock=clock or SystemClock(), mirror=mirror
    )
    running = asyncio.create_task(trail.run())
    try:
        yield trail
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await trail.close()


async def append(trail: AuditTrail, *, orders: tuple[AuditRow, ...] = ()) -> None:
    record = JournalRecord(
        seq=trail.next_seq, kind="event", monotonic_ns=1, utc_us=1, payload=b"{}"
    )
    await trail.append(JournalBatch(records=(record,), orders=orders))


def sizes(folder: Path) -> list[int]:
    return [parse(note).checkpoint.size for note in CheckpointFolder(folder).notes()]


# -- what is written outside ---------------------------------------------------------------------


async def test_before_the_first_record_there_is_a_checkpoint_of_none(tmp_path: Path) -> None:
    async with a_trail(tmp_path / "state"):
        assert sizes(tmp_path / "state" / "checkpoints") == [0]


@pytest.mark.parametrize("written", [b"", b"backstop/42\n0\n47DEQ"])
async def test_a_first_start_that_died_over_its_first_checkpoint_locks_nobody_out(
    tmp_path: Path, written: bytes
) -> None:
    outside = tmp_path / "state" / "checkpoints"
    outside.mkdir(parents=True)
    (outside / CURRENT_FILE).write_bytes(written)

    async with a_trail(tmp_path / "state") as trail:
        assert sizes(outside) == [0]
        await append(trail)
        # As a kill -9 now leaves it: a record, and nothing outside but what the start wrote.
        shutil.copytree(tmp_path / "state", tmp_path / "killed")
    async with a_trail(tmp_path / "killed") as trail:
        assert trail.start.size == 1


async def test_a_first_start_that_died_before_its_tables_locks_nobody_out(tmp_path: Path) -> None:
    """SQLite writes a page of its own when it is told to keep a log, before there are tables."""
    with closing(sqlite3.connect(tmp_path / "audit.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()

    async with a_trail(tmp_path) as trail:
        await append(trail)

    async with a_trail(tmp_path) as trail:
        assert trail.start.size == 1


async def test_a_record_replaced_by_an_empty_database_is_refused(tmp_path: Path) -> None:
    async with a_trail(tmp_path) as trail:
        await append(trail)
    (tmp_path / "audit.db").unlink()
    with closing(sqlite3.connect(tmp_path / "audit.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
    before = (tmp_path / "audit.db").read_bytes()

    with pytest.raises(StateFolderError, match=r"it is gone, and .* has checkpoints of it"):
        AuditTrail.open(tmp_path, account="42", epoch=2, clock=SystemClock())

    assert (tmp_path / "audit.db").read_bytes() == before


async def test_checkpoints_that_nobody_can_read_hide_no_record_that_is_gone(tmp_path: Path) -> None:
    async with a_trail(tmp_path) as trail:
        await append(trail)
    (tmp_path / "audit.db").unlink()
    (kept,) = (tmp_path / "checkpoints").iterdir()
    whole = kept.read_text(encoding="utf-8")
    broken = whole.replace("backstop", "back\x01stop")

    def opened() -> AuditTrail:
        return AuditTrail.open(tmp_path, account="42", epoch=2, clock=SystemClock())

    kept.write_text(broken, encoding="utf-8")
    with pytest.raises(StateFolderError, match=r"it holds a control character.*move this folder"):
        opened()
    kept.write_text(whole + broken, encoding="utf-8")
    with pytest.raises(RecordGoneError, match=r"it is gone, and .* has checkpoints of it"):
        opened()


async def test_an_order_is_covered_outside_at_once(tmp_path: Path) -> None:
    async with a_trail(tmp_path / "state") as trail:
        await append(trail)
        await append(trail, orders=(ORDER,))
        await until(lambda: sizes(tmp_path / "state" / "checkpoints")[-1] == 2, "a checkpoint of 2")


async def test_every_commit_is_counted_with_the_time_that_it_took(tmp_path: Path) -> None:
    async with a_trail(tmp_path / "state") as trail:
        assert trail.commit_waits.cumulative()[-1] == 0
        await append(trail)
        await append(trail)

        assert trail.commit_waits.cumulative()[-1] == 2
        assert trail.commit_waits.total_s > 0


async def test_everything_else_is_covered_within_a_minute(tmp_path: Path) -> None:
    clock = JumpingClock()
    async with a_trail(tmp_path / "state", clock=clock) as trail:
        await append(trail)
        clock.jump(61)
        await append(trail, orders=(ORDER,))  # wakes the writer, as any fact does
        await until(lambda: sizes(tmp_path / "state" / "checkpoints")[-1] == 2, "a checkpoint of 2")


async def test_many_records_are_covered_whatever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_trail, "CHECKPOINT_RECORDS", 20)
    async with a_trail(tmp_path / "state") as trail:
        for _ in range(20):
            await append(trail)
        await until(lambda: sizes(tmp_path / "state" / "checkpoints")[-1] == 20, "one of 20")


async def test_the_last_record_is_covered_when_it_closes(tmp_path: Path) -> None:
    async with a_trail(tmp_path / "state") as trail:
        await append(trail)

    assert sizes(tmp_path / "state" / "checkpoints") == [0, 1]


async def test_a_place_that_does_not_answer_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_trail, "CLOSE_LIMIT_S", 0.2)
    monkeypatch.setattr(checkpoints, "POST_LIMIT_S", 60)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mirror = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        async with asyncio.timeout(30), a_trail(tmp_path / "state", mirror=mirror) as trail:
            await append(trail)

    assert "was not taken" in trail.faults[CHECKPOINTS_FAULT]
    assert sizes(tmp_path / "state" / "checkpoints")[-1] == 1


async def test_checkpoints_go_to_a_second_folder_too(tmp_path: Path) -> None:
    async with a_trail(tmp_path / "state", mirror=tmp_path / "far") as trail:
        await append(trail)

    assert sizes(tmp_path / "far" / "backstop-42")[-1] == 1


async def test_a_second_place_that_is_gone_is_told_and_holds_up_nothing(tmp_path: Path) -> None:
    (tmp_path / "far").write_text("no folder")
    async with a_trail(tmp_path / "state", mirror=tmp_path / "far") as trail:
        await append(trail, orders=(ORDER,))
        await until(lambda: CHECKPOINTS_FAULT in trail.faults, "a word about it")
        await append(trail)

    assert sizes(tmp_path / "state" / "checkpoints")[-1] == 2


# -- what is refused -----------------------------------------------------------------------------


async def test_the_second_folder_tells_of_a_record_that_began_anew(tmp_path: Path) -> None:
    """Whoever can change the state folder can empty it; the far place remembers."""
    async with a_trail(tmp_path / "state", mirror=tmp_path / "far") as trail:
        await append(trail)
    shutil.rmtree(tmp_path / "state")

    with pytest.raises(StateFolderError, match=r"audit\.db: it is gone, and .*far"):
        async with a_trail(tmp_path / "state", mirror=tmp_path / "far"):
            pass


async def test_the_record_of_another_account_is_refused(tmp_path: Path) -> None:
    async with a_trail(tmp_path / "state") as trail:
        await append(trail)

    with pytest.raises(StateFolderError, match="account 42, not of 43"):
        AuditTrail.open(tmp_path / "state", account="43", epoch=1, clock=SystemClock())


async def test_a_refusal_says_what_to_do(tmp_path: Path) -> None:
    async with a_trail(tmp_path / "state") as trail:
        await append(trail)
    (tmp_path / "state" / "audit.db").unlink()

    with pytest.raises(StateFolderError, match=r"backstop liquidate.*move audit\.db\*") as refused:
        async with a_trail(tmp_path / "state"):
            pass
    assert not (tmp_path / "state" / "audit.db").exists()
    assert "Nothing was changed" in str(refused.value)


# -- a change of keys that a crash cuts short -----------------------------------------------------


class CrashError(Exception):
    """The machine stops here."""


def test_a_change_that_was_recorded_is_finished_at_the_next_start(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = story.copy(tmp_path / "state")
    before = AuditKeys.open(state / "keys").key_id

    def crash(_: Path) -> None:
        raise CrashError

    with monkeypatch.context() as crashing:
        crashing.setattr(key_change, "promote_next", crash)
        with pytest.raises(CrashError):
            rotate_key(state, account=story.account, clock=SystemClock())

    assert len(verify_record(state).key_ids) == 3
    change = rotate_key(state, account=story.account, clock=SystemClock())
    assert change.old_key_id != before
    assert len(verify_record(state).key_ids) == 4


def test_a_change_that_was_not_recorded_is_undone(story: Story, tmp_path: Path) -> None:
    state = story.copy(tmp_path / "state")
    before = AuditKeys.open(state / "keys").key_id
    lost = make_next(state / "keys").key_id

    assert len(verify_record(state).key_ids) == 2
    change = rotate_key(state, account=story.account, clock=SystemClock())

    assert change.old_key_id == before
    assert change.new_key_id != lost
    assert len(verify_record(state).key_ids) == 3


def test_a_record_without_rotation_keeps_its_key_when_a_change_was_not_recorded(
    story: Story, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    shutil.copytree(story.older, state)
    before = AuditKeys.open(state / "keys").key_id
    make_next(state / "keys")

    assert verify_record(state).key_ids == (before,)
    assert rotate_key(state, account=story.account, clock=SystemClock()).old_key_id == before


# -- a reader beside the writer ------------------------------------------------------------------


async def test_the_record_is_checked_while_it_grows(tmp_path: Path) -> None:
    """Locks of a reader must not stop the writer, nor the writer the reader."""
    async with a_trail(tmp_path / "state") as trail:
        await append(trail)
        reading = threading.Event()

        def read() -> int:
            with closing(sqlite3.connect(tmp_path / "state" / "audit.db")) as database:
                database.execute("BEGIN")
                (count,) = database.execute("SELECT count(*) FROM Journal").fetchone()
                reading.set()
                (again,) = database.execute("SELECT count(*) FROM Journal").fetchone()
                return int(again - count)

        other = asyncio.create_task(asyncio.to_thread(read))
        await asyncio.to_thread(reading.wait, 10)
        await append(trail)
        assert await other == 0
