"""A plain client of the ProjectX API: HTTP calls with a token, and one user hub.

It knows nothing of Backstop. It is no client of ours either: what both ends of a line share would
hide what is wrong with either.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

import aiohttp
from msgspec import Struct

from backstop.storm.network import BOTS_PORT, HOST

CALL_S: Final = 30.0
"""How long most clients wait for an answer."""

PING_S: Final = 10.0
END: Final = "\x1e"
HANDSHAKE: Final = '{"protocol":"json","version":1}' + END
PING: Final = '{"type":6}' + END
INVOCATION, COMPLETION, CLOSE = 1, 3, 7

SHORT_FRAME: Final = 126  # bytes from which on a WebSocket frame states its size apart

OK, UNAUTHORIZED, TOO_MANY = 200, 401, 429
NO_ANSWER: Final = 0

Hears = Callable[[str, dict[str, Any]], None]
"""Takes one event: its target and the row."""


class Told(Struct, frozen=True, kw_only=True):
    """What came of one call.

    Attributes:
        status: of HTTP; 0: no answer came.
        body: the envelope; empty when there was none.
    """

    status: int
    body: dict[str, Any] = {}

    @property
    def success(self) -> bool:
        """The gateway says that it was done."""
        return self.status == OK and self.body.get("success") is True

    @property
    def code(self) -> int:
        """The number of the no; 0 without one."""
        return int(self.body.get("errorCode") or 0)

    @property
    def message(self) -> str:
        """The words of the no."""
        return str(self.body.get("errorMessage") or "")


class Client:
    """One client, from its process's start to its end."""

    def __init__(self, name: str, key: str) -> None:
        self._name = name
        self._key = key
        self._token = ""
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_S))

    async def close(self) -> None:
        """Let go of every connection."""
        await self._http.close()

    async def call(self, path: str, body: object, *, raw: bytes | None = None) -> Told:
        """Make one call, with ``raw`` bytes in place of a body if there are any.

        A token that is no good is replaced once.
        """
        told = await self._post(path, body, raw)
        if told.status == UNAUTHORIZED and await self.log_in():
            told = await self._post(path, body, raw)
        return told

    async def log_in(self) -> bool:
        """Get a token."""
        self._token = ""
        told = await self._post(
            "Auth/loginKey", {"userName": self._name, "apiKey": self._key}, None
        )
        self._token = str(told.body.get("token") or "")
        return bool(self._token)

    async def _post(self, path: str, body: object, raw: bytes | None) -> Told:
        data = json.dumps(body, default=float).encode() if raw is None else raw
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        url = f"http://{HOST}:{BOTS_PORT}/api/{path}"
        try:
            async with self._http.post(url, data=data, headers=headers) as answer:
                content = await answer.read()
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return Told(status=NO_ANSWER)
        envelope: Any = {}
        with suppress(ValueError):
            envelope = json.loads(content, parse_float=Decimal)
        return Told(status=status, body=envelope if isinstance(envelope, dict) else {})

    async def listen(
        self, account_id: int, hears: Hears, on_ready: Callable[[], Awaitable[None]]
    ) -> None:
        """Connect to the user hub, subscribe, and hear until the connection ends.

        ``on_ready`` runs once every subscription is acknowledged; events come meanwhile.

        Raises:
            aiohttp.ClientError, OSError: it cannot be reached, or ended with an error.
        """
        url = f"http://{HOST}:{BOTS_PORT}/hubs/user?access_token={self._token}"
        async with self._http.ws_connect(url, autoclose=True) as socket:
            await socket.send_str(HANDSHAKE)
            names = ("SubscribeAccounts", "SubscribeOrders", "SubscribePositions")
            calls = (*names, "SubscribeTrades")
            for number, name in enumerate(calls):
                arguments = [] if name == "SubscribeAccounts" else [account_id]
                await socket.send_str(_invocation(number, name, arguments))
            pinging = asyncio.create_task(_ping(socket))
            reading: asyncio.Task[None] | None = None
            try:
                left = len(calls)
                async for message in socket:
                    for record in _records(message.data):
                        if record.get("type") == COMPLETION:
                            left -= 1
                            if not left:
                                reading = asyncio.ensure_future(_run(on_ready))
                        elif record.get("type") == INVOCATION:
                            hears(record["target"], record["arguments"][0]["data"])
                        elif record.get("type") == CLOSE:
                            return
            finally:
                for task in (pinging, reading):
                    if task is not None:
                        task.cancel()

    async def babble(self, garbage: str) -> None:
        """Connect to the user hub, say something senseless, and go away when nothing comes."""
        url = f"http://{HOST}:{BOTS_PORT}/hubs/user?access_token={self._token}"
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with self._http.ws_connect(url) as socket:
                await socket.send_str(garbage)
                async with asyncio.timeout(PING_S):
                    await socket.receive()

    async def hold_without_reading(self, contract_ids: list[str], seconds: float) -> None:
        """Subscribe to market data, and read none of it for so long."""
        lines = (
            f"GET /hubs/market?access_token={self._token} HTTP/1.1",
            f"Host: {HOST}:{BOTS_PORT}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        )
        request = ("\r\n".join(lines) + "\r\n\r\n").encode()
        calls = [
            _invocation(number, "SubscribeContractQuotes", [contract_id])
            for number, contract_id in enumerate(contract_ids)
        ]
        said = [HANDSHAKE, *calls]
        with suppress(OSError):
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_connection(asyncio.Protocol, HOST, BOTS_PORT)
            try:
                transport.write(request)
                await asyncio.sleep(0.1)  # the answer to the upgrade is not looked at either
                transport.write(b"".join(map(_masked_frame, said)))
                transport.pause_reading()
                await asyncio.sleep(seconds)
            finally:
                transport.abort()


async def _run(act: Callable[[], Awaitable[None]]) -> None:
    await act()


async def _ping(socket: aiohttp.ClientWebSocketResponse) -> None:
    with suppress(aiohttp.ClientError, OSError):
        while True:
            await asyncio.sleep(PING_S)
            await socket.send_str(PING)


def _records(data: object) -> list[dict[str, Any]]:
    """Return the records of a message, without the answer to the handshake."""
    if not isinstance(data, str):
        return []
    texts = [text for text in data.split(END) if text]
    return [json.loads(text, parse_float=Decimal) for text in texts]


def _invocation(number: int, target: str, arguments: list[Any]) -> str:
    record = {
        "type": INVOCATION,
        "invocationId": str(number),
        "target": target,
        "arguments": arguments,
    }
    return json.dumps(record) + END


def _masked_frame(text: str) -> bytes:
    """Return ``text`` as a client's WebSocket frame whose mask is zero (RFC 6455, section 5.2)."""
    payload = text.encode()
    size = len(payload)
    stated = bytes([0x80 | size]) if size < SHORT_FRAME else b"\xfe" + size.to_bytes(2)
    return b"\x81" + stated + bytes(4) + payload
