"""The hub surface, held against what a real ASP.NET Core server was seen to do."""

import asyncio
import json
import socket
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from msgspec import structs
from tests.adapters.projectx_server.conftest import (
    ACCOUNT,
    API_KEY,
    CONTRACT,
    USER,
    WAIT_S,
    Gateway,
    Hub,
    order_row,
    running,
    until,
)
from yarl import URL

from backstop.adapters.projectx.wire import PositionRow, TradeRow
from backstop.adapters.projectx_server import hub_connection
from backstop.adapters.projectx_server.config import HubTimings, ServerConfig, TokenExpiryOnHub
from backstop.adapters.projectx_server.hub_connection import Silence
from backstop.adapters.projectx_server.hub_limits import HubLimits
from backstop.adapters.projectx_server.negotiation import Claim, Negotiations
from backstop.adapters.projectx_server.venue import MarketEvent, UserEvent

CLOSED_BY_ERROR = {
    "type": 7,
    "error": "Connection closed with an error.",
    "allowReconnect": True,
}


def config(timings: HubTimings, **settings: Any) -> ServerConfig:
    return ServerConfig(users={USER: API_KEY}, timings=timings, **settings)


def order_event(order_id: int = 1, *, status: int = 1) -> UserEvent:
    return UserEvent(
        target="GatewayUserOrder",
        account_id=ACCOUNT,
        action=1,
        data=order_row(order_id, status=status),
    )


def quote_event(number: int) -> MarketEvent:
    return MarketEvent(
        target="GatewayQuote", contract_id=CONTRACT, data={"lastPrice": Decimal(number)}
    )


async def negotiate(
    gateway: Gateway, query: str, *, token: str | None = None, hub: str = "user"
) -> aiohttp.ClientResponse:
    bearer = gateway.token if token is None else token
    return await gateway.http.post(
        f"{gateway.url}/hubs/{hub}/negotiate{query}", headers={"Authorization": f"Bearer {bearer}"}
    )


async def upgrade_status(gateway: Gateway, query: str, token: str | None = None) -> int:
    """Return the HTTP status that refuses a WebSocket upgrade."""
    bearer = gateway.token if token is None else token
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await gateway.http.ws_connect(
            f"{gateway.url}/hubs/user{query}", headers={"Authorization": f"Bearer {bearer}"}
        )
    return refused.value.status


# -- negotiation ------------------------------------------------------------------------------


async def test_version_1_has_a_public_id_and_a_secret_token(gateway: Gateway) -> None:
    answer = await negotiate(gateway, "?negotiateVersion=1")

    given = await answer.json()
    assert answer.headers["Content-Type"] == "application/json"
    assert given["negotiateVersion"] == 1
    assert given["connectionToken"] != given["connectionId"]
    assert given["availableTransports"] == [
        {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}
    ]


@pytest.mark.parametrize("query", ["", "?negotiateVersion=0"])
async def test_version_0_has_one_id_for_everything(gateway: Gateway, query: str) -> None:
    given = await (await negotiate(gateway, query)).json()

    assert given["negotiateVersion"] == 0
    assert "connectionToken" not in given
    async with gateway.hub("user", query=f"?id={given['connectionId']}") as hub:
        assert (await hub.invoke("SubscribeAccounts"))["result"] is None


async def test_more_than_version_1_is_answered_with_version_1(gateway: Gateway) -> None:
    assert (await (await negotiate(gateway, "?negotiateVersion=9")).json())["negotiateVersion"] == 1


@pytest.mark.parametrize("version", ["x", "-1"])
async def test_an_impossible_version_is_200_with_an_error(gateway: Gateway, version: str) -> None:
    answer = await negotiate(gateway, f"?negotiateVersion={version}")

    assert answer.status == 200
    assert list(await answer.json()) == ["error"]


async def test_negotiating_is_post_only(gateway: Gateway) -> None:
    answer = await gateway.http.get(f"{gateway.url}/hubs/user/negotiate")

    assert answer.status == 405


