"""The behaviours of a hub client that a safety daemon needs, each against a scripted server."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web
from msgspec import Raw
from tests.adapters.projectx.conftest import (
    HubSocket,
    ScriptedHub,
    SystemClock,
    make_jwt,
    running,
    running_hub,
    until,
)

from backstop.adapters.projectx import hub_protocol
from backstop.adapters.projectx.hub_connect import Negotiate
from backstop.adapters.projectx.hub_link import HubLink
from backstop.adapters.projectx.session import BearerToken
from backstop.adapters.projectx.signalr import (
    Call,
    HubEndedError,
    HubTimings,
    InvocationFailedError,
)
from backstop.errors import GatewayAnswerError, GatewayUnreachableError, InvariantError

FAST = HubTimings(
    connect_s=1.0,
    handshake_s=0.3,
    invoke_s=0.5,
    send_s=0.5,
    ping_s=0.1,
    silence_s=0.4,
    delays_s=(0.0, 0.01, 0.02),
    proven_s=5.0,
)
PATIENT = msgspec.structs.replace(FAST, silence_s=30.0, ping_s=15.0, handshake_s=5.0, invoke_s=5.0)


class Tokens:
    """Hands out a new token whenever the one before was refused."""

    def __init__(self) -> None:
        self.asked = 0
        self.refused: list[str] = []
        self.fault: Exception | None = None
        self._number = 0
        self.renew()

    def renew(self) -> None:
        self._number += 1
        text = make_jwt(lives_s=3_600, name=f"token{self._number}")
        self._token = BearerToken(text, ends_ns=2**62, life_ns=2**62)

    async def token(self) -> BearerToken:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return self._token

    def refuse(self, token: BearerToken) -> None:
        self.refused.append(token.reveal())
        self.renew()


class Listener:
    """Remembers all it hears."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.events: list[tuple[int, str, Any]] = []  # generation, target, arguments
        self.rejected: list[tuple[str, str]] = []
        self.changes: list[tuple[str, int, str]] = []
        self.wanted: tuple[str, ...] = ()
        self.open_calls: list[Call] = []
        self.on_event_do: Callable[[str], None] = lambda _target: None
        self.generation = 0

    def subscriptions(self) -> list[Call]:
        calls, self.open_calls = self.open_calls, []
        return calls

    def on_begin(self, generation: int) -> None:
        self.generation = generation
        self.open_calls = [Call(target, (31004502,)) for target in self.wanted]

    def on_connected(self, generation: int) -> None:
        self.changes.append(("connected", generation, ""))

    def on_lost(self, generation: int, reason: str) -> None:
        self.changes.append(("lost", generation, reason))

    def on_event(self, target: str, arguments: list[Raw]) -> None:
        self.events.append((self.generation, target, [json.loads(bytes(one)) for one in arguments]))
        self.on_event_do(target)

    def on_rejected(self, target: str, fault: str, payload: bytes) -> None:
        assert isinstance(payload, bytes)
        self.rejected.append((target, fault))

    def numbers(self) -> list[Any]:
        return [arguments[0] for _, _, arguments in self.events]

    def is_connected(self, times: int = 1) -> bool:
        return sum(change[0] == "connected" for change in self.changes) >= times

    def losses(self) -> list[str]:
        return [reason for change, _, reason in self.changes if change == "lost"]


class Client:
    """A link and everything around it."""

    def __init__(self, link: HubLink, listener: Listener, tokens: Tokens) -> None:
        self.link = link
        self.listener = listener
        self.tokens = tokens


def a_client(url: str, *, timings: HubTimings = PATIENT, **options: Any) -> Client:
    listener, tokens = Listener(), options.pop("tokens", None) or Tokens()
    link = HubLink(
        url,
        tokens=tokens,
        listener=listener,
        clock=options.pop("clock", None) or SystemClock(),
        timings=timings,
        **options,
    )
    return Client(link, listener, tokens)


@asynccontextmanager
async def connected_client(url: str, **options: Any) -> AsyncIterator[Client]:
    client = a_client(url, **options)
    async with running(client.link.run()):
        await until(client.listener.is_connected)
        yield client


