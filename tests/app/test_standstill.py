"""A guard inside a bot has no watchdog: it notices by itself that the machine slept."""

import asyncio

import pytest
from tests.app.desk import Desk, Guard, JumpingClock, until
from tests.core.builders import MES, a_quote

from backstop.app.quote_board import QuoteBoard
from backstop.app.standstill import LOOK_S, STOOD_NS, StandstillWatch
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.order import OrderType, Side

pytestmark = pytest.mark.asyncio(loop_scope="module")


def told(guard: Guard) -> list[str]:
    return [alert.code for alert in guard.book.alerts.alerts.values()]


async def test_an_idle_guard_notices_a_suspend_and_reads_the_account_before_it_goes_on(
    desk: Desk,
) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        await guard.enter(Side.BUY, 1)
        reads = guard.book.audit.complete_sent_ns
        clock.suspend(20)
        await until(lambda: guard.book.standstills == 1, lambda: told(guard))

        await guard.ready()
        assert guard.book.audit.complete_sent_ns > reads
        assert "GUARD_STOOD_STILL" in told(guard)
        assert guard.position() == 1
        await guard.agrees()


async def test_an_order_that_is_asked_for_right_after_a_suspend_waits_for_the_read(
    desk: Desk,
) -> None:
    """The wish is the first thing that the guard hears: it is judged by what it knows then."""
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        request = guard.request(Side.BUY, 1, OrderType.MARKET)
        clock.suspend(20)
        decision = await guard.manager.submit_order(request)

        assert decision.order is None or decision.denials
        assert any("STATE" in denial.code for denial in decision.denials)
        await guard.ready()


async def test_positions_that_a_suspend_left_alone_for_too_long_are_closed(desk: Desk) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        await guard.enter(Side.BUY, 2)
        clock.suspend(61)
        await until(lambda: bool(guard.book.latches), lambda: told(guard))
        await until(lambda: not guard.position(), lambda: guard.book.liquidations)

        assert [latch.kind for latch in guard.book.latches] == [LatchKind.LIQUIDATION]
        assert guard.book.trading_state(guard.manager.now_ns()) is TradingState.HALTED
        await until(lambda: not guard.book.liquidating, lambda: guard.book.liquidations)


async def test_time_that_passes_while_the_machine_is_awake_is_no_suspend() -> None:
    clock = JumpingClock()
    quotes = QuoteBoard(clock)
    quotes.put(a_quote(), clock.monotonic_ns())
    watch = StandstillWatch(clock, on_standstill=quotes.distrust)
    assert watch.look() is None
    clock.jump(600)
    assert watch.look() is None
    assert quotes.reference(MES) is not None

    clock.suspend(600)
    found = watch.look()
    assert found is not None
    # The two clocks are read one after the other.
    assert abs(found.asleep_ms - 600_000) <= 1_000
    assert found.unguarded_ms >= 600_000
    assert watch.look() is None, "it is said once"
    assert (quotes.reference(MES), quotes.marks()) == (None, ()), "the market went on meanwhile"
    quotes.put(a_quote(), clock.monotonic_ns())
    assert quotes.reference(MES) is not None


async def test_an_idle_guard_looks_often_enough() -> None:
    looked = asyncio.Event()
    watch = StandstillWatch(JumpingClock(), on_standstill=looked.clear)
    looking = asyncio.create_task(watch.run(looked.set))
    for _ in range(3):
        await asyncio.wait_for(looked.wait(), 30)
        looked.clear()
    looking.cancel()

    assert LOOK_S * 1e9 < STOOD_NS / 10
