"""A record that is damaged where a start from a checkpoint does not read: refused, or found."""

import os
import shutil
import sqlite3
import threading
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path

import pytest
from tests.app.desk import Desk, Guard, until
from tests.app.state_folders import a_day, from_the_checkpoint, started, state, written

from backstop.adapters.sqlite.audit_store import AuditStore
from backstop.adapters.state_file import CURRENT
from backstop.app import audit_start, record_check
from backstop.core.step import DecisionKind
from backstop.core.trading_state import Condition, TradingState
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderRequest, OrderType, Side
from backstop.errors import DamagedDatabaseError, StateFolderError

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = 4096


@pytest.fixture(autouse=True)
def long_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every record count as long: its beginning is read beside the running guard."""
    monkeypatch.setattr(audit_start, "WHOLE_CHECK_RECORDS", 0)


def change(desk: Desk, statement: str) -> None:
    with closing(sqlite3.connect(state(desk) / "audit.db")) as database:
        database.execute(statement)
        database.commit()


def overwrite_a_leaf(desk: Desk, table: str) -> None:
    """Put noise over a page of rows in the middle of ``table``."""
    with closing(sqlite3.connect(state(desk) / "audit.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        ((root,),) = database.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
        ).fetchall()
    path = state(desk) / "audit.db"
    content = bytearray(path.read_bytes())
    place = (root - 1) * PAGE
    if content[place] == INTERIOR:
        # The middle child of the page at the top of the tree.
        cells = int.from_bytes(content[place + 3 : place + 5], "big")
        pointer = place + 12 + 2 * (cells // 2)
        first = int.from_bytes(content[pointer : pointer + 2], "big")
        child = int.from_bytes(content[place + first : place + first + 4], "big")
        place = (child - 1) * PAGE
    content[place : place + PAGE] = bytes(it % 251 for it in range(PAGE))
    path.write_bytes(content)


INTERIOR = 0x05
"""The first byte of a page that only leads to others."""


# -- found before anything is written ------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "whole_up_to_bytes"),
    [
        ("Journal", audit_start.WHOLE_LOOK_BYTES),
        ("OrderAudit", audit_start.WHOLE_LOOK_BYTES),
        ("FillAudit", audit_start.WHOLE_LOOK_BYTES),
        # Of a large file only the ends are looked at; here the tables are not longer than that.
        ("OrderAudit", 0),
        ("FillAudit", 0),
    ],
)
async def test_an_overwritten_page_stops_the_start_and_nothing_is_written(
    desk: Desk, table: str, whole_up_to_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
        await written(guard)
    monkeypatch.setattr(audit_start, "WHOLE_LOOK_BYTES", whole_up_to_bytes)
    overwrite_a_leaf(desk, table)
    before = contents(desk)

    with pytest.raises(DamagedDatabaseError, match=r"audit\.db is damaged: .*backup") as refused:
        async with desk.guard(ready=False):
            pass

    assert "\n" not in str(refused.value)
    assert contents(desk) == before


def contents(desk: Desk) -> tuple[bytes, bytes]:
    """Return the database and what waits in its log, which a reader may make, empty."""
    log = state(desk) / "audit.db-wal"
    return (state(desk) / "audit.db").read_bytes(), log.read_bytes() if log.exists() else b""


# -- found beside the running guard --------------------------------------------------------------


async def found(guard: Guard) -> str:
    """Wait until the check has found something; return what."""
    await until(lambda: bool(guard.book.record_finding), "a finding")
    return guard.book.record_finding


async def test_what_was_changed_long_ago_blocks_entries_and_every_resume(desk: Desk) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
    change(desk, "UPDATE Journal SET payload = payload || ' ' WHERE seq = 3")

    async with desk.guard(ready=False) as guard:
        assert started(guard)["source"] == CURRENT
        finding = await found(guard)
        await guard.manager.account_read()
        await until(lambda: guard.manager.quotes.marks() != (), "a quote")
        assert finding.startswith("record 3: ")
        assert guard.manager.components["audit record"] == finding

        resumed = await guard.manager.resume(reason="seen", operator="Ann")
        entry = await guard.manager.submit_order(an_entry())
        size = guard.position()
        closed = await guard.manager.close_position("MES", reason="out", operator="Ann")

        assert resumed.kind is DecisionKind.NOT_POSSIBLE
        assert finding in resumed.message
        assert "backstop audit verify" in resumed.message
        assert DenialCode.STATE_REDUCING in {it.code for it in entry.denials}
        assert size == 2
        assert closed.kind is DecisionKind.ACCEPTED
        await until(lambda: guard.position() == 0, "the position to be closed")


def an_entry() -> OrderRequest:
    return OrderRequest(
        client_order_id="an-entry",
        symbol="MES",
        side=Side.BUY,
        quantity=1,
        type=OrderType.LIMIT,
        limit_price=Decimal(1000),
        stop_loss_price=Decimal(990),
        take_profit_price=Decimal(1010),
    )


async def test_a_finding_outlives_the_process_and_ends_with_a_whole_check(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
    change(desk, "UPDATE Journal SET payload = payload || ' ' WHERE seq = 3")
    async with desk.guard(ready=False) as guard:
        finding = await found(guard)
        await written(guard)
    assert from_the_checkpoint(state(desk), desk.account).record_finding == finding

    monkeypatch.setattr(record_check, "AGAIN_S", 0.05)
    async with desk.guard(ready=False) as guard:
        assert guard.book.record_finding == finding
        await until(lambda: "audit record" in guard.manager.components, "the fault to be shown")
        change(desk, "UPDATE Journal SET payload = rtrim(payload) WHERE seq = 3")
        change(desk, "UPDATE Journal SET payload = CAST(payload AS BLOB) WHERE seq = 3")
        await guard.ready()
        assert guard.book.trading_state(guard.manager.now_ns()) is TradingState.ACTIVE
        assert "audit record" not in guard.manager.components


async def test_a_start_that_reads_the_whole_record_ends_a_finding(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
    shutil.copy(state(desk) / "audit.db", desk.folder / "kept")
    change(desk, "UPDATE Journal SET payload = payload || ' ' WHERE seq = 3")
    async with desk.guard(ready=False) as guard:
        await found(guard)
        await written(guard)
    change(desk, "UPDATE Journal SET payload = CAST(rtrim(payload) AS BLOB) WHERE seq = 3")
    monkeypatch.setattr(audit_start, "WHOLE_CHECK_RECORDS", 10_000)

    async with desk.guard() as guard:
        assert not guard.book.record_finding


async def test_damage_in_a_large_file_is_named_damage_on_one_line(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
        await written(guard)
    monkeypatch.setattr(audit_start, "WHOLE_LOOK_BYTES", 0)
    overwrite_a_leaf(desk, "Journal")

    async with desk.guard(ready=False) as guard:
        finding = await found(guard)
        assert "audit.db is damaged: " in finding
        assert "not what was signed" not in finding
        assert "\n" not in finding
        assert str(Condition.RECORD_UNSOUND) in guard.book.state_reasons(guard.manager.now_ns())


async def test_entries_wait_until_a_large_record_was_looked_through(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
        await written(guard)
    monkeypatch.setattr(audit_start, "WHOLE_LOOK_BYTES", 0)
    let_go = threading.Event()
    look = AuditStore.fault

    def slow_look(store: AuditStore) -> str | None:
        let_go.wait(LOOK_LIMIT_S)
        return look(store)

    monkeypatch.setattr(AuditStore, "fault", slow_look)
    async with desk.guard(ready=False) as guard:
        await guard.manager.account_read()
        await until(lambda: guard.manager.quotes.marks() != (), "a quote")
        assert guard.book.record_unread
        entry = await guard.manager.submit_order(an_entry())
        closed = await guard.manager.close_position("MES", reason="out", operator="Ann")
        assert any(str(Condition.RECORD_UNREAD) in it.message for it in entry.denials)
        assert closed.kind is DecisionKind.ACCEPTED

        let_go.set()
        await guard.ready()
        assert not guard.book.record_unread


LOOK_LIMIT_S = 30.0
"""A look that nobody lets go on ends all the same."""


async def test_a_disk_that_gives_nothing_is_named_and_is_no_tampering(desk: Desk) -> None:
    async with desk.guard() as guard:
        await a_day(guard)

    with pytest.raises(DamagedDatabaseError, match="from its disk: ") as failed:
        check_without_a_disk(state(desk) / "audit.db")

    assert "signed" not in str(failed.value)
    assert "\n" not in str(failed.value)


def check_without_a_disk(path: Path) -> None:
    """Check ``path`` once none of its open descriptors can be read any more."""
    with AuditStore(path, checked=False) as store:
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                if str(descriptor.readlink()) == str(path):
                    blind = os.open(shutil.copy(path, f"{path}.unreadable"), os.O_WRONLY)
                    os.dup2(blind, int(descriptor.name))
                    os.close(blind)
        store.fault()


async def test_a_file_that_is_locked_proves_nothing(desk: Desk) -> None:
    async with desk.guard() as guard:
        await a_day(guard)
    path = state(desk) / "audit.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StateFolderError) as failed, AuditStore(path, checked=False) as store:
            store.fault()

    assert not isinstance(failed.value, DamagedDatabaseError)
