"""Orders of bots behind the gateway, from the bot's side; the exchange's truth decides."""

from decimal import Decimal

import pytest
from tests.app.desk import until
from tests.entrypoints.gateway.bots import (
    LIMIT,
    MARKET,
    SELL,
    Bot,
    Front,
    entered,
    far_limit,
    row_of,
)

from backstop.domain.commands import AuditAccount, CancelOrder, PlaceOrder
from backstop.domain.events import Answer
from backstop.domain.order import OrderType, Side
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_entry_has_its_stop_so_many_ticks_from_its_fill(front: Front, bot: Bot) -> None:
    order_id = await entered(front, bot, stop=40, target=80, customTag="mine-1")

    truth = front.truth_of(order_id)
    assert truth["customTag"].startswith("bs-")
    order = front.guard.book.orders["mine-1"]
    assert order.request.strategy_id == bot.name
    await until(lambda: order_id in front.guard.book.client_of_broker_id, "its number is known")
    fill, tick = Decimal(truth["filledPrice"]), front.guard.instrument("MES").tick_size
    await until(
        lambda: [Decimal(it["stopPrice"]) for it in front.true_stops()] == [fill - 40 * tick],
        front.true_stops,
    )


async def test_our_own_client_trades_and_does_not_know_whom_it_talks_to(
    front: Front, bot: Bot
) -> None:
    async with front.client(bot) as client:
        placed = await client.place_order(
            PlaceOrder(
                client_order_id="own-client",
                custom_tag="own-client",
                account_id=bot.account,
                contract_id=bot.contract,
                type=OrderType.LIMIT,
                side=Side.BUY,
                quantity=1,
                limit_price=Decimal(str(far_limit(front))),
                stop_loss_offset_ticks=-40,
            )
        )
        assert (placed.answer, placed.code) == (Answer.YES, 0)
        assert placed.broker_order_id is not None
        assert front.truth_of(placed.broker_order_id)["status"] == "OPEN"

        read = await client.audit_account(
            AuditAccount(
                reason="test",
                account_id=bot.account,
                since_utc_us=front.guard.manager.clock.utc_us() - 600_000_000,
            )
        )
        assert read.fault == ""
        assert read.live_orders is not None
        tags = {row.custom_tag for row in read.live_orders}
        assert {"own-client", "own-client-SL"} <= tags

        cancelled = await client.cancel_order(
            CancelOrder(
                account_id=bot.account, broker_order_id=placed.broker_order_id, reason="test"
            )
        )
        assert cancelled.answer is Answer.YES
        order_id = placed.broker_order_id
        await until(lambda: front.truth_of(order_id)["status"] == "CANCELLED", "cancelled")


async def test_a_refusal_is_a_rejection_that_begins_with_our_code(front: Front, bot: Bot) -> None:
    before = len(front.desk.orders())

    without_stop = await bot.place(stop=None, customTag="no-stop")
    wrong_side = await bot.place(stop=-40, customTag="wrong-side")
    too_near = await bot.place(stop=2, customTag="too-near")

    for answer, code in (
        (without_stop, "STOP_REQUIRED: "),
        (wrong_side, "BRACKET_STOP_SIDE: "),
        (too_near, "BRACKET_TOO_CLOSE: "),
    ):
        assert answer["success"] is False
        assert answer["errorCode"] == 2
        assert answer["orderId"] is None
        assert answer["errorMessage"].startswith(code), answer
    assert len(front.desk.orders()) == before


async def test_what_the_guard_cannot_follow_is_not_taken(front: Front, bot: Bot) -> None:
    joins_the_others = await bot.place(kind=6, side=SELL)
    stop_limit = await bot.place(kind=3, limitPrice=5000, stopPrice=5001)
    limit_leg = await bot.place(stopLossBracket={"ticks": -40, "type": 1})
    stop_target = await bot.place(takeProfitBracket={"ticks": 40, "type": 4})
    our_name = await bot.place(customTag="protect:1")
    unknown = [await bot.place(contractId="CON.F.US.NOPE.Z26", kind=kind) for kind in (MARKET, 6)]

    for answer in (joins_the_others, stop_limit, limit_leg, stop_target, our_name):
        assert answer["errorCode"] == 2
        assert answer["errorMessage"].startswith("ORDER_NOT_SUPPORTED: "), answer
    assert [answer["errorCode"] for answer in unknown] == [8, 8]
    assert front.true_position() == 0


async def test_a_rejection_of_the_venue_is_told_in_its_own_words(front: Front, bot: Bot) -> None:
    front.desk.mischief(
        "Order/place",
        FaultKind.ERROR_CODE,
        code=2,
        message="Not enough margin.",
        accepted=False,
    )

    answer = await bot.place()

    assert (answer["errorCode"], answer["errorMessage"]) == (2, "Not enough margin.")
    assert front.true_position() == 0


async def test_one_tag_is_one_order_for_ever(front: Front, bot: Bot) -> None:
    await entered(front, bot, customTag="once")

    again = await bot.place(customTag="once")
    other_body = await bot.place(size=2, customTag="once")
    other = await front.bot("twice")
    of_another_bot = await other.place(customTag="once")

    for answer in (again, other_body, of_another_bot):
        assert answer["errorCode"] == 2
        assert "custom tag is already in use" in answer["errorMessage"]
    assert len(front.true_orders_tagged("once")) == 1
    assert front.true_position() == 1


async def test_a_bot_finds_its_tags_in_every_row(front: Front, bot: Bot) -> None:
    price = far_limit(front)
    placed = await bot.place(kind=LIMIT, limitPrice=price, target=60, customTag="resting")
    untagged = await bot.place(kind=LIMIT, limitPrice=price - 1)
    number = placed["orderId"]

    since = "2020-01-01T00:00:00Z"
    searched = (await bot.ask("Order/search", startTimestamp=since))["orders"]
    one = (await bot.ask("Order/searchById", orderId=number))["order"]
    queried = await bot.call(
        "Order/v2/query", filter={"accountId": bot.account, "statuses": [1, 6, 7, 8]}
    )

    for rows in (await bot.open_orders(), searched, queried["orders"], [one]):
        assert row_of(rows, number)["customTag"] == "resting"
        assert Decimal(str(row_of(rows, number)["limitPrice"])) == Decimal(str(price))
    tags = {row["customTag"] for row in queried["orders"]}
    assert {"resting-SL", "resting-TP"} <= tags
    assert row_of(queried["orders"], untagged["orderId"])["customTag"] is None
