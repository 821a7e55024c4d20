"""One HTTP exchange with the gateway: its answer, or a failure that knows whether a byte left.

Nothing here repeats a request, follows a redirect or reads the meaning of an answer. The one fact
that only this place can know is whether a request can have reached the gateway at all: until a
connection (TLS included) was handed to the request, no byte of it left this machine; from then on
nobody can tell.
"""

import asyncio
import os
import re
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from statistics import median_low
from types import SimpleNamespace
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from msgspec import Struct

from backstop.adapters.loopback import is_loopback_url
from backstop.domain.clock import DATE_RESOLUTION_US, ClockReading
from backstop.errors import GatewayAnswerError, GatewayUnreachableError, SettingError
from backstop.ports import Clock

ANSWER_BYTES_MAX = 16 * 1024 * 1024
"""The longest real answer, 20 000 bars, has about 2.3 MB."""

CONNECTIONS_MAX = 16
"""Audits read five lists at once; an order must not wait for a connection behind them."""

KEEPALIVE_S = 15
"""Idle connections are dropped before any usual server would: an order that is written into a
connection which the other side has just closed is lost without a trace."""

CLOCK_READINGS_MAX = 3
"""How many answers in a row say what time it is at the venue; or, if none does, that none says."""

_CHUNK_BYTES = 65_536
_SECONDS = re.compile("[0-9]{1,9}")  # more digits are no pause, and with 309 infinite
_NS_PER_S = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NothingSentError(GatewayUnreachableError):
    """The exchange failed before any byte of the request left this machine."""


class MaybeSentError(GatewayUnreachableError):
    """The exchange failed after the request may have left: nobody knows what happened to it."""


class HttpReply(Struct, frozen=True, kw_only=True):
    """One complete HTTP answer."""

    status: int
    body: bytes
    retry_after_s: float | None = None


class Transport:
    """One aiohttp session to one gateway host; use as an async context manager."""

    def __init__(
        self,
        base_url: str,
        *,
        clock: Clock,
        connect_timeout_s: float = 4.0,
        tls: ssl.SSLContext | None = None,
        on_clock: Callable[[tuple[ClockReading, ...]], None] | None = None,
    ) -> None:
        self._base_url = checked_url(base_url, setting="TOPSTEPX_API_URL")
        self._clock = clock
        self._connect_timeout_s = connect_timeout_s
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._in_flight = 0
        self._used_ns = 0
        self._on_clock = on_clock
        self._looks: deque[ClockReading | None] = deque(maxlen=CLOCK_READINGS_MAX)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; a later exchange opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def venue_clock_offset_ms(self) -> int | None:
        """The gateway's wall clock minus ours as it is now, from the last answers; None: not known.

        A ``Date`` header has whole seconds, so the figure is good to about half a second. That
        ours was set since does not make it wrong: the readings lie beside the monotonic clock.
        """
        if not self.clock_readings:
            return None
        stepped_us = self._clock.utc_us() - self._clock.monotonic_ns() // 1000
        offsets_us = (
            it.offset_us + it.ours_utc_us - it.read_ns // 1000 - stepped_us
            for it in self.clock_readings
        )
        return median_low(offsets_us) // 1000

    @property
    def clock_readings(self) -> tuple[ClockReading, ...]:
        """What the last answers said of the venue's time, oldest first; at most three."""
        return tuple(look for look in self._looks if look is not None)

    async def exchange(
        self,
        path: str,
        body: bytes,
        *,
        headers: Mapping[str, str],
        deadline_ns: int,
        on_unsent: Callable[[], None] = lambda: None,
    ) -> HttpReply:
        """Send one POST and read its whole answer.

        Args:
            path: absolute from the root, ``/api/Order/place``.
            body: JSON.
            headers: for example the authorization; they never show in an error.
            deadline_ns: monotonic time at which the exchange is given up.
            on_unsent: called when it ends, also by being cancelled, before any byte left.

        Raises:
            NothingSentError: no byte of the request left; the gateway cannot know of it.
            MaybeSentError: the request may have arrived; also for an answer that is cut or too
                long.
        """
        progress = SimpleNamespace(connected=False)
        session = await self._fresh_session()
        self._in_flight += 1
        try:
            timeout_s = (deadline_ns - self._clock.monotonic_ns()) / _NS_PER_S
            async with asyncio.timeout(timeout_s):
                return await self._post(session, path, body, headers=headers, progress=progress)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            # asyncio.timeout and aiohttp both raise TimeoutError, which is an OSError.
            kind = MaybeSentError if progress.connected else NothingSentError
            raise kind(f"{path}: {describe(error)}") from None
        finally:
            self._in_flight -= 1
            self._used_ns = self._clock.monotonic_ns()
            if not progress.connected:
                on_unsent()

    async def _post(
        self,
        session: aiohttp.ClientSession,
        path: str,
        body: bytes,
        *,
        headers: Mapping[str, str],
        progress: SimpleNamespace,
    ) -> HttpReply:
        sent_ns = self._clock.monotonic_ns()
        async with session.post(
            self._base_url + path,
            data=body,
            headers={
                "Content-Type": "application/json",
                "Accept": "application/json, text/plain",
                **headers,
            },
            allow_redirects=False,
            trace_request_ctx=progress,
        ) as response:
            self._read_clock(response.headers.get("Date"), sent_ns=sent_ns)
            return HttpReply(
                status=response.status,
                body=await read_bounded(response, bytes_max=ANSWER_BYTES_MAX),
                retry_after_s=_seconds(response.headers.get("Retry-After")),
            )

    async def _fresh_session(self) -> aiohttp.ClientSession:
        """Return the session; drop its idle connections first if the computer has slept.

        aiohttp's own keep-alive limit runs on a clock that stands still while a laptop sleeps.
        """
        idle_ns = self._clock.monotonic_ns() - self._used_ns
        if self._in_flight == 0 and idle_ns > KEEPALIVE_S * _NS_PER_S:
            await self.close()
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=CONNECTIONS_MAX,
                    keepalive_timeout=KEEPALIVE_S,
                    ssl=self._tls if self._tls is not None else True,
                ),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[_connection_trace()],
                read_bufsize=_CHUNK_BYTES,
            )
        return self._session

    def _read_clock(self, date: str | None, *, sent_ns: int) -> None:
        """Take note of the second in which an answer was made, and tell of the last answers."""
        said_us = _date_us(date)
        read_ns, ours_utc_us = self._clock.monotonic_ns(), self._clock.utc_us()
        look = None
        if said_us is not None:
            # It was made after the request left, in that second, and came after that.
            latest_us = said_us + DATE_RESOLUTION_US + (read_ns - sent_ns) // 1000
            look = ClockReading(
                read_ns=read_ns,
                ours_utc_us=ours_utc_us,
                earliest_utc_us=said_us,
                latest_utc_us=latest_us,
            )
        self._looks.append(look)
        readings = self.clock_readings
        # One answer without a date says nothing; as many as are kept say that there is none.
        silent = len(self._looks) == CLOCK_READINGS_MAX and not readings
        if self._on_clock is not None and (readings or silent):
            self._on_clock(readings)


