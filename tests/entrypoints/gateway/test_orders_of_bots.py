"""Orders of bots behind the gateway, from the bot's side; the exchange's truth decides."""

from decimal import Decimal

import pytest
from tests.app.desk import Desk, until
from tests.entrypoints.gateway.bots import BUY, LIMIT, SELL, in_front

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_entry_is_the_bots_own_at_the_broker_and_has_its_stop(desk: Desk) -> None:
    async with in_front(desk) as front:
        bot = await front.bot()

        placed = await bot.place(stop=40, target=80, customTag="mine-1")

        assert placed["success"] is True, placed
        truth = front.truth_of(placed["orderId"])
        assert truth["customTag"].startswith("bs-")
        await until(lambda: front.true_position() == 1, "a position")
        await until(lambda: len(front.true_stops()) == 1, "a stop")
        order = front.guard.book.orders["mine-1"]
        assert order.request.strategy_id == "alpha"
        fill = order.fills[0].price
        tick = front.guard.instrument("MES").tick_size
        assert Decimal(front.true_stops()[0]["stopPrice"]) == fill - 40 * tick
