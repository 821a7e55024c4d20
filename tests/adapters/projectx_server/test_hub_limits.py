"""What strange clients of a hub may take, on real sockets: the others and the server go on."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace
from tests.adapters.projectx_server.conftest import (
    ACCOUNT,
    API_KEY,
    CONTRACT,
    USER,
    Gateway,
    order_row,
    running,
    until,
)
from yarl import URL

from backstop.adapters.projectx_server import hub_connection
from backstop.adapters.projectx_server.config import HubTimings, ServerConfig
from backstop.adapters.projectx_server.hub_connection import HubConnection
from backstop.adapters.projectx_server.hub_limits import (
    MARKET_STRANGERS,
    STRANGERS,
    TELL_PAUSE_S,
    HubLimits,
    HubTally,
    Misuse,
    Pace,
    Paced,
)
from backstop.adapters.projectx_server.venue import MarketEvent, UserEvent

PING = {"type": 6}


def quote(number: int) -> MarketEvent:
    return MarketEvent(
        target="GatewayQuote", contract_id=CONTRACT, data={"lastPrice": Decimal(number)}
    )


def order(number: int) -> UserEvent:
    return UserEvent(
        target="GatewayUserOrder", account_id=ACCOUNT, action=1, data=order_row(number)
    )


async def upgrade_status(gateway: Gateway, hub: str = "user") -> int:
    """Return the HTTP status that refuses a WebSocket upgrade."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await gateway.http.ws_connect(
            f"{gateway.url}/hubs/{hub}", headers={"Authorization": f"Bearer {gateway.token}"}
        )
    return refused.value.status


@asynccontextmanager
async def blocked(gateway: Gateway, hub: str, subscribe: str) -> AsyncIterator[HubConnection]:
    """Connect a socket that subscribes and is then never read."""
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        address, loop = URL(gateway.url), asyncio.get_running_loop()
        await loop.sock_connect(deaf, (address.host, address.port))
        upgrade = (
            f"GET /hubs/{hub} HTTP/1.1\r\nHost: {address.authority}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Authorization: Bearer {gateway.token}\r\n\r\n"
        )
        said = b'{"protocol":"json","version":1}\x1e' + subscribe.encode() + b"\x1e"
        size = bytes([0x80 | 126]) + len(said).to_bytes(2)
        await loop.sock_sendall(deaf, upgrade.encode() + b"\x81" + size + bytes(4) + said)
        of_hub = gateway.server.user_hub if hub == "user" else gateway.server.market_hub
        await until(lambda: any(it.groups for it in of_hub.connections))
        (connection,) = (it for it in of_hub.connections if it.groups)
        yield connection


def waiting_bytes(connection: HubConnection) -> int:
    """Return what waits for a client in this process."""
    transport = connection._transport
    assert transport is not None
    return connection.waiting_bytes + transport.get_write_buffer_size()


# -- clients that do not read ---------------------------------------------------------------------


async def test_a_market_socket_that_is_never_read_holds_nobody_up_and_little_memory() -> None:
    """The other one gets every quote, in order, while the blocked one keeps only the newest."""
    subscribe = f'{{"type":1,"target":"SubscribeContractQuotes","arguments":["{CONTRACT}"]}}'
    limits = replace(MARKET_STRANGERS, records=None)
    async with (
        running(limits=limits) as gateway,
        gateway.hub("market") as healthy,
        blocked(gateway, "market", subscribe) as deaf,
    ):
        tally, most, sent = gateway.server.market_hub.tally, 0, 0
        await healthy.invoke("SubscribeContractQuotes", CONTRACT)
        while tally.counts[Misuse.QUOTE_MERGED] < 1_000:
            for number in range(sent, sent + 100):
                gateway.venue.emit(quote(number))
            for number in range(sent, sent + 100):
                event = await healthy.next_event("GatewayQuote")
                assert event["arguments"][1]["lastPrice"] == number
            sent += 100
            most = max(most, waiting_bytes(deaf))
            assert sent < 200_000, "the kernel takes it all"

        assert most < 256 * 1024
        assert not deaf.is_closing, "it may still come back and read the newest"
        assert limits.conflate_above_bytes is not None
        assert deaf.waiting_bytes < limits.conflate_above_bytes + 1_000


