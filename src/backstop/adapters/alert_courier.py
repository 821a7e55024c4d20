"""Talks to the process that delivers alerts: one JSON line in for each alert, one out for each try.

The senders (some 170 services) load slowly and wait on other people's servers, so they live in a
process of their own: neither may ever hold up a decision. Addresses carry tokens, therefore they
travel through the pipe and stand in no command line.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from backstop.adapters.machine import machine
from backstop.adapters.stop_signals import kept_back
from backstop.domain.commands import Severity
from backstop.errors import AlertCourierError

COURIER_MODULE = "backstop.entrypoints.courier"

LINE_BYTES_MAX = 64 * 1024
"""Longest line in either direction; a message is cut long before."""

CLOSE_LIMIT_S = 3.0
"""How long the courier may still deliver after nothing more is to come."""

HAND_OVER_LIMIT_S = 0.3
"""How long a guard that stops waits for its last letters to be taken; the courier reads them at
once, unless it is still being loaded."""


TAKE_LIMIT_S = 30.0
"""After so long without taking a letter a courier counts as hanging, and is ended: another is
started. Loading takes seconds, and a whole pipe of letters waits for it without anybody's time."""


class Addresses(Struct, frozen=True, kw_only=True):
    """The first line: where alerts go, as Apprise URLs.

    With ``looks_out`` the courier also tells which services can be reached, without an alert.
    """

    urls: tuple[str, ...]
    looks_out: bool = False


NOT_FOR_COURIERS = ("TOPSTEPX_", "BACKSTOP_", "AZURE_", "AWS_", "CREDENTIALS_DIRECTORY")
"""How names of variables begin that hold credentials, or lead to them."""


class Letter(Struct, frozen=True, kw_only=True, tag="letter"):
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


class Leave(Struct, frozen=True, kw_only=True, tag="leave"):
    """The last line of one who does not wait: so long may deliveries go on, in seconds."""

    limit_s: float


_ENCODER = msgspec.json.Encoder()
_delivery = msgspec.json.Decoder(Delivery)
_END = b""
"""Among lines: no more follow."""


class AlertCourier:
    """One running courier; as an async context manager it is ended with the block.

    Threads of our own read and write its pipes. Those of the event loop would end it together with
    the loop, in the midst of the last words of a guard.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._said: asyncio.Queue[bytes] = asyncio.Queue()  # it says a few words on each letter
        self._ended = asyncio.Event()
        self._writing = machine().line("alert letters")
        machine().start_thread(self._read, name="alert deliveries")

    @classmethod
    def start(cls, urls: Sequence[str], *, looks_out: bool = False) -> Self:
        """Start the process and tell it where alerts go.

        With ``looks_out`` the deliveries also say which channels can be reached at all: for one
        that stays, and can tell a person before there is an alert.

        Raises:
            AlertCourierError: the process cannot be started.
        """
        addresses = _line(Addresses(urls=tuple(map(_sayable, urls)), looks_out=looks_out))
        try:
            # A stop that is told to the whole group must not end it: what was handed over is
            # delivered, and it ends when nothing more is to come, or we are gone.
            with kept_back():
                process = subprocess.Popen(  # noqa: S603 - our own program
                    [sys.executable, "-m", COURIER_MODULE],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=_environment(),
                )
        except OSError as error:
            raise AlertCourierError(f"it cannot be started: {error}") from error
        courier = cls(process)
        courier._writing.put(partial(courier._write, addresses))
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

        A caller that is cancelled meanwhile has handed it over all the same.

        Raises:
            AlertCourierError: the process has ended, or took nothing for TAKE_LIMIT_S.
        """
        taken: asyncio.Future[bool] = self._loop.create_future()
        self._writing.put(partial(self._write, _letter_line(letter), taken))
        try:
            async with asyncio.timeout(TAKE_LIMIT_S):
                is_taken = await taken
        except TimeoutError as error:
            self._process.kill()  # it also lets go of the thread that writes
            raise AlertCourierError(f"it took nothing for {TAKE_LIMIT_S:g} s") from error
        if not is_taken:
            raise AlertCourierError("it has ended")

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield what became of each try, until the process ends.

        Raises:
            AlertCourierError: what it says is no such word.
        """
        while (line := await self._said.get()) != _END:
            try:
                delivery = _delivery.decode(line)
            except msgspec.DecodeError as error:
                raise AlertCourierError(f"it says what is no delivery: {error}") from error
            yield delivery
        self._said.put_nowait(_END)

    def finish(self) -> None:
        """Say that nothing more is to come; what was handed over is still delivered."""
        self._writing.stop(self._hang_up)

    async def close(self) -> None:
        """Let it deliver what it has for a moment, then end it."""
        self.finish()
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self._ended.wait()
        except TimeoutError:
            self._process.kill()
            await self._ended.wait()

    async def leave(self, letters: Iterable[Letter] = ()) -> bool:
        """Hand over the last letters, and let it deliver them by itself, for CLOSE_LIMIT_S at most.

        Returns:
            Whether it took them all; it has HAND_OVER_LIMIT_S for that.
        """
        taken: asyncio.Future[bool] = self._loop.create_future()
        for letter in letters:
            self._writing.put(partial(self._write, _letter_line(letter)))
        self._writing.put(partial(self._write, _line(Leave(limit_s=CLOSE_LIMIT_S)), taken))
        self.finish()
        try:
            async with asyncio.timeout(HAND_OVER_LIMIT_S):
                return await taken
        except TimeoutError:
            return False

    # -- beside the event loop ---------------------------------------------------------------------

    def _write(self, line: bytes, taken: "asyncio.Future[bool] | None" = None) -> None:
        written = True
        try:
            assert self._process.stdin is not None  # noqa: S101 - it was started with a pipe
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except OSError:
            written = False  # it has ended
        if taken is not None:
            self._tell(_settle, taken, written)

    def _hang_up(self) -> None:
        with suppress(OSError):  # it has ended, and took not everything
            assert self._process.stdin is not None  # noqa: S101 - it was started with a pipe
            self._process.stdin.close()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was started with a pipe
        with self._process.stdout as said:
            while line := said.readline(LINE_BYTES_MAX):
                self._tell(self._said.put_nowait, line)
        self._process.wait()
        self._tell(self._said.put_nowait, _END)
        self._tell(self._ended.set)

    def _tell(self, hear: Callable[..., object], *what: object) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it everyone who waited
            self._loop.call_soon_threadsafe(hear, *what)


def _line(said: Addresses | Letter | Leave) -> bytes:
    """Return what is written of it; made before it is handed on: a thread has nobody to tell."""
    return _ENCODER.encode(said) + b"\n"


def _letter_line(letter: Letter) -> bytes:
    return _line(replace(letter, title=_sayable(letter.title), body=_sayable(letter.body)))


def _sayable(text: str) -> str:
    """Return ``text`` with a question mark for what no encoding has, as in some names of files."""
    return text.encode(errors="replace").decode()


def _settle(waiter: "asyncio.Future[bool]", answer: bool) -> None:  # noqa: FBT001 - a callback
    if not waiter.done():
        waiter.set_result(answer)


def _environment() -> dict[str, str]:
    """Return our environment without credentials: who talks to strangers needs none of them."""
    return {
        name: text for name, text in os.environ.items() if not name.startswith(NOT_FOR_COURIERS)
    }
