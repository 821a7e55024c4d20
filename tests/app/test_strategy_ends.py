"""How strategies end: whatever one of them does is its own affair, and a person hears of it."""

import asyncio

import pytest
from msgspec.structs import replace
from tests.app.desk import Desk, Guard, until
from tests.app.program import Program

from backstop.app import orchestrator_agent
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.orchestrator_agent import OrchestratorAgent, StrategyState
from backstop.domain.order import OrderState, OrderType, Side
from backstop.domain.wish_terms import STRATEGY_ID_LENGTH_MAX
from backstop.errors import SetupError

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST_LIMIT_S = 10.0


class UnsayableError(Exception):
    """A failure that fails to say what it is."""

    def __str__(self) -> str:
        raise ZeroDivisionError


ENDS: dict[str, BaseException] = {
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt("its own"),
    "group": BaseExceptionGroup("several", [SystemExit(4)]),
    "cancelled": asyncio.CancelledError("by itself"),
    "unwritable": ValueError("\udcff\n" + "long " * 10_000),
    "unsayable": UnsayableError(),
}


def failing(name: str) -> Program:
    async def fail(_: CriticalSystemManager) -> None:
        await asyncio.sleep(0)
        raise ENDS[name]

    return Program(fail, name)


def alerts(guard: Guard) -> list[str]:
    """Return what a person was told about strategies."""
    told = [it for it in guard.notes if it.fields.get("code") == "STRATEGY_FAILED"]
    return [str(it.fields["message"]) for it in told]


async def test_however_a_strategy_ends_the_others_trade_on_and_a_person_is_told(
    desk: Desk,
) -> None:
    async with desk.guard() as guard:

        async def trade(_: CriticalSystemManager) -> None:
            await until(lambda: len(alerts(guard)) == len(ENDS), lambda: alerts(guard))
            await guard.enter()

        programs = [*map(failing, ENDS), Program(trade, "good")]
        async with asyncio.timeout(HOST_LIMIT_S):
            await OrchestratorAgent(guard.manager, programs).host()

        await guard.holds(1)
        told = dict(zip(ENDS, alerts(guard), strict=True))
        assert "exit has failed: SystemExit: 3. " in told["exit"]
        assert "interrupt has failed: KeyboardInterrupt: its own. " in told["interrupt"]
        assert "group has failed: SystemExit: 4. " in told["group"]
        assert "cancelled has failed: CancelledError: by itself. " in told["cancelled"]
        assert "unwritable has failed: ValueError: ? long long" in told["unwritable"]
        assert "unsayable has failed: UnsayableError: (it cannot say" in told["unsayable"]


async def test_a_strategy_that_exits_when_its_state_is_asked_for_takes_only_itself_down(
    desk: Desk,
) -> None:
    class Stateless(Program):
        def snapshot(self) -> StrategyState:
            raise SystemExit(5)

    async def wait(_: CriticalSystemManager) -> None:
        await asyncio.Event().wait()

    async with desk.guard() as guard:
        async with asyncio.timeout(HOST_LIMIT_S):
            await OrchestratorAgent(guard.manager, [Stateless(wait, "stateless")]).host()
        await until(lambda: bool(alerts(guard)), "the alert")

        assert "SystemExit: 5" in alerts(guard)[0]


async def test_entries_of_a_strategy_that_fails_are_cancelled_and_its_position_stays_protected(
    desk: Desk,
) -> None:
    async with desk.guard() as guard:

        async def trade_and_fail(manager: CriticalSystemManager) -> None:
            for name, ticks in (("held", None), ("resting", -300)):
                kind = OrderType.MARKET if ticks is None else OrderType.LIMIT
                request = guard.request(Side.BUY, 1, kind, ticks=ticks or 0, client_order_id=name)
                await manager.submit_order(replace(request, strategy_id="bad"))
            await guard.reaches("held", OrderState.FILLED)
            await guard.holds(1)
            raise RuntimeError("a bug of its own")

        await guard.send(
            guard.request(kind=OrderType.LIMIT, ticks=-310, client_order_id="of-another")
        )
        await OrchestratorAgent(guard.manager, [Program(trade_and_fail, "bad")]).host()
        await guard.reaches("resting", OrderState.CANCELLED)
        await guard.agrees()

        contract_id = guard.instrument("MES").contract_id
        assert guard.book.stop_cover(contract_id, guard.position()) == 1
        assert guard.book.orders["of-another"].state is OrderState.WORKING
        (told,) = alerts(guard)
        assert "bad has failed: RuntimeError: a bug of its own. It left +1 MES and 1 live" in told


async def test_two_strategies_of_one_name_are_refused_before_anything_runs(desk: Desk) -> None:
    async def wait(_: CriticalSystemManager) -> None:
        await asyncio.Event().wait()

    async with desk.guard() as guard:
        with pytest.raises(SetupError, match="More than one strategy goes by 'twin'"):
            OrchestratorAgent(guard.manager, [Program(wait, "twin"), Program(wait, "twin")])
        for name in ("", "x" * (STRATEGY_ID_LENGTH_MAX + 1), "a\nb"):
            with pytest.raises(SetupError, match="1 to 64 printable characters"):
                OrchestratorAgent(guard.manager, [Program(wait, name)])
        OrchestratorAgent(guard.manager, [Program(wait, "x" * STRATEGY_ID_LENGTH_MAX)])

        agent = OrchestratorAgent(guard.manager, [Program(wait, "twin")])
        hosting = asyncio.create_task(agent.host())
        await until(lambda: bool(guard.manager.hosted_strategies), "the first one")
        with pytest.raises(SetupError, match="More than one strategy goes by 'twin'"):
            await OrchestratorAgent(guard.manager, [Program(wait, "twin")]).host()
        hosting.cancel()
        await asyncio.wait({hosting})

        assert hosting.cancelled()
        assert guard.manager.hosted_strategies == set()
        assert alerts(guard) == []


async def test_a_strategy_that_does_not_heed_its_end_is_told_of_and_left_behind(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestrator_agent, "END_LIMIT_S", 0.05)
    begun, released = asyncio.Event(), asyncio.Event()

    async def be_deaf(_: CriticalSystemManager) -> None:
        begun.set()
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    async with desk.guard() as guard:
        agent = OrchestratorAgent(guard.manager, [Program(be_deaf, "deaf")])
        hosting = asyncio.create_task(agent.host())
        await begun.wait()
        hosting.cancel()
        ended, _ = await asyncio.wait({hosting}, timeout=HOST_LIMIT_S)
        await until(lambda: bool(alerts(guard)), "the alert")
        released.set()
        await until(lambda: not guard.manager.hosted_strategies, "its end")

    assert ended == {hosting}
    assert "deaf has failed: it was told to end, did not within 0.05 s" in alerts(guard)[0]
