"""The decision loop: durable before sent, in order, the same at replay, and with a disk that fails.

The disk fails for real: the kernel refuses to let any file grow beyond a limit.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from itertools import pairwise

import aiohttp
import pytest
from tests.app.desk import Desk, Guard, audited, full_disk, until

from backstop.adapters.projectx.gateway import ProjectXGateway
from backstop.adapters.signing import AuditKeys
from backstop.adapters.sqlite.journal import SqliteJournal
from backstop.app import loop as loop_module
from backstop.app.dispatch import Dispatcher
from backstop.app.loop import MAX_QUEUED_FACTS, DecisionLoop
from backstop.app.proofs import ProofMaker
from backstop.core.book import Book
from backstop.core.engine import new_book
from backstop.core.journal_leaf import leaf_hash
from backstop.core.step import DecisionKind, Tag
from backstop.domain.commands import RaiseAlert
from backstop.domain.events import Fact, HaltRequested, TimerFired
from backstop.domain.order import OrderRequest, OrderState, OrderType, Side
from backstop.domain.record_kind import RecordKind
from backstop.errors import InvariantError, JournalError
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

MARKET, SELL = 2, 1
"""Numbers of the wire."""

PINGS = 10
"""Ways to the venue and back: time enough for an order that does not wait for the disk."""


@asynccontextmanager
async def on_a_full_disk(desk: Desk) -> AsyncIterator[Guard]:
    """Run a guard with two contracts and a resting entry; inside the block its disk is full."""
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await guard.send(guard.request(kind=OrderType.LIMIT, ticks=-300, client_order_id="resting"))
        await guard.agrees()
        await guard.manager.decisions.recorded()  # or the record of before is the one that fails
        with full_disk(guard):
            yield guard


def a_far_exit(guard: Guard, ticks: int) -> OrderRequest:
    return guard.request(Side.SELL, 1, OrderType.LIMIT, ticks=-ticks, protected=False)


async def test_an_entry_is_refused_when_its_intent_cannot_be_written(desk: Desk) -> None:
    async with on_a_full_disk(desk) as guard:
        request = guard.request()
        with pytest.raises(JournalError, match="not on disk"):
            await guard.manager.submit_order(request)
        order = await guard.reaches(request.client_order_id, OrderState.NOT_SUBMITTED)

        assert order.broker_order_id is None
        assert len(desk.orders()) == 2


async def test_an_exit_leaves_although_the_disk_is_full(desk: Desk) -> None:
    async with on_a_full_disk(desk) as guard:
        order = await guard.enter(Side.SELL, 2, protected=False)

        assert order.filled_quantity == 2
        await guard.holds(0)
        assert [row["status"] for row in desk.orders()] == ["FILLED", "OPEN", "FILLED"]


async def test_an_entry_is_cancelled_although_the_disk_is_full(desk: Desk) -> None:
    async with on_a_full_disk(desk) as guard:
        decision = await guard.manager.cancel_order("resting", reason="the disk is full")
        await guard.reaches("resting", OrderState.CANCELLED)

        assert decision.kind is DecisionKind.ACCEPTED


async def test_a_halt_takes_entries_off_although_the_disk_is_full(desk: Desk) -> None:
    async with on_a_full_disk(desk) as guard:
        await guard.manager.halt(reason="the disk is full", operator="Ada")
        await guard.reaches("resting", OrderState.CANCELLED)

        assert guard.book.latches


async def test_an_exit_too_many_is_taken_off_although_the_disk_is_full(desk: Desk) -> None:
    """What its bot left at the venue would open a position the other way."""
    async with on_a_full_disk(desk) as guard:
        names = [(await guard.send(a_far_exit(guard, ticks))).client_order_id for ticks in (60, 80)]
        contract_id = guard.instrument("MES").contract_id
        desk.venue.exchange.place_manual(desk.account, contract_id, type=MARKET, side=SELL, size=1)
        await guard.holds(1)
        await guard.reaches(names[1], OrderState.CANCELLED)

        assert guard.book.orders[names[0]].state is OrderState.WORKING


async def test_what_protects_a_position_stays_when_the_disk_is_full(desk: Desk) -> None:
    """To move a stop away from the market adds risk; that needs a record."""
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        stop = await guard.send(
            guard.request(Side.SELL, 2, OrderType.STOP, ticks=200, protected=False)
        )
        await guard.agrees()
        level = stop.request.stop_price
        assert level is not None
        with full_disk(guard):
            with pytest.raises(JournalError):
                await guard.manager.modify_order(
                    stop.client_order_id, quantity=None, limit_price=None, stop_price=level - 10
                )

            assert desk.orders()[-1]["status"] == "OPEN"
            assert Decimal(desk.orders()[-1]["stopPrice"]) == level


async def test_a_full_disk_is_told_once_and_stays_told(desk: Desk) -> None:
    async with on_a_full_disk(desk) as guard:
        for _ in range(3):
            with pytest.raises(JournalError):
                await guard.manager.submit_order(guard.request())
        told = [note for note in guard.notes if note.fields.get("code") == "JOURNAL_FAILED"]

        assert [note.tag for note in told] == [Tag.CRITICAL]
        assert "audit.db" in guard.manager.components["journal"]


async def test_no_proof_is_given_that_the_record_does_not_have(desk: Desk) -> None:
    async with on_a_full_disk(desk) as guard:
        order = await guard.enter(Side.SELL, 2, protected=False)

        assert guard.manager.execution_proof(order.client_order_id) is None


async def test_once_the_disk_is_mended_a_restart_learns_what_left_unrecorded(desk: Desk) -> None:
    async with on_a_full_disk(desk) as guard:
        await guard.enter(Side.SELL, 2, protected=False)
        trades = set(guard.book.trades)

    async with desk.guard() as guard:
        await guard.holds(0)
        assert set(guard.book.trades) == trades
        await guard.agrees()


async def test_nothing_reaches_the_venue_while_its_intent_waits_for_the_disk(desk: Desk) -> None:
    database = desk.folder / "state" / "audit.db"
    async with desk.guard() as guard, aiohttp.ClientSession() as session:
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # until it ends the guard cannot commit
            asking = asyncio.create_task(guard.enter())
            await until(lambda: any(guard.book.live_orders()), "the decision")
            for _ in range(PINGS):
                async with session.get(f"{desk.venue.url}/api/Status/ping") as answer:
                    assert answer.status == 200
            waiting = [order.state for order in guard.book.live_orders()]
            reached = desk.orders()
            other.execute("ROLLBACK")
        await asking

        assert waiting == [OrderState.INTENDED]
        assert reached == []
        assert len(desk.orders()) == 1


async def test_what_is_decided_in_an_order_leaves_in_that_order(desk: Desk) -> None:
    async with desk.guard() as guard:
        requests = [guard.request(kind=OrderType.LIMIT, ticks=-300 - n) for n in range(8)]
        await asyncio.gather(*(guard.send(request) for request in requests))

    decided = _named(desk, "command", "PlaceOrder")
    left = _named(desk, "event", "OrderDispatched")
    assert decided == [request.client_order_id for request in requests]
    assert left == decided


def _named(desk: Desk, kind: str, what: str) -> list[str]:
    payloads = audited(
        desk.folder / "state", "SELECT payload FROM Journal WHERE kind = ? ORDER BY seq", kind
    )
    records = [json.loads(payload) for (payload,) in payloads]
    return [record["client_order_id"] for record in records if record["kind"] == what]


async def test_a_replay_ends_in_the_same_book(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=3)
        resting = await guard.send(guard.request(kind=OrderType.LIMIT, ticks=-300))
        desk.mischief("GatewayUserTrade", FaultKind.DUPLICATE_EVENT, copies=2)
        desk.mischief("Order/place", FaultKind.LOSE_RESPONSE)
        await guard.enter(Side.SELL, 1, protected=False)
        await guard.manager.cancel_order(resting.client_order_id, reason="enough")
        await guard.reaches(resting.client_order_id, OrderState.CANCELLED)
        await guard.manager.halt(reason="a look at the news", operator="Ada")
        await guard.agrees()
    live, steps = guard.book, guard.manager.steps

    async with _idle_loop(desk, guard) as (loop, journal):
        replayed = loop.replay(journal.read_all())

        assert replayed == steps
        assert loop.book == live


@asynccontextmanager
async def _idle_loop(
    desk: Desk, guard: Guard, on_alert: Callable[[RaiseAlert], None] = lambda _: None
) -> AsyncIterator[tuple[DecisionLoop, SqliteJournal]]:
    """Build a loop on the record of a guard that has ended; it does not run."""
    manager = guard.manager
    folder = manager.settings.state_folder
    journal = SqliteJournal.open(
        folder / "audit.db", account=str(desk.account), epoch=1, leaf_hash=leaf_hash
    )
    gateway = ProjectXGateway(
        api_url=manager.settings.api_url,
        user_name=manager.settings.user_name,
        api_key=manager.settings.api_key,
        clock=manager.clock,
    )
    dispatcher = Dispatcher(
        gateway=gateway,
        clock=manager.clock,
        policy=guard.book.policy,
        holds_right_to_send=lambda: False,
        on_alert=on_alert,
        on_fault=lambda _: None,
    )
    loop = DecisionLoop(
        book=new_book(guard.book.policy),
        journal=journal,
        clock=manager.clock,
        dispatcher=dispatcher,
        proofs=ProofMaker(AuditKeys.open(folder / "keys")),
        on_note=lambda _: None,
    )
    try:
        yield loop, journal
    finally:
        await journal.close()
        await gateway.close()


async def test_a_loop_that_does_not_keep_up_stops_rather_than_lose_a_fact(desk: Desk) -> None:
    async with desk.guard() as guard:
        pass
    async with _idle_loop(desk, guard) as (loop, _):
        for _ in range(MAX_QUEUED_FACTS):
            loop.put(TimerFired(utc_us=0))
        with pytest.raises(JournalError, match="lags behind"):
            loop.put(TimerFired(utc_us=0))
        with pytest.raises(JournalError, match="lags behind"):
            async with asyncio.timeout(TURNS_LIMIT_S):
                await loop.run()

        assert loop.steps == 0


async def test_a_task_that_nobody_waits_for_cannot_lose_a_fact_either(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers of the venue are put by tasks of their own: what they raise ends only them."""
    async with desk.guard() as guard:
        pass
    monkeypatch.setattr(loop_module, "MAX_QUEUED_FACTS", FACTS)

    async def too_many() -> None:
        for _ in range(FACTS + 1):
            loop.put(TimerFired(utc_us=0))

    async with _idle_loop(desk, guard) as (loop, _), asyncio.timeout(TURNS_LIMIT_S):
        running = asyncio.create_task(loop.run())
        await asyncio.sleep(0)
        answering = asyncio.create_task(too_many())
        await asyncio.wait([running, answering])

    assert isinstance(answering.exception(), JournalError)
    assert running.exception() is answering.exception()


