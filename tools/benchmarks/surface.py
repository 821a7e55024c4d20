"""One side that speaks the ProjectX API, as a bot meets it: calls, hubs, and the process behind."""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from msgspec import Struct

LIMIT_S = 60.0
END = "\x1e"
LIMIT, MARKET, STOP = 1, 2, 4
BUY, SELL = 0, 1


class Heard:
    """When each event was first heard, by the name that its row gives it."""

    def __init__(self, pattern: str) -> None:
        self.at_ns: dict[str, int] = {}
        self._pattern = re.compile(pattern)
        self._came = asyncio.Event()

    def take(self, text: str) -> None:
        """Note what is in one message."""
        now_ns = time.perf_counter_ns()
        for record in text.split(END):
            found = self._pattern.search(record)
            if found is not None:
                self.at_ns.setdefault(found[1], now_ns)
        self._came.set()

    async def so_many(self, events: int) -> None:
        """Wait until so many different events were heard."""
        async with asyncio.timeout(LIMIT_S):
            while len(self.at_ns) < events:
                self._came.clear()
                await self._came.wait()


class Surface(Struct, kw_only=True):
    """One side that speaks the ProjectX API, and an open session with it."""

    url: str
    http: aiohttp.ClientSession
    token: str = ""

    async def call(self, path: str, **body: Any) -> dict[str, Any]:
        """Ask for something; a refusal is an error."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.http.post(f"{self.url}/api/{path}", json=body, headers=headers) as answer:
            told: dict[str, Any] = await answer.json()
        if not told["success"]:
            raise RuntimeError(f"{path} {body}: {told}")
        return told

    async def timed(self, path: str, **body: Any) -> tuple[float, dict[str, Any]]:
        """Return how many milliseconds a call took, and its answer."""
        began_ns = time.perf_counter_ns()
        told = await self.call(path, **body)
        return (time.perf_counter_ns() - began_ns) / 1e6, told

    async def contract(self, symbol: str) -> str:
        """Return the id of the contract of a root."""
        told = await self.call("Contract/search", searchText=symbol, live=False)
        return str(next(it["id"] for it in told["contracts"] if it["name"].startswith(symbol)))


async def logged_in(stack: AsyncExitStack, url: str, user: str, key: str) -> Surface:
    """Return a session of ``user`` that ``stack`` ends."""
    surface = Surface(url=url, http=await stack.enter_async_context(aiohttp.ClientSession()))
    answer = await surface.call("Auth/loginKey", userName=user, apiKey=key)
    surface.token = answer["token"]
    return surface


@asynccontextmanager
async def listening(
    surface: Surface, hub: str, heard: Heard, *calls: tuple[str, object]
) -> AsyncIterator[None]:
    """Hear a hub, subscribed to ``calls``, within the block."""
    headers = {"Authorization": f"Bearer {surface.token}"}
    address = f"{surface.url}/hubs/{hub}"
    async with surface.http.ws_connect(address, headers=headers, max_msg_size=0) as socket:
        await socket.send_str('{"protocol":"json","version":1}' + END)
        await socket.receive_str()
        for number, (target, argument) in enumerate(calls):
            record = {"type": 1, "invocationId": str(number), "target": target}
            await socket.send_str(json.dumps({**record, "arguments": [argument]}) + END)

        async def listen() -> None:
            async for message in socket:
                heard.take(message.data)

        listener = asyncio.create_task(listen())
        try:
            yield
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)


@contextmanager
def a_process(file: Path, *words: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run ``file`` as a process; gives it and the line that it prints first."""
    command = [sys.executable, str(file), *words]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and file
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a process with pipes has none")
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.stdin.close()
