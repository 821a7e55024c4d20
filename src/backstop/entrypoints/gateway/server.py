"""Serves the ProjectX surface of a guard on a socket that is bound already, in the guard's loop.

Loaded only when the gateway is asked for: a guard without it starts and stays as small as it was.
"""

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from backstop.adapters.bot_credentials import BotCredentials
from backstop.adapters.projectx_server.app import GatewayServer
from backstop.adapters.projectx_server.config import ServerConfig, TokenExpiryOnHub
from backstop.adapters.projectx_server.hub_limits import MARKET_STRANGERS, STRANGERS
from backstop.adapters.projectx_server.rate_limit import RateLimit
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.entrypoints.gateway.bot_logins import BotLogins
from backstop.entrypoints.gateway.event_side import EventSide
from backstop.entrypoints.gateway.guard_venue import GuardVenue
from backstop.entrypoints.gateway.signing_key import stored_or_made_key
from backstop.entrypoints.gateway.user_events import UserEvents
from backstop.entrypoints.gateway.user_events_reads import LearningReads, ToldReads
from backstop.entrypoints.gateway.venue_answers import VenueAnswers

CONNECTIONS_MAX = 256
"""Sockets of all bots together: each is a file of the guard's, which needs some for itself."""

CALLS = RateLimit(calls=200, window_s=60)
BAR_CALLS = RateLimit(calls=50, window_s=30)
"""Of one bot: what the gateway takes of one user."""

EXIT_CALLS = RateLimit(calls=1200, window_s=60)
"""Cancels and closes of one bot. They count by themselves, so that reading too much cannot hold up
an exit; twenty a second for a minute are a loop gone mad."""

STOP_LIMIT_S = 1.0
"""What calls under way get at a stop; an order among them stays in the record."""

NS_PER_US = 1_000

TOKENS_LOOK_S = 1.0
"""How long the hubs of a bot that was removed go on at most; its calls are refused at once."""


class BotGateway:
    """The running gateway; ``serve`` until ``stop``."""

    def __init__(
        self,
        guard: CriticalSystemManager,
        listener: socket.socket,
        *,
        tls_certificate: Path | None = None,
        tls_key: Path | None = None,
    ) -> None:
        """Join ``guard``, which is initialised; nothing is answered yet.

        Raises:
            StateFolderError: the key of the tokens can be neither read nor kept.
        """
        parts, clock, folder = guard.parts, guard.clock, guard.settings.state_folder
        answers = VenueAnswers()
        events = UserEvents(guard.book)
        guard.decisions.listen(answers.hear)
        guard.decisions.follow(events)
        logins = BotLogins(BotCredentials(folder), on_fault=guard.fault_reporter("bots"))
        self._reads = ToldReads(
            parts.gateway,
            learning=LearningReads(guard.decisions, events, clock=clock),
            clock=clock,
            known=lambda: guard.steps,
        )
        venue = GuardVenue(guard, logins=logins, reads=self._reads, answers=answers, events=events)
        self.server = GatewayServer(
            venue,
            ServerConfig(
                logins=logins,
                signing_key=stored_or_made_key(folder),
                # Above every number that an earlier process gave out under the same key.
                first_token=clock.utc_us() // 1000,
                general_limit=CALLS,
                bars_limit=BAR_CALLS,
                exits_limit=EXIT_CALLS,
                retry_after=True,
                resubscribe_doubles=False,
                token_expiry_on_hub=TokenExpiryOnHub.DROP,
            ),
            now_us=clock.utc_us,
            elapsed_us=lambda: clock.monotonic_ns() // NS_PER_US,
            user_limits=STRANGERS,
            market_limits=MARKET_STRANGERS,
        )
        self._event_side = EventSide(guard, self.server, events)
        self._listener = listener
        self._tls = _tls_context(tls_certificate, tls_key)
        self._ending = asyncio.Event()

    async def serve(self) -> None:
        """Answer bots until ``stop``, then finish the calls under way."""
        runner = web.AppRunner(
            self.server.app, access_log=None, handle_signals=False, shutdown_timeout=STOP_LIMIT_S
        )
        await runner.setup()
        site = _Site(runner, self._listener, ssl_context=self._tls)
        try:
            await site.start()
            await self._ended()
        finally:
            self._event_side.close()
            await runner.cleanup()
            await self._reads.close()

    async def _ended(self) -> None:
        """Wait for ``stop``, and meanwhile end the hubs of those who may listen no longer."""
        while not self._ending.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(TOKENS_LOOK_S):
                    await self._ending.wait()
            for hub in (self.server.user_hub, self.server.market_hub):
                hub.end_without_token()

    def stop(self) -> None:
        """Take no more calls; ``serve`` ends soon after."""
        self._ending.set()


class _Site(web.SockSite):
    """A site that takes so many connections and no more."""

    async def start(self) -> None:
        """Listen."""
        await web.BaseSite.start(self)
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner is not set up")

        def protocol() -> asyncio.Protocol:
            if len(server.connections) >= CONNECTIONS_MAX:
                return _Refused()
            handler: RequestHandler = server()
            return handler

        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            protocol, sock=self._sock, ssl=self._ssl_context, backlog=self._backlog
        )


class _Refused(asyncio.Protocol):
    """Ends a connection at once: there are too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it without a word."""
        transport.close()


def _tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context
