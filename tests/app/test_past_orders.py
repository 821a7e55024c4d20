"""Orders that have left the book, as bots and people still see them: as if they had not."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace
from tests.app.desk import Desk, Guard, a_desk, a_venue, audited, until
from tests.app.state_folders import checkpoint, started

from backstop.adapters.sqlite import past_archive
from backstop.adapters.sqlite.past_archive import PAST_DATABASE
from backstop.adapters.state_file import BACKUP, CURRENT, OLDER
from backstop.app import past_rebuild
from backstop.core import forgetting
from backstop.core.book import Book
from backstop.core.state_checkpoint import decoded, restored
from backstop.core.step import DecisionKind
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.events import Source, TradeReported
from backstop.domain.order import OrderState, OrderType, Side
from backstop.errors import JournalError
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue() -> AsyncIterator[Simulator]:
    async with a_venue() as venue:
        yield venue


@pytest.fixture
def desk(venue: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk whose guards let go of finished orders as soon as there are two."""
    monkeypatch.setattr(forgetting, "FINISHED_KEPT", 1)
    monkeypatch.setattr(forgetting, "STILL_READ_US", -(10**16))
    return a_desk(venue, tmp_path)


async def let_go_of(guard: Guard, *, count: int = 3) -> list[TrackedOrder]:
    """Return orders that were cancelled; all but the last have left the book."""
    orders = []
    for _ in range(count):
        order = await guard.send(guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-40))
        await guard.manager.cancel_order(order.client_order_id, reason="no longer wanted")
        orders.append(await cancelled(guard, order.client_order_id))
    await until(
        lambda: orders[0].client_order_id not in guard.book.orders, "the first order to leave"
    )
    return orders


async def cancelled(guard: Guard, name: str) -> TrackedOrder:
    """Return the order once it is cancelled; it may have left the book by then."""
    ended = OrderState.CANCELLED
    await until(
        lambda: name not in guard.book.orders or guard.book.orders[name].state is ended,
        f"{name} to be cancelled",
    )
    order = await guard.manager.order_records.named(name)
    assert order is not None
    assert order.state is ended
    return order


async def archived(desk: Desk, order: TrackedOrder) -> None:
    path = desk.folder / "state" / PAST_DATABASE

    def is_there() -> bool:
        if not path.exists():
            return False
        key = f"c{order.client_order_id}"
        with closing(sqlite3.connect(path)) as database, suppress(sqlite3.OperationalError):
            return bool(database.execute("SELECT 1 FROM Past WHERE name = ?", (key,)).fetchall())
        return False  # it is being made

    await until(is_there, "the order in the archive")


async def test_an_equal_repeat_is_the_same_order_and_another_body_a_conflict(desk: Desk) -> None:
    async with desk.guard() as guard:
        first, *_ = await let_go_of(guard)
        placed = len(desk.orders())

        repeated = await guard.manager.submit_order(first.request)
        other = await guard.manager.submit_order(replace(first.request, quantity=2))

        assert repeated.kind is DecisionKind.REPEATED
        assert repeated.order == first
        assert other.kind is DecisionKind.CONFLICT
        assert len(desk.orders()) == placed


async def test_they_are_shown_from_memory_and_from_the_archive_alike(desk: Desk) -> None:
    async with desk.guard() as guard:
        orders = await let_go_of(guard, count=5)
        first = orders[0]
        await archived(desk, first)
        past = await guard.manager.order_records.past(first.client_order_id)
        assert past is not None
        assert past.order == first
        number = str(first.broker_order_id)
        assert await guard.manager.order_records.named(number) == first
        assert await guard.manager.order_records.named("nobody") is None
        seen, total = await guard.manager.order_records.newest_past(limit=2)
        assert total == 4
        assert [it.order for it in seen] == orders[-2:-4:-1]
        filled = await guard.manager.order_records.newest_past(limit=9, state=OrderState.FILLED)
        assert filled == ((), 0)


