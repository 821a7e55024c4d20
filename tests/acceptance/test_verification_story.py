"""Each way an execution can go wrong, told against the exchange's own truth.

Every story ends in the same demand: orders, trades and positions of the guard, of its record and
of the exchange are equal, and there is one order at the exchange for each that was asked for.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.app.desk import COLLAR_TICKS, Desk, JumpingClock, a_desk, a_venue, audited, until

from backstop.adapters.projectx.wire import WireOrderType, WireSide
from backstop.core.execution_verdict import Verdict
from backstop.domain.order import OrderState, OrderType, Side
from backstop.simulator.fault_rules import FaultKind, HubName
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILLED, CANCELLED = OrderState.FILLED, OrderState.CANCELLED


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


def states_of(order: Any) -> list[OrderState]:
    return [order.transitions[0].from_state, *(step.to_state for step in order.transitions)]


# -- every kind of order, verified by its trades ---------------------------------------------------


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(
    ("kind", "ticks", "move"),
    [
        (OrderType.MARKET, 0, 0),
        (OrderType.LIMIT, 8, 0),
        (OrderType.LIMIT, -20, -80),
        (OrderType.STOP, 20, 30),
        (OrderType.TRAILING_STOP, 20, 30),
    ],
)
async def test_an_order_of_each_kind_is_verified_by_its_trades(
    desk: Desk, side: Side, kind: OrderType, ticks: int, move: int
) -> None:
    """``ticks`` from the touch in the direction of the side; the market goes ``move`` that way."""
    async with desk.guard() as guard:
        order = await guard.send(guard.request(side, 2, kind, ticks=ticks))
        if move:
            await guard.reaches(order.client_order_id, OrderState.WORKING)
            await until(lambda: desk.orders()[0]["status"] == "OPEN", desk.orders)
            await guard.filled_by_market(order.client_order_id, side.sign * move)
        order = await guard.reaches(order.client_order_id, FILLED)
        verification = await guard.manager.verify_execution(order.client_order_id)
        await guard.agrees()

        assert verification is not None
        assert verification.verdict in {Verdict.VERIFIED, Verdict.BREACH}
        assert verification.filled_quantity == 2
        assert guard.position() == 2 * side.sign
        assert len(desk.orders()) == 1


async def test_a_bracket_protects_what_was_filled_and_its_stop_is_verified_too(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        contract_id = guard.instrument("MES").contract_id
        await until(lambda: guard.book.stop_cover(contract_id, 2) == 2, "a stop for both")
        guard.move_market(-450)
        await until(lambda: guard.position() == 0, guard.position)
        await guard.agrees()
        legs = [row for row in desk.truth()["orders"] if row["accountId"] == desk.account]

        assert sorted(row["status"] for row in legs if row["leg"]) == ["CANCELLED", "FILLED"]


async def test_slippage_beyond_the_limit_is_a_breach_and_still_an_execution(desk: Desk) -> None:
    async with desk.guard() as guard:
        order = await guard.send(guard.request(Side.BUY, 1, OrderType.STOP, ticks=20))
        await until(lambda: desk.orders()[0]["status"] == "OPEN", desk.orders)
        guard.move_market(60)
        await guard.reaches(order.client_order_id, FILLED)
        verification = await guard.manager.verify_execution(order.client_order_id)

        assert verification is not None
        assert verification.verdict is Verdict.BREACH
        assert verification.slippage_ticks is not None
        assert verification.slippage_ticks > verification.max_slippage_ticks


async def test_partial_fills_add_up_each_counted_once(desk: Desk) -> None:
    async with desk.guard() as guard:
        order = await guard.enter(Side.BUY, 3, OrderType.LIMIT, ticks=8)
        await guard.agrees()

        assert len(order.fills) > 1
        assert OrderState.PARTIALLY_FILLED in states_of(order)
        assert order.filled_quantity == 3


# -- answers that never came, or that nobody can read ----------------------------------------------


async def test_a_request_that_never_arrived_is_proven_absent_and_never_sent_again(
    desk: Desk,
) -> None:
    """A failure before acceptance looks like one after it, until two late reads agree."""
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        desk.mischief("Order/place", FaultKind.HTTP_ERROR, http_status=500, accepted=False)
        order = await guard.send(guard.request())
        assert order.state is OrderState.UNKNOWN

        await _looked_up_again(guard)
        assert guard.book.orders[order.client_order_id].state is OrderState.UNKNOWN
        refused = await guard.manager.cancel_order(order.client_order_id, reason="give up")
        assert "UNKNOWN" in refused.message

        clock.jump(60)
        await _looked_up_again(guard)
        clock.jump(10)
        order = await guard.reaches(order.client_order_id, OrderState.NOT_SUBMITTED)

        assert "absent" in order.transitions[-1].cause
        assert desk.orders() == []
        await guard.ready()
        await guard.enter()


async def _looked_up_again(guard: Any) -> None:
    """Wait until the order of unknown fate was searched once more."""
    (order,) = guard.book.live_orders()
    searched = order.attempts
    name = order.client_order_id
    await until(lambda: guard.book.orders[name].attempts > searched, lambda: guard.book.orders)


async def test_a_fill_that_no_list_explains_leads_to_its_order(desk: Desk) -> None:
    """Only the trade comes through: its number finds the order that every list denies."""
    async with desk.guard(STOP_REQUIRED=False) as guard:
        for on in ("Order/search", "Order/searchOpen", "Order/v2/query"):
            desk.mischief(on, FaultKind.EMPTY_LIST, count=None)
        desk.mischief("GatewayUserOrder", FaultKind.DROP_EVENT, count=None)
        desk.mischief("Order/place", FaultKind.LOSE_RESPONSE)
        order = await guard.send(guard.request(protected=False))
        assert order.state is OrderState.UNKNOWN

        order = await guard.reaches(order.client_order_id, FILLED)

        assert [row["id"] for row in desk.orders()] == [order.broker_order_id]
        assert guard.book.latches == ()


async def test_a_refusal_is_told_in_the_venue_s_own_words(desk: Desk) -> None:
    async with desk.guard() as guard:
        request = guard.request(kind=OrderType.LIMIT, ticks=-COLLAR_TICKS - 200)
        await guard.send(request)
        order = await guard.reaches(request.client_order_id, OrderState.REJECTED)
        verification = await guard.manager.verify_execution(request.client_order_id)
        await guard.agrees()

        assert order.venue_message
        assert verification is not None
        assert verification.verdict is Verdict.REFUTED
        assert order.venue_message in verification.reason
        assert guard.position() == 0


# -- events that come twice, late, out of order, or never ------------------------------------------


MISTOLD: list[tuple[FaultKind, dict[str, Any]]] = [
    (FaultKind.DUPLICATE_EVENT, {"copies": 1}),
    (FaultKind.DUPLICATE_EVENT, {"copies": 2, "delay_ms": 30}),
    (FaultKind.DELAY_EVENT, {"delay_ms": 400}),
    (FaultKind.REORDER_EVENT, {"delay_ms": 200}),
    (FaultKind.DROP_EVENT, {}),
]


@pytest.mark.parametrize("event", ["GatewayUserTrade", "GatewayUserOrder", "GatewayUserPosition"])
@pytest.mark.parametrize(("act", "details"), MISTOLD)
async def test_however_an_event_is_told_it_counts_once(
    desk: Desk, event: str, act: FaultKind, details: dict[str, Any]
) -> None:
    async with desk.guard() as guard:
        desk.mischief(event, act, count=None, **details)
        order = await guard.enter(quantity=2)
        await guard.agrees()

        assert desk.strikes(act) > 0
        assert order.filled_quantity == 2
        assert len(desk.orders()) == 1


async def test_an_older_status_that_comes_late_brings_nothing_back_to_life(desk: Desk) -> None:
    async with desk.guard() as guard:
        desk.mischief("GatewayUserOrder", FaultKind.CONTRADICT_EVENT, count=None, delay_ms=50)
        order = await guard.enter(quantity=2)
        await until(lambda: desk.strikes(FaultKind.CONTRADICT_EVENT) > 1, "contradictions")
        await guard.agrees()

        assert guard.book.orders[order.client_order_id].state is FILLED


@pytest.mark.parametrize(
    ("act", "details"),
    [
        (FaultKind.HUB_RESET, {}),
        (FaultKind.HUB_END, {}),
        (FaultKind.HUB_CLOSE, {"allow_reconnect": True}),
        (FaultKind.HUB_CLOSE, {"allow_reconnect": False}),
        (FaultKind.HUB_GARBAGE, {}),
        (FaultKind.LOGOUT, {}),
    ],
)
async def test_a_fill_while_the_hub_is_gone_is_found_when_it_is_back(
    desk: Desk, act: FaultKind, details: dict[str, Any]
) -> None:
    async with desk.guard() as guard:
        desk.mischief("GatewayUserTrade", FaultKind.DROP_EVENT, count=None)
        desk.mischief("GatewayUserOrder", act, hub=HubName.USER, **details)
        order = await guard.send(guard.request(quantity=2))
        await guard.reaches(order.client_order_id, FILLED)
        await guard.agrees()
        await guard.ready()

        assert desk.strikes(act) == 1
        assert guard.position() == 2
        assert len(desk.orders()) == 1


# -- races, restarts, and what others do -----------------------------------------------------------


async def test_a_cancel_whose_answer_is_lost_is_found_out(desk: Desk) -> None:
    async with desk.guard() as guard:
        order = await guard.send(guard.request(kind=OrderType.LIMIT, ticks=-300))
        desk.mischief("Order/cancel", FaultKind.LOSE_RESPONSE)
        desk.mischief("GatewayUserOrder", FaultKind.DROP_EVENT, count=None)
        await guard.manager.cancel_order(order.client_order_id, reason="enough")
        await guard.reaches(order.client_order_id, CANCELLED)
        await guard.agrees()


@pytest.mark.parametrize("act", [FaultKind.LOSE_RESPONSE, FaultKind.DELAY_RESPONSE])
async def test_a_restart_in_the_middle_of_an_order_finds_it_and_sends_nothing(
    desk: Desk, act: FaultKind
) -> None:
    async with desk.guard() as guard:
        desk.mischief("Order/place", act, delay_ms=5_000)
        for event in ("GatewayUserOrder", "GatewayUserTrade", "GatewayUserPosition"):
            desk.mischief(event, FaultKind.DROP_EVENT, count=None)
        desk.mischief("Order/searchOpen", FaultKind.HTTP_ERROR, http_status=500, count=None)
        desk.mischief("Order/search", FaultKind.HTTP_ERROR, http_status=500, count=None)
        request = guard.request(quantity=2)
        asking = asyncio.create_task(guard.manager.submit_order(request))
        await until(lambda: len(desk.orders()) == 1, "the order at the exchange")
    await asyncio.wait({asking})
    asking.exception()
    desk.venue.faults.heal()

    async with desk.guard(ready=False) as guard:
        order = await guard.reaches(request.client_order_id, FILLED)
        await guard.agrees()

        assert OrderState.UNKNOWN in states_of(order)
        assert len(desk.orders()) == 1
        assert guard.position() == 2


async def test_orders_go_on_after_the_token_died(desk: Desk) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock) as guard:
        await guard.enter()
        # Else the minute that passes now is one without a known stop, and the guard goes flat.
        contract_id = guard.instrument("MES").contract_id
        await until(lambda: guard.book.stop_cover(contract_id, 1) == 1, "its stop is known")
        clock.jump(60)  # a token that dies at once after its login is not cured by another
        desk.mischief("now", FaultKind.KILL_TOKENS, drop=True)
        await until(lambda: not guard.book.links.user_up, "the hub is lost")
        await guard.ready("MES")
        await guard.enter(Side.SELL, protected=False)
        await guard.agrees()

        assert guard.position() == 0


async def test_a_stop_that_a_dead_token_refused_goes_out_with_the_new_one(desk: Desk) -> None:
    clock = JumpingClock()
    async with desk.guard(clock=clock, DEFAULT_STOP_TICKS=400) as guard:
        clock.jump(60)  # a token that dies at once after its login is not cured by another
        contract_id = guard.instrument("MES").contract_id
        desk.mischief("Auth/loginKey", FaultKind.DELAY_REQUEST, count=None)  # only to count them
        desk.mischief("now", FaultKind.KILL_TOKENS, drop=False)  # and the hubs tell on
        desk.venue.exchange.place_manual(
            desk.account,
            contract_id,
            type=int(WireOrderType.MARKET),
            side=int(WireSide.BID),
            size=2,
        )
        await until(lambda: guard.position() == 2, guard.position)
        await until(lambda: guard.book.stop_cover(contract_id, 2) == 2, desk.orders)

        assert desk.strikes(FaultKind.DELAY_REQUEST) >= 1, "it logged in anew"
        assert guard.position() == 2
        assert not guard.book.liquidations


async def test_a_voided_trade_is_taken_back_everywhere(desk: Desk) -> None:
    async with desk.guard() as guard:
        order = await guard.enter(quantity=2)
        gone = order.fills[0]
        desk.venue.exchange.bust_trade(gone.trade_id)
        await guard.agrees()

        assert guard.position() == 2 - gone.quantity
        assert guard.book.orders[order.client_order_id].filled_quantity == 2 - gone.quantity
        rows = audited(desk.folder / "state", "SELECT FillId FROM FillAudit WHERE Voided")
        assert rows == [(str(gone.trade_id),)]


async def test_an_order_from_the_web_page_is_seen_counted_and_not_taken_for_ours(
    desk: Desk,
) -> None:
    async with desk.guard() as guard:
        placed = desk.venue.exchange.place_manual(
            desk.account,
            guard.instrument("MES").contract_id,
            type=int(WireOrderType.MARKET),
            side=int(WireSide.ASK),
            size=2,
        )
        await until(lambda: guard.position() == -2, guard.position)
        await guard.agrees()

    rows = audited(
        desk.folder / "state",
        "SELECT OrderId, ClientOrderId, Side, Quantity, Status FROM OrderAudit",
    )
    fills = audited(desk.folder / "state", "SELECT OrderId, FillQuantity FROM FillAudit")
    assert rows == [(str(placed.order_id), None, "SELL", 2, "FILLED")]
    assert sum(quantity for _, quantity in fills) == 2
    assert {number for number, _ in fills} == {str(placed.order_id)}


async def test_a_liquidation_by_the_firm_is_believed(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        desk.venue.exchange.liquidate_account(desk.account, "loss limit")
        await until(lambda: guard.position() == 0, guard.position)
        await guard.agrees()
        refused = await guard.manager.submit_order(guard.request())

        assert any("ACCOUNT_CANNOT_TRADE" in denial.message for denial in refused.denials)
