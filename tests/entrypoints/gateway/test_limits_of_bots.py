"""What a bot may enter, and what it hears while nobody knows what became of its order."""

import pytest
from tests.app.desk import until
from tests.entrypoints.gateway.bots import (
    BUY,
    LIMIT,
    SELL,
    STOP,
    Bot,
    Front,
    entered,
    far_limit,
)

from backstop.app import undecided_wishes
from backstop.domain.bot import BotLimits
from backstop.entrypoints.gateway import bot_orders
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (BotLimits(quantity_max=1), "BOT_QUANTITY_TOO_LARGE: "),
        (BotLimits(symbols=("NQ",)), "BOT_INSTRUMENT_NOT_ALLOWED: "),
    ],
)
async def test_a_bot_enters_only_what_its_credentials_are_for(
    front: Front, bot: Bot, limits: BotLimits, code: str
) -> None:
    held = await front.bot(f"held-{code[4:7]}", limits)
    refused = await held.place(size=2)
    assert refused["errorMessage"].startswith(code), refused
    (told,) = (it for it in front.guard.notes if it.fields.get("bot") == held.name)
    assert (told.name, told.fields["codes"]) == ("order_refused", code.removesuffix(": "))

    await entered(front, bot, size=2)
    exit_ = await held.place(side=SELL, size=2, stop=None)
    assert exit_["success"] is True, exit_
    await until(lambda: front.true_position() == 0, "flat")


async def test_a_bot_has_so_many_orders_and_no_more(front: Front, bot: Bot) -> None:
    held = await front.bot("few", BotLimits(orders_max=2, entries_per_second_max=50))
    price = far_limit(front)

    answers = [
        await held.place(kind=LIMIT, limitPrice=price - number, stop=40 + number)
        for number in range(3)
    ]

    assert [it["success"] for it in answers] == [True, True, False]
    assert answers[2]["errorMessage"].startswith("BOT_ORDERS_TOO_MANY: ")
    assert bot.name not in answers[2]["errorMessage"]


async def test_a_bot_in_a_mad_loop_is_held_to_its_pace(front: Front, bot: Bot) -> None:
    held = await front.bot("mad", BotLimits(orders_max=50, entries_per_second_max=2))
    price = far_limit(front)

    answers = [
        await held.place(kind=LIMIT, limitPrice=price - number, stop=40 + number)
        for number in range(8)
    ]

    refused = [it["errorMessage"] for it in answers if not it["success"]]
    assert any(it.startswith("BOT_RATE_TOO_HIGH: ") for it in refused), answers
    assert (await bot.place(kind=LIMIT, limitPrice=price - 20))["success"] is True


async def test_an_order_whose_answer_was_lost_is_found_and_answered_with_its_number(
    front: Front, bot: Bot
) -> None:
    front.desk.mischief("Order/place", FaultKind.LOSE_RESPONSE)

    placed = await bot.place(customTag="lost-answer")

    assert front.desk.strikes(FaultKind.LOSE_RESPONSE) == 1
    assert placed["success"] is True, placed
    (truth,) = front.true_orders_tagged("lost-answer")
    assert truth["id"] == placed["orderId"]
    await until(lambda: front.true_position() == 1, "the position")


async def test_while_nobody_knows_the_answer_says_so_and_a_repeat_never_doubles(
    front: Front, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot_orders, "PLACE_WAIT_S", 0.2)
    front.desk.mischief("Order/place", FaultKind.LOSE_RESPONSE)
    for read in ("Order/search", "Order/v2/query", "Trade/search", "Order/searchById"):
        front.desk.mischief(read, FaultKind.HTTP_ERROR, http_status=503, count=None)
    front.desk.mischief("GatewayUserOrder", FaultKind.DROP_EVENT, count=None)

    first = await bot.place(customTag="in-doubt")
    again = await bot.place(customTag="in-doubt")

    for answer in (first, again):
        assert (answer["success"], answer["errorCode"]) == (False, 6)
        assert "may be live" in answer["errorMessage"]
    assert len(front.true_orders_tagged("in-doubt")) == 1
    front.desk.venue.faults.heal()
    await until(
        lambda: front.guard.book.orders["in-doubt"].broker_order_id is not None, "it is found"
    )
    known = await bot.place(customTag="in-doubt")
    assert "custom tag is already in use" in known["errorMessage"]
    assert len(front.true_orders_tagged("in-doubt")) == 1


async def test_a_flood_is_answered_like_one_and_not_like_a_broken_disk(
    front: Front, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    price = far_limit(front)
    number = (await bot.place(kind=LIMIT, limitPrice=price))["orderId"]
    monkeypatch.setattr(undecided_wishes, "MAX_UNDECIDED", 0)
    monkeypatch.setattr(undecided_wishes, "MAX_UNDECIDED_CUTS", 0)
    tagged = {
        "accountId": bot.account,
        "contractId": bot.contract,
        "type": LIMIT,
        "side": BUY,
        "size": 1,
        "limitPrice": price - 2,
        "customTag": "in-the-flood",
        "stopLossBracket": {"ticks": -40, "type": STOP},
    }
    changed = {"accountId": bot.account, "orderId": number}

    for path, body in (
        ("Order/place", tagged),
        ("Order/modify", changed | {"limitPrice": price - 1}),
        ("Order/cancel", changed),
    ):
        refused = await bot.post(path, body)
        assert (refused.status, refused.headers["Retry-After"]) == (429, "1"), path

    monkeypatch.undo()
    taken = await bot.call("Order/place", **tagged)
    assert taken["success"] is True, taken
