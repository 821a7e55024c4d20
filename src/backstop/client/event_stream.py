"""The guard's record as it grows, read again from where it broke off."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus

import aiohttp
import msgspec
from msgspec.structs import replace

from backstop.client.answers import Recorded
from backstop.client.connection import Connection, refusal

SILENCE_S = 20.0
"""Without a line for this long the connection is dead: the guard says something every 5 s."""

PAUSE_S = 0.5
PAUSE_S_MAX = 10.0
"""Between attempts to connect again; a guard may be away for long, and then a person is told."""

LINE_BYTES_MAX = 16 * 1024 * 1024
"""One record; a full read of an account is the largest."""


async def recorded(connection: Connection, *, after_seq: int | None) -> AsyncIterator[Recorded]:
    """Yield every record after ``after_seq``, or from now on, in order and each once.

    A broken connection is made again and continues where it ended; while the guard is away this
    waits. Whoever keeps the last ``seq`` continues there after a restart of its own.

    Raises:
        GuardCallError: the guard refuses: the token, too many readers, or a ``seq`` that is not of
            its record.
    """
    pause_s, place = PAUSE_S, _Place(after_seq)
    while True:
        try:
            async for event in _once(connection, place):
                pause_s = PAUSE_S
                yield event
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass  # half-dead, restarted or gone: what was missed is in the record
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, PAUSE_S_MAX)


class _Place:
    """How far the stream was read; the guard says where it begins before its first event."""

    def __init__(self, seq: int | None) -> None:
        self.seq = seq


async def _once(connection: Connection, place: _Place) -> AsyncIterator[Recorded]:
    headers = {} if place.seq is None else {"Last-Event-ID": str(place.seq)}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_S, sock_read=SILENCE_S)
    async with connection.session.get(
        f"{connection.url}/v1/events",
        headers=headers,
        timeout=timeout,
        read_bufsize=LINE_BYTES_MAX,
    ) as response:
        if response.status != HTTPStatus.OK:
            raise refusal(response.status, await response.read())
        kind, data = "", b""
        async for line in response.content:
            name, _, value = line.rstrip(b"\r\n").partition(b": ")
            if name == b"id":
                place.seq = int(value)
            elif name == b"event":
                kind = value.decode("utf-8", "replace")
            elif name == b"data":
                data = value
            elif not name and not value and data:
                yield replace(msgspec.json.decode(data, type=Recorded), kind=kind)
                kind, data = "", b""
