"""What one connection may cost the guard: its time to ask, its bytes, and its time to listen.

The interface lives in the event loop that also decides about orders, so no caller may hold it up
or fill its memory, with or without the token. uvicorn bounds the pause between two requests and the
size of a head; this bounds the rest. Whoever goes beyond is cut off: a request that was complete
has been answered by then.
"""

import asyncio
from typing import Any

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from backstop.entrypoints.http.bodies import BODY_BYTES_MAX
from backstop.entrypoints.http.errors import ApiError, ErrorCode, send_error

CONNECTIONS_MAX = 256
"""Callers at one time; each costs memory, and a bot needs one."""

CONNECTIONS_SPARE = 32
"""Beyond the maximum so many hear that there are too many; more are cut off unheard, because each
takes a file descriptor, and the journal and the broker's connection need theirs."""

HEAD_BYTES_MAX = 16 * 1024
HEAD_LIMIT_S = 10
"""How long the head of a request may take to arrive."""

REQUEST_BYTES_MAX = HEAD_BYTES_MAX + 2 * BODY_BYTES_MAX
"""What is read of one request; the framing of a chunked body may take as much as the body."""

SLICE_BYTES = 4 * 1024
"""What is parsed at once. A body in chunks of one byte takes about 5 us for each byte, so a slice
keeps the event loop for some 10 ms at the worst; in between it does what else there is to do."""

REST_LIMIT_S = 2
"""How long the rest of a body may still come when its request has been answered already."""

DEAF_PAUSE_S = 0.01
"""Between two reads of what is thrown away: an endless body costs next to nothing."""

HELD_BYTES_MAX = 64 * 1024
"""What one turn of the loop gathers before it is sent."""

LISTEN_LIMIT_S = 30
"""A reader that does not take 48 KiB of what is waiting for it in so long is cut off."""

LINGER_S = 5
"""How long the last bytes of an answer may take to be fetched."""


class BoundedConnection(H11Protocol):
    """One caller's connection; what uvicorn's own does, within bounds."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._read_bytes = 0  # of the request that is under way
        self._unparsed = bytearray()
        self._parsing: asyncio.Handle | None = None
        self._deaf = False  # what comes is thrown away
        self._asking: asyncio.TimerHandle | None = None
        self._listening: asyncio.TimerHandle | None = None

    # -- what the caller sends -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, or refuse the caller who is one too many."""
        super().connection_made(transport)
        self.transport = _JoinedWrites(transport, self.loop)
        if len(self.connections) > CONNECTIONS_MAX + CONNECTIONS_SPARE:
            transport.abort()
            return
        if len(self.connections) > CONNECTIONS_MAX:
            self.app = _too_many
        self._end_after(HEAD_LIMIT_S)

    def data_received(self, data: bytes) -> None:
        """Take what fits into one request and parse it slice by slice."""
        if self._deaf:
            self._pause()
            return
        room = REQUEST_BYTES_MAX - self._read_bytes
        self._read_bytes += len(data)
        self._unparsed += data[:room]
        self._deaf = len(data) > room
        if self._parsing is None:
            self._parse()

    def _parse(self) -> None:
        self._parsing = None
        if self.transport.is_closing():
            self._unparsed.clear()
            return
        part = bytes(self._unparsed[:SLICE_BYTES])
        del self._unparsed[:SLICE_BYTES]
        before = self.conn.their_state
        super().data_received(part)
        if self._unparsed:
            self._parsing = self.loop.call_soon(self._parse)
        elif self.transport.is_closing():
            self._end_after(LINGER_S)
        elif self.conn.their_state is h11.SEND_BODY:
            self._in_a_body()
        else:
            self._read_bytes = 0
            self._between_bodies(before)

    def _in_a_body(self) -> None:
        if self.cycle.response_complete:
            return  # and the rest of it has its limit
        self._stop_waiting()  # the endpoint sets the limit
        if self._deaf:
            # It is too long: that is all the endpoint has to see of it.
            self.cycle.body += bytes(BODY_BYTES_MAX + 1)
            self.cycle.message_event.set()

    def _between_bodies(self, before: object) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif before is not h11.IDLE or self._asking is None:
            self._end_after(HEAD_LIMIT_S)  # more bytes of a head give it no more time

    def _pause(self) -> None:
        """Throw away slowly: the caller may be one that fetches no answer before it is done."""
        self.transport.pause_reading()
        self.loop.call_later(DEAF_PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    # -- what the caller takes -------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The caller does not fetch what is waiting for it."""
        super().pause_writing()
        self._listening = self.loop.call_later(LISTEN_LIMIT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The caller has fetched it."""
        super().resume_writing()
        self._stop_listening()

    def on_response_complete(self) -> None:
        """Wait for the next request, for the rest of this one, or for the end."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._end_after(LINGER_S)
        elif self._deaf or self.conn.their_state is h11.SEND_BODY:
            self._end_after(REST_LIMIT_S)

    def timeout_keep_alive_handler(self) -> None:
        """Close what has been idle, whether or not the last answer was fetched."""
        super().timeout_keep_alive_handler()
        self._end_after(LINGER_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the caller."""
        self._stop_waiting()
        self._stop_listening()
        if self._parsing is not None:
            self._parsing.cancel()
        super().connection_lost(exc)

    # -- limits ----------------------------------------------------------------------------------

    def _end_after(self, seconds: float) -> None:
        self._stop_waiting()
        self._asking = self.loop.call_later(seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None


class _JoinedWrites(asyncio.Transport):
    """A transport that sends what is written in one turn of the loop at once.

    The head and the body of an answer are written apart; sent apart they cost the guard a second
    call of the system and the caller a second awakening.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._held = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data`` at the end of this turn, with what else is written until then."""
        if data and not self._held:
            self._loop.call_soon(self._send)
        self._held += data
        if len(self._held) > HELD_BYTES_MAX:
            self._send()  # now the transport says when it is too much

    def _send(self) -> None:
        held, self._held = self._held, bytearray()
        if held and not self._transport.is_closing():
            self._transport.write(held)

    def close(self) -> None:
        """Send what is held, then close."""
        self._send()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._held.clear()
        self._transport.abort()

    def is_closing(self) -> bool:
        """Say whether it is closed, or about to be."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Read nothing for now."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._transport.resume_reading()


async def _too_many(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send_error(
        send,
        ApiError(
            503,
            ErrorCode.TOO_MANY_CONNECTIONS,
            f"{CONNECTIONS_MAX} callers are connected: close connections that are not used",
        ),
    )
