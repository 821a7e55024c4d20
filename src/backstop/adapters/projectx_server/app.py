"""One aiohttp application that is a ProjectX Gateway in front of a venue: REST and both hubs."""

import secrets
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Final

from aiohttp import hdrs, web

from backstop.adapters.projectx_server import signalr
from backstop.adapters.projectx_server.config import ServerConfig
from backstop.adapters.projectx_server.endpoints import Endpoints
from backstop.adapters.projectx_server.hub import Act, Hub, HubMethod
from backstop.adapters.projectx_server.hub_connection import HubConnection
from backstop.adapters.projectx_server.hub_limits import HubLimits
from backstop.adapters.projectx_server.interference import (
    Event,
    Interference,
    NoInterference,
)
from backstop.adapters.projectx_server.json_rows import encode, hub_row, plain
from backstop.adapters.projectx_server.rest import RestServer
from backstop.adapters.projectx_server.tokens import TokenIssuer
from backstop.adapters.projectx_server.venue import UserEvent, Venue

BODY_BYTES_MAX = 1024 * 1024  # of a request; the largest honest one is a few hundred bytes


JoinMarket = Callable[[HubConnection, str, str], str | None]
"""Subscribes a connection to an event of a contract; returns None, or why it does not."""

LeaveMarket = Callable[[HubConnection, str, str], None]
"""Ends such a subscription."""