@pytest.mark.parametrize("token", ["", "nonsense"])
async def test_negotiation_and_socket_want_a_token(gateway: Gateway, token: str) -> None:
    assert (await negotiate(gateway, "", token=token)).status == 401
    assert await upgrade_status(gateway, "", token) == 401


async def test_the_token_may_stand_in_the_query_of_both(gateway: Gateway) -> None:
    query = f"access_token={gateway.token}"
    given = await gateway.http.post(f"{gateway.url}/hubs/user/negotiate?{query}")

    assert given.status == 200
    async with gateway.http.ws_connect(f"{gateway.url}/hubs/user?{query}") as socket:
        assert await Hub(socket).shake_hands() == {}


async def test_a_negotiated_token_opens_one_socket_once(gateway: Gateway) -> None:
    given = await (await negotiate(gateway, "?negotiateVersion=1")).json()
    query = f"?id={given['connectionToken']}"

    assert await upgrade_status(gateway, f"?id={given['connectionId']}") == 404
    async with gateway.hub("user", query=query):
        assert await upgrade_status(gateway, query) == 409
    await until(lambda: not gateway.server.user_hub.connections)
    assert await upgrade_status(gateway, query) == 404


def test_an_unclaimed_token_dies_after_15_seconds() -> None:
    now_s = 100.0
    negotiations = Negotiations(life_s=HubTimings().negotiated_life_s, monotonic_s=lambda: now_s)
    first, second = (negotiations.negotiate(1).claim_id for _ in range(2))

    now_s += 14.9
    assert negotiations.claim(first)[0] is Claim.OPEN
    now_s += 0.1
    assert negotiations.claim(second)[0] is Claim.GONE


async def test_a_token_that_died_opens_no_socket() -> None:
    async with running(config(HubTimings(negotiated_life_s=0))) as gateway:
        given = await (await negotiate(gateway, "?negotiateVersion=1")).json()

        assert await upgrade_status(gateway, f"?id={given['connectionToken']}") == 404


async def test_a_venue_whose_time_flies_leaves_clients_the_time_to_connect(
    gateway: Gateway,
) -> None:
    given = await (await negotiate(gateway, "?negotiateVersion=1")).json()
    gateway.now[0] += 3_600_000_000

    async with gateway.hub("user", query=f"?id={given['connectionToken']}") as hub:
        assert (await hub.invoke("SubscribeAccounts"))["result"] is None


@pytest.mark.parametrize("query", ["", "?id=made-up-by-the-client"])
async def test_negotiation_may_be_skipped_also_with_a_made_up_id(
    gateway: Gateway, query: str
) -> None:
    async with gateway.hub("user", query=query) as hub:
        assert (await hub.invoke("SubscribeAccounts"))["result"] is None


async def test_a_plain_get_is_no_connection(gateway: Gateway) -> None:
    answer = await gateway.http.get(f"{gateway.url}/hubs/user?access_token={gateway.token}")

    assert answer.status == 400


# -- handshake --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 1, 0, -1])
async def test_every_version_up_to_2_is_taken(gateway: Gateway, version: int) -> None:
    async with gateway.hub("user", shake=False) as hub:
        assert await hub.shake_hands(version=version) == {}


async def test_version_0_can_be_refused_by_a_switch() -> None:
    async with (
        running(ServerConfig(users={USER: API_KEY}, refuse_handshake_version_0=True)) as gateway,
        gateway.hub("user", shake=False) as hub,
    ):
        assert "version 0" in (await hub.shake_hands(version=0))["error"]
        assert await hub.next() is None


