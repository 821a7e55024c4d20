"""What a caller may cost: connections that ask slowly, without end, or never listen."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backstop.entrypoints.http import bodies, connections
from backstop.entrypoints.http.bodies import BODY_BYTES_MAX
from backstop.entrypoints.http.connections import HEAD_BYTES_MAX

PATIENCE_S = 20
SOON_S = 0.3
"""A limit for a test: long enough for a busy machine, short enough to wait for."""

RECEIVE_BYTES = 4096


class Line:
    """One connection, written and read by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, *lines: str, body: bytes = b"") -> None:
        self.writer.write("\r\n".join((*lines, "", "")).encode("latin-1") + body)

    async def answer(self) -> tuple[int, Any]:
        """Return status and JSON of the next answer."""
        async with asyncio.timeout(PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.partition("content-length: ")[2].split("\r\n")[0])
            return int(head.split()[1]), json.loads(await self.reader.readexactly(length))

    async def is_cut(self) -> bool:
        """Wait until the other side ends the connection."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass
        return True


@asynccontextmanager
async def line_to(url: str) -> AsyncIterator[Line]:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


def request(desk: Any, method: str, path: str, *headers: str) -> tuple[str, ...]:
    token = f"Authorization: Bearer {desk.TOKEN}"
    return (f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", token, *headers)


# -- asking --------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["", "GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n"])
async def test_who_does_not_finish_asking_is_cut_off(
    desk: Any, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    """One byte after the other, each in time, all of them never."""
    monkeypatch.setattr(connections, "HEAD_LIMIT_S", SOON_S)
    async with desk.serving(desk.guard()) as url, line_to(url) as line:
        line.writer.write(start.encode())
        cut = asyncio.create_task(line.is_cut())
        while start and not cut.done():
            line.writer.write(b"X")
            await asyncio.wait({cut}, timeout=0.02)

        assert await cut


async def test_a_kept_connection_gets_no_more_time_for_its_second_request(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_LIMIT_S", SOON_S)
    async with desk.serving(desk.guard()) as url, line_to(url) as line:
        line.say(*request(desk, "GET", "/v1/health"))
        assert (await line.answer())[0] == 200
        line.writer.write(b"GET /v1/health HTTP/1.1\r\n")

        assert await line.is_cut()


async def test_a_head_beyond_its_bound_is_refused(desk: Any) -> None:
    flood = [f"X-{number}: {'a' * 100}" for number in range(2 * HEAD_BYTES_MAX // 100)]
    async with desk.serving(desk.guard()) as url, line_to(url) as line:
        line.say(*request(desk, "GET", "/v1/status", *flood))

        assert b" 400 " in await line.reader.readline()
        assert await line.is_cut()


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("chunk", [b"1\r\nx\r\n", b"8000\r\n" + b"x" * 0x8000 + b"\r\n"])
async def test_a_body_without_end_is_answered_and_then_ended(
    desk: Any, monkeypatch: pytest.MonkeyPatch, method: str, chunk: bytes
) -> None:
    monkeypatch.setattr(connections, "REST_LIMIT_S", SOON_S)
    async with desk.serving(desk.guard()) as url, line_to(url) as line:
        line.say(*request(desk, method, "/v1/orders", "Transfer-Encoding: chunked"))
        part = chunk * (RECEIVE_BYTES // len(chunk) + 1)

        async def send_for_ever() -> None:
            while True:
                line.writer.write(part)
                await line.writer.drain()

        sending = asyncio.create_task(send_for_ever())
        status, said = await line.answer()
        assert await line.is_cut()
        with pytest.raises(ConnectionError):
            await sending

    assert status == (413 if method == "POST" else 200)
    assert method == "GET" or said["error"]["code"] == "BODY_TOO_LARGE"


async def test_a_body_of_announced_length_beyond_the_bound_is_refused(desk: Any) -> None:
    async with desk.serving(desk.guard()) as url, line_to(url) as line:
        size = 64 * BODY_BYTES_MAX
        line.say(*request(desk, "POST", "/v1/orders", f"Content-Length: {size}"), body=bytes(size))

        status, said = await line.answer()

    assert (status, said["error"]["code"]) == (413, "BODY_TOO_LARGE")


async def test_a_body_that_comes_after_its_refusal_does_not_cost_the_connection(desk: Any) -> None:
    """A small one: many clients send head and body apart, and call again."""
    async with desk.serving(desk.guard()) as url, line_to(url) as line:
        line.say("POST /v1/halt HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 2")
        assert (await line.answer())[0] == 401
        line.writer.write(b"{}")
        line.say(*request(desk, "GET", "/v1/health"))

        assert (await line.answer())[0] == 200


async def test_a_body_that_stalls_is_not_waited_for(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_LIMIT_S", SOON_S)
    monkeypatch.setattr(connections, "REST_LIMIT_S", SOON_S)
    guard = desk.guard()
    async with desk.serving(guard) as url, line_to(url) as line:
        line.say(*request(desk, "POST", "/v1/halt", "Content-Length: 40"), body=b'{"reason": "x"')
        status, said = await line.answer()
        assert await line.is_cut()

    assert (status, said["error"]["code"]) == (408, "BODY_TOO_SLOW")
    assert not guard.book.latches


async def test_a_body_that_breaks_off_does_nothing(desk: Any) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        async with line_to(caller.url) as line:
            line.say(*request(desk, "POST", "/v1/halt", "Content-Length: 40"), body=b'{"reason"')
            await line.writer.drain()
        status, _ = await caller.ask("GET", "/v1/health")

    assert status == 200
    assert not guard.book.latches


# -- listening -----------------------------------------------------------------------------------


async def test_who_never_listens_is_cut_off(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks again and again and fetches no answer."""
    monkeypatch.setattr(connections, "LISTEN_LIMIT_S", SOON_S)
    async with desk.serving(desk.guard()) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        loop = asyncio.get_running_loop()
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            deaf.setblocking(False)
            await loop.sock_connect(deaf, (host, int(port)))
            asking = "\r\n".join((*request(desk, "GET", "/v1/openapi.json"), "", "")).encode()

            async def ask_for_ever() -> None:
                async with asyncio.timeout(PATIENCE_S):
                    while True:
                        await loop.sock_sendall(deaf, asking)

            with pytest.raises(ConnectionError):
                await ask_for_ever()


async def test_too_many_callers_are_told_so_and_more_are_cut_off(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(connections, "CONNECTIONS_SPARE", 1)
    async with desk.serving(desk.guard()) as url, line_to(url) as one, line_to(url) as two:
        for line in (one, two):
            line.say(*request(desk, "GET", "/v1/health"))
            assert (await line.answer())[0] == 200
        async with line_to(url) as three:
            three.say(*request(desk, "GET", "/v1/health"))
            status, said = await three.answer()
            async with line_to(url) as four:
                assert await four.is_cut()
            one.say(*request(desk, "GET", "/v1/health"))
            assert (await one.answer())[0] == 200

    assert (status, said["error"]["code"]) == (503, "TOO_MANY_CONNECTIONS")