async def test_a_user_socket_that_is_never_read_is_ended_and_the_other_hears_all() -> None:
    """No user event is left out: who has no room for one is told so, and reads anew."""
    subscribe = f'{{"type":1,"target":"SubscribeOrders","arguments":[{ACCOUNT}]}}'
    config = ServerConfig(users={USER: API_KEY}, timings=HubTimings(close_wait_s=0.05))
    async with (
        running(config, limits=replace(STRANGERS, queue_bytes_max=100_000)) as gateway,
        gateway.hub("user") as healthy,
        blocked(gateway, "user", subscribe) as deaf,
    ):
        hub, most, sent = gateway.server.user_hub, 0, 0
        await healthy.invoke("SubscribeOrders", ACCOUNT)
        while not deaf.is_closing:
            for number in range(sent, sent + 100):
                gateway.venue.emit(order(number))
            for number in range(sent, sent + 100):
                event = await healthy.next_event("GatewayUserOrder")
                assert event["arguments"][0]["data"]["id"] == number
            sent += 100
            most = max(most, waiting_bytes(deaf))
            assert sent < 200_000, "the kernel takes it all"
        assert most < 400_000
        assert hub.tally.counts[Misuse.QUEUE_FULL] == 1

        await until(lambda: len(hub.connections) == 1)
        assert (await healthy.invoke("UnsubscribeOrders", ACCOUNT))["result"] is None


async def test_a_client_that_is_too_slow_for_user_events_is_told_why() -> None:
    async with (
        running(limits=HubLimits(queue_bytes_max=10_000)) as gateway,
        gateway.hub("user") as slow,
    ):
        await slow.invoke("SubscribeOrders", ACCOUNT)
        for number in range(1_000):
            gateway.venue.emit(order(number))

        assert (await slow.ended())[-1] == {
            "type": 7,
            "error": hub_connection.SLOW,
            "allowReconnect": True,
        }


async def test_a_slow_reader_of_a_market_catches_up_with_the_newest_quote() -> None:
    limits = replace(MARKET_STRANGERS, records=None, conflate_above_bytes=2_000)
    async with running(limits=limits) as gateway, gateway.hub("market") as hub:
        await hub.invoke("SubscribeContractQuotes", CONTRACT)
        for number in range(1_000):
            gateway.venue.emit(quote(number))
        prices: list[int] = []
        while not prices or prices[-1] < 999:
            prices.append((await hub.next_event("GatewayQuote"))["arguments"][1]["lastPrice"])

        assert prices == sorted(prices)
        assert len(prices) < 1_000


# -- clients that say too much --------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [PING, {"type": 1, "target": "SubscribeAccounts", "arguments": []}],
    ids=["pings", "calls"],
)
async def test_a_flood_of_records_ends_its_connection_and_no_other(record: Any) -> None:
    limits = HubLimits(records=Pace(burst=50, per_s=1))
    async with (
        running(limits=limits) as gateway,
        gateway.hub("user") as calm,
        gateway.hub("user") as wild,
    ):
        await wild.send(*[record] * 60)

        assert (await wild.ended())[-1]["error"] == hub_connection.FLOODING
        assert gateway.server.user_hub.tally.counts[Misuse.FLOOD] == 1
        assert (await calm.invoke("SubscribeAccounts"))["result"] is None


async def test_a_client_within_its_pace_is_never_ended() -> None:
    limits = HubLimits(records=Pace(burst=50, per_s=1))
    async with running(limits=limits) as gateway, gateway.hub("user") as hub:
        for _ in range(45):
            assert (await hub.invoke("SubscribeAccounts"))["result"] is None


async def test_a_message_above_the_limit_ends_its_connection() -> None:
    limits = HubLimits(message_bytes_max=1_000)
    async with running(limits=limits) as gateway, gateway.hub("user") as hub:
        await hub.send(*[PING] * 100)

        await hub.ended()
        assert hub.socket.close_code == 1009
        assert gateway.server.user_hub.tally.counts[Misuse.NONSENSE] == 1