@pytest.mark.parametrize(
    ("handshake", "text"),
    [
        ({"protocol": "messagepack", "version": 1}, "The protocol 'messagepack' is not supported."),
        (
            {"protocol": "json", "version": 3},
            "The server does not support version 3 of the 'json' protocol.",
        ),
        ({"version": 1}, "An unexpected error occurred during connection handshake."),
        ({"type": 6}, "An unexpected error occurred during connection handshake."),
        ("hello", "An unexpected error occurred during connection handshake."),
    ],
)
async def test_a_refused_handshake_says_why_and_closes_in_order(
    gateway: Gateway, handshake: object, text: str
) -> None:
    async with gateway.hub("user", shake=False) as hub:
        await hub.send(handshake)

        assert await hub.next() == {"error": text}
        assert await hub.next() is None
        assert hub.socket.close_code == 1000


async def test_without_a_handshake_the_connection_is_cancelled() -> None:
    async with (
        running(config(HubTimings(handshake_timeout_s=0.05))) as gateway,
        gateway.hub("user", shake=False) as hub,
    ):
        assert await hub.next() == {"error": "Handshake was canceled."}
        assert await hub.next() is None


async def test_what_follows_the_handshake_shares_its_frames_both_ways(gateway: Gateway) -> None:
    async with gateway.hub("user", shake=False) as hub:
        await hub.send(
            {"protocol": "json", "version": 1},
            {"type": 1, "invocationId": "1", "target": "SubscribeAccounts", "arguments": []},
        )

        assert await hub.next() == {}
        assert await hub.next() == {"type": 3, "invocationId": "1", "result": None}
        assert len(hub.frames) == 1


async def test_the_handshake_may_come_in_pieces_and_in_binary_frames(gateway: Gateway) -> None:
    async with gateway.hub("user", shake=False) as hub:
        await hub.socket.send_bytes(b'{"protocol":"json",')
        await hub.socket.send_bytes(b'"version":1}\x1e{"type":1,"invocationId":"1",')
        await hub.socket.send_str('"target":"SubscribeAccounts","arguments":[]}\x1e')

        assert await hub.next() == {}
        assert (await hub.next())["invocationId"] == "1"


# -- invocations ------------------------------------------------------------------------------

USER_METHODS = ["Orders", "Positions", "Trades"]
MARKET_METHODS = ["ContractQuotes", "ContractTrades", "ContractMarketDepth"]


@pytest.mark.parametrize(
    ("name", "method", "arguments"),
    [
        *[("user", f"{verb}{noun}", [ACCOUNT]) for noun in USER_METHODS
          for verb in ("Subscribe", "Unsubscribe")],
        ("user", "SubscribeAccounts", []),
        ("user", "UnsubscribeAccounts", []),
        ("user", "subscribeORDERS", [ACCOUNT]),
        ("user", "SubscribeOrders", [12345]),  # a foreign account is not refused, only silent
        *[("market", f"{verb}{noun}", [CONTRACT]) for noun in MARKET_METHODS
          for verb in ("Subscribe", "Unsubscribe")],
        ("market", "SubscribeContractQuotes", ["CON.F.US.NOTHING.Z26"]),
    ],
)  # fmt: skip
async def test_every_method_completes_with_null(
    gateway: Gateway, name: str, method: str, arguments: list[object]
) -> None:
    async with gateway.hub(name) as hub:
        answer = await hub.invoke(method, *arguments)

        assert answer["result"] is None
        assert "error" not in answer


@pytest.mark.parametrize(
    ("name", "method", "arguments"),
    [
        ("user", "SubscribeAccounts", [ACCOUNT]),
        ("user", "SubscribeOrders", []),
        ("user", "SubscribeOrders", [ACCOUNT, 1]),
        ("user", "SubscribeOrders", ["7"]),
        ("user", "SubscribeOrders", [7.5]),
        ("user", "SubscribeOrders", [True]),
        ("user", "SubscribeOrders", [None]),
        ("market", "SubscribeContractQuotes", [7]),
        ("market", "SubscribeContractQuotes", []),
    ],
)
async def test_a_wrong_number_or_type_of_arguments_is_an_error(
    gateway: Gateway, name: str, method: str, arguments: list[object]
) -> None:
    async with gateway.hub(name) as hub:
        answer = await hub.invoke(method, *arguments)

        assert answer["error"] == f"Failed to invoke '{method}' due to an error on the server."