async def test_who_asks_for_them_has_them_read_beside_the_event_loop(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: set[str] = set()
    connect = past_archive._connect

    def observed(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.set_trace_callback(lambda _: readers.add(threading.current_thread().name))
        return connection

    async with desk.guard() as guard:
        first, *_ = await let_go_of(guard)
        await archived(desk, first)
        # The decisions have their own connection, and have it by now.
        assert (await guard.manager.submit_order(first.request)).kind is DecisionKind.REPEATED
        waiting = guard.manager.parts.state.past
        await until(lambda: not waiting.waiting, lambda: waiting.waiting)
        monkeypatch.setattr(past_archive, "_connect", observed)

        assert await guard.manager.order_records.named(first.client_order_id) == first
        assert (await guard.manager.order_records.newest_past(limit=2))[1]

    assert readers == {"order records"}


async def test_a_restart_does_not_lose_them(desk: Desk) -> None:
    async with desk.guard() as guard:
        first, *_ = await let_go_of(guard)

    async with desk.guard() as guard:
        assert first.client_order_id not in guard.book.orders
        repeated = await guard.manager.submit_order(first.request)
        assert repeated.kind is DecisionKind.REPEATED
        assert repeated.order == first
        await guard.agrees()
    await agrees_with_its_record(desk)


async def test_a_lost_archive_is_made_again_from_the_journal(desk: Desk) -> None:
    async with desk.guard() as guard:
        first, *_ = await let_go_of(guard)
    for name in (PAST_DATABASE, BACKUP, OLDER):
        (desk.folder / "state" / name).unlink(missing_ok=True)

    async with desk.guard() as guard:
        restored = next(note for note in guard.notes if note.name == "state_restored")
        assert restored.fields["source"] == "the whole journal"
        assert "lacks orders" in alert_text(guard, "PAST_ORDERS_UNUSABLE")
        past = await guard.manager.order_records.past(first.client_order_id)
        assert past is not None
        assert past.order == first


async def test_an_archive_that_cannot_be_used_at_a_start_is_told_and_made_again(desk: Desk) -> None:
    async with desk.guard() as guard:
        first, *_ = await let_go_of(guard)
    path = desk.folder / "state" / PAST_DATABASE
    path.write_bytes(b"not a database at all" * 300)

    async with desk.guard() as guard:
        assert "cannot be used" in alert_text(guard, "PAST_ORDERS_UNUSABLE")
        past = await guard.manager.order_records.past(first.client_order_id)
        assert past is not None
        assert past.order == first
    async with desk.guard() as guard:
        told = [it.code for it in guard.book.alerts.alerts.values()]
        assert told.count("PAST_ORDERS_UNUSABLE") == 1, "the next start finds it whole"
    await agrees_with_its_record(desk)


def alert_text(guard: Guard, code: str) -> str:
    (alert,) = [it for it in guard.book.alerts.alerts.values() if it.code == code]
    return alert.message


async def test_a_cancel_of_one_says_what_it_is(desk: Desk) -> None:
    async with desk.guard() as guard:
        first, *_ = await let_go_of(guard)

        decision = await guard.manager.cancel_order(first.client_order_id, reason="late")

        assert decision.kind is DecisionKind.NOT_POSSIBLE
        assert "CANCELLED" in decision.message


async def test_an_archive_that_cannot_be_read_holds_up_entries_and_no_exit(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(Side.BUY, 1)
        first, *_ = await let_go_of(guard)
        await archived(desk, first)
        spoil(desk.folder / "state" / PAST_DATABASE)

        with pytest.raises(JournalError, match=r"past_orders\.db"):
            await guard.manager.submit_order(guard.request(Side.BUY, 1))
        with pytest.raises(JournalError, match=r"past_orders\.db"):
            await guard.manager.order_records.past("nobody")
        with pytest.raises(JournalError, match=r"past_orders\.db"):
            await guard.manager.register_pending_order(
                guard.request(Side.SELL, 1, protected=False), custom_tag="mine-1"
            )
        with pytest.raises(JournalError, match=r"past_orders\.db"):
            await guard.manager.cancel_order("nobody", reason="late")
        assert "past_orders.db" in guard.manager.components["past orders"]
        await until(lambda: "PAST_UNREADABLE" in alerts(guard), "the alert")
        await guard.send(guard.request(Side.SELL, 1, protected=False))
        await until(lambda: guard.position() == 0, "the exit to be filled")


async def test_a_bot_that_goes_away_while_the_archive_cannot_be_read_ends_nothing(
    desk: Desk,
) -> None:
    async with desk.guard() as guard:
        first, *_ = await let_go_of(guard)
        await archived(desk, first)
        spoil(desk.folder / "state" / PAST_DATABASE)

        asking = asyncio.create_task(guard.manager.cancel_order("nobody", reason="late"))
        await asyncio.sleep(0)  # it is in the queue, and the bot's connection ends
        asking.cancel()
        with pytest.raises(JournalError, match=r"past_orders\.db"):
            await guard.manager.cancel_order("nobody", reason="late")

        assert asking.cancelled()
        assert "guard" not in guard.manager.components


def takes_nothing(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(
            "CREATE TRIGGER Full BEFORE INSERT ON Past BEGIN SELECT RAISE(ABORT, 'full'); END"
        )


def spoil(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("ALTER TABLE PastKey RENAME TO Gone")


def mend(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("ALTER TABLE Gone RENAME TO PastKey")


def alerts(guard: Guard) -> list[str | int]:
    return [note.fields["code"] for note in guard.notes if note.name == "alert"]


async def test_an_old_trade_is_held_until_the_archive_answers_again(desk: Desk) -> None:
    async with desk.guard() as guard:
        entry = await guard.enter(Side.BUY, 1)
        await guard.send(guard.request(Side.SELL, 1, protected=False))
        await until(lambda: guard.position() == 0, "the position to be closed")
        first, *_ = await let_go_of(guard)
        await archived(desk, first)
        await until(lambda: entry.client_order_id not in guard.book.orders, "the entry to leave")
        past = await guard.manager.order_records.past(entry.client_order_id)
        assert past is not None
        # What is not on disk yet is known without it.
        waiting = guard.manager.order_records._past
        await until(lambda: not waiting.waiting, lambda: waiting.waiting)
        path, trade = desk.folder / "state" / PAST_DATABASE, past.trades[0]
        spoil(path)

        guard.manager.decisions.put(
            TradeReported(utc_us=guard.manager.clock.utc_us(), trade=trade, source=Source.HUB)
        )
        await until(lambda: trade.trade_id in guard.book.doubt.trades, "the trade to be held")
        again = guard.book.counters.duplicate_trades
        await until(lambda: "TRADE_UNDECIDED" in alerts(guard), "the alert")
        assert guard.book.state_reasons(guard.manager.now_ns()) == ("PAST_UNREADABLE",)

        mend(path)
        await guard.ready()
        assert not guard.book.doubt.trades
        assert guard.book.counters.duplicate_trades > again
        assert guard.position() == 0
        assert "past orders" not in guard.manager.components
        await until(lambda: "PAST_READABLE" in alerts(guard), "the word that all is well")
    written = audited(
        desk.folder / "state",
        "SELECT count(*) FROM FillAudit WHERE FillId = ?",
        str(trade.trade_id),
    )
    assert written == [(1,)]


async def ask_for_all(guard: Guard, orders: list[TrackedOrder]) -> None:
    """Ask for everything in the archive, in the order of time and by name."""
    await guard.manager.order_records.newest_past(limit=9)
    for order in orders:
        assert await guard.manager.order_records.named(order.client_order_id) == order
        await guard.manager.order_records.past(order.client_order_id)


DAMAGES = {
    "bytes that are no entry": "UPDATE Past SET value = x'7b'",
    "an entry cut off": "UPDATE Past SET value = substr(value, 1, length(value) / 2)",
    "text that is no JSON": "UPDATE Past SET value = 'gone'",
    "a number": "UPDATE Past SET value = 7",
    "the entry of another": "UPDATE PastKey SET id = 1 + id % (SELECT max(id) FROM Past)",
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_archive_is_kept_aside_and_made_again(desk: Desk, damage: str) -> None:
    async with desk.guard() as guard:
        orders = await let_go_of(guard, count=4)
        first = orders[0]
        for order in orders[:2]:
            await archived(desk, order)
        past = guard.manager.parts.state.past
        await until(lambda: not past.waiting, "nothing to be left in memory")
        state = desk.folder / "state"
        with closing(sqlite3.connect(state / PAST_DATABASE, isolation_level=None)) as database:
            database.execute(DAMAGES[damage])

        with pytest.raises(JournalError, match=r"past_orders\.db is damaged"):
            await ask_for_all(guard, orders)
        await until(lambda: "PAST_READABLE" in alerts(guard), "the archive to be made again")
        await guard.ready()

        repeated = await guard.manager.submit_order(first.request)
        assert repeated.kind is DecisionKind.REPEATED
        assert repeated.order == first
        await ask_for_all(guard, orders)
        assert [it.name for it in state.glob("past_orders-*.bad")] == ["past_orders-000001.bad"]
        assert "past orders" not in guard.manager.components

    async with desk.guard() as guard:
        assert started(guard)["source"] == CURRENT
        assert (await guard.manager.submit_order(first.request)).order == first


async def test_damage_that_only_a_reader_meets_is_mended_as_well(desk: Desk) -> None:
    async with desk.guard() as guard:
        first, *_ = await let_go_of(guard)
        await archived(desk, first)
        path = desk.folder / "state" / PAST_DATABASE
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("UPDATE Past SET value = x'00'")

        with pytest.raises(JournalError, match="damaged"):
            await guard.manager.order_records.newest_past(limit=9)

        await until(lambda: "PAST_READABLE" in alerts(guard), "the archive to be made again")
        seen, _ = await guard.manager.order_records.newest_past(limit=9)
        assert first.client_order_id in {it.order.client_order_id for it in seen if it.order}


async def test_no_state_counts_on_an_archive_that_is_half_made(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk.guard() as guard:
        first, *_ = await let_go_of(guard)
        await archived(desk, first)
        monkeypatch.setattr(past_rebuild, "REST_S", 1e9)  # it never gets beyond the first rest
        path = desk.folder / "state" / PAST_DATABASE
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("UPDATE Past SET value = x'00'")
        with pytest.raises(JournalError, match="damaged"):
            await ask_for_all(guard, [first])
        await until(lambda: any(path.parent.glob("past_orders-*.bad")), "a new archive")
        await guard.manager.close(by_person=False)

    async with desk.guard() as guard:
        assert started(guard)["source"] != CURRENT
        assert (await guard.manager.submit_order(first.request)).order == first


async def test_no_checkpoint_lets_go_of_what_the_archive_did_not_take(desk: Desk) -> None:
    async with desk.guard() as guard:
        first, *_ = await let_go_of(guard)
        await archived(desk, first)
        takes_nothing(desk.folder / "state" / PAST_DATABASE)
        await let_go_of(guard)
        await until(lambda: "state file" in guard.manager.components, "the fault to be told")
        path = desk.folder / "state" / PAST_DATABASE
        with closing(sqlite3.connect(path)) as database:
            ((in_archive,),) = database.execute("SELECT count(*) FROM Past").fetchall()

        assert guard.book.orders_forgotten > in_archive
        assert from_the_checkpoint_alone(desk).orders_forgotten <= in_archive


def from_the_checkpoint_alone(desk: Desk) -> Book:
    return restored(decoded(checkpoint(desk.folder / "state", desk.account).book))


async def agrees_with_its_record(desk: Desk) -> None:
    """Every order has one row, of its own name."""
    rows = audited(
        desk.folder / "state", "SELECT ClientOrderId FROM OrderAudit WHERE ClientOrderId NOTNULL"
    )
    assert sorted(rows) == sorted(set(rows))
    assert len(rows) == len(desk.orders())
