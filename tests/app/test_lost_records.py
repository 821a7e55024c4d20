"""A record that lost its end, or all of it: what was decided in it holds on, and nothing is hidden.

Real folders and a real venue. What the newest state file knows goes on record, entries wait for a
person, and the guard knows its own orders.
"""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.app.desk import Desk, Guard, until
from tests.app.state_folders import (
    a_day,
    from_the_checkpoint,
    from_the_journal,
    generations,
    same,
    spoil,
    started,
    state,
    written,
)

from backstop.adapters.clock import SystemClock
from backstop.adapters.sqlite.journal_view import JournalView
from backstop.adapters.state_file import CURRENT, GENERATIONS, TAKEN
from backstop.adapters.state_format import file_content
from backstop.app.audit_verification import verify_record
from backstop.app.state_reading import read_state
from backstop.core.journal_leaf import leaf_hash
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.events import StopKind
from backstop.domain.record_kind import RecordKind
from backstop.errors import StateFolderError, TamperedRecordError

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOST = "emergency: "


def put_back_older(desk: Desk, kept: Path) -> None:
    """Put an older record back, as who copies ``audit.db`` alone; no checkpoint goes beyond it."""
    for path in state(desk).glob("audit.db*"):
        path.unlink()
    shutil.rmtree(state(desk) / "checkpoints")
    shutil.copy(kept / "audit.db", state(desk) / "audit.db")
    shutil.copytree(kept / "checkpoints", state(desk) / "checkpoints")


def deleted(folder: Path) -> None:
    (folder / "audit.db").unlink()


def a_file_of_nothing(folder: Path) -> None:
    (folder / "audit.db").write_bytes(b"")


def no_rows(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "audit.db")) as database:
        for name in ("FillAudit", "OrderAudit", "Journal", "TreeHead"):
            database.execute(f"DELETE FROM {name}")  # noqa: S608 - of the line above
        database.commit()


def causes(guard: Guard) -> list[tuple[LatchKind, str]]:
    return [(it.kind, it.cause) for it in guard.book.latches]


def trading_state(guard: Guard) -> TradingState:
    return guard.book.trading_state(guard.manager.now_ns())


def kinds(folder: Path) -> list[str]:
    return [it.kind for it in JournalView(folder / "audit.db", leaf_hash=leaf_hash)]


async def is_read(guard: Guard) -> None:
    await until(lambda: guard.book.recovered, "the account to be read")


async def a_halt_that_only_the_state_knows(desk: Desk) -> None:
    """Trade, keep a copy of the record, halt, and put the copy back."""
    async with desk.guard() as guard:
        await a_day(guard)
    kept = desk.folder / "kept"
    shutil.copytree(state(desk), kept)
    async with desk.guard() as guard:
        await guard.manager.halt(reason="the news", operator="eve")
        await written(guard)
    put_back_older(desk, kept)


# -- a record that lost its end ------------------------------------------------------------------


async def test_a_halt_outlives_an_older_record_that_is_put_back(desk: Desk) -> None:
    await a_halt_that_only_the_state_knows(desk)

    async with desk.guard(ready=False) as guard:
        assert causes(guard)[0] == (LatchKind.HALT, "the news")
        assert causes(guard)[1][0] is LatchKind.EMERGENCY
        assert causes(guard)[1][1].startswith(LOST)
        assert int(started(guard, "records_lost")["lost"]) > 0
        assert started(guard)["source"] == f"{CURRENT}, which knows more than audit.db"
        assert started(guard)["stop"] == StopKind.CLEAN
        await is_read(guard)
        assert trading_state(guard) is TradingState.HALTED
        await guard.agrees()
        await written(guard)
    assert same(from_the_checkpoint(state(desk), desk.account), from_the_journal(state(desk)))
    assert verify_record(state(desk)).orders > 0
    assert kinds(state(desk)).count(RecordKind.STATE) == 1
    assert not (state(desk) / TAKEN).exists()


async def test_it_is_found_once_and_a_person_ends_it(desk: Desk) -> None:
    await a_halt_that_only_the_state_knows(desk)
    async with desk.guard(ready=False) as guard:
        await is_read(guard)
        await guard.manager.resume(reason="looked at it", operator="adam")

    async with desk.guard() as guard:
        assert guard.book.latches == ()
        assert "records_lost" not in [it.name for it in guard.notes]
        assert trading_state(guard) is TradingState.ACTIVE