@pytest.mark.parametrize("name", ["user", "market"])
async def test_an_unknown_method_is_an_error_with_the_known_ending(
    gateway: Gateway, name: str
) -> None:
    async with gateway.hub(name) as hub:
        assert (await hub.invoke("SubscribeMarketDepth", CONTRACT))["error"] == (
            "Failed to invoke 'SubscribeMarketDepth' due to an error on the server. "
            "HubException: Method does not exist."
        )


async def test_a_call_without_id_is_never_answered(gateway: Gateway) -> None:
    async with gateway.hub("user") as hub:
        await hub.send(
            {"type": 1, "target": "Heartbeat", "arguments": []},
            {"type": 1, "target": "SubscribeOrders", "arguments": ["wrong"]},
            {"type": 1, "target": "SubscribeAccounts", "arguments": [], "headers": {"a": "b"}},
        )

        assert (await hub.invoke("SubscribeAccounts"))["result"] is None
        assert [json.loads(frame[:-1]).get("type") for frame in hub.frames] == [None, 3]


async def test_a_stream_call_of_a_void_method_is_an_error(gateway: Gateway) -> None:
    async with gateway.hub("user") as hub:
        await hub.send(
            {"type": 4, "invocationId": "s", "target": "SubscribeAccounts", "arguments": []}
        )

        assert "non-streaming 'SubscribeAccounts'" in (await hub.next())["error"]


async def test_record_types_without_use_here_are_ignored(gateway: Gateway) -> None:
    async with gateway.hub("user") as hub:
        await hub.send(
            {"type": 2, "invocationId": "x", "item": 1},
            {"type": 3, "invocationId": "x", "result": 1},
            {"type": 5, "invocationId": "x"},
            {"type": 8, "sequenceId": 1},
            {"type": 9, "sequenceId": 1},
        )

        assert (await hub.invoke("SubscribeAccounts"))["result"] is None


# -- events -----------------------------------------------------------------------------------


async def test_user_events_come_in_an_envelope_without_nulls(gateway: Gateway) -> None:
    async with gateway.hub("user") as hub:
        await hub.invoke("SubscribeOrders", ACCOUNT)
        gateway.venue.emit(order_event(3_501_000_101))

        assert await hub.next() == {
            "type": 1,
            "target": "GatewayUserOrder",
            "arguments": [
                {
                    "action": 1,
                    "data": {
                        "id": 3_501_000_101,
                        "accountId": ACCOUNT,
                        "contractId": CONTRACT,
                        "symbolId": "F.US.MNQ",
                        "creationTimestamp": "2026-10-02T14:31:07.600836+00:00",
                        "updateTimestamp": "2026-10-02T14:31:07.600836+00:00",
                        "status": 1,
                        "type": 1,
                        "side": 0,
                        "size": 1,
                        "limitPrice": 21010.25,
                        "fillVolume": 0,
                    },
                }
            ],
        }


async def test_each_subscription_brings_its_own_events_and_no_others(gateway: Gateway) -> None:
    events = [
        order_event(),
        UserEvent(target="GatewayUserTrade", account_id=ACCOUNT, action=0,
                  data=TradeRow(id=1, account_id=ACCOUNT, contract_id=CONTRACT, side=0, size=1,
                                creation_timestamp="t", price=Decimal(1), order_id=1)),
        UserEvent(target="GatewayUserPosition", account_id=ACCOUNT, action=2,
                  data=PositionRow(id=1, account_id=ACCOUNT, contract_id=CONTRACT, type=0, size=0,
                                   creation_timestamp="t", average_price=Decimal("21010.50"))),
        UserEvent(target="GatewayUserAccount", account_id=ACCOUNT, action=1,
                  data=gateway.venue.account_rows[0]),
    ]  # fmt: skip
    for method, arguments, target in (
        ("SubscribeOrders", [ACCOUNT], "GatewayUserOrder"),
        ("SubscribeTrades", [ACCOUNT], "GatewayUserTrade"),
        ("SubscribePositions", [ACCOUNT], "GatewayUserPosition"),
        ("SubscribeAccounts", [], "GatewayUserAccount"),
    ):
        async with gateway.hub("user") as hub:
            await hub.invoke(method, *arguments)
            for event in events:
                gateway.venue.emit(event)
            await hub.invoke("UnsubscribeAccounts")
            seen = [json.loads(record)["target"] for frame in hub.frames
                    for record in frame.split(b"\x1e") if b"target" in record]  # fmt: skip
            assert seen == [target]


