"""Section F: what becomes of orders while nobody can speak with the venue."""

import asyncio

import pytest
from tests.acceptance.scenarios.stage import (
    cut_off,
    flat,
    levels,
    net,
    protected,
    restored,
    working,
    worst_case,
)
from tests.app.desk import Desk, Guard, until

from backstop.core.protection_situation import is_in_place
from backstop.core.step import DecisionKind
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.order import OrderState, OrderType, Side

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def away(guard: Guard, desk: Desk) -> None:
    cut_off(desk)
    await until(lambda: not guard.book.links.user_up, "the hub is gone")


# -- F1 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("F1")
async def test_stops_that_went_with_the_connection_are_back_before_any_entry(desk: Desk) -> None:
    async with desk.guard(DUPLICATE_WINDOW_MS=0) as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        contract_id = guard.instrument("MES").contract_id
        await until(lambda: is_in_place(guard.book, contract_id), "in place")
        (level,) = levels(desk)
        await away(guard, desk)
        for row in working(desk):
            desk.venue.exchange.cancel(desk.account, row["id"])
        await until(lambda: not working(desk), lambda: working(desk))

        async def knock() -> int:
            """Send entries, as a bot would that waits for nobody, until one is let in."""
            while True:
                decision = await guard.manager.submit_order(guard.request(Side.BUY, 1))
                if decision.kind is DecisionKind.ACCEPTED:
                    assert decision.order is not None
                    order = await guard.reaches(decision.order.client_order_id, OrderState.FILLED)
                    assert order.broker_order_id is not None
                    return order.broker_order_id
                refusals.append(decision.kind)
                await asyncio.sleep(0.01)

        refusals: list[DecisionKind] = []
        knocking = asyncio.create_task(knock())
        await until(lambda: len(refusals) > 1, "entries are refused")
        assert net(desk) == 2
        restored(desk)
        entry = await knocking
        await protected(desk, 3)

        own = [row for row in desk.orders() if row["type"] == "STOP"]
        assert [(row["side"], row["size"]) for row in own] == [("ASK", 2)]
        assert own[0]["id"] < entry, "the venue numbers orders as they come"
        assert level in levels(desk)
        assert set(refusals) == {DecisionKind.REFUSED}


# -- F2 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("F2")
async def test_an_entry_that_outlives_the_connection_counts_and_is_cancelled_when_it_is_back(
    desk: Desk,
) -> None:
    async with desk.guard() as guard:
        resting = await guard.send(guard.request(Side.BUY, 2, OrderType.LIMIT, ticks=-200))
        await guard.reaches(resting.client_order_id, OrderState.WORKING)
        await away(guard, desk)
        await guard.manager.halt(reason="the line is dead", operator="ann")

        assert [row["id"] for row in working(desk)] == [resting.broker_order_id]
        assert guard.book.orders[resting.client_order_id].state is OrderState.WORKING
        assert worst_case(guard, Side.BUY) == 2
    # Nor does the end of the process take it along.
    async with desk.guard(ready=False) as guard:
        assert worst_case(guard, Side.BUY) == 2
        assert [latch.kind for latch in guard.book.latches] == [LatchKind.HALT]
        assert [row["id"] for row in working(desk)] == [resting.broker_order_id]
        restored(desk)
        await guard.reaches(resting.client_order_id, OrderState.CANCELLED)
        await flat(desk)
        await guard.agrees()

        assert worst_case(guard, Side.BUY) == 0
        assert guard.book.trading_state(guard.manager.now_ns()) is TradingState.HALTED