async def test_who_asked_for_what_broke_the_loop_hears_that_it_has_stopped(desk: Desk) -> None:
    def fail(_book: Book, _fact: Fact) -> None:
        raise InvariantError("what must not be")

    async with desk.guard() as guard:
        pass
    async with _idle_loop(desk, guard) as (loop, _), asyncio.timeout(TURNS_LIMIT_S):
        running = asyncio.create_task(loop.run())
        await asyncio.sleep(0)
        loop.before_fact = fail
        with pytest.raises(JournalError, match="has stopped"):
            await loop.decide(_halt(guard))
        with pytest.raises(InvariantError):
            await running


async def test_who_asked_for_what_fails_to_leave_hears_the_decision_that_is_on_record(
    desk: Desk,
) -> None:
    """Part of it may have left: who took it for refused would ask for that once more."""

    def fail(_alert: RaiseAlert) -> None:
        raise InvariantError("what must not be")

    async with desk.guard() as guard:
        pass
    async with _idle_loop(desk, guard, fail) as (loop, journal), asyncio.timeout(TURNS_LIMIT_S):
        running = asyncio.create_task(loop.run())
        await asyncio.sleep(0)
        asking = asyncio.create_task(loop.decide(_halt(guard)))
        after = asyncio.create_task(loop.decide(_halt(guard)))
        assert (await asking).kind is DecisionKind.ACCEPTED
        with pytest.raises(JournalError, match="has stopped"):
            await after
        with pytest.raises(InvariantError):
            await running

        assert any(b"HaltRequested" in record.payload for record in journal.read_all())


