"""A list that lacks what is proven is asked for again: a bot takes it for the whole account."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec import json
from msgspec.structs import replace
from tests.app.desk import Desk, until
from tests.entrypoints.gateway.bots import (
    BUY,
    Bot,
    Front,
    entered,
    in_front,
)

from backstop.adapters.clock import SystemClock
from backstop.adapters.projectx.transport import HttpReply
from backstop.entrypoints.gateway import guard_venue, user_events_reads, whole_lists
from backstop.entrypoints.gateway.upstream_reads import Upstream
from backstop.entrypoints.gateway.whole_lists import BELIEVED_NS, TRIES, WholeLists

over_sockets = pytest.mark.asyncio(loop_scope="module")

PATH = "Trade/search"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_lists, "AGAIN_S", 0.0)


class HandClock(SystemClock):
    """A clock that somebody sets."""

    now_ns = 1

    def monotonic_ns(self) -> int:
        return self.now_ns


class Lists:
    """A broker whose answers are written down, and how often it was asked."""

    def __init__(self, *answers: set[int]) -> None:
        self.clock = HandClock()
        self.asked = 0
        self._answers = [*answers]
        self._whole = WholeLists(self.clock)

    def read(self, *proven: int) -> set[int]:
        return asyncio.run(
            self._whole.read(PATH, self._ask, proven=frozenset(proven), shown=frozenset)
        )

    async def _ask(self) -> set[int]:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def test_a_list_that_shows_what_is_proven_costs_one_call() -> None:
    broker = Lists({1, 2, 3})

    assert broker.read(1, 3) == {1, 2, 3}
    assert broker.asked == 1


def test_a_list_that_lacks_something_proven_is_asked_for_again() -> None:
    broker = Lists(set(), {1}, {1, 2, 3})

    assert broker.read(1, 3) == {1, 2, 3}


def test_what_no_list_shows_is_not_asked_for_for_ever() -> None:
    """Of all that came the list is taken that shows most."""
    broker = Lists(set(), {1, 2, 3}, {2})

    assert broker.read(1, 9) == {1, 2, 3}
    assert broker.asked == TRIES

    broker.read(1, 9)
    assert broker.asked == TRIES + 1, "and a bot that polls costs one call again"
    broker.clock.now_ns += BELIEVED_NS
    broker.read(1, 9)
    assert broker.asked == 2 * TRIES + 1


# -- over sockets --------------------------------------------------------------------------------


OLD_TRADE = 3_000_000_001

SINCE_EVER = "2019-01-01T00:00:00Z"
IN_2020 = "2020-06-01T00:00:00Z"


@dataclass
class OldAccount:
    """The gateway as it is, with a trade of long before the guard; ``empty`` lists come first."""

    upstream: Upstream
    row: dict[str, Any]
    empty: int = 0

    async def passed_on(self, path: str, body: object, **details: Any) -> HttpReply:
        reply = await self.upstream.passed_on(path, body, **details)
        if not path.endswith(PATH):
            return reply
        answer = json.decode(reply.body)
        answer["trades"].append(self.row)
        if self.empty:
            self.empty -= 1
            answer["trades"] = []
        return replace(reply, body=json.encode(answer))


def old_account(front: Front, bot: Bot) -> OldAccount:
    row = {
        "id": OLD_TRADE,
        "accountId": bot.account,
        "contractId": bot.contract,
        "creationTimestamp": IN_2020,
        "price": 5000,
        "fees": 0,
        "side": BUY,
        "size": 1,
        "voided": False,
        "orderId": OLD_TRADE,
    }
    reads = front.gateway._reads
    reads._upstream = account = OldAccount(reads._upstream, row)
    return account


async def trades_of(bot: Bot, **window: str) -> list[int]:
    """Return the numbers of the trades that a bot reads."""
    return [row["id"] for row in (await bot.ask(PATH, **window))["trades"]]


@over_sockets
async def test_a_list_that_lacks_the_trades_of_what_is_held_is_not_told_as_whole(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard would fill in those that it holds, and the rest of the account would be missing."""
    monkeypatch.setattr(user_events_reads, "MARGIN_US", 0)
    async with in_front(desk) as front:
        bot, book = await front.bot(), front.guard.book
        account = old_account(front, bot)
        await entered(front, bot)
        (trade,) = book.trades.values()
        made_us = trade.created_utc_us
        await until(lambda: book.audit.cursor_utc_us > made_us, "the guard has read past it")

        account.empty = 1
        told = await trades_of(bot, startTimestamp=SINCE_EVER)

        assert account.empty == 0
        assert told == [trade.trade_id, OLD_TRADE]


