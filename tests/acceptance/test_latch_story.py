"""Latches as people meet them: halts, resumes, and a market that slips too often.

A latch refuses entries and lets exits pass, at the exchange too; it outlives the process; and only
a person with a name and a reason lifts it.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace
from tests.app.desk import Desk, Guard, a_desk, a_venue, audited, until

from backstop.core.step import DecisionKind
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.order import OrderState, OrderType, Side
from backstop.simulator.fault_rules import FaultKind
from backstop.simulator.process import Simulator

# -- processes: the interface and the command line -------------------------------------------------

SENDING = {"DRY_RUN": "0", "EXECUTE": "1"}

ENTRY = {
    "client_order_id": "entry-1",
    "symbol": "MES",
    "side": "BUY",
    "quantity": 2,
    "type": "MARKET",
    "stop_loss_price": "5000",
    "take_profit_price": "8000",
}
RESTING = {**ENTRY, "client_order_id": "rest-1", "type": "LIMIT", "limit_price": "5600"}
EXIT = {
    "client_order_id": "exit-1",
    "symbol": "MES",
    "side": "SELL",
    "quantity": 2,
    "type": "MARKET",
}


async def entry_order(venue: Any, client_tag: str) -> Any:
    orders = (await venue.truth())["orders"]
    (found,) = [order for order in orders if order["customTag"] == client_tag]
    return found


def listening(guard: Any) -> dict[str, str]:
    return {"BACKSTOP_LISTEN": guard.url.removeprefix("http://")}


async def test_a_halt_cancels_resting_entries_lets_exits_pass_and_outlives_a_crash(
    bench: Any,
) -> None:
    async with bench.venue() as venue:
        async with bench.guard(**SENDING) as guard:
            await guard.active()
            await guard.ask("POST", "/v1/orders", ENTRY)
            await guard.until("/v1/orders/entry-1", lambda said: said["state"] == "FILLED")
            assert (await guard.ask("POST", "/v1/orders", RESTING))[0] == 201
            await guard.until("/v1/orders/rest-1", lambda said: said["state"] == "WORKING")

            status, halted = await guard.ask(
                "POST", "/v1/halt", {"reason": "the news", "operator": "Ann"}
            )
            assert (status, halted["trading_state"]) == (200, "HALTED")
            assert halted["reasons"] == ["halted by Ann: the news"]
            resting = await guard.until(
                "/v1/orders/rest-1", lambda said: said["state"] == "CANCELLED"
            )
            assert resting["filled_quantity"] == 0
            refused, body = await guard.ask(
                "POST", "/v1/orders", {**ENTRY, "client_order_id": "entry-2"}
            )
            assert (refused, body["denials"][0]["code"]) == (422, "STATE_HALTED")
            await guard.kill()

        async with bench.guard(**SENDING) as guard:
            said = await guard.until(
                "/v1/status", lambda said: said["positions"] and said["latches"]
            )
            assert said["trading_state"] == "HALTED"
            assert said["latches"][0]["operator"] == "Ann"
            await guard.until("/v1/status", lambda said: said["heartbeats"]["user_hub_connected"])
            assert (await guard.ask("POST", "/v1/orders", EXIT))[0] == 201
            await guard.until("/v1/orders/exit-1", lambda said: said["state"] == "FILLED")
            truth = await venue.truth()

            status, resumed = await guard.ask(
                "POST", "/v1/resume", {"reason": "it is over", "operator": "Ben"}
            )
            assert (status, resumed["latches"]) == (200, [])
            await guard.active()

    assert truth["positions"] == []
    entries = [order for order in truth["orders"] if order["leg"] is None]
    assert sorted(order["status"] for order in entries) == ["CANCELLED", "FILLED", "FILLED"]


async def test_a_person_halts_and_resumes_from_the_command_line(bench: Any) -> None:
    async with bench.venue(), bench.guard() as guard:
        await guard.active()
        halted = await bench.call("halt", "--reason", "lunch", **listening(guard))
        assert (halted.code, halted.err) == (0, "")
        assert "HALTED" in halted.out
        _, said = await guard.ask("GET", "/v1/status")
        assert (said["trading_state"], said["latches"][0]["cause"]) == ("HALTED", "lunch")
        status = await bench.call("status", **listening(guard))
        assert "LATCH          HALT of the account" in status.out

        nameless = await bench.call("resume", "--reason", "back", **listening(guard))
        assert nameless.code == 2
        resumed = await bench.call(
            "resume", "--reason", "back", "--operator", "Ben", **listening(guard)
        )
        assert (resumed.code, resumed.err) == (0, "")
        assert "Resumed" in resumed.out
        await guard.until("/v1/status", lambda said: said["trading_state"] == "ACTIVE")


# -- in one process: what only a venue with faults can show ----------------------------------------


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue() -> AsyncIterator[Simulator]:
    async with a_venue() as venue:
        yield venue


@pytest.fixture
def desk(venue: Simulator, tmp_path: Path) -> Desk:
    return a_desk(venue, tmp_path)


def kinds(guard: Guard) -> list[LatchKind]:
    return [latch.kind for latch in guard.book.latches]


def state(guard: Guard) -> TradingState:
    return guard.book.trading_state(guard.manager.now_ns())


def told(guard: Guard, code: str) -> list[str]:
    return [it.message for it in guard.book.alerts.alerts.values() if it.code == code]


FAR_TICKS = 1500


async def slip(desk: Desk, guard: Guard) -> str:
    """Buy with a stop order while the market jumps far beyond it."""
    before = len(desk.orders())
    # Each farther away, so that what is left of the jump before does not trigger it.
    ticks = 20 + 150 * before
    wish = guard.request(Side.BUY, 1, OrderType.STOP, ticks=ticks)
    assert wish.stop_price is not None
    # And protected far away, so that the way back does not close it.
    far = wish.stop_price - FAR_TICKS * guard.instrument("MES").tick_size
    order = await guard.send(replace(wish, stop_loss_price=far, take_profit_price=None))
    await until(
        lambda: len(desk.orders()) > before and desk.orders()[-1]["status"] == "OPEN", desk.orders
    )
    guard.move_market(ticks + 100)
    await guard.reaches(order.client_order_id, OrderState.FILLED)
    return order.client_order_id


@pytest.mark.asyncio(loop_scope="module")
async def test_three_executions_that_slip_in_a_session_let_only_exits_pass(desk: Desk) -> None:
    async with desk.guard(DUPLICATE_WINDOW_MS=0) as guard:
        names = [await slip(desk, guard) for _ in range(2)]
        assert len(told(guard, "SLIPPAGE_BREACH")) == 2
        assert state(guard) is TradingState.ACTIVE
        names.append(await slip(desk, guard))
        await until(lambda: kinds(guard) == [LatchKind.SLIPPAGE], lambda: guard.book.breaches)

        assert state(guard) is TradingState.REDUCING
        assert len(told(guard, "SLIPPAGE_REDUCING")) == 1
        for name in names:
            proof = json.loads(await guard.proof(name))["proof"]
            assert (proof["slippage"]["max_ticks"], proof["slippage"]["breach"]) == ("2", True)
        refused = await guard.manager.submit_order(guard.request())
        assert [denial.code for denial in refused.denials] == ["STATE_REDUCING"]
        await guard.enter(Side.SELL, 3, protected=False)
        await guard.agrees()
        assert guard.position() == 0

    flags = audited(
        desk.folder / "state",
        "SELECT json_extract(ExecutionProof, '$.proof.slippage.breach') FROM OrderAudit"
        " WHERE ClientOrderId IN (?, ?, ?)",
        *names,
    )
    assert flags == [(1,)] * 3

    async with desk.guard(ready=False) as guard:
        await until(lambda: guard.book.recovered, "recovered")
        assert kinds(guard) == [LatchKind.SLIPPAGE]
        decision = await guard.manager.resume(reason="the market is calm", operator="ann")
        assert decision.kind is DecisionKind.ACCEPTED
        await guard.ready()


@pytest.mark.asyncio(loop_scope="module")
async def test_nobody_resumes_while_an_order_is_of_unknown_fate(desk: Desk) -> None:
    async with desk.guard() as guard:
        desk.mischief("Order/place", FaultKind.LOSE_RESPONSE)
        for call in ("Order/search", "Order/searchOpen", "Order/v2/query", "Trade/search"):
            desk.mischief(call, FaultKind.HTTP_ERROR, http_status=503, count=None)
        for event in ("GatewayUserOrder", "GatewayUserTrade"):
            desk.mischief(event, FaultKind.DROP_EVENT, count=None)
        order = await guard.send(guard.request())
        assert order.state is OrderState.UNKNOWN
        await guard.manager.halt(reason="what is this?", operator="ann")
        refused = await guard.manager.resume(reason="go on", operator="ann")
        assert refused.kind is DecisionKind.NOT_POSSIBLE
        assert order.client_order_id in refused.message
        assert state(guard) is TradingState.HALTED

        desk.venue.faults.heal()
        await guard.reaches(order.client_order_id, OrderState.FILLED)
        accepted = await guard.manager.resume(reason="it was filled", operator="ann")
        assert accepted.kind is DecisionKind.ACCEPTED
        await guard.ready()
        assert len(desk.orders()) == 1
