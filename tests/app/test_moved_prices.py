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