async def test_a_start_that_dies_before_its_first_state_file_loses_nothing(desk: Desk) -> None:
    """The state is on record, and its file is still there for the next start."""
    await a_halt_that_only_the_state_knows(desk)
    before = (state(desk) / CURRENT).read_bytes()
    async with desk.guard(ready=False) as guard:
        await is_read(guard)
    for name in GENERATIONS:
        (state(desk) / name).unlink(missing_ok=True)
    (state(desk) / TAKEN).write_bytes(before)

    async with desk.guard(ready=False) as guard:
        assert causes(guard)[0] == (LatchKind.HALT, "the news")
        assert started(guard)["stop"] == StopKind.CRASH, (
            "of the start that died, not the one before"
        )
        await is_read(guard)
        await guard.agrees()
        await written(guard)
    assert kinds(state(desk)).count(RecordKind.STATE) == 1, "it is not taken twice"
    assert verify_record(state(desk)).records > 0


async def test_a_start_that_died_before_anything_was_on_record_tells_nothing(desk: Desk) -> None:
    await a_halt_that_only_the_state_knows(desk)
    (state(desk) / CURRENT).rename(state(desk) / TAKEN)

    async with desk.guard(ready=False) as guard:
        assert causes(guard)[0] == (LatchKind.HALT, "the news")
        assert started(guard)["stop"] == StopKind.CLEAN


async def test_what_a_start_would_begin_with_is_told_without_one(desk: Desk) -> None:
    await a_halt_that_only_the_state_knows(desk)
    files = {it: it.read_bytes() for it in state(desk).rglob("*") if it.is_file()}
    async with desk.guard(ready=False, BACKSTOP_STATE_DIR=desk.folder / "empty") as guard:
        policy = guard.book.policy

    book, read = read_state(state(desk), policy, clock=SystemClock())

    assert [it.cause for it in book.latches] == ["the news"]
    assert read.source == f"{CURRENT}, which knows more than audit.db"
    assert {it: it.read_bytes() for it in files} == files


# -- a record of which nothing is left -----------------------------------------------------------


@pytest.mark.parametrize("lose", [deleted, a_file_of_nothing, no_rows], ids=lambda it: it.__name__)
async def test_a_record_that_is_gone_is_begun_anew_with_what_the_state_knows(
    desk: Desk, lose: Callable[[Path], None]
) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
        await guard.manager.halt(reason="the news", operator="eve")
        await written(guard)
        expected, orders = guard.position(), dict(guard.book.orders)
    lose(state(desk))

    async with desk.guard(ready=False) as guard:
        assert [it.kind for it in guard.book.latches] == [LatchKind.HALT, LatchKind.EMERGENCY]
        assert guard.book.orders.keys() == orders.keys()
        await is_read(guard)
        assert guard.position() == expected
        assert guard.book.external.working == {}, "no order of ours is taken for a foreign one"
        codes = {it.code for it in guard.book.alerts.alerts.values()}
        # A disk that many use at once may stall meanwhile, which is told as well.
        assert codes - {"JOURNAL_FAILED", "JOURNAL_RECOVERED"} == {"HALTED", "RECORDS_LOST"}
        await guard.agrees()
        await written(guard)
    assert same(from_the_checkpoint(state(desk), desk.account), from_the_journal(state(desk)))
    assert verify_record(state(desk)).orders > 0

    async with desk.guard(ready=False) as guard:
        assert [it.kind for it in guard.book.latches] == [LatchKind.HALT, LatchKind.EMERGENCY]
        assert "records_lost" not in [it.name for it in guard.notes]


async def test_a_damaged_record_stops_the_start_and_the_advice_brings_the_guard_back(
    desk: Desk,
) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
        await guard.manager.halt(reason="the news", operator="eve")
        await written(guard)
        expected = guard.position()
    database = state(desk) / "audit.db"
    content = bytearray(database.read_bytes())
    content[4096:8192] = bytes(place % 251 for place in range(4096))
    database.write_bytes(content)

    advice = r"damaged.*backstop liquidate.*move audit\.db\*.*to another folder, and start again"
    with pytest.raises(StateFolderError, match=advice):
        async with desk.guard(ready=False):
            pass
    assert database.read_bytes() == content
    (desk.folder / "damaged").mkdir()
    for path in state(desk).glob("audit.db*"):
        path.rename(desk.folder / "damaged" / path.name)
    async with desk.guard(ready=False) as guard:
        assert [it.kind for it in guard.book.latches] == [LatchKind.HALT, LatchKind.EMERGENCY]
        await is_read(guard)
        assert guard.position() == expected
        await guard.agrees()
    assert verify_record(state(desk)).orders > 0


