"""A scripted gateway on loopback, and clocks: what every test of the client side needs."""

import asyncio
import base64
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

END = b"\x1e"
OK = {"success": True, "errorCode": 0, "errorMessage": None}


class SystemClock:
    """The machine's clocks; ``skew_us`` moves the wall clock only."""

    def __init__(self) -> None:
        self.skew_us = 0

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def utc_us(self) -> int:
        return time.time_ns() // 1000 + self.skew_us


class ManualClock:
    """A clock that moves only when something sleeps on it."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000
        self.base_utc_us = 1_790_000_000_000_000
        self.slept_s: list[float] = []

    def monotonic_ns(self) -> int:
        return self.now_ns

    def utc_us(self) -> int:
        return self.base_utc_us + self.now_ns // 1000

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_ns += int(seconds * 1_000_000_000)
        await asyncio.sleep(0)


class Key:
    """A secret that shows itself only when asked."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text


def make_jwt(*, lives_s: float, name: str = "t") -> str:
    """Return an unsigned JWT that ends ``lives_s`` from now."""
    claims = json.dumps({"exp": int(time.time() + lives_s), "name": name}).encode()
    payload = base64.urlsafe_b64encode(claims).rstrip(b"=").decode()
    return f"eyJhbGciOiJub25lIn0.{payload}.{name}"


Handler = Callable[[web.Request, Any], Awaitable[web.StreamResponse]]


class ScriptedApi:
    """REST on loopback: each path answers what the test put there, in order, the last for ever."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[tuple[str, Any, str]] = []  # path, body, authorization
        self.logins = 0
        self.token_life_s = 86_400.0
        self._answers: dict[str, deque[Handler]] = {}

    def answer(self, path: str, *answers: Any) -> None:
        """Queue answers: dict (200 JSON), (status, text, headers), or a handler coroutine."""
        self._answers[path] = deque(_handler(answer) for answer in answers)

    def count(self, path: str) -> int:
        return sum(1 for called, _, _ in self.calls if called == path)

    def bodies(self, path: str) -> list[Any]:
        return [body for called, body, _ in self.calls if called == path]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        body = json.loads(text) if text else None
        self.calls.append((request.path, body, request.headers.get("Authorization", "")))
        queued = self._answers.get(request.path)
        if queued:
            handler = queued[0] if len(queued) == 1 else queued.popleft()
            return await handler(request, body)
        if request.path == "/api/Auth/loginKey":
            self.logins += 1
            token = make_jwt(lives_s=self.token_life_s, name=f"login{self.logins}")
            return web.json_response({**OK, "token": token})
        return web.Response(status=404)


def _handler(answer: Any) -> Handler:
    if callable(answer):
        return answer  # type: ignore[no-any-return]

    async def fixed(_request: web.Request, _body: Any) -> web.StreamResponse:
        if isinstance(answer, dict):
            return web.json_response(answer)
        status, text, *headers = answer
        return web.Response(status=status, text=text, headers=headers[0] if headers else None)

    return fixed


def abort(request: web.Request) -> None:
    """Reset the connection of ``request``."""
    assert request.transport is not None
    request.transport.abort()


class HubSocket:
    """One accepted hub connection, as a script sees it."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self.socket = socket
        self.transport = transport
        self.received: list[dict[str, Any]] = []

    async def records(self) -> list[dict[str, Any]]:
        """Return the records of the next message; ends the script when the client is gone."""
        message = await self.socket.receive()
        if message.type not in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
            raise ClientGoneError
        data = message.data.encode() if isinstance(message.data, str) else message.data
        records = [json.loads(record) for record in data.split(END) if record]
        self.received.extend(records)
        return records

    async def handshake(self, *, answer: str = "{}", then: str = "") -> None:
        """Take the handshake and answer it; ``then`` goes into the same message."""
        assert await self.records() == [{"protocol": "json", "version": 1}]
        await self.socket.send_str(f"{answer}\x1e{then}")

    async def send(self, *records: Any) -> None:
        """Send records in one message."""
        await self.socket.send_str("".join(json.dumps(record) + "\x1e" for record in records))

    async def event(self, target: str, *arguments: Any) -> None:
        await self.send({"type": 1, "target": target, "arguments": list(arguments)})

    async def acknowledge(self, count: int) -> list[dict[str, Any]]:
        """Complete the next ``count`` invocations and return them."""
        calls: list[dict[str, Any]] = []
        while len(calls) < count:
            for record in await self.records():
                if record["type"] == 1:
                    calls.append(record)
                    await self.send(
                        {"type": 3, "invocationId": record["invocationId"], "result": None}
                    )
        return calls

    async def serve(self) -> None:
        """Complete every invocation until the client is gone."""
        while True:
            await self.acknowledge(1)

    def abort(self) -> None:
        self.transport.abort()