async def stay(socket: HubSocket) -> None:
    """Shake hands and complete every call."""
    await socket.handshake()
    await socket.serve()


def event(number: Any, target: str = "E") -> str:
    return json.dumps({"type": 1, "target": target, "arguments": [number]}) + "\x1e"


# -- what arrives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("negotiate", list(Negotiate))
async def test_events_in_the_message_of_the_handshakes_answer_are_not_lost(
    hub: ScriptedHub, negotiate: Negotiate
) -> None:
    async def script(socket: HubSocket) -> None:
        await socket.handshake(then=event(1) + event(2))
        await socket.serve()

    hub.scripts = [script]
    async with connected_client(hub.url, negotiate=negotiate) as client:
        await until(lambda: client.listener.numbers() == [1, 2])


async def test_events_keep_their_order_and_none_is_lost_in_a_burst(hub: ScriptedHub) -> None:
    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        for start in range(0, 5_000, 50):
            await socket.socket.send_str("".join(event(start + one) for one in range(50)))
        await socket.serve()

    hub.scripts = [script]
    async with connected_client(hub.url) as client:
        await until(lambda: len(client.listener.events) == 5_000)
        assert client.listener.numbers() == list(range(5_000))


@pytest.mark.parametrize("size", [40_000, 2_000_000, 15_000_000])
async def test_large_records_arrive(hub: ScriptedHub, size: int) -> None:
    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        await socket.socket.send_str(event("x" * size))
        await socket.serve()

    hub.scripts = [script]
    async with connected_client(hub.url) as client:
        await until(lambda: bool(client.listener.events))
        assert client.listener.numbers() == ["x" * size]


async def test_a_record_beyond_any_real_one_ends_the_connection_and_not_the_client(
    hub: ScriptedHub,
) -> None:
    async def too_much(socket: HubSocket) -> None:
        await socket.handshake()
        await socket.socket.send_str("x" * (hub_protocol.RECORD_BYTES_MAX + 1_000_000))
        await socket.serve()

    hub.scripts = [too_much, stay]
    async with connected_client(hub.url) as client:
        await until(lambda: client.listener.is_connected(times=2))


async def test_records_may_be_cut_anywhere_and_come_in_binary_frames(hub: ScriptedHub) -> None:
    async def script(socket: HubSocket) -> None:
        await socket.records()
        stream = "{}\x1e" + event(1) + event("ä") + event(3)
        data = stream.encode()
        for index in range(0, len(data), 7):
            await socket.socket.send_bytes(data[index : index + 7])
        await socket.serve()

    hub.scripts = [script]
    async with connected_client(hub.url) as client:
        await until(lambda: client.listener.numbers() == [1, "ä", 3])


async def test_unknown_types_members_and_broken_records_never_end_the_stream(
    hub: ScriptedHub,
) -> None:
    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        await socket.socket.send_str(
            '{"type":42,"news":[1]}\x1e'
            "not json\x1e"
            '{"target":"E","arguments":[1]}\x1e'
            '{"type":"1"}\x1e'
            '{"type":1,"target":"E","arguments":{"a":1}}\x1e'
            '{"type":3,"invocationId":"nobody","result":null}\x1e'
            "\x1e"
            "[]\x1e"
        )
        await socket.socket.send_str(
            '{"type":1,"target":"E","arguments":[7],"headers":{"a":"b"},"new":null}\x1e'
        )
        await socket.serve()

    hub.scripts = [script]
    async with connected_client(hub.url) as client:
        await until(lambda: client.listener.numbers() == [7])
        assert len(client.listener.rejected) == 8
        assert client.listener.losses() == []


async def test_invalid_utf_8_is_a_bad_record_and_not_the_end(hub: ScriptedHub) -> None:
    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        await socket.socket.send_bytes(b'{"type":1,"target":"\xff\xfe","arguments":[1]}\x1e')
        await socket.socket.send_str(event(2))
        await socket.serve()

    hub.scripts = [script]
    async with connected_client(hub.url) as client:
        await until(lambda: client.listener.numbers() == [2])
        assert len(client.listener.rejected) == 1


