"""Serves the interface on a socket that is bound already, inside the guard's own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from backstop.entrypoints.http.app import make_api
from backstop.entrypoints.http.auth import OPEN_PATHS, Gatekeeper
from backstop.entrypoints.http.connections import HEAD_BYTES_MAX, BoundedConnection
from backstop.entrypoints.http.dashboard_files import dashboard_files
from backstop.entrypoints.http.dashboard_routes import add_dashboard_routes
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.without_secrets import WithoutSecrets

KEEP_ALIVE_S = 30
STOP_LIMIT_S = 1
"""How long calls under way may take at a stop; an order among them stays in the record."""


def api_server(
    guard: Guard,
    listener: socket.socket,
    *,
    token: str,
    loopback_only: bool,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    strike: Callable[[bytes], bytes] = bytes,
) -> "ApiServer":
    """Return the interface of ``guard`` behind its gatekeeper, ready to ``serve``.

    ``strike`` takes secrets out of every answer, as a second line: none should be in one.
    """
    ending = asyncio.Event()
    api, page = make_api(guard, ending=ending), dashboard_files()
    add_dashboard_routes(api, page)
    gate = Gatekeeper(
        api, token=token, loopback_only=loopback_only, open_paths=OPEN_PATHS | page.keys()
    )
    app = WithoutSecrets(gate, strike=strike)
    return ApiServer(app, listener, ending=ending, tls_certificate=tls_certificate, tls_key=tls_key)


class _GuestServer(uvicorn.Server):
    """A guest in the guard's loop: the process has one owner of signals, and it is not this."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answers = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.answers.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ApiServer:
    """The running interface; ``serve`` until ``stop``."""

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        ending: asyncio.Event,
        tls_certificate: Path | None = None,
        tls_key: Path | None = None,
    ) -> None:
        self._ending = ending
        self._listener = listener
        self._server = _GuestServer(
            uvicorn.Config(
                app,
                http=BoundedConnection,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",  # a faulty request is the caller's fault: nobody fills our log
                access_log=False,
                server_header=False,
                date_header=True,
                proxy_headers=False,
                h11_max_incomplete_event_size=HEAD_BYTES_MAX,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_LIMIT_S,
                ssl_certfile=tls_certificate,
                ssl_keyfile=tls_key,
            )
        )

    async def serve(self) -> None:
        """Answer calls until ``stop``, then finish those under way."""
        await self._server.serve(sockets=[self._listener])

    def stop(self) -> None:
        """Take no more calls and end the streams; ``serve`` ends soon after."""
        self._ending.set()
        self._server.should_exit = True

    async def started(self) -> None:
        """Wait until calls are answered."""
        await self._server.answers.wait()
