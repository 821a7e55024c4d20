"""Order types that bots may use behind the gateway, beside market and limit orders."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.app.desk import until
from tests.entrypoints.gateway.bots import (
    BUY,
    SELL,
    TRAILING_STOP,
    Bot,
    Front,
    entered,
    far_limit,
)

from backstop.domain.order import OrderType
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

JOIN_BID, JOIN_ASK = 6, 7


@pytest.mark.parametrize(
    ("kind", "side", "member"), [(JOIN_BID, BUY, "bid"), (JOIN_ASK, SELL, "ask")]
)
async def test_a_join_order_rests_at_the_best_price_of_its_side(
    front: Front, bot: Bot, kind: int, side: int, member: str
) -> None:
    quotes = front.guard.manager.quotes

    def best() -> Decimal:
        price = getattr(quotes.reference(bot.contract), member)
        assert isinstance(price, Decimal)
        return price

    before = best()
    joined = await bot.place(kind=kind, side=side, customTag=f"joins-{member}")
    after = best()

    assert joined["success"] is True, joined
    order = front.guard.book.orders[f"joins-{member}"]
    assert order.request.type is OrderType.LIMIT
    assert order.request.limit_price is not None
    # The market moves between the looks, by a tick or two.
    assert abs(order.request.limit_price - before) <= abs(after - before) + 2
    assert Decimal(front.truth_of(joined["orderId"])["limitPrice"]) == order.request.limit_price


async def test_a_join_order_needs_a_price_to_join(front: Front, bot: Bot) -> None:
    other = front.guard.instrument("MES")
    gone = "CON.F.US.MES.H27"
    front.guard.book.instruments[gone] = replace(other, contract_id=gone)
    try:
        refused = await bot.place(kind=JOIN_BID, contractId=gone)
    finally:
        del front.guard.book.instruments[gone]

    assert refused["errorCode"] == 2
    assert refused["errorMessage"].startswith("STALE_REFERENCE: no price of "), refused


async def test_a_join_order_that_closes_goes_at_the_market_where_no_price_is_known(
    front: Front, bot: Bot
) -> None:
    await entered(front, bot, size=2)
    quotes = front.guard.manager.quotes
    front.desk.mischief("now", FaultKind.FREEZE_QUOTES)

    def is_silent() -> bool:
        quote = quotes.reference(bot.contract)
        return quote is not None and quote.age_ms > 500  # none is on its way any more

    await until(is_silent, "no price comes")
    quotes.distrust()
    entry = await bot.place(kind=JOIN_BID, size=1)
    flip = await bot.place(kind=JOIN_ASK, side=SELL, size=3, stop=None)
    out = await bot.place(kind=JOIN_ASK, side=SELL, size=2, stop=None)

    for refused in (entry, flip):
        assert refused["success"] is False
        assert "STALE_REFERENCE: no price of " in refused["errorMessage"], refused
    assert out["success"] is True, out
    assert front.truth_of(out["orderId"])["type"] == "MARKET"
    await until(lambda: front.true_position() == 0, "it is closed")


async def test_a_trailing_stop_leg_protects_and_is_left_to_trail(front: Front, bot: Bot) -> None:
    placed = await bot.place(stopLossBracket={"ticks": -40, "type": TRAILING_STOP}, target=200)
    assert placed["success"] is True, placed
    await until(lambda: len(front.true_stops()) > 0, "a stop")
    await until(lambda: front.guard.position() == 1, "the position is known")

    (stop,) = front.true_stops()
    assert (stop["type"], stop["size"]) == ("TRAILING_STOP", 1)
    assert stop["parentOrderId"] == placed["orderId"]
    contract = bot.contract
    await until(lambda: front.guard.book.stop_cover(contract, 1) == 1, "it counts as cover")
    exit_ = await bot.place(side=SELL, stop=None)
    assert exit_["success"] is True, exit_
    await until(lambda: not front.true_live_orders(), "its legs leave with the position")


async def test_a_trailing_stop_is_not_moved_by_hand_and_another_takes_its_place(
    front: Front, bot: Bot
) -> None:
    await entered(front, bot, stopLossBracket={"ticks": -400, "type": TRAILING_STOP})
    (leg,) = front.true_stops()
    nearer = far_limit(front, ticks=80)

    for member in ("stopPrice", "trailPrice"):
        moved = await bot.ask("Order/modify", orderId=leg["id"], **{member: nearer})
        assert moved["errorCode"] == 3
        assert moved["errorMessage"].startswith("ORDER_NOT_SUPPORTED: "), moved
    other = await bot.place(side=SELL, kind=TRAILING_STOP, stop=None, trailPrice=nearer)

    assert other["success"] is True, other
    await until(
        lambda: [it["id"] for it in front.true_stops()] == [other["orderId"]], front.true_stops
    )


async def test_a_trailing_stop_is_an_exit_that_protects_as_well(front: Front, bot: Bot) -> None:
    await entered(front, bot, stop=400)
    level = far_limit(front, ticks=80)

    trailing = await bot.place(side=SELL, kind=TRAILING_STOP, stop=None, trailPrice=level)

    assert trailing["success"] is True, trailing
    assert front.truth_of(trailing["orderId"])["type"] == "TRAILING_STOP"

    def cover() -> int:
        return sum(row["size"] for row in front.true_stops())

    await until(lambda: cover() == 1, front.true_stops)
