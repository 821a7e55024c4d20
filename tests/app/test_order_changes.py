"""Cancels and changes of resting orders, and exits without a position, in front of a real venue."""

from decimal import Decimal

import pytest
from tests.app.desk import Desk, Guard, until

from backstop.core.step import DecisionKind
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.events import Answer
from backstop.domain.order import OrderState, OrderType, Side
from backstop.entrypoints.http.order_view import order_record
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def resting(guard: Guard) -> TrackedOrder:
    return await guard.send(guard.request(quantity=3, kind=OrderType.LIMIT, ticks=-300))


@pytest.mark.parametrize(
    ("act", "details"),
    [
        (FaultKind.RESET_BEFORE, {}),
        (FaultKind.ERROR_CODE, {"code": 5, "message": "x"}),
        (FaultKind.HTTP_ERROR, {"http_status": 429}),
    ],
)
async def test_a_cancel_whose_fate_is_unknown_is_made_again(
    desk: Desk, act: FaultKind, details: dict[str, int | str]
) -> None:
    async with desk.guard() as guard:
        order = await resting(guard)
        name = order.client_order_id
        desk.mischief("Order/cancel", act, **details)

        decision = await guard.manager.cancel_order(name, reason="enough")
        shown = order_record(guard.book, guard.book.orders[name])
        await until(lambda: guard.book.orders[name].state is OrderState.CANCELLED, "cancelled")

        assert decision.kind is DecisionKind.ACCEPTED
        assert shown.cancel is not None
        assert (shown.cancel.reason, shown.cancel.asks_again) == ("enough", True)
        assert desk.strikes(act) >= 1
        assert desk.orders()[0]["status"] == "CANCELLED"


async def test_the_venues_no_to_a_change_is_told_in_its_words(desk: Desk) -> None:
    async with desk.guard() as guard:
        order = await resting(guard)
        limit = order.request.limit_price
        assert limit is not None
        desk.mischief("Order/modify", FaultKind.ERROR_CODE, code=3, message="Invalid limit price")

        decision = await guard.manager.modify_order(
            order.client_order_id, quantity=None, limit_price=limit - 1, stop_price=None
        )

        assert decision.kind is DecisionKind.NOT_POSSIBLE
        assert "Invalid limit price" in decision.message
        record = order_record(guard.book, guard.book.orders[order.client_order_id])
        assert Decimal(record.limit_price or 0) == limit
        assert record.change is not None
        assert (record.change.answer, record.change.message) == (Answer.NO, "Invalid limit price")
        assert Decimal(record.change.limit_price or 0) == limit - 1


async def test_an_exit_goes_when_a_stop_closed_its_position_before_it(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await guard.holds(2)
        exit_ = await guard.send(
            guard.request(Side.SELL, 2, OrderType.LIMIT, ticks=-400, protected=False)
        )

        def is_stopped_out() -> bool:
            guard.move_market(-420)
            return guard.position() == 0

        await until(is_stopped_out, "the stop fills")
        name = exit_.client_order_id
        await until(lambda: guard.book.orders[name].state is OrderState.CANCELLED, "the exit")

        assert guard.position() == 0
        assert not [it for it in desk.orders() if it["status"] == "OPEN"]
