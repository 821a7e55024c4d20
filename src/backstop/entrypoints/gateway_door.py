"""The way of the protective gateway into the guard's process: its port, its loading, its end.

Nothing of the gateway is loaded where none is asked for, and whatever becomes of it, the guard goes
on: bots without a gateway cannot trade, an account without a guard is in danger.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

from backstop.adapters.loopback import is_loopback_host
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.config.settings import Settings
from backstop.errors import BackstopError, SetupError

GATEWAY_SERVER = "backstop.entrypoints.gateway.server"

STOP_LIMIT_S = 1.1
"""How long the calls of bots that are under way may take at a stop."""


def check_gateway_exposure(settings: Settings) -> None:
    """Refuse to speak to other machines in the clear: a bot sends its key.

    Raises:
        SetupError: what is asked for, and what is allowed.
    """
    listen = settings.gateway_listen
    if listen is None or is_loopback_host(listen.host) or settings.tls_cert is not None:
        return
    raise SetupError(
        f"BACKSTOP_GATEWAY: {listen.host} can be reached from other machines. Allowed there only "
        "with BACKSTOP_TLS_CERT and BACKSTOP_TLS_KEY; without them use 127.0.0.1."
    )


def gateway_address(settings: Settings, listener: socket.socket) -> str:
    """Return where bots find the gateway."""
    listen = settings.gateway_listen
    host = "" if listen is None else listen.host
    scheme = "http" if settings.tls_cert is None else "https"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{listener.getsockname()[1]}"


class GatewayDoor:
    """The gateway of one life of the guard."""

    def __init__(self, manager: CriticalSystemManager, listener: socket.socket) -> None:
        """Answer bots on ``listener`` once it is opened."""
        self._manager = manager
        self._listener = listener
        self._tell: Callable[[str], None] = manager.fault_reporter("gateway for bots")
        self._gateway: Any = None
        self._serving: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Load the gateway, off the event loop's time, and begin to answer."""
        settings = self._manager.settings
        try:
            module = await asyncio.to_thread(import_module, GATEWAY_SERVER)
            self._gateway = module.BotGateway(
                self._manager,
                self._listener,
                tls_certificate=settings.tls_cert,
                tls_key=settings.tls_key,
            )
        except BackstopError as error:
            self._listener.close()  # who comes is told at once that nobody is there
            self._tell(str(error))
            return
        self._serving = asyncio.create_task(self._gateway.serve(), name="gateway for bots")
        self._serving.add_done_callback(self._ended)

    def _ended(self, serving: asyncio.Task[None]) -> None:
        if serving.cancelled() or serving.exception() is None:
            return
        self._tell(f"it has ended: {serving.exception()!r}. Start the guard anew")

    async def close(self) -> None:
        """Take no more calls, and let those under way end."""
        if self._serving is None:
            return
        self._gateway.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_LIMIT_S):
                await asyncio.wait({self._serving})
        self._serving.cancel()
