"""One hub: negotiate, connect, subscribe by method name, and broadcast to groups."""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from aiohttp import hdrs, web
from msgspec import UNSET, Struct

from backstop.adapters.projectx_server import signalr
from backstop.adapters.projectx_server.backlog import Group
from backstop.adapters.projectx_server.config import ServerConfig, TokenExpiryOnHub
from backstop.adapters.projectx_server.http_answers import (
    bearer_token,
    replaced,
    reset_connection,
    unauthorized,
)
from backstop.adapters.projectx_server.hub_connection import HubConnection, Silence
from backstop.adapters.projectx_server.hub_limits import (
    HubLimits,
    HubTally,
    Misuse,
    Paced,
)
from backstop.adapters.projectx_server.interference import Call, Interference
from backstop.adapters.projectx_server.json_rows import encode
from backstop.adapters.projectx_server.negotiation import Claim, Negotiations
from backstop.adapters.projectx_server.signalr import Record
from backstop.adapters.projectx_server.tokens import Session, TokenIssuer

NEGOTIATE_VERSION_MAX = 1
PACES_KEPT = 1024  # users whose pace is remembered; the one that came longest ago goes first


Act = Callable[[HubConnection, list[Any]], str | None]
"""What a method does with its arguments; it returns why it did not, if so."""


class HubMethod(Struct, frozen=True, kw_only=True):
    """One method: the JSON types of its arguments, and what it does."""

    arguments: tuple[type, ...]
    act: Act


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
        limits: HubLimits,
    ) -> None:
        self.name: Final[str] = name
        self.connections: list[HubConnection] = []
        self.tally: Final = HubTally(now_s=_now_s)
        self.on_audience: Callable[[Group, bool], None] = _unheard
        self._methods = {method.lower(): entry for method, entry in methods.items()}
        self._tokens = tokens
        self._config = config
        self._interference = interference
        self._limits = limits
        self._paces: OrderedDict[str, Paced] = OrderedDict()
        self._groups: dict[Group, list[HubConnection]] = {}
        self._negotiations = Negotiations(
            life_s=config.timings.negotiated_life_s, monotonic_s=_now_s
        )

    # -- HTTP -----------------------------------------------------------------------------------

    async def negotiate(self, request: web.Request) -> web.StreamResponse:
        """Answer ``POST /hubs/<name>/negotiate``."""
        if request.method != hdrs.METH_POST:
            return web.Response(status=405, headers={hdrs.ALLOW: "POST"})
        session = self._session_of(request)
        if session is None:
            return unauthorized()
        if not self._keeps_pace(session):
            return _too_much(Misuse.CONNECTS_TOO_FAST)
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
        full = self._full(session)
        if full is not None:
            return full
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

    def _full(self, session: Session) -> web.Response | None:
        """Return the answer to one connection too many, or one too soon."""
        limits, user = self._limits, session.user
        if len(self.connections) >= limits.connections_max:
            self.tally.note(Misuse.HUB_FULL, user)
            return web.Response(status=503)
        most = limits.user_connections_max
        if most is not None and sum(it.session.user == user for it in self.connections) >= most:
            self.tally.note(Misuse.USER_FULL, user)
            return _too_much(Misuse.USER_FULL)
        if not self._keeps_pace(session):
            return _too_much(Misuse.CONNECTS_TOO_FAST)
        return None

    def _keeps_pace(self, session: Session) -> bool:
        if self._limits.connects is None:
            return True
        pace = self._paces.get(session.user)
        if pace is None:
            pace = self._paces[session.user] = Paced(self._limits.connects, now_s=_now_s)
        self._paces.move_to_end(session.user)
        if len(self._paces) > PACES_KEPT:
            self._paces.popitem(last=False)
        if pace.admits():
            return True
        self.tally.note(Misuse.CONNECTS_TOO_FAST, session.user)
        return False

    def _connection(
        self, request: web.Request, session: Session, connection_id: str
    ) -> HubConnection:
        # The transport is gone from the request once the upgrade is done: take it before.
        transport = request.transport
        raw = None if transport is None else transport.get_extra_info("socket")
        if raw is not None and self._limits.send_buffer_bytes is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._limits.send_buffer_bytes)
        return HubConnection(
            session=session,
            connection_id=connection_id,
            transport=transport if isinstance(transport, asyncio.Transport) else None,
            timings=self._config.timings,
            limits=self._limits,
            tally=self.tally,
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
        refused = method.act(connection, arguments)
        return None if refused is None else signalr.hub_exception(target, refused)

    def join(self, connection: HubConnection, group: Group) -> str | None:
        """Add a connection to a group, a second time too when the configuration says so.

        Returns:
            None, or why it was not added.
        """
        if connection.groups[group] and not self._config.resubscribe_doubles:
            return None
        most = self._limits.subscriptions_max
        if connection.groups.total() >= most:
            self.tally.note(Misuse.TOO_MANY_SUBSCRIPTIONS, connection.session.user)
            return f"A connection may have at most {most} subscriptions."
        connection.groups[group] += 1
        members = self._groups.setdefault(group, [])
        members.append(connection)
        if len(members) == 1:
            self.on_audience(group, True)
        return None

    def leave(self, connection: HubConnection, group: Group) -> None:
        """Take a connection out of a group, however often it joined."""
        if connection.groups.pop(group, 0) == 0:
            return
        remaining = [member for member in self._groups[group] if member is not connection]
        if remaining:
            self._groups[group] = remaining
        else:
            del self._groups[group]
            self.on_audience(group, False)

    def regroup(self, group: Group, other: Group) -> None:
        """Move every member of ``group`` to ``other``, in which it was not."""
        for connection in self._groups.pop(group, []):
            if connection.groups.pop(group, 0):
                connection.groups[other] = 1
                self._groups.setdefault(other, []).append(connection)

    def has_listeners(self, group: Group) -> bool:
        """Tell whether anybody would hear an event of ``group``: saves encoding it."""
        return group in self._groups

    def broadcast(self, group: Group, record: bytes) -> None:
        """Queue one encoded event for every member of ``group``."""
        for connection in self._groups.get(group, ()):
            connection.send_event(record)

    def broadcast_market(self, group: Group, record: bytes) -> None:
        """Queue one encoded market event likewise; a slow member may get less instead of late."""
        for connection in self._groups.get(group, ()):
            connection.send_market(group, record)

    # -- the fault layer and shutdown -----------------------------------------------------------

    @property
    def connected(self) -> int:
        """Connections that are open."""
        return len(self.connections)

    @property
    def misuse(self) -> Mapping[str, int]:
        """What clients were refused, were ended for, or got less of, by word; since the start."""
        return {str(what): count for what, count in self.tally.counts.items()}

    def connections_of(self, user: str | None) -> Iterable[HubConnection]:
        """Return the open connections of ``user``, or of everybody for None."""
        return [
            connection
            for connection in self.connections
            if not connection.is_closing and user in {None, connection.session.user}
        ]

    def close_with(self, reason: str) -> None:
        """End every connection in order, saying why: those who come back read the truth."""
        for connection in self.connections:
            connection.close(error=reason, allow_reconnect=True)

    def end_without_token(self) -> None:
        """End the connections whose token is no longer good, where that ends a connection."""
        for connection in self.connections:
            connection.end_without_token()

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


def _too_much(what: Misuse) -> web.Response:
    return web.Response(status=429, text=what)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _unheard(_group: Group, _has_listeners: bool) -> None:  # noqa: FBT001 - a callback
    """Nobody cares whether anybody listens."""