async def test_a_foreign_account_stays_silent(gateway: Gateway) -> None:
    gateway.venue.account_rows.append(structs.replace(gateway.venue.account_rows[0], id=5))
    async with gateway.hub("user") as hub:
        await hub.invoke("SubscribeOrders", 999)
        gateway.venue.emit(structs.replace(order_event(), account_id=999))

        await hub.invoke("SubscribeAccounts")
        assert all(b"GatewayUserOrder" not in frame for frame in hub.frames)


async def test_market_events_have_two_arguments(gateway: Gateway) -> None:
    async with gateway.hub("market") as hub:
        await hub.invoke("SubscribeContractQuotes", CONTRACT)
        gateway.venue.emit(
            MarketEvent(
                target="GatewayQuote",
                contract_id=CONTRACT,
                data={"symbol": "F.US.MNQ", "bestBid": Decimal("29547.00")},
            )
        )

        event = await hub.next()
        assert event["arguments"] == [CONTRACT, {"symbol": "F.US.MNQ", "bestBid": 29547}]
        assert b'"bestBid":29547}' in hub.frames[-1]


async def test_a_new_depth_subscriber_gets_the_snapshot_and_others_do_not(
    gateway: Gateway,
) -> None:
    async with gateway.hub("market") as old, gateway.hub("market") as new:
        await old.invoke("SubscribeContractMarketDepth", CONTRACT)
        assert (await old.next_event("GatewayDepth"))["arguments"][1][0]["type"] == 6
        seen = len(old.frames)
        await new.invoke("SubscribeContractMarketDepth", CONTRACT)
        await old.invoke("UnsubscribeContractTrades", CONTRACT)
        assert all(b"GatewayDepth" not in frame for frame in old.frames[seen:])


async def test_subscribing_twice_doubles_events_until_one_unsubscribe(gateway: Gateway) -> None:
    async with gateway.hub("user") as hub:
        await hub.invoke("SubscribeOrders", ACCOUNT)
        await hub.invoke("SubscribeOrders", ACCOUNT)
        gateway.venue.emit(order_event())
        assert await hub.next() == await hub.next()

        await hub.invoke("UnsubscribeOrders", ACCOUNT)
        gateway.venue.emit(order_event())
        assert (await hub.invoke("SubscribeAccounts"))["type"] == 3
        assert sum(frame.count(b"GatewayUserOrder") for frame in hub.frames) == 2


async def test_doubling_can_be_switched_off() -> None:
    async with (
        running(ServerConfig(users={USER: API_KEY}, resubscribe_doubles=False)) as gateway,
        gateway.hub("user") as hub,
    ):
        await hub.invoke("SubscribeOrders", ACCOUNT)
        await hub.invoke("SubscribeOrders", ACCOUNT)
        gateway.venue.emit(order_event())
        await hub.invoke("SubscribeAccounts")
        assert sum(frame.count(b"GatewayUserOrder") for frame in hub.frames) == 1


async def test_nothing_is_replayed_and_subscriptions_die_with_the_connection(
    gateway: Gateway,
) -> None:
    async with gateway.hub("user") as hub:
        await hub.invoke("SubscribeOrders", ACCOUNT)
    gateway.venue.emit(order_event(1))
    async with gateway.hub("user") as hub:
        gateway.venue.emit(order_event(2))
        await hub.invoke("SubscribeOrders", ACCOUNT)
        gateway.venue.emit(order_event(3))

        assert (await hub.next())["arguments"][0]["data"]["id"] == 3