@pytest.mark.parametrize("before", ['{"type":1,"new":', '{"type":1,"target":"E","arguments":['])
async def test_json_nested_without_end_is_a_bad_record_and_not_the_end(
    hub: ScriptedHub, before: str
) -> None:
    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        await socket.socket.send_str(before + "[" * 200_000 + "\x1e")
        await socket.socket.send_str(event(2))
        await socket.serve()

    hub.scripts = [script]
    async with connected_client(hub.url) as client:
        await until(lambda: client.listener.numbers() == [2])
        assert len(client.listener.rejected) == 1


async def test_a_handler_that_fails_is_reported_and_the_next_event_comes(hub: ScriptedHub) -> None:
    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        await until(ready.is_set)
        await socket.socket.send_str(event(1, "bad") + event(2, "good"))
        await socket.serve()

    def fail(target: str) -> None:
        if target == "bad":
            raise KeyError("oh")

    ready = asyncio.Event()
    hub.scripts = [script]
    async with connected_client(hub.url) as client:
        client.listener.on_event_do = fail
        ready.set()
        await until(lambda: client.listener.numbers() == [1, 2])
        assert client.listener.rejected == [("bad", "its handler failed: KeyError('oh')")]


async def test_what_repeats_a_secret_loses_it_before_anybody_sees_it(hub: ScriptedHub) -> None:
    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        await socket.socket.send_str(event("hunter2"))
        await socket.socket.send_str('{"type":7,"error":"hunter2 is over"}\x1e')
        await socket.serve()

    hub.scripts = [script, stay]
    async with connected_client(
        hub.url, strike=lambda body: body.replace(b"hunter2", b"***")
    ) as client:
        await until(lambda: "the server closed: *** is over" in client.listener.losses())
        assert client.listener.numbers() == ["***"]


async def test_a_broken_promise_of_our_own_is_not_swallowed(hub: ScriptedHub) -> None:
    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        await until(ready.is_set)
        await socket.socket.send_str(event(1))
        await socket.serve()

    def fail(_target: str) -> None:
        raise InvariantError("ours")

    ready = asyncio.Event()
    hub.scripts = [script]
    client = a_client(hub.url)
    client.listener.on_event_do = fail
    ready.set()
    with pytest.raises(ExceptionGroup) as group:
        async with asyncio.timeout(5):
            await client.link.run()
    assert group.group_contains(InvariantError)


# -- the server goes silent ------------------------------------------------------------------------


async def test_a_silent_server_with_a_living_socket_is_noticed(hub: ScriptedHub) -> None:
    """WebSocket pings do not count as life: a proxy answers them for a dead server."""

    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        while True:
            await socket.socket.ping(b"payload")
            await asyncio.sleep(0.02)

    hub.scripts = [script, stay]
    async with connected_client(hub.url, timings=FAST) as client:
        await until(lambda: client.listener.is_connected(times=2))
        assert client.listener.losses()[0].startswith("no SignalR data for")


async def test_a_black_hole_is_noticed(hub: ScriptedHub) -> None:
    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        socket.transport.pause_reading()
        await asyncio.sleep(30)

    hub.scripts = [script, stay]
    async with connected_client(hub.url, timings=FAST) as client:
        await until(lambda: client.listener.is_connected(times=2))
        assert client.listener.losses()[0].startswith("no SignalR data for")


async def test_signalr_pings_of_the_server_keep_the_connection(hub: ScriptedHub) -> None:
    class Ahead(SystemClock):
        ahead_ns = 0

        def monotonic_ns(self) -> int:
            return super().monotonic_ns() + self.ahead_ns

    clock = Ahead()
    timings = msgspec.structs.replace(PATIENT, ping_s=0.1)

    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        for _ in range(10):  # a minute, twice what is silence
            await socket.send({"type": 6})
            clock.ahead_ns += 6_000_000_000
            await socket.records()  # a ping of the client: it has looked at its clock
        await socket.send({"type": 1, "target": "E", "arguments": ["alive"]})
        await socket.serve()

    hub.scripts = [script]
    async with connected_client(hub.url, timings=timings, clock=clock) as client:
        await until(lambda: client.listener.numbers() == ["alive"])
        assert client.listener.losses() == []


