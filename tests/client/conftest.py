"""A guard in front of a simulated venue, and its real HTTP interface on a free port."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.app.desk import Desk, Guard, a_desk, a_venue

from backstop.entrypoints.http.server import ApiServer, api_server
from backstop.simulator.process import Simulator

TOKEN = "a-token-of-this-test"


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the locks of tests away from the user's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue() -> AsyncIterator[Simulator]:
    async with a_venue() as venue:
        yield venue


@pytest.fixture
def desk(venue: Simulator, tmp_path: Path) -> Desk:
    return a_desk(venue, tmp_path)


@dataclass
class Served:
    """A guard and where it is called."""

    guard: Guard
    url: str
    server: ApiServer


@asynccontextmanager
async def serving(
    desk: Desk, *, port: int = 0, tls: tuple[Path, Path] | None = None, **settings: Any
) -> AsyncIterator[Served]:
    """Run a guard and its interface; the same ``port`` again is the guard after a restart.

    With ``tls``, certificate and key, it speaks HTTPS.
    """
    scheme, (certificate, key) = ("https", tls) if tls else ("http", (None, None))
    async with desk.guard(**settings) as guard:
        with socket.create_server(("127.0.0.1", port)) as listener:
            server = api_server(
                guard.manager,
                listener,
                token=TOKEN,
                loopback_only=True,
                tls_certificate=certificate,
                tls_key=key,
            )
            task = asyncio.create_task(server.serve())
            try:
                async with asyncio.timeout(10):
                    await server.started()
                url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
                yield Served(guard, url, server)
            finally:
                server.stop()
                async with asyncio.timeout(10):
                    await task


class Counter:
    """What the tests of this folder make their guards with."""

    TOKEN = TOKEN
    serving = staticmethod(serving)


@pytest.fixture
def counter() -> Counter:
    return Counter()
