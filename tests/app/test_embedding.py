"""A guard inside a program that has other things to do: its switches, its faults, its end."""

import asyncio
import threading
from pathlib import Path

import pytest
from tests.app.desk import Desk, Guard, until

from backstop.app import market_sessions
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.core.check import CheckName, CheckStatus
from backstop.core.set_up_checks import checks
from backstop.core.step import DecisionKind
from backstop.core.trading_state import TradingState
from backstop.domain.denial import DenialCode
from backstop.domain.events import SessionsScheduled
from backstop.domain.order import OrderState, OrderType, Side
from backstop.entrypoints.http.status import health_view
from backstop.errors import SetupError

pytestmark = pytest.mark.asyncio(loop_scope="module")

COMPONENTS = (
    "EXECUTION_VERIFICATION_ENABLE",
    "DISASTER_RECOVERY_ENABLE",
    "CORRELATION_PROTECTION_ENABLE",
)


async def codes(guard: Guard, side: Side = Side.BUY, *, protected: bool = True) -> set[str]:
    """Return why an order is refused; empty: it was sent."""
    decision = await guard.manager.submit_order(guard.request(side, protected=protected))
    return {str(denial.code) for denial in decision.denials}


# -- switches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPONENTS)
async def test_a_component_that_is_off_is_named_and_lets_no_entry_through(
    desk: Desk, name: str
) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=1)
    async with desk.guard(**{name: False}) as guard:
        refused = await guard.manager.submit_order(guard.request())
        (denial,) = [it for it in refused.denials if it.code is DenialCode.STATE_UNPROTECTED]
        gates = next(it for it in checks(guard.manager.set_up()) if it.check is CheckName.GATES)
        await guard.enter(Side.SELL, 1, protected=False)

        assert name in denial.message
        assert gates.status is CheckStatus.WARN
        assert name in gates.finding
        await guard.holds(0)


@pytest.mark.parametrize("name", COMPONENTS)
async def test_who_allows_it_may_enter_without_a_component(desk: Desk, name: str) -> None:
    async with desk.guard(**{name: False, "ALLOW_UNPROTECTED": True}) as guard:
        await guard.enter(quantity=1)

        await guard.holds(1)


async def test_switched_off_as_a_whole_it_observes_and_sends_nothing(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=1)
        before = len(desk.orders())
    async with desk.guard(CRITICAL_SYSTEM_ENABLE=False) as guard:
        entry = await codes(guard)
        exit_ = await codes(guard, Side.SELL, protected=False)

        assert DenialCode.GATE_OBSERVE_ONLY in entry
        assert DenialCode.GATE_OBSERVE_ONLY in exit_
        assert guard.position() == 1, "it sees what is held"
        assert len(desk.orders()) == before


# -- faults ----------------------------------------------------------------------------------------


async def test_a_component_that_fails_is_named_entries_stop_and_exits_work(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> SessionsScheduled:
        raise ZeroDivisionError("a bug of this test")

    monkeypatch.setattr(market_sessions, "LOOK_S", 0.05)
    async with desk.guard() as guard:
        await guard.enter(quantity=1)
        resting = await guard.send(guard.request(kind=OrderType.LIMIT, ticks=-300))
        monkeypatch.setattr(market_sessions, "schedule", broken)
        await until(
            lambda: guard.book.trading_state(guard.manager.now_ns()) is TradingState.HALTED,
            lambda: guard.manager.components,
        )
        await guard.reaches(resting.client_order_id, OrderState.CANCELLED)
        health = health_view(guard.manager)

        assert "a bug of this test" in guard.manager.components["market sessions"]
        assert any(it.startswith("market sessions: ") for it in health.reasons)
        assert [latch.operator for latch in guard.book.latches] == ["guard"]
        assert DenialCode.STATE_HALTED in await codes(guard)
        await guard.enter(Side.SELL, 1, protected=False)
        await guard.holds(0)


# -- the beginning and the end ---------------------------------------------------------------------


async def test_a_guard_that_runs_is_not_begun_again_and_goes_on(desk: Desk) -> None:
    async with desk.guard() as guard:
        with pytest.raises(SetupError, match="started already"):
            await guard.manager.initialize()
        await guard.enter(quantity=1)

        await guard.holds(1)


async def test_a_manager_can_be_begun_again_after_its_end(desk: Desk) -> None:
    manager = CriticalSystemManager.from_settings(desk.settings())
    for _ in range(2):
        async with manager:
            async with asyncio.timeout(30):
                await manager.reached(TradingState.ACTIVE)
            assert (await manager.halt(reason="a look", operator="Ann")).kind is (
                DecisionKind.ACCEPTED
            )
            assert (await manager.resume(reason="on", operator="Ann")).kind is (
                DecisionKind.ACCEPTED
            )


async def test_before_the_beginning_everything_says_what_to_do(desk: Desk) -> None:
    manager = CriticalSystemManager.from_settings(desk.settings())

    with pytest.raises(SetupError, match=r"initialize\(\)"):
        await manager.halt(reason="too early", operator="Ann")
    with pytest.raises(SetupError, match=r"initialize\(\)"):
        manager.set_up()
    assert manager.components == {}
    assert not manager.is_running
    await manager.close()


async def test_nothing_is_left_of_a_guard_that_has_ended(desk: Desk) -> None:
    """No task, no thread, no socket, no file: measured from the end of a first one to the next."""
    threads = _threads()
    async with desk.guard() as guard:
        await guard.enter(quantity=1)
    await until(
        lambda: _threads() <= threads and not _tasks(), lambda: (_threads() - threads, _tasks())
    )
    before = _held()

    async with desk.guard() as guard:
        during = _held()
        await guard.enter(Side.SELL, 1, protected=False)

    assert during > before, "a running guard holds something"
    await until(lambda: _held() <= before and not _tasks(), lambda: (_held() - before, _tasks()))


async def test_a_program_that_is_cancelled_takes_its_guard_along_in_good_order(
    desk: Desk,
) -> None:
    running = asyncio.Event()

    async def program() -> None:
        async with desk.guard() as guard:
            await guard.enter(quantity=1)
            running.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(program())
    async with asyncio.timeout(40):
        await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with desk.guard() as guard:
        await until(lambda: guard.manager.recovery is not None, "the report")
        report = guard.manager.recovery
        assert report is not None
        assert str(report.plan.downtime.stop) == "CLEAN"
        assert guard.position() == 1


def _tasks() -> list[str]:
    """Return the guard's own tasks; the venue's and the test's are none of its business."""
    names = [it.get_name() for it in asyncio.all_tasks() if not it.done()]
    return [it for it in names if it in {"decision loop", "broker link", "bots", "state"}]


def _held() -> set[str]:
    """Return threads by name, and how many descriptors are open, as one set of words."""
    folder = next(it for it in (Path("/proc/self/fd"), Path("/dev/fd")) if it.exists())
    descriptors = range(sum(1 for _ in folder.iterdir()))
    return _threads() | {f"descriptor {number}" for number in descriptors}


def _threads() -> set[str]:
    """Return threads by name, but for the pool of the event loop, which ends with it."""
    return {it.name for it in threading.enumerate() if not it.name.startswith("asyncio_")}
