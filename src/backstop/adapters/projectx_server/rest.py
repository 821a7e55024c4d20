"""The REST half of the gateway: HTTP to endpoint calls, in the order the real server checks.

Path, verb, token, rate, body, venue: 404, 405, 401, 429 and 400 come from the first five; whatever
the venue says is HTTP 200 with an envelope.
"""

import asyncio
from collections.abc import Callable

from aiohttp import hdrs, web
from msgspec import Struct

from backstop.adapters.projectx_server.binding import bind
from backstop.adapters.projectx_server.config import ServerConfig
from backstop.adapters.projectx_server.endpoints import Endpoint, Endpoints, Envelope, envelope
from backstop.adapters.projectx_server.http_answers import (
    bearer_token,
    replaced,
    reset_connection,
    too_many_requests,
    unauthorized,
)
from backstop.adapters.projectx_server.interference import Call, Interference, Reset, Treatment
from backstop.adapters.projectx_server.json_problems import UnbindableError, problem_answer
from backstop.adapters.projectx_server.json_rows import encode
from backstop.adapters.projectx_server.rate_limit import RateLimit, SlidingWindows
from backstop.adapters.projectx_server.tokens import Session, TokenIssuer
from backstop.adapters.projectx_server.venue import VenueBusyError, VenueSilentError

_PING = "status/ping"
_BARS = "History/retrieveBars"
_EXITS = frozenset({"Order/cancel", "Position/closeContract", "Position/partialCloseContract"})
"""What takes risk away: it may have a window of its own."""

LATE_CALLS_MAX = 1000  # calls that wait for a late venue; more are acted on at once


