"""Talks to the process that delivers alerts: one JSON line in for each alert, one out for each try.

The senders (some 170 services) load slowly and wait on other people's servers, so they live in a
process of their own: neither may ever hold up a decision. Addresses carry tokens, therefore they
travel through the pipe and stand in no command line.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct

from backstop.adapters.stop_signals import kept_back
from backstop.domain.commands import Severity
from backstop.errors import AlertCourierError

COURIER_MODULE = "backstop.entrypoints.courier"

LINE_BYTES_MAX = 64 * 1024
"""Longest line in either direction; a message is cut long before."""

CLOSE_LIMIT_S = 3.0
"""How long the courier may still deliver after nothing more is to come."""


class Addresses(Struct, frozen=True, kw_only=True):
    """The first line: where alerts go, as Apprise URLs.

    With ``looks_out`` the courier also tells which services can be reached, without an alert.
    """

    urls: tuple[str, ...]
    looks_out: bool = False


NOT_FOR_COURIERS = ("TOPSTEPX_", "BACKSTOP_", "AZURE_", "AWS_", "CREDENTIALS_DIRECTORY")
"""How names of variables begin that hold credentials, or lead to them."""


class Letter(Struct, frozen=True, kw_only=True):
    """One alert to deliver.

    A critical one goes to every channel, another to the first that takes it.
    """

    alert_id: int
    severity: Severity
    title: str
    body: str


class Delivery(Struct, frozen=True, kw_only=True):
    """What became of one try; ``alert_id`` 0 speaks of the channel itself.

    Then ``reach`` says that only a connection was tried, which ``delivered`` says succeeded.

    ``channel`` counts from 1 in the order of BACKSTOP_ALERT_URLS, ``service`` is the scheme of its
    address: all of it that may be shown.
    """

    alert_id: int
    channel: int
    service: str
    delivered: bool
    fault: str = ""
    reach: bool = False


_encode = msgspec.json.Encoder().encode
_delivery = msgspec.json.Decoder(Delivery)


class AlertCourier:
    """One running courier; use as an async context manager."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, urls: Sequence[str], *, looks_out: bool = False) -> Self:
        """Start the process and tell it where alerts go.

        With ``looks_out`` the deliveries also say which channels can be reached at all: for one
        that stays, and can tell a person before there is an alert.

        Raises:
            AlertCourierError: the process cannot be started.
        """
        try:
            # A stop that is told to the whole group must not end it: what was handed over is
            # delivered, and it ends when nothing more is to come, or we are gone.
            with kept_back():
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    COURIER_MODULE,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    limit=LINE_BYTES_MAX,
                    env=_environment(),
                )
        except OSError as error:
            raise AlertCourierError(f"it cannot be started: {error}") from error
        courier = cls(process)
        await courier._write(Addresses(urls=tuple(urls), looks_out=looks_out))
        return courier

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def send(self, letter: Letter) -> None:
        """Hand over one alert; what becomes of it comes out of ``deliveries``.

        Raises:
            AlertCourierError: the process has ended.
        """
        await self._write(letter)

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield what became of each try, until the process ends."""
        assert self._process.stdout is not None  # noqa: S101 - it was started with a pipe
        while line := await self._process.stdout.readline():
            yield _delivery.decode(line)

    async def finish(self) -> None:
        """Say that nothing more is to come; what was handed over is still delivered."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def close(self) -> None:
        """Let it deliver what it has for a moment, then end it."""
        await self.finish()
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _write(self, line: Addresses | Letter) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was started with a pipe
        self._process.stdin.write(_encode(line) + b"\n")
        try:
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise AlertCourierError("it has ended") from error


def _environment() -> dict[str, str]:
    """Return our environment without credentials: who talks to strangers needs none of them."""
    return {
        name: text for name, text in os.environ.items() if not name.startswith(NOT_FOR_COURIERS)
    }