@over_sockets
async def test_a_list_that_lacks_what_one_before_showed_is_not_told_as_whole(desk: Desk) -> None:
    """Of this window the guard holds nothing; the lists before have shown that there is a trade."""
    async with in_front(desk) as front:
        bot = await front.bot()
        account = old_account(front, bot)
        window = {"startTimestamp": SINCE_EVER, "endTimestamp": "2021-01-01T00:00:00Z"}
        assert await trades_of(bot, **window) == [OLD_TRADE]

        account.empty = 1
        window["startTimestamp"] = IN_2020  # another question: the first answer is good for 1 s
        assert await trades_of(bot, **window) == [OLD_TRADE]
        assert account.empty == 0

        account.empty = 1
        window["startTimestamp"] = "2020-06-02T00:00:00Z"
        assert await trades_of(bot, **window) == [], "it is not of this window"


@dataclass
class Refusing:
    """The gateway, where it gives no list for a while: it says so in words, and with an empty one.

    What it is asked is passed on all the same, and its answer thrown away.
    """

    upstream: Upstream

    async def passed_on(self, path: str, body: object, **details: Any) -> HttpReply:
        reply = await self.upstream.passed_on(path, body, **details)
        told: dict[str, Any] = {"orders": None, "positions": [], "success": False, "errorCode": 1}
        return replace(reply, body=json.encode(told))


@over_sockets
async def test_a_list_that_the_gateway_refused_is_not_told_as_an_empty_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bot that hears of no position and of no order enters once more."""
    monkeypatch.setattr(guard_venue, "_knows_all", lambda _book, _now_ns: False)
    async with in_front(desk) as front:
        bot = await front.bot()
        await entered(front, bot)
        reads = front.gateway._reads
        reads._upstream = Refusing(reads._upstream)
        window = {"startTimestamp": SINCE_EVER}

        lists: tuple[tuple[str, dict[str, str]], ...] = (
            ("Position/searchOpen", {}),
            ("Order/searchOpen", {}),
            ("Order/search", window),
            ("Trade/search", window),
        )
        for path, details in lists:
            answer = await bot.post(path, {"accountId": bot.account} | details)
            assert answer.status == 503, (path, await answer.text())


@dataclass
class Forgetful:
    """The gateway, where the next lists of positions are empty, and a success."""

    upstream: Upstream
    empty: int = 1

    async def passed_on(self, path: str, body: object, **details: Any) -> HttpReply:
        reply = await self.upstream.passed_on(path, body, **details)
        if not path.endswith("Position/searchOpen") or not self.empty:
            return reply
        self.empty -= 1
        return replace(reply, body=json.encode(json.decode(reply.body) | {"positions": []}))


@over_sockets
async def test_a_list_that_lacks_a_position_that_is_held_is_not_told_as_whole(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another order is of unknown fate, so the guard asks: a bot must not enter once more."""
    monkeypatch.setattr(guard_venue, "_knows_all", lambda _book, _now_ns: False)
    monkeypatch.setattr(user_events_reads, "SNAPSHOT_LAG_NS", 0)
    async with in_front(desk) as front:
        bot, book = await front.bot(), front.guard.book
        await entered(front, bot)
        await until(lambda: book.position(bot.contract).is_settled, "all agree about it")
        reads = front.gateway._reads
        reads._upstream = broker = Forgetful(reads._upstream)

        told = (await bot.ask("Position/searchOpen"))["positions"]

        assert broker.empty == 0
        assert [row["size"] for row in told] == [1]
