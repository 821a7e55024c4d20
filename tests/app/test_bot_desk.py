"""Bots in front of a real guard and a simulated venue: heard, missed, and looked after."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.app.desk import Desk, Guard, JumpingClock, until

from backstop.core.step import DecisionKind
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.bot import BotPolicy, BotState, BotTerms
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderRequest, OrderState, OrderType

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUICK = BotTerms(policy=BotPolicy.FLATTEN, heartbeat_timeout_ms=1_000, flatten_after_ms=2_000)
PATIENT = BotTerms(policy=BotPolicy.STOP_ENTRIES, heartbeat_timeout_ms=60_000)


def state(guard: Guard, bot_id: str = "alpha") -> BotState:
    return guard.book.bots[bot_id].state


def wish(guard: Guard, **details: Any) -> OrderRequest:
    return replace(guard.request(**details), strategy_id="alpha")


async def filled(guard: Guard, **details: Any) -> TrackedOrder:
    order = await guard.send(wish(guard, **details))
    return await guard.reaches(order.client_order_id, OrderState.FILLED)


async def test_a_dead_bot_has_its_entries_cancelled_and_its_position_closed(desk: Desk) -> None:
    async with desk.guard() as guard:
        decision = await guard.manager.bots.register("alpha", QUICK)
        assert decision.kind is DecisionKind.ACCEPTED
        await filled(guard, quantity=2)
        resting = await guard.send(wish(guard, kind=OrderType.LIMIT, ticks=-200))

        await guard.reaches(resting.client_order_id, OrderState.CANCELLED)
        await until(lambda: state(guard) is BotState.GIVEN_UP, lambda: guard.book.bots)
        await until(lambda: not guard.position(), lambda: guard.book.liquidations)
        await guard.agrees()

        late = await guard.manager.submit_order(wish(guard))
        assert DenialCode.BOT_SILENT in [denial.code for denial in late.denials]
        assert guard.book.latches == ()


async def test_a_bot_that_beats_keeps_its_position(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.manager.bots.register("alpha", QUICK)
        await guard.manager.bots.register("beta", QUICK)
        await filled(guard)

        def beta_is_given_up() -> bool:
            guard.manager.bots.beat("alpha")
            return state(guard, "beta") is BotState.GIVEN_UP

        await until(beta_is_given_up, lambda: guard.book.bots)

        assert state(guard) is BotState.ALIVE
        assert guard.position() == 1


async def test_a_restarted_guard_knows_its_bots_and_gives_them_time(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.manager.bots.register("alpha", QUICK)
        await guard.manager.bots.register("beta", PATIENT)

    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        bots = guard.manager.bots
        assert [it.bot.bot_id for it in bots.report()] == ["alpha", "beta"]
        assert [it.heartbeat_age_ms for it in bots.report()] == [None, None]
        assert state(guard) is BotState.ALIVE

        assert bots.beat("alpha")
        assert bots.report()[0].heartbeat_age_ms is not None
        await until(lambda: state(guard) is BotState.SILENT, lambda: guard.book.bots)
        assert state(guard, "beta") is BotState.ALIVE


async def test_a_suspend_of_the_machine_is_no_death_of_a_bot(desk: Desk) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        bots = guard.manager.bots
        await bots.register("beta", PATIENT)
        looks = guard.manager.steps
        clock.jump(3_600)
        bots.look()
        await until(lambda: guard.manager.steps > looks, "the guard goes on")

        assert state(guard, "beta") is BotState.ALIVE


async def test_heartbeats_do_not_grow_the_record(desk: Desk) -> None:
    async with desk.guard() as guard:
        bots, decisions = guard.manager.bots, guard.manager.decisions
        await bots.register("alpha", PATIENT)
        before = decisions.journal_seq
        for number in range(1_000):
            bots.beat("alpha", progress=number)

        assert decisions.journal_seq == before
        assert (await bots.register("alpha", PATIENT)).kind is DecisionKind.REPEATED
