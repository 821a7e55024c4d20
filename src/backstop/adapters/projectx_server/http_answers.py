"""Small HTTP pieces that REST and hubs share: bearer tokens, empty answers, TCP resets."""

import asyncio
import socket
import struct
import sys
from typing import Final

from aiohttp import hdrs, web

from backstop.adapters.projectx_server.interference import ReplacedAnswer

# SO_LINGER, on for zero seconds: closing sends RST. Windows has two shorts there.
_RESET_ON_CLOSE: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


def bearer_token(request: web.Request, *, query_too: bool = False) -> str | None:
    """Return the token of the ``Authorization`` header or, on hubs, of ``access_token``."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.query.get("access_token") if query_too else None


def unauthorized() -> web.Response:
    """Return the answer to a missing, malformed, expired or revoked token."""
    return web.Response(status=401, headers={hdrs.WWW_AUTHENTICATE: "Bearer"})


def too_many_requests(retry_after_s: int | None) -> web.Response:
    """Return a 429 with an empty body."""
    headers = {} if retry_after_s is None else {hdrs.RETRY_AFTER: str(retry_after_s)}
    return web.Response(status=429, headers=headers)


def replaced(answer: ReplacedAnswer) -> web.Response:
    """Return the answer that the fault layer puts in place of the true one."""
    response = web.Response(status=answer.status, body=answer.body or None)
    if answer.body:
        response.content_type = answer.content_type
    if answer.retry_after_s is not None:
        response.headers[hdrs.RETRY_AFTER] = str(answer.retry_after_s)
    return response


def reset_connection(transport: asyncio.BaseTransport | None) -> None:
    """End a TCP connection with RST, as a dying proxy does; what is buffered is lost."""
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    if isinstance(transport, asyncio.Transport):
        transport.abort()
