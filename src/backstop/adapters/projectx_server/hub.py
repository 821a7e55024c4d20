"""One hub: negotiate, connect, subscribe by method name, and broadcast to groups."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiohttp import hdrs, web
from msgspec import UNSET, Struct

from backstop.adapters.projectx_server import signalr
from backstop.adapters.projectx_server.config import ServerConfig, TokenExpiryOnHub
from backstop.adapters.projectx_server.http_answers import (
    bearer_token,
    replaced,
    reset_connection,
    unauthorized,
)
from backstop.adapters.projectx_server.hub_connection import HubConnection, Silence
from backstop.adapters.projectx_server.interference import Call, Interference
from backstop.adapters.projectx_server.json_rows import encode
from backstop.adapters.projectx_server.negotiation import Claim, Negotiations
from backstop.adapters.projectx_server.signalr import Record
from backstop.adapters.projectx_server.tokens import Session, TokenIssuer

NEGOTIATE_VERSION_MAX = 1
CONNECTIONS_MAX = 1000  # per hub; one more is answered 503

Group = tuple[str, object]  # event name, and the account or contract it is about


class HubMethod(Struct, frozen=True, kw_only=True):
    """One method: the JSON types of its arguments, and what it does."""

    arguments: tuple[type, ...]
    act: Callable[[HubConnection, list[Any]], None]


class Hub:
    """Connections, groups and the protocol of one hub; user and market differ in their methods."""

    def __init__(
        self,
        *,
        name: str,
        methods: dict[str, HubMethod],
        tokens: TokenIssuer,
        config: ServerConfig,
        interference: Interference,
    ) -> None:
        self.name: Final = name
        self.connections: list[HubConnection] = []
        self._methods = {method.lower(): entry for method, entry in methods.items()}
        self._tokens = tokens
        self._config = config
        self._interference = interference
        self._groups: dict[Group, list[HubConnection]] = {}
        self._negotiations = Negotiations(life_s=config.timings.negotiated_life_s)

    # -- HTTP -----------------------------------------------------------------------------------

    async def negotiate(self, request: web.Request) -> web.StreamResponse:
        """Answer ``POST /hubs/<name>/negotiate``."""
        if request.method != hdrs.METH_POST:
            return web.Response(status=405, headers={hdrs.ALLOW: "POST"})
        session = self._session_of(request)
        if session is None:
            return unauthorized()
        refusal = await self._interfered(request, f"hubs/{self.name}/negotiate", session)
        if refusal is not None:
            return refusal
        return web.Response(
            body=encode(self._negotiated(request.query.get("negotiateVersion"))),
            content_type="application/json",
        )

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Answer the WebSocket upgrade on ``/hubs/<name>``."""
        session = self._session_of(request)
        if session is None:
            return unauthorized()
        if request.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
            return web.Response(status=400, text="Connection ID required")
        refusal = await self._interfered(request, f"hubs/{self.name}", session)
        if refusal is not None:
            return refusal
        if len(self.connections) >= CONNECTIONS_MAX:
            return web.Response(status=503)
        claim_id = request.query.get("id")
        claim, connection_id = self._negotiations.claim(claim_id)
        if claim is Claim.IN_USE:
            return web.Response(status=409)
        if claim is Claim.GONE:
            return web.Response(status=404, text="No Connection with that ID")
        connection = self._connection(request, session, connection_id)
        self.connections.append(connection)
        try:
            return await connection.serve(request)
        finally:
            self.connections.remove(connection)
            self._negotiations.release(claim_id)
            for group in [*connection.groups]:
                self.leave(connection, group)

    def _connection(
        self, request: web.Request, session: Session, connection_id: str
    ) -> HubConnection:
        # The transport is gone from the request once the upgrade is done: take it before.
        transport = request.transport
        return HubConnection(
            session=session,
            connection_id=connection_id,
            transport=transport if isinstance(transport, asyncio.Transport) else None,
            timings=self._config.timings,
            refuse_version_0=self._config.refuse_handshake_version_0,
            call=self._call,
            token_alive=self._token_alive,
            on_ready=self._ready,
        )

    def _session_of(self, request: web.Request) -> Session | None:
        token = bearer_token(request, query_too=True)
        return None if token is None else self._tokens.session_of(token)

    def _negotiated(self, asked: str | None) -> dict[str, object]:
        try:
            version = 0 if asked is None else int(asked)
        except ValueError:
            # As the real server does it: HTTP 200 with an error member.
            return {"error": f"The client requested an invalid protocol version '{asked}'"}
        version = min(version, NEGOTIATE_VERSION_MAX)
        if version < 0:
            return {
                "error": f"The client requested version '{version}', but the server does not "
                "support this version."
            }
        given = self._negotiations.negotiate(version)
        answer: dict[str, object] = {
            "negotiateVersion": version,
            "connectionId": given.connection_id,
        }
        if version > 0:
            answer["connectionToken"] = given.claim_id
        answer["availableTransports"] = [
            {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}
        ]
        return answer

    async def _interfered(
        self, request: web.Request, endpoint: str, session: Session
    ) -> web.StreamResponse | None:
        """Return the answer that a fault gives in place of the true one, if any."""
        treatment = self._interference.treat_call(Call(endpoint=endpoint, user=session.user))
        delay_ms = treatment.delay_before_ms + treatment.delay_after_ms
        if delay_ms:
            await asyncio.sleep(delay_ms / 1000)
        if treatment.reset is not None:
            reset_connection(request.transport)
            return web.Response()
        return None if treatment.answer is None else replaced(treatment.answer)

    # -- methods --------------------------------------------------------------------------------

    def _call(self, connection: HubConnection, record: Record) -> str | None:
        """Run one method; return None, or the text of its error."""
        target = record.target or ""
        method = self._methods.get(target.lower())
        if method is None:
            return signalr.unknown_method(target)
        arguments = [] if record.arguments is UNSET else record.arguments
        if len(arguments) != len(method.arguments) or not all(
            map(_fits, arguments, method.arguments)
        ):
            return signalr.wrong_arguments(target)
        method.act(connection, arguments)
        return None

    def join(self, connection: HubConnection, group: Group) -> None:
        """Add a connection to a group, a second time too when the configuration says so."""
        if connection.groups[group] and not self._config.resubscribe_doubles:
            return
        connection.groups[group] += 1
        self._groups.setdefault(group, []).append(connection)

    def leave(self, connection: HubConnection, group: Group) -> None:
        """Take a connection out of a group, however often it joined."""
        if connection.groups.pop(group, 0) == 0:
            return
        remaining = [member for member in self._groups[group] if member is not connection]
        if remaining:
            self._groups[group] = remaining
        else:
            del self._groups[group]

    def has_listeners(self, group: Group) -> bool:
        """Tell whether anybody would hear an event of ``group``: saves encoding it."""
        return group in self._groups

    def broadcast(self, group: Group, record: bytes) -> None:
        """Queue one encoded event for every member of ``group``."""
        for connection in self._groups.get(group, ()):
            connection.send_event(record)

    # -- the fault layer and shutdown -----------------------------------------------------------

    def connections_of(self, user: str | None) -> Iterable[HubConnection]:
        """Return the open connections of ``user``, or of everybody for None."""
        return [
            connection
            for connection in self.connections
            if not connection.is_closing and user in {None, connection.session.user}
        ]

    def close_all(self) -> None:
        """End every connection at once, as a server that is shut down does."""
        for connection in self.connections:
            connection.silent(Silence.NONE)
            connection.end_of_file()

    def _token_alive(self, session: Session) -> bool:
        if self._config.token_expiry_on_hub is TokenExpiryOnHub.KEEP:
            return True
        return self._tokens.is_valid(session)

    def _ready(self, connection: HubConnection) -> None:
        if not self._config.logout_older_connections or self.name != "user":
            return
        for older in self.connections_of(connection.session.user):
            if older is not connection:
                older.send_event(signalr.invocation("GatewayLogout"))


def _fits(argument: object, wanted: type) -> bool:
    """Tell whether a JSON value binds to a parameter; "7" is not an int, and null is a string."""
    if wanted is int:
        return isinstance(argument, int) and not isinstance(argument, bool)
    return argument is None or isinstance(argument, wanted)