async def test_ten_thousand_events_arrive_in_order_in_frames_of_at_most_64_kb(
    gateway: Gateway,
) -> None:
    async with gateway.hub("market") as hub:
        await hub.invoke("SubscribeContractQuotes", CONTRACT)
        for number in range(10_000):
            gateway.venue.emit(quote_event(number))

        numbers = [(await hub.next())["arguments"][1]["lastPrice"] for _ in range(10_000)]
        assert numbers == list(range(10_000))
        assert max(map(len, hub.frames)) <= 64 * 1024
        assert all(frame.endswith(b"\x1e") for frame in hub.frames)
        assert len(hub.frames) < 100


async def test_a_record_above_64_kb_is_one_frame_of_its_own(gateway: Gateway) -> None:
    levels = [{"price": n, "type": 5, "volume": 1} for n in range(5_000)]
    async with gateway.hub("market") as hub:
        await hub.invoke("SubscribeContractMarketDepth", CONTRACT)
        await hub.next_event("GatewayDepth")
        gateway.venue.emit(MarketEvent(target="GatewayDepth", contract_id=CONTRACT, data=levels))

        event = await hub.next_event("GatewayDepth")
        assert len(event["arguments"][1]) == 5_000
        assert len(hub.frames[-1]) > 64 * 1024


async def test_a_client_that_does_not_read_is_disconnected_and_not_lied_to() -> None:
    async with (
        running(limits=HubLimits(queue_bytes_max=100_000)) as gateway,
        gateway.hub("market") as slow,
        gateway.hub("market") as healthy,
    ):
        await slow.invoke("SubscribeContractQuotes", CONTRACT)
        await healthy.invoke("SubscribeContractTrades", CONTRACT)
        for number in range(10_000):
            gateway.venue.emit(quote_event(number))

        (said,) = await slow.ended()
        assert said == {"type": 7, "error": hub_connection.SLOW, "allowReconnect": True}
        assert (await healthy.invoke("UnsubscribeContractTrades", CONTRACT))["result"] is None


# -- keep-alive -------------------------------------------------------------------------------


async def test_the_server_pings_whatever_else_it_sends() -> None:
    async with (
        running(config(HubTimings(ping_interval_s=0.05))) as gateway,
        gateway.hub("market") as hub,
    ):
        await hub.invoke("SubscribeContractQuotes", CONTRACT)
        pings = 0
        async with asyncio.timeout(WAIT_S):
            while pings < 3:
                gateway.venue.emit(quote_event(1))
                pings += (await hub.next())["type"] == 6


async def test_a_client_that_calls_but_never_pings_is_kept() -> None:
    timings = HubTimings(ping_interval_s=0.05, client_timeout_s=0.05)
    async with running(config(timings)) as gateway, gateway.hub("user") as hub:
        await hub.invoke("SubscribeAccounts")
        for _ in range(6):
            assert await hub.next() == {"type": 6}


async def test_the_first_ping_arms_the_client_timeout() -> None:
    timings = HubTimings(ping_interval_s=60, client_timeout_s=0.05)
    async with running(config(timings)) as gateway, gateway.hub("user") as hub:
        await hub.send({"type": 6})

        assert await hub.ended() == [CLOSED_BY_ERROR]
        assert hub.socket.close_code == 1000


async def test_any_record_counts_as_a_sign_of_life() -> None:
    timings = HubTimings(ping_interval_s=60, client_timeout_s=0.5)
    async with running(config(timings)) as gateway, gateway.hub("user") as hub:
        await hub.send({"type": 6})
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        while loop.time() < start_s + 1.0:
            assert (await hub.invoke("SubscribeAccounts"))["result"] is None


