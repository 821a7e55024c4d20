"""One guard's HTTP interface: a call, its answer as a value, its no as an error."""

import asyncio
import ssl
from collections.abc import Mapping
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from backstop.client.errors import Denial, DeniedError, GuardCallError, GuardSilentError

T = TypeVar("T")

ANSWER_BYTES_MAX = 32 * 1024 * 1024
"""More than a guard answers; what is larger is none."""

TRIES = 3
"""Attempts at what may be asked twice: one more for a restart of the guard, and one to spare."""

PAUSE_S = 0.5
"""Before another attempt, doubled each time: a guard that is restarted is back in a second."""


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""
    field: str | None = None


class _Refusal(msgspec.Struct):
    error: _Error | None = None
    denials: tuple[Denial, ...] = ()


class Connection:
    """Calls one guard; makes its connection when it is first used.

    Args:
        url: such as ``http://127.0.0.1:8720``.
        token: the guard's API token.
        certificate: what its TLS certificate is checked against; None: the machine's own list.
        timeout_s: how long one attempt may take.
    """

    def __init__(self, url: str, *, token: str, certificate: Path | None, timeout_s: float) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._certificate = certificate
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session of the event loop that runs now."""
        if self._session is None or self._session.closed:
            tls: ssl.SSLContext | bool = True
            if self._certificate is not None:
                tls = ssl.create_default_context(cafile=str(self._certificate))
            self._session = aiohttp.ClientSession(
                headers=self._headers, connector=aiohttp.TCPConnector(ssl=tls)
            )
        return self._session

    async def close(self) -> None:
        """Give the connection back; a later call makes a new one."""
        if self._session is not None:
            await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        answer: type[T],
        body: Mapping[str, Any] | None = None,
        *,
        repeatable: bool = True,
        timeout_s: float | None = None,
        about: str | None = None,
    ) -> T:
        """Make one call and return its answer.

        Args:
            method: of HTTP.
            path: with everything in it escaped.
            answer: what a good answer is read as.
            body: members that are None are left out.
            repeatable: asked twice it does no more than once, so silence is followed by another
                attempt.
            timeout_s: of one attempt.
            about: the order it concerns.

        Raises:
            DeniedError: rules of the guard refused it.
            GuardCallError: another no, or an answer that is none of a guard's.
            GuardSilentError: no answer.
        """
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        started_s = asyncio.get_running_loop().time()
        tries, may_be_done = TRIES if repeatable else 1, False
        for attempt in range(tries):
            try:
                return await self._attempt(method, path, answer, body, timeout_s)
            except GuardCallError as error:
                # Nothing was done; more of the same is no answer, so it does not go on for ever.
                if error.status != HTTPStatus.TOO_MANY_REQUESTS or attempt + 1 == tries:
                    raise
                await asyncio.sleep(PAUSE_S * 2**attempt)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                may_be_done = may_be_done or not isinstance(error, aiohttp.ClientConnectorError)
                if attempt + 1 == tries:
                    waited_s = asyncio.get_running_loop().time() - started_s
                    raise GuardSilentError(
                        self.url,
                        str(error) or type(error).__name__,
                        waited_s=Decimal(f"{waited_s:.1f}"),
                        may_be_done=may_be_done,
                        client_order_id=about,
                    ) from error
                await asyncio.sleep(PAUSE_S * 2**attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _attempt(
        self,
        method: str,
        path: str,
        answer: type[T],
        body: Mapping[str, Any] | None,
        timeout_s: float,
    ) -> T:
        data = None if body is None else _written(body)
        async with asyncio.timeout(timeout_s):
            async with self.session.request(method, self.url + path, data=data) as response:
                raw = await response.content.read(ANSWER_BYTES_MAX)
                while not response.content.at_eof() and len(raw) < ANSWER_BYTES_MAX:
                    raw += await response.content.read(ANSWER_BYTES_MAX)
                status = response.status
        if status >= HTTPStatus.BAD_REQUEST:
            raise refusal(status, raw)
        if answer is bytes:
            return raw  # type: ignore[return-value]
        try:
            return msgspec.json.decode(raw, type=answer)
        except msgspec.MsgspecError as error:
            raise GuardCallError(status, "NOT_A_GUARD", f"{self.url} answered: {error}") from error


def refusal(status: int, raw: bytes) -> GuardCallError:
    """Return the error for an answer that is a no."""
    try:
        said = msgspec.json.decode(raw, type=_Refusal)
    except msgspec.MsgspecError:
        said = _Refusal()
    if said.denials:
        return DeniedError(status, said.denials)
    error = said.error or _Error(code="NOT_A_GUARD", message="the answer is not one of a guard")
    return GuardCallError(status, error.code, error.message, error.field)


def escaped(name: str) -> str:
    """Return a name as one part of a path."""
    return quote(name, safe="")


def _written(body: Mapping[str, Any]) -> bytes:
    """Return the JSON of ``body``; Decimals become text, so no price passes through a float."""
    return msgspec.json.encode({name: it for name, it in body.items() if it is not None})
