"""Opening a hub connection: negotiation, redirects, the WebSocket, the handshake.

The token goes into the header for both requests, never into the address: addresses end up in logs
and error texts. What ``negotiate`` gives opens the socket too, so it is never shown either.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from http import HTTPStatus
from typing import Protocol

import aiohttp
from yarl import URL

from backstop.adapters.projectx import hub_protocol as protocol
from backstop.adapters.projectx.signalr import (
    BytesSocket,
    HubConnection,
    HubEndedError,
    HubTimings,
    Listener,
)
from backstop.adapters.projectx.transport import describe, read_bounded
from backstop.adapters.projectx.wire import UNREADABLE
from backstop.ports import Clock

REDIRECTS_MAX = 5
NEGOTIATION_BYTES_MAX = 65_536
MESSAGE_BYTES_MAX = protocol.RECORD_BYTES_MAX + 65_536

_CLOSE_S = 0.5  # an orderly goodbye is a courtesy; stopping must not wait for a dead server


class Negotiate(StrEnum):
    """How a connection begins."""

    ASK = "ASK"  # ask ``negotiate`` first; a server without it is connected to directly
    SKIP = "SKIP"  # open the WebSocket at once, as the gateway's own sample does


class TokenRefusedError(HubEndedError):
    """The server answered 401 to the token."""


class BearsToken(Protocol):
    """What a connection needs of a token: the header; it never goes into the address."""

    def headers(self) -> dict[str, str]:
        """Return the authorization header."""


@asynccontextmanager
async def connected(
    url: str,
    token: BearsToken,
    *,
    listener: Listener,
    clock: Clock,
    timings: HubTimings,
    negotiate: Negotiate = Negotiate.ASK,
    tls: ssl.SSLContext | None = None,
    strike: Callable[[bytes], bytes] = bytes,
) -> AsyncIterator[HubConnection]:
    """Open a connection to the hub at ``url``; it ends with the context.

    ``strike`` takes secrets out of every record before anything else sees it.

    Raises:
        TokenRefusedError: the server answered 401.
        HubEndedError: no connection, for any other reason.
    """
    # A session of its own: nothing of an earlier, perhaps half-dead connection is used again, and
    # a load balancer's cookie leads the WebSocket to the server that negotiated.
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls if tls is not None else True)
    ) as http:
        try:
            async with asyncio.timeout(timings.connect_s):
                socket = await _socket(http, URL(url), token.headers(), negotiate=negotiate)
        except (aiohttp.ClientError, OSError, *UNREADABLE) as error:
            refused = isinstance(error, aiohttp.ClientResponseError) and (
                error.status == HTTPStatus.UNAUTHORIZED
            )
            kind = TokenRefusedError if refused else HubEndedError
            raise kind(f"connecting failed: {describe(error)}") from None
        try:
            connection = HubConnection(
                socket, listener=listener, clock=clock, timings=timings, strike=strike
            )
            await connection.shake_hands()
            yield connection
        finally:
            with suppress(aiohttp.ClientError, OSError):
                async with asyncio.timeout(_CLOSE_S):
                    await socket.close()


async def _socket(
    http: aiohttp.ClientSession, url: URL, headers: dict[str, str], *, negotiate: Negotiate
) -> BytesSocket:
    """Negotiate where asked to, and open the WebSocket."""
    if negotiate is Negotiate.ASK:
        url, headers = await _negotiated(http, url, headers)
    return await http.ws_connect(
        url,
        headers=headers,
        max_msg_size=MESSAGE_BYTES_MAX,
        decode_text=False,
        heartbeat=None,
        timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
    )


async def _negotiated(
    http: aiohttp.ClientSession, url: URL, headers: dict[str, str]
) -> tuple[URL, dict[str, str]]:
    """Return the WebSocket's address and headers, following redirects."""
    for _ in range(REDIRECTS_MAX):
        ask = url.with_path(url.path.rstrip("/") + "/negotiate").with_query(url.query)
        async with http.post(
            ask.update_query(negotiateVersion="1"),
            data=b"",
            headers=headers,
            allow_redirects=False,
        ) as response:
            if response.status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
                return url, headers  # a server without negotiation: connect directly
            if response.status != HTTPStatus.OK:
                raise aiohttp.ClientResponseError(response.request_info, (), status=response.status)
            body = await read_bounded(response, bytes_max=NEGOTIATION_BYTES_MAX)
        answer = protocol.decode_negotiation(body)
        if answer.error is not None:
            raise HubEndedError(f"negotiation refused: {answer.error[:300]}")
        if answer.url is None:
            if answer.socket_id is None or not answer.offers_web_sockets:
                raise HubEndedError("negotiation offers no WebSocket")
            return url.update_query(id=answer.socket_id), headers
        url, headers = _redirected(url, URL(answer.url), headers, answer.access_token)
    raise HubEndedError(f"negotiation was redirected more than {REDIRECTS_MAX} times")


def _redirected(
    old: URL, new: URL, headers: dict[str, str], access_token: str | None
) -> tuple[URL, dict[str, str]]:
    """Go where the server says; our token goes to another host only if that has none of its own."""
    if new.scheme != old.scheme:
        raise HubEndedError("negotiation redirects to another scheme")
    if access_token is not None:
        return new, {"Authorization": f"Bearer {access_token}"}
    if new.origin() != old.origin():
        raise HubEndedError("negotiation redirects to another host without a token for it")
    return new, headers
