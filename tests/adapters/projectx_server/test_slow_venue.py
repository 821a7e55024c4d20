"""A venue that has to be waited for, that is busy, or that says nothing; and logins of its own."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from msgspec import Raw, structs
from tests.adapters.projectx_server.conftest import (
    ACCOUNT,
    CONTRACT,
    Gateway,
    MemoryVenue,
    running,
)

from backstop.adapters.projectx.wire import BarRow, BarsBody, OrderRow, PlaceBody
from backstop.adapters.projectx_server.config import ServerConfig
from backstop.adapters.projectx_server.rate_limit import RateLimit
from backstop.adapters.projectx_server.venue import Outcome, VenueBusyError, VenueSilentError

PLACE = {"accountId": ACCOUNT, "contractId": CONTRACT, "type": 2, "side": 0, "size": 1}
BARS = {
    "contractId": CONTRACT,
    "live": False,
    "startTime": "2026-10-02T14:00:00Z",
    "endTime": "2026-10-02T15:00:00Z",
    "unit": 2,
    "unitNumber": 1,
    "limit": 10,
    "includePartialBar": False,
}


class SlowDesk:
    """A desk that answers when it is told to; everything else is the venue's own."""

    def __init__(self, venue: MemoryVenue) -> None:
        self._venue = venue
        self.go_on = asyncio.Event()
        self.waiting = asyncio.Event()
        self.failing: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._venue, name)

    def place(self, body: PlaceBody) -> Awaitable[Outcome]:
        return self._placed(body)

    async def _placed(self, body: PlaceBody) -> Outcome:
        self.waiting.set()
        await self.go_on.wait()
        return self._venue.place(body)

    async def orders(
        self, account_id: int, start_us: int, end_us: int | None
    ) -> Sequence[OrderRow]:
        if self.failing is not None:
            raise self.failing
        return self._venue.orders(account_id, start_us, end_us)

    async def bars(self, body: BarsBody) -> tuple[int, Sequence[BarRow] | Raw]:
        del body
        return 0, Raw(b'[{"t":"2026-10-02T14:31:00+00:00","o":21010.250,"v":412}]')


class Users:
    """Logins that come and go."""

    def __init__(self) -> None:
        self.keys = {"Trader77": "key-of-trader-77"}
        self.made = 1

    def known(self, name: str) -> str | None:
        return next((it for it in self.keys if it.lower() == name.lower()), None)

    def admits(self, user: str, key: str) -> bool:
        return self.keys[user] == key

    def mark(self, user: str) -> str | None:
        return str(self.made) if user in self.keys else None


def slowed(gateway: Gateway) -> SlowDesk:
    """Give the venue of a running gateway a slow desk."""
    desk = SlowDesk(gateway.venue)
    gateway.venue.desk = lambda user: desk  # type: ignore[assignment,misc,return-value]  # noqa: ARG005 - the same for all
    return desk


async def test_an_answer_that_takes_time_holds_up_nobody_else(gateway: Gateway) -> None:
    desk = slowed(gateway)
    placing = asyncio.create_task(gateway.call("Order/place", PLACE))
    await desk.waiting.wait()

    meanwhile = await gateway.call("Position/searchOpen", {"accountId": ACCOUNT})

    assert meanwhile["success"] is True
    assert not placing.done()
    desk.go_on.set()
    assert (await placing)["success"] is True


async def test_a_busy_venue_is_429_and_a_silent_one_503(gateway: Gateway) -> None:
    desk = slowed(gateway)
    body = {"accountId": ACCOUNT, "startTimestamp": "2026-10-02T14:00:00Z"}

    desk.failing = VenueBusyError(3)
    busy = await gateway.post("Order/search", body)
    desk.failing = VenueSilentError()
    silent = await gateway.post("Order/search", body)
    desk.failing = None

    assert (busy.status, silent.status) == (429, 503)
    assert "Retry-After" not in busy.headers
    assert (await gateway.call("Order/search", body))["success"] is True


async def test_a_busy_venue_says_for_how_long_behind_the_switch() -> None:
    users = {"Trader77": "key-of-trader-77"}
    async with running(ServerConfig(users=users, retry_after=True)) as gateway:
        slowed(gateway).failing = VenueBusyError(3)
        body = {"accountId": ACCOUNT, "startTimestamp": "2026-10-02T14:00:00Z"}

        busy = await gateway.post("Order/search", body)

    assert busy.headers["Retry-After"] == "3"


async def test_bars_that_came_as_text_go_out_as_that_text(gateway: Gateway) -> None:
    slowed(gateway)

    answer = await gateway.post("History/retrieveBars", BARS)

    assert b'"o":21010.250' in await answer.read()


async def test_exits_may_have_a_window_of_their_own() -> None:
    config = ServerConfig(
        users={"Trader77": "key-of-trader-77"},
        general_limit=RateLimit(calls=3, window_s=60),
        exits_limit=RateLimit(calls=2, window_s=60),
    )
    close = {"accountId": ACCOUNT, "contractId": CONTRACT}
    async with running(config) as gateway:  # which has logged in
        reads = [
            (await gateway.post("Position/searchOpen", {"accountId": ACCOUNT})).status
            for _ in range(3)
        ]
        exits = [(await gateway.post("Position/closeContract", close)).status for _ in range(3)]

    assert reads == [200, 200, 429]
    assert exits == [200, 200, 429]


async def test_who_may_log_in_can_change_while_the_surface_runs() -> None:
    users = Users()
    async with running(ServerConfig(logins=users)) as gateway:
        read = {"accountId": ACCOUNT}
        assert (await gateway.call("Position/searchOpen", read))["success"] is True

        users.made = 2
        assert (await gateway.post("Position/searchOpen", read)).status == 401
        gateway.token = await gateway.login()
        assert (await gateway.call("Position/searchOpen", read))["success"] is True

        users.keys.clear()
        assert (await gateway.post("Position/searchOpen", read)).status == 401
        refused = await gateway.call(
            "Auth/loginKey", {"userName": "Trader77", "apiKey": "key-of-trader-77"}
        )
        assert refused["errorCode"] == 3


async def test_tokens_go_on_after_a_restart_and_their_numbers_never_meet() -> None:
    config = ServerConfig(users={"Trader77": "key-of-trader-77"}, signing_key=b"kept")
    async with running(config) as before:
        token = before.token
    async with running(structs.replace(config, first_token=1000)) as after:
        after.token = token
        assert (await after.post("Position/searchOpen", {"accountId": ACCOUNT})).status == 200
        after.token = await after.login()
        await after.call("Auth/logout", {})
        after.token = token
        assert (await after.post("Position/searchOpen", {"accountId": ACCOUNT})).status == 200