async def test_no_websocket_ping_frame_ever_leaves(gateway: Gateway) -> None:
    async with gateway.hub("user"):
        (connection,) = gateway.server.user_hub.connections
        assert connection._socket._heartbeat is None


# -- ends -------------------------------------------------------------------------------------


async def test_a_client_that_never_reads_cannot_hold_a_connection_that_is_to_end() -> None:
    timings = HubTimings(close_wait_s=0.05)
    async with running(config(timings)) as gateway:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            address = URL(gateway.url)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, (address.host, address.port))
            upgrade = (
                f"GET /hubs/user HTTP/1.1\r\nHost: {address.authority}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                f"Authorization: Bearer {gateway.token}\r\n\r\n"
            )
            handshake = b'{"protocol":"json","version":1}\x1e'
            unmasked = bytes([0x81, 0x80 | len(handshake), 0, 0, 0, 0]) + handshake
            await loop.sock_sendall(deaf, upgrade.encode() + unmasked)
            hub = gateway.server.user_hub
            await until(lambda: len(hub.connections) == 1)
            (connection,) = hub.connections
            for _ in range(110):
                connection.send_event(b"x" * 65_536)
            # Now the kernel takes no more, and the writer waits for a reader that never comes.
            transport = connection._transport
            assert transport is not None
            await until(lambda: transport.get_write_buffer_size() > 65_536)

            connection.close(error=None, allow_reconnect=True)

            await until(lambda: not hub.connections)


@pytest.mark.parametrize(
    "garbage",
    ["garbage\x1e", "{}\x1e", '{"type":"1"}\x1e', '{"type":1}\x1e', "[]\x1e",
     '{"type":1,"target":"SubscribeAccounts"}\x1e', "x" * 33_000,
     '{"type":6,"x":"' + "y" * 33_000 + '"}\x1e'],
)  # fmt: skip
async def test_an_unreadable_or_huge_record_ends_the_connection(
    gateway: Gateway, garbage: str
) -> None:
    async with gateway.hub("user") as hub:
        await hub.socket.send_str(garbage)

        assert await hub.ended() == [CLOSED_BY_ERROR]
        assert hub.socket.close_code == 1000


@pytest.mark.parametrize(
    "garbage",
    [
        b'{"type":1,"target":"\xff","arguments":[]}\x1e',
        b'{"type":1,"target":"SubscribeAccounts","arguments":' + b"[" * 30_000 + b"\x1e",
    ],
    ids=["no UTF-8", "nested without end"],
)
async def test_bytes_that_break_a_decoder_end_only_their_connection(
    gateway: Gateway, garbage: bytes
) -> None:
    async with gateway.hub("user") as hub:
        await hub.socket.send_bytes(garbage)

        assert await hub.ended() == [CLOSED_BY_ERROR]


async def test_an_unknown_record_type_makes_the_server_deaf_but_not_dumb(
    gateway: Gateway,
) -> None:
    async with gateway.hub("user") as hub:
        await hub.invoke("SubscribeOrders", ACCOUNT)
        await hub.send(
            {"type": 42},
            {"type": 1, "invocationId": "1", "target": "SubscribeAccounts", "arguments": []},
        )
        (connection,) = gateway.server.user_hub.connections_of(USER)
        await until(lambda: connection._deaf)
        gateway.venue.emit(order_event())

        assert (await hub.next())["target"] == "GatewayUserOrder"


async def test_a_close_record_of_the_client_ends_the_connection_in_order(
    gateway: Gateway,
) -> None:
    async with gateway.hub("user") as hub:
        await hub.send({"type": 7})

        assert await hub.ended() == []
        assert hub.socket.close_code == 1000


@pytest.mark.parametrize("allow_reconnect", [True, False])
async def test_the_server_can_say_close_both_ways(
    gateway: Gateway, *, allow_reconnect: bool
) -> None:
    async with gateway.hub("user") as hub:
        await hub.invoke("SubscribeOrders", ACCOUNT)
        gateway.venue.emit(order_event())
        (connection,) = gateway.server.user_hub.connections_of(USER)
        connection.close(error=None, allow_reconnect=allow_reconnect)
        gateway.venue.emit(order_event())

        expected = {"type": 7, "allowReconnect": True} if allow_reconnect else {"type": 7}
        assert await hub.ended() == [expected]  # what was queued is dropped
        assert hub.socket.close_code == 1000


