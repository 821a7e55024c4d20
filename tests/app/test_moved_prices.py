"""A resting entry that is moved through the running guard, with the market as it stands."""

from decimal import Decimal

import pytest
from tests.app.desk import Desk

from backstop.core.step import Decision, DecisionKind
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderState, OrderType, Side


@pytest.mark.asyncio(loop_scope="module")
async def test_a_price_is_moved_within_the_collar_and_not_beyond_it(desk: Desk) -> None:
    async with desk.guard(STOP_REQUIRED=False) as guard:
        request = guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-300, protected=False)
        resting = await guard.send(request)
        await guard.reaches(resting.client_order_id, OrderState.WORKING)
        assert request.limit_price is not None

        async def moved(price: Decimal) -> Decision:
            return await guard.manager.modify_order(
                resting.client_order_id, quantity=None, limit_price=price, stop_price=None
            )

        far = await moved(request.limit_price * 2)
        near = await moved(request.limit_price - 1)

        assert [it.code for it in far.denials] == [DenialCode.PRICE_COLLAR]
        assert near.kind is DecisionKind.ACCEPTED


@pytest.mark.asyncio(loop_scope="module")
async def test_what_no_tick_can_be_found_for_is_refused_by_name_and_nothing_moves(
    desk: Desk,
) -> None:
    async with desk.guard(STOP_REQUIRED=False) as guard:
        request = guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-300, protected=False)
        resting = await guard.send(request)
        await guard.reaches(resting.client_order_id, OrderState.WORKING)

        for price in ("NaN", "Infinity", "-Infinity", "1e999999", "1e-999999"):
            refused = await guard.manager.modify_order(
                resting.client_order_id,
                quantity=None,
                limit_price=Decimal(price),
                stop_price=None,
            )
            (denial,) = refused.denials
            assert denial.code is DenialCode.PRICE_INVALID
            assert "limit_price" in denial.message
            assert denial.limit is not None
            assert "above 0" in denial.limit
