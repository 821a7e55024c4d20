"""A bot that leaves, enters again or turns round sends order after order, and waits for none.

At the venue that works, for it knows each fill before it answers. The guard hears of them moments
later, and holds what it could not judge before.
"""

import pytest
from tests.app.desk import Desk, until
from tests.entrypoints.gateway.bots import SELL, Bot, Front, entered, in_front

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def covered(front: Front, quantity: int) -> None:
    """Wait until the account holds ``quantity`` contracts and stops cover exactly that."""
    await until(lambda: front.true_position() == quantity, front.true_position)
    side = "ASK" if quantity > 0 else "BID"

    def stops() -> list[tuple[str, int]]:
        return [(it["side"], it["size"]) for it in front.true_stops()]

    await until(
        lambda: (
            {name for name, _ in stops()} == {side}
            and sum(size for _, size in stops()) == abs(quantity)
        ),
        front.true_live_orders,
    )


async def test_an_exit_right_after_the_entry_is_an_exit(front: Front, bot: Bot) -> None:
    """It has no stop: taken for an entry it would be refused."""
    entry = await bot.place()
    exit_ = await bot.place(side=SELL, stop=None)

    assert (entry["success"], exit_["success"]) == (True, True), exit_
    await until(lambda: front.true_position() == 0, "flat")


async def test_a_close_right_after_the_entry_closes_it(front: Front, bot: Bot) -> None:
    entry = await bot.place(size=2)
    part = await bot.ask("Position/partialCloseContract", contractId=bot.contract, size=1)
    rest = await bot.ask("Position/closeContract", contractId=bot.contract)

    assert entry["success"] is True, entry
    assert part["success"] is True, part
    assert rest["success"] is True, rest
    await until(lambda: front.true_position() == 0, "flat")


async def test_who_leaves_and_enters_the_other_way_at_once_is_let_through(
    front: Front, bot: Bot
) -> None:
    await entered(front, bot)
    exit_ = await bot.place(side=SELL, stop=None)
    entry = await bot.place(side=SELL)

    assert exit_["success"] is True, exit_
    assert entry["success"] is True, entry
    await covered(front, -1)


async def test_who_closes_and_enters_at_once_is_let_through(front: Front, bot: Bot) -> None:
    await entered(front, bot)
    closed = await bot.ask("Position/closeContract", contractId=bot.contract)
    entry = await bot.place(side=SELL)

    assert closed["success"] is True, closed
    assert entry["success"] is True, entry
    await covered(front, -1)


async def test_one_order_that_turns_a_position_round_needs_a_setting(
    front: Front, bot: Bot, desk: Desk
) -> None:
    await entered(front, bot)
    refused = await bot.place(side=SELL, size=2)
    assert refused["errorMessage"].startswith("POSITION_FLIP: "), refused
    assert "ALLOW_FLIP=1" in refused["errorMessage"]

    async with in_front(desk, ALLOW_FLIP=True) as turning:
        beta = await turning.bot("beta")
        await entered(turning, beta)
        turned = await beta.place(side=SELL, size=2)
        assert turned["success"] is True, turned
        await covered(turning, -1)
        await turning.flat()
