"""A start that never heard of the account was no guard of it: how the one before ended stands."""

import shutil
from typing import Any

import pytest
from tests.app.desk import Desk, Guard, JumpingClock, until
from tests.app.silent_gateway import a_silent_gateway
from tests.app.state_folders import started, state, written

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.core.trading_state import TradingState
from backstop.domain.order import Side
from backstop.errors import BackstopError
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOO_LONG_S = 600
"""Far beyond EMERGENCY_LIQUIDATION_THRESHOLD_MINUTES."""

WRONG_KEY: dict[str, Any] = {"TOPSTEPX_API_KEY": "a-key-that-is-not-right"}


async def refused(desk: Desk, clock: JumpingClock, **settings: Any) -> None:
    manager = CriticalSystemManager.from_settings(desk.settings(**settings), clock=clock)
    with pytest.raises(BackstopError):
        await manager.initialize()


async def protected(guard: Guard) -> None:
    await guard.enter(Side.BUY, 2)
    await guard.holds(2)
    await guard.agrees()
    await written(guard)


async def kept_everything(guard: Guard) -> None:
    await until(lambda: guard.manager.recovery is not None, "the report")
    await guard.agrees()
    assert guard.position() == 2
    assert guard.book.liquidations == {}
    assert guard.book.trading_state(guard.manager.now_ns()) is TradingState.ACTIVE


async def test_a_refused_start_after_a_clean_stop_makes_no_crash_of_it(desk: Desk) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        await protected(guard)
    desk.mischief("Account/search", FaultKind.EMPTY_LIST)
    await refused(desk, clock)
    clock.jump(TOO_LONG_S)
    await refused(desk, clock, **WRONG_KEY)
    clock.jump(TOO_LONG_S)

    async with desk.guard(clock=clock) as guard:
        assert started(guard)["stop"] == "CLEAN"
        await kept_everything(guard)


async def test_a_start_that_was_killed_before_it_heard_of_the_account_was_no_guard_of_it(
    desk: Desk,
) -> None:
    clock, dead = JumpingClock(), desk.folder / "dead"
    async with desk.guard(clock=clock) as guard:
        await protected(guard)
    async with a_silent_gateway() as gateway:
        silent: dict[str, Any] = {"clock": clock, "TOPSTEPX_API_URL": gateway.url}
        async with desk.guard(ready=False, **silent) as guard:
            await written(guard)
            shutil.copytree(state(desk), dead)  # what a kill leaves
    shutil.rmtree(state(desk))
    dead.rename(state(desk))
    clock.jump(TOO_LONG_S)

    async with desk.guard(clock=clock) as guard:
        assert started(guard)["stop"] == "CLEAN"
        await kept_everything(guard)


async def test_a_crash_stays_one_through_starts_that_are_refused(desk: Desk) -> None:
    """Downtime counts from when the account was guarded last, not from the last try."""
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        await protected(guard)
        await guard.manager.close(by_person=False)
    clock.jump(TOO_LONG_S)
    await refused(desk, clock, **WRONG_KEY)
    clock.jump(TOO_LONG_S)
    await refused(desk, clock, **WRONG_KEY)

    async with desk.guard(clock=clock, ready=False) as guard:
        assert started(guard)["stop"] == "CRASH"
        downtime_ms = guard.manager.parts.state.before.downtime_ms
        assert downtime_ms is not None
        assert downtime_ms >= 2 * TOO_LONG_S * 1000
        await until(lambda: bool(guard.book.liquidations), "a liquidation")


async def test_a_folder_that_only_refused_starts_have_seen_had_no_guard(desk: Desk) -> None:
    await refused(desk, JumpingClock(), **WRONG_KEY)

    async with desk.guard(ready=False) as guard:
        assert started(guard)["stop"] == "FIRST"