async def test_a_sleep_of_the_computer_is_noticed_by_the_clock_that_counts_it(
    hub: ScriptedHub,
) -> None:
    class Suspended(SystemClock):
        jump_ns = 0

        def monotonic_ns(self) -> int:
            return super().monotonic_ns() + self.jump_ns

    clock = Suspended()
    hub.scripts = [stay]
    async with connected_client(hub.url, clock=clock) as client:
        clock.jump_ns = 3_600 * 1_000_000_000
        await until(lambda: client.listener.is_connected(times=2))
        assert client.listener.losses()[0].startswith("no SignalR data for 36")


async def test_we_ping_at_once_and_then_in_rhythm(hub: ScriptedHub) -> None:
    """The server watches its clients only from their first ping on."""
    pings: list[float] = []

    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        while True:
            for record in await socket.records():
                assert record == {"type": 6}
                pings.append(time.monotonic())
            await socket.send({"type": 6})

    hub.scripts = [script]
    async with connected_client(hub.url, timings=FAST):
        await until(lambda: len(pings) >= 5)


# -- tokens ----------------------------------------------------------------------------------------


async def test_the_first_request_bears_the_token_in_the_header_and_nowhere_else(
    hub: ScriptedHub,
) -> None:
    hub.scripts = [stay]
    async with connected_client(hub.url) as client:
        token = (await client.tokens.token()).reveal()

    assert hub.negotiated == [f"Bearer {token}"]
    assert hub.opened == [("id=secret1", f"Bearer {token}")]


@pytest.mark.parametrize("place", ["negotiate", "upgrade"])
async def test_a_401_renews_the_token_before_the_next_attempt(hub: ScriptedHub, place: str) -> None:
    if place == "negotiate":
        hub.negotiations = [(401, "")]
    else:
        hub.upgrade_status = [401]
    hub.scripts = [stay]
    client = a_client(hub.url)
    async with running(client.link.run()):
        await until(lambda: bool(client.tokens.refused))
        hub.negotiations = []
        await until(client.listener.is_connected)

    assert client.tokens.refused[0].endswith("token1")
    assert hub.opened[-1][1].endswith(f"token{len(client.tokens.refused) + 1}")


async def test_the_token_is_asked_before_every_attempt(hub: ScriptedHub) -> None:
    async def drop(socket: HubSocket) -> None:
        await socket.handshake()
        socket.abort()

    hub.scripts = [drop, drop, stay]
    client = a_client(hub.url)
    async with running(client.link.run()):
        await until(lambda: len(hub.opened) == 3 and client.link.health().is_connected)

    assert client.tokens.asked == 3


async def test_a_renewed_token_moves_the_connection_to_it(hub: ScriptedHub) -> None:
    """What a hub does with a connection whose token has ended is not known: it may fall silent."""
    hub.scripts = [stay]
    timings = msgspec.structs.replace(PATIENT, token_check_s=0.02)
    async with connected_client(hub.url, timings=timings) as client:
        asked = client.tokens.asked
        client.tokens.fault = GatewayUnreachableError("no session")
        await until(lambda: client.tokens.asked > asked + 2)
        client.tokens.fault = None
        asked = client.tokens.asked
        await until(lambda: client.tokens.asked > asked + 2)
        assert client.link.generation == 1  # neither a failed renewal nor the same token moves it

        client.tokens.renew()
        await until(lambda: client.listener.is_connected(times=2))

        assert client.listener.losses() == ["its token was renewed"]
        assert [bearer.endswith("token2") for _, bearer in hub.opened] == [False, True]


async def test_a_token_that_cannot_be_had_is_waited_for(hub: ScriptedHub) -> None:
    hub.scripts = [stay]
    client = a_client(hub.url)
    client.tokens.fault = GatewayUnreachableError("no session")
    async with running(client.link.run()):
        await until(lambda: client.tokens.asked >= 3)
        assert client.link.health().last_fault == "no session"
        client.tokens.fault = None
        await until(client.listener.is_connected)


# -- coming back -----------------------------------------------------------------------------------


async def end_of_stream(socket: HubSocket) -> None:
    await socket.handshake()
    await socket.acknowledge(1)
    socket.transport.close()


async def reset(socket: HubSocket) -> None:
    await socket.handshake()
    await socket.acknowledge(1)
    socket.abort()