async def test_more_subscriptions_than_allowed_are_refused_with_the_reason() -> None:
    limits = HubLimits(subscriptions_max=2)
    async with running(limits=limits) as gateway, gateway.hub("market") as hub:
        for contract_id in ("A", "B"):
            assert (await hub.invoke("SubscribeContractQuotes", contract_id))["result"] is None
        refused = await hub.invoke("SubscribeContractQuotes", "C")
        assert refused["error"] == (
            "An unexpected error occurred invoking 'SubscribeContractQuotes' on the server. "
            "HubException: A connection may have at most 2 subscriptions."
        )
        await hub.invoke("UnsubscribeContractQuotes", "A")
        assert (await hub.invoke("SubscribeContractQuotes", "C"))["result"] is None


# -- clients that come too often ------------------------------------------------------------------


async def test_one_user_gets_so_many_connections_and_one_that_ends_makes_room() -> None:
    async with running(limits=HubLimits(user_connections_max=2)) as gateway:
        async with gateway.hub("user"):
            async with gateway.hub("user"):
                assert await upgrade_status(gateway) == 429
                async with gateway.hub("market"):
                    pass  # each hub counts its own
            await until(lambda: len(gateway.server.user_hub.connections) == 1)
            async with gateway.hub("user") as again:
                assert (await again.invoke("SubscribeAccounts"))["result"] is None
        assert gateway.server.user_hub.tally.counts[Misuse.USER_FULL] == 1


async def test_a_full_hub_refuses_with_503() -> None:
    async with running(limits=HubLimits(connections_max=1)) as gateway, gateway.hub("user"):
        assert await upgrade_status(gateway) == 503
        assert gateway.server.user_hub.tally.counts[Misuse.HUB_FULL] == 1


async def test_who_connects_again_and_again_is_slowed_down() -> None:
    async with running(limits=HubLimits(connects=Pace(burst=3, per_s=0))) as gateway:
        for _ in range(3):
            async with gateway.hub("user"):
                pass
        assert await upgrade_status(gateway) == 429
        answer = await gateway.http.post(
            f"{gateway.url}/hubs/user/negotiate",
            headers={"Authorization": f"Bearer {gateway.token}"},
        )
        assert answer.status == 429
        async with gateway.hub("market"):
            pass


@pytest.mark.parametrize("said", ["nonsense\x1e", '{"protocol":"x","version":1}\x1e'])
async def test_a_bad_handshake_is_counted(gateway: Gateway, said: str) -> None:
    async with gateway.hub("user", shake=False) as hub:
        await hub.socket.send_str(said)
        await hub.ended()

    assert gateway.server.user_hub.tally.counts == {Misuse.BAD_HANDSHAKE: 1}


async def test_silence_and_nonsense_are_counted() -> None:
    timings = HubTimings(ping_interval_s=60, client_timeout_s=0.05)
    async with running(ServerConfig(users={USER: API_KEY}, timings=timings)) as gateway:
        async with gateway.hub("user") as hub:
            await hub.send(PING)
            await hub.ended()
        async with gateway.hub("user") as hub:
            await hub.socket.send_str("nonsense\x1e")
            await hub.ended()
        counts = gateway.server.user_hub.tally.counts
        assert (counts[Misuse.SILENT], counts[Misuse.NONSENSE]) == (1, 1)


# -- pace and tally -------------------------------------------------------------------------------


def test_a_pace_lets_a_burst_through_and_fills_up_again() -> None:
    now_s = [0.0]
    paced = Paced(Pace(burst=3, per_s=2.0), now_s=lambda: now_s[0])
    assert [paced.admits() for _ in range(4)] == [True, True, True, False]
    now_s[0] += 0.5
    assert [paced.admits() for _ in range(2)] == [True, False]
    now_s[0] += 60
    assert [paced.admits() for _ in range(4)] == [True, True, True, False]


def test_misuse_is_counted_every_time_and_told_once_a_minute_for_each_user() -> None:
    now_s, told = [0.0], []
    tally = HubTally(now_s=lambda: now_s[0])
    tally.tell = lambda what, user, count: told.append((what, user, count))
    for user in ("a", "a", "b"):
        tally.note(Misuse.FLOOD, user)
    now_s[0] += TELL_PAUSE_S
    tally.note(Misuse.FLOOD, "a")

    assert told == [(Misuse.FLOOD, "a", 1), (Misuse.FLOOD, "b", 3), (Misuse.FLOOD, "a", 4)]
    assert tally.counts[Misuse.FLOOD] == 4
