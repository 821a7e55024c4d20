"""A clock that is set while bots trade: what they may do goes by time that only grows."""

import pytest
from tests.app.desk import Desk, JumpingClock
from tests.entrypoints.gateway.bots import WIDE, Bot, in_front

from backstop.entrypoints.gateway.server import CALLS

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR_S = 3600


class SetClock(JumpingClock):
    """The time of day is what somebody sets it to."""

    def __init__(self) -> None:
        super().__init__()
        self.set_by_s = 0

    def utc_us(self) -> int:
        return super().utc_us() + self.set_by_s * 1_000_000


async def status(bot: Bot) -> int:
    return (await bot.post("Account/search", {"onlyActiveAccounts": True})).status


async def test_a_clock_that_is_set_back_holds_no_bot_at_its_rate(desk: Desk) -> None:
    clock = SetClock()
    async with in_front(desk, clock=clock) as front:
        bot = await front.bot()
        answers = [await status(bot) for _ in range(CALLS.calls)]
        assert answers[-1] == 429, "the login counts as well"

        clock.set_by_s = -HOUR_S
        assert await status(bot) == 429
        clock.jump(CALLS.window_s)

        assert await status(bot) == 200


async def test_a_bot_logs_in_whatever_the_clock_said_when_it_was_made(desk: Desk) -> None:
    clock = SetClock()
    async with in_front(desk, clock=clock) as front:
        bot = await front.bot()
        clock.set_by_s = -HOUR_S

        assert (await bot.log_in())["success"] is True
        assert await status(bot) == 200


async def test_a_token_dies_with_the_credentials_that_it_was_made_for(desk: Desk) -> None:
    async with in_front(desk) as front:
        bot = await front.bot()
        assert front.credentials.remove(bot.name) is True
        # Within the same second, under the same name: it is another bot.
        bot.key = front.credentials.add(bot.name, WIDE, utc_s=0)

        assert await status(bot) == 401
        assert (await bot.log_in())["success"] is True
        assert await status(bot) == 200