async def close_for_good(socket: HubSocket) -> None:
    await socket.handshake()
    await socket.acknowledge(1)
    await socket.send({"type": 7})
    await socket.serve()


async def close_with_reconnect(socket: HubSocket) -> None:
    await socket.handshake()
    await socket.acknowledge(1)
    await socket.send({"type": 7, "error": "Connection closed.", "allowReconnect": True})
    await socket.serve()


async def close_frame(socket: HubSocket) -> None:
    await socket.handshake()
    await socket.acknowledge(1)
    await socket.socket.close(code=1001)


@pytest.mark.parametrize(
    "ending", [end_of_stream, reset, close_for_good, close_with_reconnect, close_frame]
)
async def test_every_kind_of_end_is_reported_once_and_followed_by_a_new_connection(
    hub: ScriptedHub, ending: Callable[[HubSocket], Any]
) -> None:
    hub.scripts = [ending, stay]
    client = a_client(hub.url)
    client.listener.wanted = ("Subscribe",)
    async with running(client.link.run()):
        await until(lambda: client.listener.is_connected(times=2))

    assert [(change, generation) for change, generation, _ in client.listener.changes] == [
        ("connected", 1),
        ("lost", 1),
        ("connected", 2),
    ]
    assert client.listener.losses()[0]


async def test_many_drops_are_survived_and_every_event_knows_its_generation(
    hub: ScriptedHub,
) -> None:
    async def script(socket: HubSocket) -> None:
        await socket.handshake(then=event(len(hub.opened)))
        socket.abort()

    hub.scripts = [*[script] * 25, stay]
    client = a_client(hub.url)
    async with running(client.link.run()):
        await until(lambda: len(hub.opened) == 26 and client.link.health().is_connected)

    generations = [
        (generation, arguments[0]) for generation, _, arguments in client.listener.events
    ]
    assert all(generation == number for generation, number in generations)


async def test_503_and_refused_upgrades_are_tried_again(hub: ScriptedHub) -> None:
    hub.negotiations = [(503, "busy"), (500, ""), {"error": "not now"}, (302, ""), {"a": 1}]
    hub.upgrade_status = [503, 404]
    hub.scripts = [stay]
    client = a_client(hub.url)
    async with running(client.link.run()):
        await until(lambda: len(hub.negotiated) >= 5)
        hub.negotiations = []
        await until(client.listener.is_connected)


async def test_a_hub_that_is_not_there_yet_is_found_when_it_comes(unused_tcp_port: int) -> None:
    client = a_client(f"http://127.0.0.1:{unused_tcp_port}/hub")
    scripted = ScriptedHub()
    scripted.scripts = [stay]
    async with running(client.link.run()):
        await until(lambda: client.link.health().attempts >= 3)
        assert "no connection" in client.link.health().last_fault
        app = web.Application()
        app.router.add_post("/hub/negotiate", scripted.negotiate)
        app.router.add_get("/hub", scripted.open)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
        try:
            await until(client.listener.is_connected)
        finally:
            await runner.cleanup()
    assert client.listener.changes[0] == ("connected", 1, "")  # no loss before the first


async def test_pauses_grow_with_failures_and_start_anew_only_after_some_service() -> None:
    slept_s: list[float] = []

    class Service(SystemClock):
        ahead_ns = 0

        def monotonic_ns(self) -> int:
            return super().monotonic_ns() + self.ahead_ns

    clock = Service()

    async def sleep(seconds: float) -> None:
        slept_s.append(seconds)
        await asyncio.sleep(0)

    async def cut_at_once(socket: HubSocket) -> None:
        await socket.handshake()
        await socket.acknowledge(1)
        socket.abort()

    async def serve_a_while(socket: HubSocket) -> None:
        await socket.handshake()
        await socket.acknowledge(1)
        await until(lambda: client.link.health().is_connected)
        clock.ahead_ns += 6_000_000_000
        socket.abort()

    async with running_hub() as hub:
        hub.scripts = [*[cut_at_once] * 8, serve_a_while, cut_at_once, stay]
        timings = msgspec.structs.replace(HubTimings(), silence_s=3_600.0)
        client = a_client(hub.url, timings=timings, clock=clock, sleep=sleep, jitter=lambda: 0.5)
        client.listener.wanted = ("Subscribe",)
        async with running(client.link.run()):
            await until(lambda: len(hub.opened) == 11 and client.link.health().is_connected)

    assert slept_s == [0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 15.0, 15.0, 0.0, 0.5]


