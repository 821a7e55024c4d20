"""The gateway in the guard's process: loaded only when it is wanted, and never the guard's end."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from tests.app.desk import PATIENCE_S, Desk

from backstop.entrypoints.gateway.server import CONNECTIONS_MAX
from backstop.entrypoints.gateway_door import GatewayDoor
from backstop.errors import SetupError

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOADED = """
import sys
import backstop.entrypoints.daemon, backstop.entrypoints.http.server
print([it for it in sys.modules if "projectx_server" in it or "entrypoints.gateway." in it])
"""


async def pinged(http: aiohttp.ClientSession, port: int) -> str:
    async with http.get(f"http://127.0.0.1:{port}/api/Status/ping") as answer:
        return await answer.text()


async def test_a_guard_without_a_gateway_loads_nothing_of_it() -> None:
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )

    assert ended.stdout.strip() == "[]"


async def test_a_gateway_that_cannot_begin_is_told_of_and_the_guard_goes_on(desk: Desk) -> None:
    async with desk.guard() as guard:
        folder: Path = guard.manager.settings.state_folder
        (folder / "gateway.key").mkdir()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            door = GatewayDoor(guard.manager, listener)

            await door.open()
            await door.close()
            assert listener.fileno() == -1, "who comes is not left waiting"

        assert "gateway.key" in guard.manager.components["gateway for bots"]
        await guard.enter()
        assert guard.position() == 1


async def test_too_many_connections_are_closed_and_the_others_are_served(desk: Desk) -> None:
    async with desk.guard(ready=False) as guard:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            door = GatewayDoor(guard.manager, listener)
            await door.open()
            try:
                async with aiohttp.ClientSession() as http, asyncio.timeout(PATIENCE_S):
                    assert await pinged(http, port) == "pong"
                    opened = [
                        await asyncio.open_connection("127.0.0.1", port)
                        for _ in range(CONNECTIONS_MAX)
                    ]
                    reader, _ = opened[-1]
                    assert await reader.read() == b""
                    assert await pinged(http, port) == "pong"
                    for _, writer in opened:
                        writer.close()
                    while not await _answered(port):  # noqa: ASYNC110 - nobody announces it
                        await asyncio.sleep(0.01)
            finally:
                await door.close()


async def _answered(port: int) -> bytes:
    """Return what a new connection hears."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/Status/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("address", ["8721", "127.0.0.1", "127.0.0.1:99999"])
async def test_an_address_that_is_none_is_refused_by_its_name(desk: Desk, address: str) -> None:
    with pytest.raises(SetupError, match="BACKSTOP_GATEWAY: "):
        desk.settings(BACKSTOP_GATEWAY=address)