class ClientGoneError(Exception):
    """The client closed its side; a script ends quietly."""


Script = Callable[[HubSocket], Awaitable[None]]


class ScriptedHub:
    """A SignalR hub on loopback: connection n runs script n, the last one for ever."""

    def __init__(self) -> None:
        self.url = ""
        self.scripts: list[Script] = []
        self.negotiations: list[Any] = []  # answers: dict, or (status, text); the last for ever
        self.negotiated: list[str] = []  # authorization of each negotiate
        self.opened: list[tuple[str, str]] = []  # query string, authorization of each socket
        self.upgrade_status: list[int] = []  # statuses to refuse the next upgrades with

    async def negotiate(self, request: web.Request) -> web.StreamResponse:
        self.negotiated.append(request.headers.get("Authorization", ""))
        answers = self.negotiations
        answer = answers[0] if len(answers) == 1 else answers.pop(0) if answers else None
        if answer is None:
            answer = {
                "negotiateVersion": 1,
                "connectionId": "public",
                "connectionToken": f"secret{len(self.negotiated)}",
                "availableTransports": [
                    {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}
                ],
            }
        if isinstance(answer, tuple):
            return web.Response(status=answer[0], text=answer[1])
        return web.json_response(answer)

    async def open(self, request: web.Request) -> web.StreamResponse:
        if self.upgrade_status:
            return web.Response(status=self.upgrade_status.pop(0))
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        socket = web.WebSocketResponse(max_msg_size=0, timeout=0.1)
        await socket.prepare(request)
        self.opened.append((request.query_string, request.headers.get("Authorization", "")))
        script = self.scripts[min(len(self.opened), len(self.scripts)) - 1]
        with suppress(ClientGoneError, aiohttp.ClientError, ConnectionError):
            await script(HubSocket(socket, transport))
        return socket


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve ``app`` on a free loopback port and yield its address."""
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    scripted = ScriptedApi()
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{tail:.*}", scripted.handle)
    async with serving(app) as url:
        scripted.url = url
        yield scripted


@pytest.fixture
async def hub() -> AsyncIterator[ScriptedHub]:
    async with running_hub() as scripted:
        yield scripted


@pytest.fixture
async def other_hub() -> AsyncIterator[ScriptedHub]:
    async with running_hub() as scripted:
        yield scripted


@asynccontextmanager
async def running_hub() -> AsyncIterator[ScriptedHub]:
    scripted = ScriptedHub()
    app = web.Application()
    app.router.add_post("/hub/negotiate", scripted.negotiate)
    app.router.add_get("/hub", scripted.open)
    async with serving(app) as url:
        scripted.url = f"{url}/hub"
        yield scripted


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


async def until(condition: Callable[[], object], *, limit_s: float = 10.0) -> None:
    """Wait until ``condition`` holds, or fail."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - nothing signals a state on the other side
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(work: Awaitable[object]) -> AsyncIterator[asyncio.Task[object]]:
    """Run ``work`` beside the body and stop it afterwards; its failure fails the test."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