class GatewayServer:
    """A ProjectX surface over one venue.

    ``app`` is the application to run, ``user_hub`` and ``market_hub`` are open to the fault layer.
    ``now_us`` is the venue's time (microseconds since 1970): tokens and the ``Date`` header follow
    it. Where somebody may set it back, ``elapsed_us`` is for the rate windows: microseconds that
    only grow. Pings and negotiated ids follow the machine. ``join_market`` and ``leave_market``
    may be replaced by whoever brings the market data from elsewhere.
    """

    def __init__(
        self,
        venue: Venue,
        config: ServerConfig,
        *,
        now_us: Callable[[], int],
        elapsed_us: Callable[[], int] | None = None,
        interference: Interference | None = None,
        user_limits: HubLimits | None = None,
        market_limits: HubLimits | None = None,
    ) -> None:
        self.config: Final = config
        self.join_market: JoinMarket = self._join_with_snapshot
        self.leave_market: LeaveMarket = self._leave
        self._venue = venue
        self._now_us = now_us
        self._interference = interference or NoInterference()
        self.tokens: Final = TokenIssuer(
            config.signing_key or secrets.token_bytes(32),
            life_s=config.token_life_s,
            now_us=now_us,
            mark=None if config.logins is None else config.logins.mark,
            first=config.first_token,
        )
        self.user_hub: Final = self._hub("user", self._user_methods(), user_limits)
        self.market_hub: Final = self._hub("market", self._market_methods(), market_limits)
        self._endpoints = Endpoints(venue, self.tokens, config)
        self._rest = RestServer(
            endpoints=self._endpoints,
            tokens=self.tokens,
            config=config,
            interference=self._interference,
            elapsed_us=elapsed_us or now_us,
        )
        self.app: Final = self._application()
        venue.subscribe(self.publish)

    def set_keys(self, user: str, *keys: str) -> None:
        """Let ``user`` log in with these keys and no other, as after one was revoked or made."""
        self._endpoints.set_keys(user, keys)

    def publish(self, event: Event) -> None:
        """Push one event of the venue to its subscribers, through the fault layer."""
        self._interference.pass_event(event, self.deliver)

    def deliver(self, event: Event) -> None:
        """Push one event to its subscribers as it is; it is encoded once for all of them."""
        if isinstance(event, UserEvent):
            group = (event.target, event.account_id)
            if self.user_hub.has_listeners(group):
                data = encode({"action": event.action, "data": hub_row(event.data)})
                self.user_hub.broadcast(group, signalr.invocation(event.target, data))
            return
        market_group = (event.target, event.contract_id)
        if self.market_hub.has_listeners(market_group):
            record = signalr.invocation(
                event.target, encode(event.contract_id), encode(plain(event.data))
            )
            self.market_hub.broadcast_market(market_group, record)

    # -- hubs -----------------------------------------------------------------------------------

    def _hub(self, name: str, methods: dict[str, HubMethod], limits: HubLimits | None) -> Hub:
        return Hub(
            name=name,
            methods=methods,
            tokens=self.tokens,
            config=self.config,
            interference=self._interference,
            limits=limits or HubLimits(),
        )

    def _user_methods(self) -> dict[str, HubMethod]:
        methods = {
            "SubscribeAccounts": HubMethod(arguments=(), act=self._subscribe_accounts),
            "UnsubscribeAccounts": HubMethod(arguments=(), act=self._unsubscribe_accounts),
        }
        for noun in ("Order", "Position", "Trade"):
            target = f"GatewayUser{noun}"
            methods[f"Subscribe{noun}s"] = HubMethod(
                arguments=(int,), act=self._account_joiner(target)
            )
            methods[f"Unsubscribe{noun}s"] = HubMethod(
                arguments=(int,), act=self._account_leaver(target)
            )
        return methods

    def _market_methods(self) -> dict[str, HubMethod]:
        methods = {}
        for noun, target in (
            ("Quotes", "GatewayQuote"),
            ("Trades", "GatewayTrade"),
            ("MarketDepth", "GatewayDepth"),
        ):
            methods[f"SubscribeContract{noun}"] = HubMethod(
                arguments=(str,), act=self._contract_joiner(target)
            )
            methods[f"UnsubscribeContract{noun}"] = HubMethod(
                arguments=(str,), act=self._contract_leaver(target)
            )
        return methods

    def _subscribe_accounts(self, connection: HubConnection, _: list[Any]) -> str | None:
        for account in self._venue.accounts(connection.session.user, only_active=False):
            refused = self.user_hub.join(connection, ("GatewayUserAccount", account.id))
            if refused is not None:
                return refused
        return None

    def _unsubscribe_accounts(self, connection: HubConnection, _: list[Any]) -> None:
        for account in self._venue.accounts(connection.session.user, only_active=False):
            self.user_hub.leave(connection, ("GatewayUserAccount", account.id))

    def _account_joiner(self, target: str) -> Act:
        def join(connection: HubConnection, arguments: list[Any]) -> str | None:
            # A foreign account is not refused: the subscription just stays silent.
            if not self._venue.owns(connection.session.user, arguments[0]):
                return None
            return self.user_hub.join(connection, (target, arguments[0]))

        return join

    def _contract_joiner(self, target: str) -> Act:
        def join(connection: HubConnection, arguments: list[Any]) -> str | None:
            contract_id = arguments[0]
            if contract_id is None:
                return None
            return self.join_market(connection, target, contract_id)

        return join

    def _join_with_snapshot(
        self, connection: HubConnection, target: str, contract_id: str
    ) -> str | None:
        # Asked for before joining: the venue may tell what is due first, and to a new subscriber
        # nothing may come ahead of the snapshot.
        snapshot = self._venue.market_snapshot(target, contract_id)
        refused = self.market_hub.join(connection, (target, contract_id))
        if refused is not None:
            return refused
        for event in snapshot:
            connection.send_event(
                signalr.invocation(
                    event.target, encode(event.contract_id), encode(plain(event.data))
                )
            )
        return None

    def _leave(self, connection: HubConnection, target: str, contract_id: str) -> None:
        self.market_hub.leave(connection, (target, contract_id))

    def _account_leaver(self, target: str) -> Act:
        def leave(connection: HubConnection, arguments: list[Any]) -> None:
            self.user_hub.leave(connection, (target, arguments[0]))

        return leave

    def _contract_leaver(self, target: str) -> Act:
        def leave(connection: HubConnection, arguments: list[Any]) -> None:
            if arguments[0] is not None:
                self.leave_market(connection, target, arguments[0])

        return leave

    # -- HTTP -----------------------------------------------------------------------------------

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[_empty_errors], client_max_size=BODY_BYTES_MAX)
        app.router.add_route("*", "/api/{path:.*}", self._rest.handle)
        for hub in (self.user_hub, self.market_hub):
            app.router.add_route("*", f"/hubs/{hub.name}/negotiate", hub.negotiate)
            app.router.add_route("*", f"/hubs/{hub.name}", hub.connect)
        app.on_response_prepare.append(self._stamp)
        app.on_shutdown.append(self._shut_down)
        return app

    async def _stamp(self, _: web.Request, response: web.StreamResponse) -> None:
        """Write the venue's time as ``Date``: the only clock that the gateway shows."""
        skew_s = self._interference.date_skew_s()
        if skew_s is None:
            response.headers.popall(hdrs.DATE, None)
            return
        utc_s = self._now_us() / 1_000_000 + skew_s
        response.headers[hdrs.DATE] = formatdate(utc_s, usegmt=True)

    async def _shut_down(self, _: web.Application) -> None:
        self._rest.close()
        self.user_hub.close_all()
        self.market_hub.close_all()


def make_app(
    venue: Venue,
    config: ServerConfig,
    *,
    now_us: Callable[[], int],
    interference: Interference | None = None,
) -> web.Application:
    """Return the application of a ``GatewayServer``."""
    return GatewayServer(venue, config, now_us=now_us, interference=interference).app


@web.middleware
async def _empty_errors(
    request: web.Request, handler: Callable[[web.Request], Any]
) -> web.StreamResponse:
    """Answer unknown paths and wrong verbs with an empty body, as the gateway does."""
    try:
        answer: web.StreamResponse = await handler(request)
    except web.HTTPException as error:
        return web.Response(status=error.status)
    return answer
