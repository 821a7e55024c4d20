"""Who may talk to the guard: the bearer token, and the names it may be called by.

The token keeps other programs of the machine out. Host and Origin keep web pages out: a page that
a browser shows may send requests to loopback addresses, also by a name of its own that it points
there (DNS rebinding), so only loopback names, and only pages of the guard itself, are answered.
"""

import hmac
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backstop.adapters.loopback import is_loopback_host
from backstop.entrypoints.http.errors import ApiError, ErrorCode, send_error
from backstop.entrypoints.http.pace import CALLS_PER_S, RETRY_AFTER_S, Pace, takes_risk_away

OPEN_PATHS = frozenset({"/v1/health"})
"""Answered without a token: whether the guard is well is no secret on its own machine."""

_ANSWER_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # Whatever a browser makes of an answer, it runs and frames nothing; a page states its own.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""On every answer that does not have its own; no page may keep, guess at or embed one."""


class Gatekeeper:
    """The outermost layer: everything passes it or is answered by it.

    Args:
        app: what is guarded.
        token: the bearer token.
        loopback_only: the guard listens on loopback and answers to loopback names only. Beyond
            loopback it speaks TLS, and there a foreign name fails at the certificate.
        open_paths: what is answered without the token; Host and Origin are checked there as well.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        loopback_only: bool,
        open_paths: frozenset[str] = OPEN_PATHS,
    ) -> None:
        self._app = app
        self._token = token.encode("utf-8")
        self._loopback_only = loopback_only
        self._open_paths = open_paths
        self._pace, self._strangers_pace = Pace(), Pace()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let through."""
        if scope["type"] != "http":
            return

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _marked(message.get("headers", ()))}
            await send(message)

        # The client's order id may hold any character, a slash included: routes are matched on
        # the path as it was sent, and the endpoint decodes the id.
        scope = {**scope, "path": scope["raw_path"].decode("ascii", "replace")}
        try:
            self._check(scope)
        except ApiError as error:
            await send_error(send_marked, error)
            return
        await self._app(scope, receive, send_marked)

    def _check(self, scope: Scope) -> None:
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        host = _single(headers, b"host")
        if self._loopback_only and not is_loopback_host(_host_name(host)):
            raise ApiError(
                403,
                ErrorCode.HOST_NOT_ALLOWED,
                "the Host header must be a loopback name or address, such as 127.0.0.1",
            )
        origin = _single(headers, b"origin")
        if origin is not None and not _is_of(origin, host or ""):
            raise ApiError(
                403, ErrorCode.ORIGIN_NOT_ALLOWED, "pages of other origins may not use this API"
            )
        authorised = self._is_authorised(headers)
        if not (authorised and takes_risk_away(scope["method"], scope["path"])):
            _keep(self._pace if authorised else self._strangers_pace)
        if not authorised and scope["path"] not in self._open_paths:
            raise ApiError(
                401,
                ErrorCode.TOKEN_REQUIRED,
                "send the header 'Authorization: Bearer TOKEN' with the token that "
                "BACKSTOP_API_TOKEN holds, or the file api_token in the state folder",
            )

    def _is_authorised(self, headers: list[tuple[bytes, bytes]]) -> bool:
        given = [value for name, value in headers if name == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)


def _keep(pace: Pace) -> None:
    if not pace.allows():
        raise ApiError(
            429,
            ErrorCode.TOO_MANY_CALLS,
            f"more than {CALLS_PER_S} calls a second: nothing was done, ask again in "
            f"{RETRY_AFTER_S} s. Halting, cancelling, closing and liquidating are always answered",
        )


def _marked(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    given = list(headers)
    names = {name.lower() for name, _ in given}
    return [*given, *(it for it in _ANSWER_HEADERS if it[0] not in names)]


def _single(headers: list[tuple[bytes, bytes]], wanted: bytes) -> str | None:
    """Return the one value of a header; a repeated one counts as an unusable value."""
    values = [value for name, value in headers if name == wanted]
    if not values:
        return None
    return values[0].decode("latin-1") if len(values) == 1 else ""


def _is_of(origin: str, host: str) -> bool:
    """Tell whether a page of ``origin`` came from the very address that is asked now."""
    scheme, _, place = origin.lower().partition("://")
    return scheme in {"http", "https"} and place == host.lower()


def _host_name(host: str | None) -> str:
    """Return a Host header without its port and without an IPv6 address's brackets."""
    try:
        return urlsplit(f"//{host or ''}").hostname or ""
    except ValueError:
        return ""