def _halt(guard: Guard) -> HaltRequested:
    utc_us = guard.manager.clock.utc_us()
    return HaltRequested(utc_us=utc_us, reason="a look at the news", operator="Ada")


async def test_others_have_their_turn_while_very_much_comes_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk.guard() as guard:
        pass
    monkeypatch.setattr(loop_module, "TURN_NS", 0)  # the first fact has taken all of the time
    async with _idle_loop(desk, guard) as (loop, _):
        for _ in range(FACTS):
            loop.put(TimerFired(utc_us=0))
        async with asyncio.timeout(TURNS_LIMIT_S):
            running = asyncio.create_task(loop.run())
            seen = [loop.steps]
            while loop.steps < FACTS:
                await asyncio.sleep(0)
                seen.append(loop.steps)
        running.cancel()
        await asyncio.wait([running])

    assert max(after - before for before, after in pairwise(seen)) == 1


FACTS = 20
TURNS_LIMIT_S = 30.0


async def test_the_record_holds_every_fact_and_the_proof(desk: Desk) -> None:
    async with desk.guard() as guard:
        order = await guard.enter()
        await guard.manager.verify_execution(order.client_order_id)
        proof = guard.manager.execution_proof(order.client_order_id)

    folder = desk.folder / "state"
    (facts,) = audited(folder, "SELECT count(*) FROM Journal WHERE kind = 'event'")[0]
    proofs = audited(folder, "SELECT payload FROM Journal WHERE kind = ?", RecordKind.PROOF)
    (written,) = audited(folder, "SELECT ExecutionProof FROM OrderAudit WHERE ClientOrderId = ?",
                         order.client_order_id)[0]  # fmt: skip
    assert facts == guard.manager.steps
    assert proofs == [(proof,)]
    assert written.encode() == proof