async def test_a_reset_ends_without_a_word(gateway: Gateway) -> None:
    async with gateway.hub("user") as hub:
        (connection,) = gateway.server.user_hub.connections_of(None)
        connection.reset()

        assert await hub.ended() == []
        assert hub.socket.close_code != 1000


async def test_shutting_down_ends_sockets_without_close_as_a_killed_server_does() -> None:
    async with running() as gateway, gateway.hub("user") as hub:
        gateway.server.user_hub.close_all()

        assert await hub.ended() == []
        assert hub.socket.close_code == 1006


async def test_a_frozen_connection_answers_nothing_and_can_thaw(gateway: Gateway) -> None:
    async with gateway.hub("user") as hub:
        await hub.invoke("SubscribeOrders", ACCOUNT)
        (connection,) = gateway.server.user_hub.connections_of(USER)
        connection.silent(Silence.FROZEN)
        gateway.venue.emit(order_event(1))
        await hub.send(
            {"type": 1, "invocationId": "1", "target": "SubscribeAccounts", "arguments": []}
        )
        connection.silent(Silence.NONE)
        gateway.venue.emit(order_event(2))

        assert (await hub.next_event("GatewayUserOrder"))["arguments"][0]["data"]["id"] == 2


async def something_but_pings(hub: Hub) -> Any:
    while (record := await hub.next()) == {"type": 6}:
        pass
    return record


async def test_a_frozen_connection_is_not_ended_by_the_client_timeout() -> None:
    timings = HubTimings(ping_interval_s=0.02, client_timeout_s=0.05)
    async with running(config(timings)) as gateway, gateway.hub("user") as hub:
        (connection,) = gateway.server.user_hub.connections_of(USER)
        await hub.send({"type": 6})
        await until(lambda: connection._client_deadline_s is not None)
        connection.silent(Silence.FROZEN)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(something_but_pings(hub), timeout=0.3)

        connection.silent(Silence.NONE)
        assert (await hub.ended())[-1] == CLOSED_BY_ERROR


async def test_a_frozen_connection_can_still_be_reset(gateway: Gateway) -> None:
    async with gateway.hub("user") as hub:
        (connection,) = gateway.server.user_hub.connections_of(USER)
        connection.silent(Silence.FROZEN)
        connection.reset()

        assert await hub.ended() == []


async def test_an_expired_token_can_end_the_connection_or_leave_it() -> None:
    timings = HubTimings(ping_interval_s=0.05)
    for switch, first in (
        (TokenExpiryOnHub.DROP, CLOSED_BY_ERROR),
        (TokenExpiryOnHub.KEEP, {"type": 6}),
    ):
        async with (
            running(config(timings, token_expiry_on_hub=switch)) as gateway,
            gateway.hub("user") as hub,
        ):
            gateway.now[0] += 86_400 * 1_000_000
            assert await hub.next() == first
            assert await upgrade_status(gateway, "") == 401


async def test_a_newer_connection_logs_the_older_out_behind_a_switch() -> None:
    settings = ServerConfig(users={USER: API_KEY}, logout_older_connections=True)
    async with running(settings) as gateway, gateway.hub("user") as older, gateway.hub("user"):
        assert await older.next() == {"type": 1, "target": "GatewayLogout", "arguments": []}


async def test_connections_leave_nothing_behind(gateway: Gateway) -> None:
    async with gateway.hub("user") as hub:
        await hub.invoke("SubscribeOrders", ACCOUNT)
    await until(lambda: not gateway.server.user_hub.connections)
    assert not gateway.server.user_hub.has_listeners(("GatewayUserOrder", ACCOUNT))