def _date_us(text: str | None) -> int | None:
    """Return a ``Date`` header in microseconds since 1970; None for none, and for nonsense."""
    if text is None:
        return None
    try:
        said = parsedate_to_datetime(text)
        if said.tzinfo is None:
            said = said.replace(tzinfo=UTC)  # "-0000": UTC, and nothing known of the zone
        since_epoch_s = (said - _EPOCH).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return int(since_epoch_s) * 1_000_000 if since_epoch_s > 0 else None


def checked_url(url: str, *, setting: str) -> str:
    """Return ``url`` without a slash at its end; refuse one that would send secrets in clear.

    Raises:
        SettingError: not http(s), no host, or plain http to a host that is not loopback.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        raise SettingError(setting, f"{url!r} is not an address of a gateway", "http(s)://host")
    if parts.username or parts.password:
        raise SettingError(setting, "it contains a user or a password", "http(s)://host")
    if parts.scheme == "http" and not is_loopback_url(url):
        raise SettingError(
            setting,
            f"{url!r} would send the credentials unencrypted",
            "https://host, or http:// on loopback",
        )
    return url.rstrip("/")


def describe(error: BaseException) -> str:
    """Return what failed, without addresses and headers: they can carry tokens."""
    match error:
        case GatewayAnswerError():
            return str(error)
        case aiohttp.ClientResponseError(status=status):
            return f"HTTP {status} {_phrase(status)}".rstrip()
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "the TLS handshake failed"
        case aiohttp.ClientConnectorDNSError():
            return "the host name did not resolve"
        case aiohttp.ClientConnectorError(os_error=cause):
            # The event loop's own words quote an address; the system's say what happened.
            words = cause.strerror if cause.errno is None else os.strerror(cause.errno)
            return f"no connection: {(words or type(cause).__name__).lower()}"
        case TimeoutError():
            return "no answer within the deadline"
        case OSError(strerror=str(words)):
            return f"the connection failed: {words}"
        case _:
            return f"the connection failed: {type(error).__name__}"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


async def read_bounded(response: aiohttp.ClientResponse, *, bytes_max: int) -> bytes:
    """Return the whole body, or raise aiohttp.ClientPayloadError when it is longer."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > bytes_max:
            raise aiohttp.ClientPayloadError("too long")
    return bytes(body)


def _seconds(text: str | None) -> float | None:
    """Return ``Retry-After`` where it is a number of seconds; a date is not worth trusting."""
    return float(text) if text is not None and _SECONDS.fullmatch(text) else None


def _connection_trace() -> aiohttp.TraceConfig:
    """Return a trace that sets ``connected`` once a request has a connection to be written to."""

    async def connected(_session: object, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.connected = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(connected)
    trace.on_connection_reuseconn.append(connected)
    return trace
