"""A file stops new exposure without any program, and a person lets it through again."""

import asyncio
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from tests.app.desk import PATIENCE_S, Desk, Guard, until

from backstop.adapters.clock import SystemClock
from backstop.app.kill_file import KillFile
from backstop.core.step import DecisionKind
from backstop.core.trading_state import TradingState
from backstop.domain.events import OrderRequested
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
        await guard.holds(0)
        kill_file.unlink()
        assert state(guard) is TradingState.HALTED, "a latch, not a condition"
        await resume(guard)
        await guard.ready()


async def test_a_folder_of_that_name_halts_as_well_and_is_told_as_one(
    desk: Desk, tmp_path: Path
) -> None:
    async with desk.guard(KILL_FILE=tmp_path, ready=False) as guard:
        await until(lambda: state(guard) is TradingState.HALTED, lambda: state(guard))

        why = f"{tmp_path} is there: a folder, and KILL_FILE names the file that halts"
        assert causes(guard) == [("kill file", why)]


async def test_an_order_that_is_only_judged_meets_a_new_file_like_one_that_is_sent(
    desk: Desk, tmp_path: Path
) -> None:
    kill_file = tmp_path / "STOP"
    async with desk.guard(KILL_FILE=kill_file) as guard:
        before = await guard.manager.what_if(guard.request())
        kill_file.touch()
        after = await guard.manager.what_if(guard.request())

    assert before is not None
    assert after is not None
    assert before.denials == ()
    assert [denial.code for denial in after.denials] == ["STATE_HALTED"]


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
        await guard.quoted("MES")
        refused = await guard.manager.submit_order(guard.request())

        assert [denial.code for denial in refused.denials] == ["STATE_HALTED"]


async def test_nobody_resumes_while_the_file_is_there(desk: Desk, tmp_path: Path) -> None:
    kill_file = tmp_path / "STOP"
    async with desk.guard(KILL_FILE=kill_file) as guard:
        kill_file.touch()
        await until(lambda: state(guard) is TradingState.HALTED, lambda: state(guard))
        refused = await guard.manager.resume(reason="go on", operator="ann")

        assert refused.kind is DecisionKind.NOT_POSSIBLE
        assert str(kill_file) in refused.message
        assert len(causes(guard)) == 1
        kill_file.unlink()
        await resume(guard)


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


async def test_a_file_that_is_there_at_the_moment_of_the_decision_refuses(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the next look: a person who touched the file sees no entry after it."""
    monkeypatch.setattr("backstop.app.kill_file.LOOK_S", 3600)
    kill_file = tmp_path / "STOP"
    async with desk.guard(KILL_FILE=kill_file) as guard:
        resting = await guard.send(guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-40))
        kill_file.touch()

        refused = await guard.manager.submit_order(guard.request())
        level = guard.instrument("MES").price((resting.intent.limit_ticks or 0) + 4)
        moved = await guard.manager.modify_order(
            resting.client_order_id, quantity=None, limit_price=level, stop_price=None
        )

        assert [it.code for it in refused.denials] == ["STATE_HALTED"]
        assert str(kill_file) in refused.denials[0].message
        assert moved.kind is not DecisionKind.ACCEPTED
        assert len(desk.orders()) == 1


async def test_a_file_that_comes_between_decision_and_send_keeps_the_entry_and_no_exit(
    desk: Desk, tmp_path: Path
) -> None:
    kill_file = tmp_path / "STOP"
    async with desk.guard(KILL_FILE=kill_file) as guard:
        await guard.enter(quantity=1)
        sent = len(desk.orders())
        kill_file.touch()
        loop = guard.manager.decisions

        late, out = guard.request(), guard.request(Side.SELL, 1, protected=False)
        for request in (late, out):
            wish = OrderRequested(
                utc_us=guard.manager.clock.utc_us(),
                request=request,
                reference=guard.manager.quotes.reference(guard.instrument("MES").contract_id),
                marks=guard.manager.quotes.marks(),
            )
            decision = await loop.decide(wish)
            if decision.kind is not DecisionKind.ACCEPTED:
                assert state(guard) is TradingState.HALTED, "the look came first"
        await guard.reaches(out.client_order_id, OrderState.FILLED)

        assert len(desk.orders()) == sent + 1
        assert guard.position() == 0


async def test_a_drive_that_hangs_delays_an_order_and_stops_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    def answer(path: Path) -> os.stat_result:
        answers.wait(PATIENCE_S)
        return os.lstat(path)

    (tmp_path / "KILL").touch()
    monkeypatch.setattr(Path, "lstat", answer)
    faults: list[str] = []
    watch = KillFile(tmp_path / "KILL", clock=SystemClock(), on_fault=faults.append)

    first = await watch.look()
    second = await watch.look()
    answers.set()

    assert (first, second) == ("", "")
    assert "does not answer" in faults[-1]
    assert await watch.look() == f"the file {tmp_path / 'KILL'} is there"


async def test_a_drive_that_hangs_does_not_keep_the_process_from_ending(tmp_path: Path) -> None:
    program = (
        "import asyncio, threading\n"
        "from pathlib import Path\n"
        "from backstop.adapters.clock import SystemClock\n"
        "from backstop.app.kill_file import KillFile\n"
        "Path.lstat = lambda _: threading.Event().wait()\n"
        f"watch = KillFile(Path({str(tmp_path / 'KILL')!r}), clock=SystemClock(), on_fault=print)\n"
        "asyncio.run(watch.look())\n"
    )

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            said, _ = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    assert process.returncode == 0
    assert b"does not answer" in said
