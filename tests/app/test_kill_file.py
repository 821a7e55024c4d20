"""A file stops new exposure without any program, and a person lets it through again."""

from pathlib import Path

import pytest
from tests.app.desk import Desk, Guard, until

from backstop.core.step import DecisionKind
from backstop.core.trading_state import TradingState
from backstop.domain.order import OrderState, OrderType, Side

pytestmark = pytest.mark.asyncio(loop_scope="module")


def state(guard: Guard) -> TradingState:
    return guard.book.trading_state(guard.manager.now_ns())


def causes(guard: Guard) -> list[tuple[str, str]]:
    return [(latch.operator, latch.cause) for latch in guard.book.latches]


async def resume(guard: Guard) -> None:
    decision = await guard.manager.resume(reason="I took it away", operator="ann")
    assert decision.kind is DecisionKind.ACCEPTED


async def test_the_file_halts_cancels_entries_and_lets_exits_pass(
    desk: Desk, tmp_path: Path
) -> None:
    kill_file = tmp_path / "STOP"
    async with desk.guard(KILL_FILE=kill_file) as guard:
        await guard.enter(quantity=1)
        resting = await guard.send(guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-40))
        kill_file.touch()
        await until(lambda: state(guard) is TradingState.HALTED, lambda: state(guard))
        await guard.reaches(resting.client_order_id, OrderState.CANCELLED)
        await guard.enter(Side.SELL, 1, protected=False)

        assert causes(guard) == [("kill file", f"the file {kill_file} is there")]
        assert guard.position() == 0
        kill_file.unlink()
        assert state(guard) is TradingState.HALTED, "a latch, not a condition"
        await resume(guard)
        await guard.ready()


async def test_by_default_it_is_named_kill_in_the_state_folder(desk: Desk) -> None:
    async with desk.guard() as guard:
        (guard.manager.settings.state_folder / "KILL").touch()
        await until(lambda: state(guard) is TradingState.HALTED, lambda: state(guard))


async def test_a_file_that_is_there_at_the_start_keeps_entries_out_from_the_start(
    desk: Desk, tmp_path: Path
) -> None:
    kill_file = tmp_path / "STOP"
    kill_file.mkdir()  # whatever it is: its name says enough
    async with desk.guard(KILL_FILE=kill_file, ready=False) as guard:
        await until(lambda: state(guard) is TradingState.HALTED, lambda: state(guard))
        await until(lambda: guard.book.recovered, "recovered")
        quote = guard.manager.quotes.reference
        contract_id = guard.instrument("MES").contract_id
        await until(lambda: getattr(quote(contract_id), "ask", None) is not None, "a quote")
        refused = await guard.manager.submit_order(guard.request())

        assert [denial.code for denial in refused.denials] == ["STATE_HALTED"]


async def test_a_resume_while_the_file_is_there_does_not_last(desk: Desk, tmp_path: Path) -> None:
    kill_file = tmp_path / "STOP"
    async with desk.guard(KILL_FILE=kill_file) as guard:
        kill_file.touch()
        await until(lambda: state(guard) is TradingState.HALTED, lambda: state(guard))
        await resume(guard)
        await until(lambda: state(guard) is TradingState.HALTED, lambda: state(guard))

        assert len(causes(guard)) == 1


async def test_a_place_that_cannot_be_looked_at_is_a_fault_and_halts_nothing(
    desk: Desk, tmp_path: Path
) -> None:
    endless = tmp_path / "endless"
    endless.symlink_to(endless)
    async with desk.guard(KILL_FILE=endless / "KILL") as guard:
        await until(lambda: "kill file" in guard.manager.components, "a fault that is told")

        assert str(endless / "KILL") in guard.manager.components["kill file"]
        assert state(guard) is TradingState.ACTIVE
        endless.unlink()
        await until(lambda: "kill file" not in guard.manager.components, "the fault is over")