async def test_jitter_spreads_the_pauses() -> None:
    slept_s: list[float] = []

    async def sleep(seconds: float) -> None:
        slept_s.append(seconds)
        await asyncio.sleep(0)

    jitters = iter([0.0, 0.0, 0.999, 0.25])
    client = a_client(
        "http://127.0.0.1:9/hub", timings=HubTimings(), sleep=sleep, jitter=lambda: next(jitters, 0)
    )
    client.tokens.fault = GatewayUnreachableError("no session")
    async with running(client.link.run()):
        await until(lambda: len(slept_s) >= 4)

    assert slept_s[:4] == [0.0, 0.25, pytest.approx(1.499), 1.5]


# -- calls -----------------------------------------------------------------------------------------


async def test_an_error_of_a_call_is_raised_where_it_was_made(hub: ScriptedHub) -> None:
    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        while True:
            for record in await socket.records():
                if record["type"] == 1:
                    await socket.send(
                        {"type": 3, "invocationId": record["invocationId"], "error": "no method"}
                    )

    hub.scripts = [script]
    async with connected_client(hub.url) as client:
        with pytest.raises(InvocationFailedError, match="no method"):
            await client.link.invoke("X")
        assert client.listener.losses() == []


async def test_a_call_that_gets_no_answer_ends_by_its_deadline(hub: ScriptedHub) -> None:
    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        while True:
            await socket.records()

    hub.scripts = [script]
    timings = msgspec.structs.replace(PATIENT, invoke_s=0.1)
    async with connected_client(hub.url, timings=timings) as client:
        with pytest.raises(InvocationFailedError, match=r"no completion within 0\.1 s"):
            await client.link.invoke("X")


async def test_an_open_call_fails_at_once_when_the_connection_drops(hub: ScriptedHub) -> None:
    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        while not any(record["type"] == 1 for record in await socket.records()):
            pass
        socket.abort()

    hub.scripts = [script]
    timings = msgspec.structs.replace(PATIENT, invoke_s=60.0)
    async with connected_client(hub.url, timings=timings) as client:
        with pytest.raises(HubEndedError):
            async with asyncio.timeout(5):
                await client.link.invoke("X")


async def test_a_call_without_a_connection_fails_at_once() -> None:
    with pytest.raises(HubEndedError, match="not connected"):
        await a_client("http://127.0.0.1:9/hub").link.invoke("X")


async def test_a_refused_subscription_is_no_connection(hub: ScriptedHub) -> None:
    async def refuse(socket: HubSocket) -> None:
        await socket.handshake()
        while True:
            for record in await socket.records():
                if record["type"] == 1:
                    await socket.send(
                        {"type": 3, "invocationId": record["invocationId"], "error": "not yours"}
                    )

    hub.scripts = [refuse, refuse, stay]
    client = a_client(hub.url)
    client.listener.wanted = ("SubscribeOrders",)
    async with running(client.link.run()):
        await until(client.listener.is_connected)

    assert client.listener.changes == [("connected", 3, "")]


async def test_stopping_takes_no_time_even_when_the_server_is_dead(hub: ScriptedHub) -> None:
    async def dead(socket: HubSocket) -> None:
        await socket.handshake()
        socket.transport.pause_reading()
        await asyncio.sleep(30)

    hub.scripts = [dead]
    client = a_client(hub.url)
    task = asyncio.ensure_future(client.link.run())
    await until(client.listener.is_connected)

    task.cancel()
    async with asyncio.timeout(3):
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert task.cancelled()


