"""A disk that fails under a running guard and returns: what leaves, what is told, what is written.

It fails in two ways: the kernel lets no file of this process grow, and a file layer under SQLite
answers that the sync failed.
"""

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.sqlite.failing_disk import REACHABLE, Disk, Fault, failing_disk
from tests.app.desk import (
    PATIENCE_S,
    Desk,
    Guard,
    audited,
    forget_failures,
    full_disk,
    until,
)

from backstop.adapters.sqlite import journal as journal_module
from backstop.app.audit_verification import verify_record
from backstop.core.trading_state import Condition, TradingState
from backstop.domain.events import Fact, TradingDayBegan
from backstop.domain.order import OrderState, OrderType, Side
from backstop.errors import JournalError

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(params=REACHABLE, ids=lambda _: "sqlite")
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    with failing_disk(request.param) as disk:
        yield disk


def facts(desk: Desk, kind: str) -> list[dict[str, Any]]:
    rows = audited(desk.folder / "state", "SELECT payload FROM Journal WHERE kind = 'event'")
    found = [json.loads(payload) for (payload,) in rows]
    return [fact for fact in found if fact["kind"] == kind]


def codes(guard: Guard) -> list[str]:
    return [str(note.fields["code"]) for note in guard.notes if note.name == "alert"]


async def refused(guard: Guard) -> None:
    """Have an entry refused, which begins the outage."""
    with pytest.raises(JournalError, match="not on disk"):
        await guard.manager.submit_order(guard.request())
    await until(lambda: _condition_holds(guard), "JOURNAL_FAILED")


def _condition_holds(guard: Guard) -> bool:
    return Condition.JOURNAL_FAILED in guard.book.readiness(guard.manager.now_ns()).conditions


async def recovered(guard: Guard) -> None:
    await until(lambda: not _condition_holds(guard), "the end of the outage")
    await guard.manager.decisions.recorded()


