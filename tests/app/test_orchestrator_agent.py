"""Strategies on top of a guard: when they may begin, and what becomes of one that fails."""

import asyncio

import pytest
from tests.app.desk import Desk, until
from tests.app.program import Program

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.orchestrator_agent import OrchestratorAgent, StrategyState
from backstop.app.strategies.momentum import Momentum
from backstop.core.step import Tag
from backstop.core.trading_state import TradingState
from backstop.domain.order import OrderState
from backstop.errors import JournalError, SetupError

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_strategy_begins_when_the_guard_is_active_and_not_before(desk: Desk) -> None:
    seen: list[tuple[bool, TradingState]] = []

    async def look(manager: CriticalSystemManager) -> None:
        book = manager.book
        seen.append((book.links.user_up, book.trading_state(manager.now_ns())))

    async with desk.guard(ready=False) as guard:
        await OrchestratorAgent(guard.manager, [Program(look)]).host()
        names = [note.name for note in guard.notes]

    assert seen == [(True, TradingState.ACTIVE)]
    assert names.index("hub_connected") < names.index("critical_systems_started")


async def test_a_run_starts_the_guard_and_ends_it_with_the_last_strategy(desk: Desk) -> None:
    states: list[TradingState] = []

    async def look(manager: CriticalSystemManager) -> None:
        states.append(manager.book.trading_state(manager.now_ns()))

    manager = CriticalSystemManager.from_settings(desk.settings())
    await OrchestratorAgent(manager, [Program(look, "one"), Program(look, "two")]).run()

    assert states == [TradingState.ACTIVE, TradingState.ACTIVE]
    with pytest.raises(JournalError, match="stopped"):
        await manager.halt(reason="too late", operator="Ada")


async def test_a_strategy_that_fails_takes_only_itself_down(desk: Desk) -> None:
    async with desk.guard() as guard:

        async def fail(_: CriticalSystemManager) -> None:
            await asyncio.sleep(0)
            raise ZeroDivisionError("a bug of its own")

        async def trade(_: CriticalSystemManager) -> None:
            await until(
                lambda: any(note.name == "strategy_failed" for note in guard.notes), "the failure"
            )
            await guard.enter()

        await OrchestratorAgent(
            guard.manager, [Program(fail, "bad"), Program(trade, "good")]
        ).host()
        (told,) = [note for note in guard.notes if note.name == "strategy_failed"]

        assert told.tag is Tag.CRITICAL
        assert told.fields["strategy"] == "bad"
        assert "a bug of its own" in str(told.fields["message"])
        await guard.holds(1)


async def test_a_strategy_whose_state_cannot_be_kept_is_ended_and_named(desk: Desk) -> None:
    """It would begin from nothing after the next start, and nobody would know."""

    class Averager(Program):
        def snapshot(self) -> StrategyState:
            return {"mean": 1.5}  # type: ignore[dict-item]

    async def wait(_: CriticalSystemManager) -> None:
        await asyncio.Event().wait()

    async with desk.guard() as guard:
        async with asyncio.timeout(10):
            await OrchestratorAgent(guard.manager, [Averager(wait, "averager")]).host()
        (told,) = [note for note in guard.notes if note.name == "strategy_failed"]

    assert told.fields["strategy"] == "averager"
    assert "float" in str(told.fields["message"])


async def test_no_strategy_goes_on_when_the_guard_itself_fails(desk: Desk) -> None:
    ended: list[str] = []

    async def wait(_: CriticalSystemManager) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("strategy")

    async with desk.guard() as guard:
        hosting = asyncio.create_task(OrchestratorAgent(guard.manager, [Program(wait)]).host())
        await until(
            lambda: any(note.name == "critical_systems_started" for note in guard.notes), "a start"
        )
        # A fact that the journal cannot encode is a bug of ours, and ends the decision loop.
        guard.manager.decisions.put(object())  # type: ignore[arg-type]
        with pytest.raises(ExceptionGroup):
            async with asyncio.timeout(10):
                await hosting

    assert ended == ["strategy"]


async def test_without_strategies_it_runs_until_it_is_told_to_stop(desk: Desk) -> None:
    async with desk.guard() as guard:
        hosting = asyncio.create_task(OrchestratorAgent(guard.manager).host())
        await guard.enter()

        assert not hosting.done()
        hosting.cancel()
        await asyncio.wait({hosting})
        assert hosting.cancelled()


async def test_a_refused_start_is_raised_and_no_strategy_begins(desk: Desk) -> None:
    begun: list[CriticalSystemManager] = []

    async def begin(manager: CriticalSystemManager) -> None:
        begun.append(manager)

    manager = CriticalSystemManager.from_settings(desk.settings(TOPSTEPX_ACCOUNT_ID=1))
    with pytest.raises(SetupError):
        await OrchestratorAgent(manager, [Program(begin)]).run()

    assert begun == []


async def test_the_example_strategy_holds_one_protected_contract_at_a_time(desk: Desk) -> None:
    momentum = Momentum("MES", threshold_ticks=1, stop_ticks=200, pause_s=0.01)
    async with desk.guard() as guard:
        hosting = asyncio.create_task(OrchestratorAgent(guard.manager, [momentum]).host())
        await until(
            lambda: any(order.fills for order in guard.book.orders.values()), "its first order"
        )
        contract_id = guard.instrument("MES").contract_id
        await until(
            lambda: guard.book.stop_cover(contract_id, guard.position()) == 1,
            lambda: list(guard.book.live_legs(contract_id)),
        )
        hosting.cancel()
        await asyncio.wait({hosting})
        await guard.agrees()
        (order,) = guard.book.orders.values()

        assert order.state is OrderState.FILLED
        assert order.request.strategy_id == momentum.name
        assert abs(guard.position()) == 1
        assert momentum.snapshot() == {"count": 1}


async def test_the_example_strategy_goes_on_counting_after_a_restart() -> None:
    first, second = Momentum("MES"), Momentum("MES")
    first.restore({"count": 7})
    second.restore(first.snapshot())

    assert second.snapshot() == {"count": 7}