# -- beginning -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        b'{"error":"The protocol is not supported."}',
        b"nonsense",
        b'{"error":5}',
        b'{"error":"\xff"}',
        b'{"error":' + b"[" * 200_000,
    ],
    ids=["refusal", "no JSON", "no text", "no UTF-8", "nested without end"],
)
async def test_a_refused_handshake_is_tried_again_with_its_reason(
    hub: ScriptedHub, answer: bytes
) -> None:
    async def refuse(socket: HubSocket) -> None:
        await socket.records()
        await socket.socket.send_bytes(answer + b"\x1e")
        await socket.serve()

    async def stay_after_check(socket: HubSocket) -> None:
        faults.append(client.link.health().last_fault)
        await stay(socket)

    faults: list[str] = []
    hub.scripts = [refuse, stay_after_check]
    client = a_client(hub.url)
    async with running(client.link.run()):
        await until(client.listener.is_connected)
    assert "handshake" in faults[0]


async def test_a_server_that_never_answers_the_handshake_is_left(hub: ScriptedHub) -> None:
    async def silent(socket: HubSocket) -> None:
        await socket.records()
        await asyncio.sleep(30)

    hub.scripts = [silent, stay]
    async with connected_client(hub.url, timings=FAST):
        assert len(hub.opened) >= 2


async def test_skipping_negotiation_connects_without_an_id(hub: ScriptedHub) -> None:
    hub.scripts = [stay]
    async with connected_client(hub.url, negotiate=Negotiate.SKIP):
        pass

    assert hub.negotiated == []
    assert hub.opened[0][0] == ""


@pytest.mark.parametrize("status", [404, 405])
async def test_a_server_without_negotiation_is_connected_to_directly(
    hub: ScriptedHub, status: int
) -> None:
    hub.negotiations = [(status, "")]
    hub.scripts = [stay]
    async with connected_client(hub.url):
        pass

    assert hub.opened[0][0] == ""


async def test_version_0_of_negotiation_gives_the_public_id(hub: ScriptedHub) -> None:
    hub.negotiations = [
        {"connectionId": "public", "availableTransports": [{"transport": "WebSockets"}]}
    ]
    hub.scripts = [stay]
    async with connected_client(hub.url):
        pass

    assert hub.opened[0][0] == "id=public"


async def test_a_redirect_is_followed_with_the_token_it_names(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    hub.negotiations = [{"url": other_hub.url, "accessToken": "theirs"}]
    other_hub.scripts = [stay]
    async with connected_client(hub.url):
        pass

    assert other_hub.negotiated == ["Bearer theirs"]
    assert other_hub.opened[0][1] == "Bearer theirs"


async def test_our_token_is_not_carried_to_another_host(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    hub.negotiations = [{"url": other_hub.url}]
    client = a_client(hub.url)
    async with running(client.link.run()):
        await until(lambda: "another host" in client.link.health().last_fault)

    assert other_hub.negotiated == []


async def test_redirects_without_end_are_left(hub: ScriptedHub) -> None:
    hub.negotiations = [{"url": hub.url}]
    client = a_client(hub.url)
    async with running(client.link.run()):
        await until(lambda: "more than 5 times" in client.link.health().last_fault)


async def test_a_connection_secret_never_shows_in_a_fault(hub: ScriptedHub) -> None:
    hub.upgrade_status = [409] * 50
    client = a_client(hub.url)
    async with running(client.link.run()):
        await until(lambda: client.link.health().attempts >= 2)
        fault = client.link.health().last_fault

    assert "409" in fault
    assert "secret" not in fault


# -- records ---------------------------------------------------------------------------------------


def test_records_are_the_same_however_the_stream_is_cut() -> None:
    stream = b'{"type":6}\x1e{"a":1}\x1e\x1e{"b":2}\x1e'
    whole = [b'{"type":6}', b'{"a":1}', b"", b'{"b":2}']
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            buffer = hub_protocol.RecordBuffer()
            parts = (stream[:first], stream[first:second], stream[second:])
            records = [record for part in parts if part for record in buffer.feed(part)]
            assert records == whole


def test_an_endless_record_is_refused() -> None:
    buffer = hub_protocol.RecordBuffer()
    part = b"x" * (hub_protocol.RECORD_BYTES_MAX // 2)
    assert buffer.feed(part) == []
    assert buffer.feed(part) == []

    buffer.feed(b"x")
    with pytest.raises(GatewayAnswerError, match="more than"):
        buffer.feed(b"x")