async def test_entries_wait_for_the_disk_and_are_possible_again_by_themselves(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await guard.agrees()
        with full_disk(guard):
            await refused(guard)
            state = guard.book.trading_state(guard.manager.now_ns())
            for _ in range(3):
                with pytest.raises(JournalError, match="not on disk"):
                    await guard.manager.submit_order(guard.request())
            assert guard.manager.components["journal"]
        await guard.ready()
        await recovered(guard)

        assert state is TradingState.REDUCING
        assert len(desk.orders()) == 1
        assert codes(guard).count("JOURNAL_FAILED") == 1
        assert codes(guard).count("JOURNAL_RECOVERED") == 1
        assert "journal" not in guard.manager.components
    assert verify_record(desk.folder / "state").outages[0].lost == 0


async def test_a_record_that_is_taken_away_from_under_its_guard_stops_entries_and_no_exit(
    desk: Desk,
) -> None:
    """A deleted file goes on taking records, and whatever was sent on their word is forgotten."""
    state = desk.folder / "state"
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await guard.agrees()
        state.rename(desk.folder / "away")
        await refused(guard)
        await guard.enter(Side.SELL, 1, protected=False)
        assert len(desk.orders()) == 2
        await until(lambda: "JOURNAL_FAILED" in codes(guard), lambda: codes(guard))
        assert "deleted, moved or replaced" in guard.manager.components["journal"]

        await until(lambda: _is_put_back(desk.folder / "away", state), "the folder is back")
        await guard.ready()
        await recovered(guard)
        await guard.enter(quantity=1)
        await guard.agrees()
    assert verify_record(state).outages[0].lost == 0


def _is_put_back(away: Path, state: Path) -> bool:
    """Put the folder where it was, over what the guard has begun there meanwhile."""
    shutil.rmtree(state, ignore_errors=True)
    with suppress(OSError):
        away.rename(state)
    return not away.exists()


async def test_what_left_unrecorded_is_on_record_in_the_end_and_in_order(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await guard.agrees()
        with full_disk(guard):
            await refused(guard)
            exit_order = await guard.enter(Side.SELL, 2, protected=False)
            assert guard.manager.execution_proof(exit_order.client_order_id) is None
        await recovered(guard)
        proof = guard.manager.execution_proof(exit_order.client_order_id)
        trades = set(guard.book.trades)
        await guard.agrees()

    report = verify_record(desk.folder / "state")
    (outage,) = facts(desk, "JournalRecovered")
    kinds = [fact["kind"] for fact in _events_between(desk, outage)]
    assert proof is not None
    assert (len(report.outages), report.proofs) == (1, 2)
    assert len(kinds) == outage["decisions"]
    assert {"JournalFailed", "OrderDispatched", "PlaceAnswered", "TradeReported"} <= set(kinds)
    assert {fact["trade"]["trade_id"] for fact in facts(desk, "TradeReported")} == trades


def _events_between(desk: Desk, outage: dict[str, Any]) -> list[dict[str, Any]]:
    rows = audited(
        desk.folder / "state",
        "SELECT payload FROM Journal WHERE kind = 'event' AND seq BETWEEN ? AND ? ORDER BY seq",
        outage["first_seq"],
        outage["last_seq"],
    )
    return [json.loads(payload) for (payload,) in rows]


async def test_a_backlog_at_its_limit_that_drains_in_the_moment_of_a_decision_loses_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The word that all is written comes after the decision that found no room any more."""
    drained = threading.Event()
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await guard.agrees()
        decisions, loop = guard.manager.decisions, asyncio.get_running_loop()
        report, before_turn = loop.call_soon_threadsafe, decisions.before_turn

        def observed(what: Any, *arguments: Any, **options: Any) -> asyncio.Handle:
            handle = report(what, *arguments, **options)
            if what.__name__ == "durable" and arguments[0].records[-1][0] == decisions.journal_seq:
                drained.set()
            return handle

        def drain() -> Fact:
            decisions.before_turn = before_turn
            waiting = len(guard.manager.parts.trail._journal._waiting)
            monkeypatch.setattr(journal_module, "MAX_PENDING_BATCHES", waiting)
            monkeypatch.setattr(loop, "call_soon_threadsafe", observed)
            disk.close()
            assert drained.wait(PATIENCE_S)
            return TradingDayBegan(utc_us=guard.manager.clock.utc_us(), trade_date="2026-01-05")

        with ExitStack() as disk:
            disk.enter_context(full_disk(guard))
            await refused(guard)
            await guard.enter(Side.SELL, 2, protected=False)
            decisions.before_turn = drain
            await recovered(guard)
        monkeypatch.undo()
        await guard.agrees()

    (outage,) = facts(desk, "JournalRecovered")
    assert (outage["lost"], verify_record(desk.folder / "state").outages[0].lost) == (0, 0)
    assert "2026-01-05" in {fact["trade_date"] for fact in facts(desk, "TradingDayBegan")}


@pytest.mark.scenario("H3")
async def test_a_failed_sync_is_not_trusted_and_the_record_survives_a_power_cut(
    desk: Desk, disk: Disk
) -> None:
    database = desk.folder / "state" / "audit.db"
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await guard.agrees()
        disk.fault = Fault.SYNC
        await refused(guard)
        await guard.enter(Side.SELL, 2, protected=False)
        disk.fault = None
        await recovered(guard)
        trades = set(guard.book.trades)
        written = audited(desk.folder / "state", "SELECT max(seq) FROM Journal")
        disk.after_a_power_cut(database, desk.folder / "cut")

    assert disk.struck > 0
    assert audited(desk.folder / "cut", "SELECT max(seq) FROM Journal") >= written
    cut = {int(fill) for (fill,) in audited(desk.folder / "cut", "SELECT FillId FROM FillAudit")}
    assert cut == trades


def fill_once_decided(guard: Guard, client_order_id: str, disk: ExitStack) -> None:
    """Fill the disk after the decision about an order, and before any record of it is written.

    A disk that is full earlier can meet another record first: then entries are refused already.
    """
    decisions = guard.manager.decisions
    hear = decisions.on_step

    def on_step() -> None:
        hear()
        if client_order_id in guard.book.orders:
            decisions.on_step = hear
            disk.enter_context(full_disk(guard))

    decisions.on_step = on_step


async def test_an_order_that_was_withheld_is_known_as_never_sent(desk: Desk) -> None:
    async with desk.guard() as guard:
        request = guard.request(kind=OrderType.LIMIT, ticks=-300)
        with ExitStack() as disk:
            fill_once_decided(guard, request.client_order_id, disk)
            with pytest.raises(JournalError, match="not on disk"):
                await guard.manager.submit_order(request)
            await guard.reaches(request.client_order_id, OrderState.NOT_SUBMITTED)
        await recovered(guard)
        await guard.send(guard.request(kind=OrderType.LIMIT, ticks=-300))

    assert len(desk.orders()) == 1


async def test_beyond_the_limit_exits_go_on_and_the_record_says_what_is_missing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard ends itself when the disk returns: its book is not that of the record any more."""
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await guard.agrees()
        with full_disk(guard):
            await refused(guard)
            monkeypatch.setattr(journal_module, "MAX_PENDING_BATCHES", 0)
            exit_order = await guard.enter(Side.SELL, 2, protected=False)
            trades = set(guard.book.trades)
            monkeypatch.undo()
        with pytest.raises(ExceptionGroup) as ended:
            await guard.manager.failed()
        assert ended.group_contains(JournalError, match="could not be kept")
        assert guard.position() == 0
    forget_failures()

    (outage,) = facts(desk, "JournalRecovered")
    assert outage["lost"] > 0
    assert verify_record(desk.folder / "state").outages[0].lost == outage["lost"]
    async with desk.guard(ready=False) as guard:
        await guard.agrees()  # with the broker, who knows of the exit
        assert set(guard.book.trades) == trades
        assert exit_order.client_order_id not in guard.book.orders
