"""Changes and closes that bots ask for behind the gateway; the exchange's truth decides."""

from decimal import Decimal

import pytest
from tests.app.desk import until
from tests.entrypoints.gateway.bots import (
    LIMIT,
    SELL,
    Bot,
    Front,
    entered,
    far_limit,
    row_of,
)

from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_resting_entry_is_moved_and_cancelled(front: Front, bot: Bot) -> None:
    price = far_limit(front)
    number = (await bot.place(kind=LIMIT, limitPrice=price))["orderId"]

    moved = await bot.ask("Order/modify", orderId=number, size=1, limitPrice=price - 5)
    assert moved["success"] is True, moved
    await until(
        lambda: Decimal(front.truth_of(number)["limitPrice"]) == Decimal(str(price - 5)), "moved"
    )
    cancelled = await bot.ask("Order/cancel", orderId=number)
    assert cancelled["success"] is True, cancelled
    await until(lambda: front.truth_of(number)["status"] == "CANCELLED", "cancelled")

    again = await bot.ask("Order/cancel", orderId=number)
    assert again["errorCode"] == 3
    unknown = await bot.ask("Order/cancel", orderId=1)
    assert unknown["errorCode"] == 2


async def test_the_order_of_another_bot_is_seen_and_not_touched(front: Front, bot: Bot) -> None:
    other = await front.bot("neighbour")
    number = (await other.place(kind=LIMIT, limitPrice=far_limit(front)))["orderId"]

    assert row_of(await bot.open_orders(), number)["status"] == 1
    cancelled = await bot.ask("Order/cancel", orderId=number)
    moved = await bot.ask("Order/modify", orderId=number, limitPrice=far_limit(front) - 1)

    for answer in (cancelled, moved):
        assert answer["errorCode"] == 3
        assert answer["errorMessage"].startswith("ORDER_OF_ANOTHER: "), answer
    assert front.truth_of(number)["status"] == "OPEN"


async def test_a_stop_that_the_position_needs_is_moved_and_never_taken_away(
    front: Front, bot: Bot
) -> None:
    await entered(front, bot, stop=40, customTag="trailed")
    (stop,) = front.true_stops()
    tick = front.guard.instrument("MES").tick_size
    nearer = Decimal(stop["stopPrice"]) + 8 * tick

    cancelled = await bot.ask("Order/cancel", orderId=stop["id"])
    moved = await bot.ask("Order/modify", orderId=stop["id"], stopPrice=nearer)

    assert cancelled["errorCode"] == 3
    assert cancelled["errorMessage"].startswith("PROTECTION_REQUIRED: "), cancelled
    assert moved["success"] is True, moved
    await until(
        lambda: [Decimal(it["stopPrice"]) for it in front.true_stops()] == [nearer], "moved"
    )


async def test_a_target_is_taken_away_for_good_when_its_bot_says_so(front: Front, bot: Bot) -> None:
    await entered(front, bot, stop=40, target=80, customTag="aimed")
    await until(lambda: any(it["type"] == "LIMIT" for it in front.true_live_orders()), "a target")
    (target,) = (it for it in front.true_live_orders() if it["type"] == "LIMIT")
    await until(lambda: target["id"] in front.guard.book.venue_orders, "the target is known")

    cancelled = await bot.ask("Order/cancel", orderId=target["id"])

    assert cancelled["success"] is True, cancelled
    await until(lambda: front.truth_of(target["id"])["status"] == "CANCELLED", "cancelled")
    assert len(front.true_stops()) == 1


async def test_an_exit_may_be_placed_while_entries_may_not(front: Front, bot: Bot) -> None:
    await entered(front, bot)
    manager = front.guard.manager
    await manager.halt(reason="test", operator="tester")
    try:
        entry = await bot.place()
        exit_ = await bot.place(side=SELL, stop=None)
        assert entry["errorMessage"].startswith("STATE_HALTED: ")
        assert exit_["success"] is True, exit_
        await until(lambda: front.true_position() == 0, "flat")
    finally:
        await front.settled()
        await manager.resume(reason="test", operator="tester")


async def test_every_bot_may_close_what_any_of_them_opened(front: Front, bot: Bot) -> None:
    other = await front.bot("closer")
    await entered(front, bot, size=3)

    beyond = await other.ask("Position/partialCloseContract", contractId=bot.contract, size=4)
    part = await other.ask("Position/partialCloseContract", contractId=bot.contract, size=1)
    await until(lambda: front.true_position() == 2, "one is closed")
    await until(lambda: front.guard.position() == 2, "and known")
    whole = await other.ask("Position/closeContract", contractId=bot.contract)

    assert beyond["errorCode"] == 5
    assert part["success"] is True, part
    assert whole["success"] is True, whole
    await until(lambda: front.true_position() == 0, "flat")
    await until(lambda: not front.true_live_orders(), "no leg is left")
    await until(
        lambda: front.guard.book.position(bot.contract).is_settled and front.guard.position() == 0,
        "known to be flat",
    )
    flat = await other.ask("Position/closeContract", contractId=bot.contract)
    unknown = await other.ask("Position/closeContract", contractId="CON.F.US.NOPE.Z26")
    assert (flat["errorCode"], unknown["errorCode"]) == (2, 3)


async def test_positions_and_trades_are_those_of_the_account(front: Front, bot: Bot) -> None:
    number = await entered(front, bot, size=2)

    rows = (await bot.ask("Position/searchOpen"))["positions"]
    trades = (await bot.ask("Trade/search", startTimestamp="2020-01-01T00:00:00Z"))["trades"]
    accounts = (await bot.call("Account/search", onlyActiveAccounts=True))["accounts"]

    assert [(it["contractId"], it["type"], it["size"]) for it in rows] == [(bot.contract, 1, 2)]
    assert sum(it["size"] for it in trades if it["orderId"] == number) == 2
    assert [it["id"] for it in accounts] == [bot.account]


async def test_a_cancel_that_the_venue_did_not_answer_is_pending_and_made_again(
    front: Front, bot: Bot
) -> None:
    number = (await bot.place(kind=LIMIT, limitPrice=far_limit(front)))["orderId"]
    front.desk.mischief("Order/cancel", FaultKind.RESET_BEFORE)

    cancelled = await bot.ask("Order/cancel", orderId=number)

    assert cancelled["errorCode"] == 4
    assert "asks again" in cancelled["errorMessage"]
    await until(lambda: front.truth_of(number)["status"] == "CANCELLED", "cancelled")


async def test_the_venues_no_to_a_change_reaches_its_bot_in_its_words(
    front: Front, bot: Bot
) -> None:
    price = far_limit(front)
    number = (await bot.place(kind=LIMIT, limitPrice=price))["orderId"]
    words = "Invalid limit price"
    front.desk.mischief("Order/modify", FaultKind.ERROR_CODE, code=3, message=words)

    moved = await bot.ask("Order/modify", orderId=number, limitPrice=price - 5)

    assert (moved["errorCode"], moved["errorMessage"]) == (3, words)