class RestServer:
    """Answers everything below ``/api/``."""

    def __init__(
        self,
        *,
        endpoints: Endpoints,
        tokens: TokenIssuer,
        config: ServerConfig,
        interference: Interference,
        elapsed_us: Callable[[], int],
    ) -> None:
        self._endpoints = endpoints
        self._tokens = tokens
        self._retry_after = config.retry_after
        self._interference = interference

        def windows(limit: RateLimit | None) -> SlidingWindows | None:
            return None if limit is None else SlidingWindows(limit, elapsed_us)

        self._general = windows(config.general_limit)
        self._bars = windows(config.bars_limit)
        self._exits = self._general if config.exits_limit is None else windows(config.exits_limit)
        self._late_calls: set[asyncio.TimerHandle | asyncio.Task[Envelope]] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        path = request.match_info["path"].rstrip("/").lower()
        if path == _PING:
            return await self._ping(request)
        endpoint = self._endpoints.by_path.get(path)
        if endpoint is None:
            return web.Response(status=404)
        if request.method != hdrs.METH_POST:
            return web.Response(status=405, headers={hdrs.ALLOW: "POST"})
        session = self._session_of(request)
        if endpoint.needs_token and session is None:
            return unauthorized()
        text = await request.read()
        refusal = self._over_rate(endpoint, self._rate_key(request, endpoint, session, text))
        if refusal is not None:
            return refusal
        try:
            body = self._bound(endpoint, text)
        except UnbindableError as error:
            return problem_answer(error.errors)
        treatment = self._interference.treat_call(_call_of(endpoint, session, body))
        return await self._treated(request, endpoint, session, body, treatment)

    def close(self) -> None:
        """Forget the calls that wait for a late venue."""
        for handle in self._late_calls:
            handle.cancel()
        self._late_calls.clear()

    async def _ping(self, request: web.Request) -> web.StreamResponse:
        if request.method not in {hdrs.METH_GET, hdrs.METH_HEAD}:
            return web.Response(status=405, headers={hdrs.ALLOW: "GET"})
        treatment = self._interference.treat_call(Call(endpoint="Status/ping"))
        answer = web.Response(text="pong")
        if "application/json" in request.headers.get(hdrs.ACCEPT, ""):
            answer = web.Response(body=b'"pong"', content_type="application/json", charset="utf-8")
        return await self._sent(request, answer, treatment)

    def _session_of(self, request: web.Request) -> Session | None:
        token = bearer_token(request)
        return None if token is None else self._tokens.session_of(token)

    def _bound(self, endpoint: Endpoint, text: bytes) -> Struct:
        if not endpoint.body_type.__struct_fields__:
            return endpoint.body_type()  # calls without members take any body
        return bind(text, endpoint.body_type, request_type=endpoint.request_type)

    # -- rate -----------------------------------------------------------------------------------

    def _rate_key(
        self, request: web.Request, endpoint: Endpoint, session: Session | None, text: bytes
    ) -> str:
        """Return whose window a call counts in: the user's, for logins too, else the address."""
        if session is not None:
            return f"user {session.user}"
        try:
            named = getattr(self._bound(endpoint, text), "user_name", "")
        except UnbindableError:
            named = ""
        known = self._endpoints.known_user(named)
        return f"address {request.remote}" if known is None else f"user {known}"

    def _over_rate(self, endpoint: Endpoint, key: str) -> web.Response | None:
        windows = self._general
        if endpoint.name == _BARS:
            windows = self._bars
        elif endpoint.name in _EXITS:
            windows = self._exits
        wait_s = None if windows is None else windows.admit(key)
        if wait_s is None:
            return None
        return too_many_requests(wait_s if self._retry_after else None)

    # -- the call itself ------------------------------------------------------------------------

    async def _treated(
        self,
        request: web.Request,
        endpoint: Endpoint,
        session: Session | None,
        body: Struct,
        treatment: Treatment,
    ) -> web.StreamResponse:
        """Let the venue act when and if the treatment says so, and answer."""
        if treatment.delay_before_ms:
            await asyncio.sleep(treatment.delay_before_ms / 1000)
        if treatment.reset is Reset.BEFORE:
            return _reset(request)
        truth: Envelope
        if treatment.venue_acts_after_ms is not None:
            self._act_later(endpoint, session, body, treatment.venue_acts_after_ms)
            truth = envelope() | dict.fromkeys(endpoint.empty)
        elif treatment.reaches_venue:
            try:
                truth = await endpoint.act(session, body)
            except VenueBusyError as busy:
                return too_many_requests(busy.retry_after_s if self._retry_after else None)
            except VenueSilentError:
                return web.Response(status=503)
        else:
            truth = envelope() | dict.fromkeys(endpoint.empty)
        answer = web.Response(
            body=encode(_told(truth, treatment)), content_type="application/json", charset="utf-8"
        )
        return await self._sent(request, answer, treatment)

    def _act_later(
        self, endpoint: Endpoint, session: Session | None, body: Struct, after_ms: int
    ) -> None:
        def act() -> None:
            self._late_calls.discard(handle)
            acting = asyncio.ensure_future(endpoint.act(session, body))
            self._late_calls.add(acting)
            acting.add_done_callback(self._late_calls.discard)

        wait_s = after_ms / 1000 if len(self._late_calls) < LATE_CALLS_MAX else 0
        handle = asyncio.get_running_loop().call_later(wait_s, act)
        self._late_calls.add(handle)

    async def _sent(
        self, request: web.Request, answer: web.Response, treatment: Treatment
    ) -> web.StreamResponse:
        """Send the answer, or what the treatment makes of it."""
        if treatment.delay_after_ms:
            await asyncio.sleep(treatment.delay_after_ms / 1000)
        if treatment.reset in {Reset.BEFORE, Reset.AFTER}:
            return _reset(request)
        if treatment.answer is not None:
            return replaced(treatment.answer)
        body = answer.body if isinstance(answer.body, bytes) else b""
        if treatment.reset is Reset.MID_BODY:
            return await _half_sent(request, body)
        if treatment.cut_body:
            answer.body = body[: len(body) // 2]
        return answer


def _told(truth: Envelope, treatment: Treatment) -> Envelope:
    """Return the envelope that is told, which a fault may make differ from the truth."""
    told = dict(truth)
    if treatment.code is not None:
        told |= {
            "success": treatment.code == 0,
            "errorCode": treatment.code,
            "errorMessage": treatment.message,
        }
    if treatment.omit_order_id:
        told.pop("orderId", None)
    if treatment.empty_lists:
        told |= {member: [] for member, value in told.items() if isinstance(value, list)}
        if "totalCount" in told:
            told["totalCount"] = 0
    return told


def _reset(request: web.Request) -> web.StreamResponse:
    reset_connection(request.transport)
    return web.Response()  # nothing of it leaves: the transport is gone


async def _half_sent(request: web.Request, body: bytes) -> web.StreamResponse:
    answer = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "application/json; charset=utf-8"})
    answer.content_length = len(body)
    await answer.prepare(request)
    await answer.write(body[: len(body) // 2])
    # Closed and not reset: RST would let the peer drop the half that has left already.
    if isinstance(request.transport, asyncio.Transport):
        request.transport.close()
    return answer


def _call_of(endpoint: Endpoint, session: Session | None, body: Struct) -> Call:
    filtered = getattr(body, "filter", body)
    return Call(
        endpoint=endpoint.name,
        user=getattr(body, "user_name", None) if session is None else session.user,
        account_id=getattr(filtered, "account_id", None),
        contract_id=getattr(filtered, "contract_id", None),
        tag=getattr(body, "custom_tag", None),
    )