async def test_what_was_signed_of_it_is_in_the_alert_and_kept_for_the_audit(desk: Desk) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
    report = verify_record(state(desk))
    deleted(state(desk))

    async with desk.guard(ready=False) as guard:
        (alert,) = (it for it in guard.book.alerts.alerts.values() if it.code == "RECORDS_LOST")
    (kept,) = state(desk).glob("record-*Z")
    assert f"{report.records} records with the root {report.root}" in alert.message
    assert kept.name in alert.message
    assert (kept / "checkpoints" / "checkpoints.log").is_file()
    assert kept.stat().st_mode & 0o777 == 0o700
    with pytest.raises(TamperedRecordError, match="it is gone"):
        verify_record(kept)


async def test_the_second_place_of_its_checkpoints_is_kept_too(desk: Desk) -> None:
    far = desk.folder / "far"
    far.mkdir()
    async with desk.guard(ready=False, BACKSTOP_CHECKPOINT_MIRROR=far):
        pass
    shutil.rmtree(state(desk))
    for _ in range(2):
        async with desk.guard(ready=False, BACKSTOP_CHECKPOINT_MIRROR=far) as guard:
            assert [it.kind for it in guard.book.latches] == [LatchKind.EMERGENCY]
            assert guard.book.latches[0].cause.startswith(LOST)
    assert len(list(far.glob(f"backstop-{desk.account}-*Z"))) == 1


async def test_a_state_without_any_record_beside_it_is_believed_and_latched(desk: Desk) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
        expected = guard.position()
    deleted(state(desk))
    shutil.rmtree(state(desk) / "checkpoints")

    async with desk.guard(ready=False) as guard:
        assert [it.kind for it in guard.book.latches] == [LatchKind.EMERGENCY]
        await is_read(guard)
        assert guard.position() == expected
        assert guard.book.external.working == {}


async def test_without_record_and_state_the_broker_tells_and_a_person_looks(desk: Desk) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
        expected = guard.position()
    deleted(state(desk))
    for name in GENERATIONS:
        if (state(desk) / name).exists():
            spoil(state(desk) / name)

    for _ in range(2):
        async with desk.guard(ready=False) as guard:
            assert LatchKind.EMERGENCY in [it.kind for it in guard.book.latches]
            await is_read(guard)
            assert guard.position() == expected


async def test_a_new_record_that_never_began_does_not_hide_the_old_one(desk: Desk) -> None:
    """The start died after it had set the rest aside; then nothing else tells of the loss."""
    async with desk.guard() as guard:
        await a_day(guard)
    deleted(state(desk))
    for name in GENERATIONS:
        (state(desk) / name).unlink(missing_ok=True)
    aside = state(desk) / "record-20261123T130000.000000Z"
    aside.mkdir(mode=0o700)
    (state(desk) / "checkpoints").rename(aside / "checkpoints")

    async with desk.guard(ready=False) as guard:
        assert [it.kind for it in guard.book.latches] == [LatchKind.EMERGENCY]
        assert aside.name in str(started(guard, "records_lost")["message"])


async def test_records_that_are_lost_again_and_again_are_for_a_person(desk: Desk) -> None:
    async with desk.guard(ready=False):
        pass
    for number in range(16):
        (state(desk) / f"record-2026112{number:02}").mkdir()
    deleted(state(desk))

    with pytest.raises(StateFolderError, match=r"keeps 16 records that were lost.*liquidate"):
        async with desk.guard(ready=False):
            pass
    assert (state(desk) / "checkpoints").is_dir()


async def test_a_record_that_is_there_is_believed_before_a_state_of_another_one(
    desk: Desk,
) -> None:
    """Nor is one of the same record that another version wrote: only that records are gone."""
    async with desk.guard() as guard:
        await a_day(guard)
    for found in generations(state(desk), desk.account):
        assert found.checkpoint is not None
        assert found.heartbeat is not None
        ahead = found.checkpoint.journal_seq + 5
        other = replace(found.checkpoint, software="99.0", journal_seq=ahead)
        found.path.write_bytes(file_content(other, found.heartbeat))

    async with desk.guard(ready=False) as guard:
        assert started(guard)["source"] == "the whole journal"
        assert started(guard, "records_lost")["lost"] == 5
        assert [it.kind for it in guard.book.latches] == [LatchKind.EMERGENCY]
        await is_read(guard)
        await guard.agrees()
