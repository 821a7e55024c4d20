"""One client on a hub: handshake, reading, writing, pings and the ways a connection can end."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import StrEnum

from aiohttp import WSCloseCode, WSMsgType, web

from backstop.adapters.projectx_server import signalr
from backstop.adapters.projectx_server.backlog import Backlog, Group
from backstop.adapters.projectx_server.config import HubTimings
from backstop.adapters.projectx_server.http_answers import reset_connection
from backstop.adapters.projectx_server.hub_limits import HubLimits, HubTally, Misuse, Paced
from backstop.adapters.projectx_server.signalr import MessageType, ProtocolError, Record
from backstop.adapters.projectx_server.tokens import Session

FROZEN_S_MAX = 600.0  # a half-dead connection is released after ten minutes at the latest

FRAMES_AT_ONCE = 16
"""Frames written in one turn of the event loop: a megabyte for one client, then others."""

TIMER_LEAST_S = 0.001
"""Clocks go in steps, and a timer may come one early: to wait for less is to turn in place."""

WRITTEN_BYTES_MAX = 16 * 1024
"""Written to a slow client before it is waited for: what is written can no longer be merged."""

SLOW = "This connection was too slow: events were waiting for it. Connect anew and read again."
FLOODING = "This connection sent more records than it may. Connect anew and send fewer."


class Silence(StrEnum):
    """How a connection can be open and of no use."""

    NONE = "none"
    NO_EVENTS = "no_events"  # alive: pings and answers go on, events do not
    FROZEN = "frozen"  # half-dead: nothing is read and nothing is written


class HubConnection:
    """The server's end of one hub connection.

    ``call`` runs one method of the hub and returns None, or the text of its error. ``token_alive``
    says at each ping whether the connection may go on.
    """

    def __init__(
        self,
        *,
        session: Session,
        connection_id: str,
        transport: asyncio.Transport | None,
        timings: HubTimings,
        limits: HubLimits,
        tally: HubTally,
        refuse_version_0: bool,
        call: Callable[["HubConnection", Record], str | None],
        token_alive: Callable[[Session], bool],
        on_ready: Callable[["HubConnection"], None],
    ) -> None:
        self.session = session
        self.connection_id = connection_id
        self.groups: Counter[Group] = Counter()
        self.silence = Silence.NONE
        self._transport = transport
        self._timings = timings
        self._tally = tally
        self._refuse_version_0 = refuse_version_0
        self._call = call
        self._token_alive = token_alive
        self._on_ready = on_ready
        self._socket = web.WebSocketResponse(
            heartbeat=None,  # WebSocket pings with a payload kill an old client library
            compress=False,
            autoclose=True,
            timeout=timings.close_wait_s,
            max_msg_size=limits.message_bytes_max,
            writer_limit=WRITTEN_BYTES_MAX,
        )
        self._buffer = signalr.RecordBuffer()
        self._pace = None if limits.records is None else Paced(limits.records, now_s=_now_s)
        self._backlog = Backlog(limits)
        self._wake = asyncio.Event()
        self._flush_due = False
        self._drains = False  # the writer waits for the client to read
        self._closing = False
        self._deaf = False
        self._client_deadline_s: float | None = None
        self._released: asyncio.TimerHandle | None = None

    # -- what the hub and the fault layer use ---------------------------------------------------

    def send_event(self, record: bytes) -> None:
        """Queue one event; it is lost when the connection is silent or ending."""
        if self.silence is Silence.NONE:
            self._put(record)

    def send_market(self, group: Group, record: bytes) -> None:
        """Queue one market event, or merge it or leave it out when the client is slow."""
        if self._closing or self.silence is not Silence.NONE:
            return
        became = self._backlog.put_market(group, record)
        if became is True:
            self._send_soon()
        elif became is False:
            self._overflow()
        else:
            self._tally.note(became, self.session.user)

    @property
    def waiting_bytes(self) -> int:
        """What waits here for the client, besides what its socket holds."""
        return self._backlog.size_bytes

    def close(self, *, error: str | None, allow_reconnect: bool) -> None:
        """Say Close and end the connection in order; what was queued is dropped."""
        self._end_with(signalr.close_record(error=error, allow_reconnect=allow_reconnect))

    def end_without_token(self) -> None:
        """End the connection if its token does not permit it to go on."""
        if not self._token_alive(self.session):
            self._end_with(signalr.CLOSED_BY_ERROR)

    def reset(self) -> None:
        """End the TCP connection with RST, without a word."""
        self._drop_all()
        reset_connection(self._transport)

    def end_of_file(self) -> None:
        """End the TCP connection without a Close record or frame, as a killed server does."""
        self._drop_all()
        if self._transport is not None:
            self._transport.close()

    def silent(self, silence: Silence) -> None:
        """Start or end a silence."""
        if self._released is not None:
            self._released.cancel()
            self._released = None
        if self._transport is not None and not self._transport.is_closing():
            if silence is Silence.FROZEN:
                self._transport.pause_reading()
                self._released = asyncio.get_running_loop().call_later(FROZEN_S_MAX, self.reset)
            elif self.silence is Silence.FROZEN:
                self._transport.resume_reading()
                self._hear_from_client()  # what it said meanwhile is read only now
        self.silence = silence
        self._wake.set()

    def send_raw(self, record: bytes) -> None:
        """Queue any bytes as they are, garbage included."""
        self._put(record)

    @property
    def is_closing(self) -> bool:
        """Whether the connection has ended or is about to."""
        return self._closing

    # -- life of the connection -----------------------------------------------------------------

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Upgrade, shake hands, and serve until either side ends it."""
        await self._socket.prepare(request)
        try:
            early = await self._shake_hands()
            if early is not None:
                await self._run(early)
        except (ConnectionError, TimeoutError):
            pass  # the peer went away while it was written to: nobody is left to be told
        finally:
            self._closing = True
            if self._released is not None:
                self._released.cancel()
            with suppress(ConnectionError):
                await self._socket.close()
        return self._socket

    async def _shake_hands(self) -> list[bytes] | None:
        """Return the records that came with the handshake, or None when it failed."""
        try:
            async with asyncio.timeout(self._timings.handshake_timeout_s):
                records: list[bytes] = []
                while not records:
                    data = await self._receive()
                    if data is None:
                        return None
                    records += self._buffer.feed(data)
                signalr.check_handshake(records[0], refuse_version_0=self._refuse_version_0)
        except TimeoutError:
            await self._refuse("Handshake was canceled.")
            return None
        except (signalr.HandshakeError, ProtocolError) as error:
            await self._refuse(str(error))
            return None
        self._put(signalr.HANDSHAKE_DONE)
        self._on_ready(self)
        return records[1:]

    async def _refuse(self, text: str) -> None:
        self._tally.note(Misuse.BAD_HANDSHAKE, self.session.user)
        await self._socket.send_frame(signalr.handshake_refused(text), WSMsgType.TEXT)

    async def _run(self, early: list[bytes]) -> None:
        """Read until the end; the writer and the clockwork live as long as the reader."""
        writer = asyncio.create_task(self._write())
        clockwork = asyncio.create_task(self._keep_alive())
        try:
            await self._read(early)
            if self._closing:
                await asyncio.wait({writer}, timeout=2 * self._timings.close_wait_s)
        finally:
            for helper in (writer, clockwork):
                helper.cancel()
            await asyncio.gather(writer, clockwork, return_exceptions=True)

    # -- reading --------------------------------------------------------------------------------

    async def _read(self, early: list[bytes]) -> None:
        try:
            self._take_all(early)
            while not self._closing:
                data = await self._receive()
                if data is None:
                    return
                self._take_all(self._buffer.feed(data))
        except ProtocolError:
            self._tally.note(Misuse.NONSENSE, self.session.user)
            self._end_with(signalr.CLOSED_BY_ERROR)
        except _FloodError:
            self._tally.note(Misuse.FLOOD, self.session.user)
            self.close(error=FLOODING, allow_reconnect=True)

    async def _receive(self) -> bytes | None:
        """Return the bytes of the next message, or None at the end; binary frames are taken too."""
        message = await self._socket.receive()
        if message.type is WSMsgType.TEXT:
            return str(message.data).encode()
        if message.type is WSMsgType.BINARY:
            return bytes(message.data)
        if message.type is WSMsgType.ERROR:
            self._tally.note(Misuse.NONSENSE, self.session.user)  # a broken frame, or a huge one
        return None

    def _take_all(self, records: Iterable[bytes]) -> None:
        for record in records:
            if self._pace is not None and not self._pace.admits():
                raise _FloodError
            if self._closing or self._deaf:
                return
            self._take(signalr.parse_record(record))

    def _take(self, record: Record) -> None:
        self._hear_from_client(is_ping=record.type == MessageType.PING)
        match record.type:
            case MessageType.INVOCATION:
                self._answer(record, self._call(self, record))
            case MessageType.STREAM_INVOCATION:
                self._answer(record, signalr.not_a_stream(record.target or ""))
            case MessageType.CLOSE:
                self._drop_all()
            case (
                MessageType.PING
                | MessageType.STREAM_ITEM
                | MessageType.COMPLETION
                | MessageType.CANCEL_INVOCATION
                | MessageType.ACK
                | MessageType.SEQUENCE
            ):
                pass
            case _:
                # The real server stops listening for good here and keeps the connection open.
                self._deaf = True
                self._client_deadline_s = None

    def _hear_from_client(self, *, is_ping: bool = False) -> None:
        """Move the client's deadline; only a client that pings is expected to go on pinging."""
        if is_ping or self._client_deadline_s is not None:
            now_s = asyncio.get_running_loop().time()
            self._client_deadline_s = now_s + self._timings.client_timeout_s

    def _answer(self, record: Record, error: str | None) -> None:
        if record.invocation_id is None:
            return  # a call without id gets no answer, not even for an unknown method
        if error is None:
            self._put(signalr.completed(record.invocation_id))
        else:
            self._put(signalr.failed(record.invocation_id, error))

    # -- writing --------------------------------------------------------------------------------

    def _put(self, record: bytes) -> None:
        if self._closing or self.silence is Silence.FROZEN:
            return
        if self._backlog.put(record):
            self._send_soon()
        else:
            self._overflow()

    def _overflow(self) -> None:
        self._tally.note(Misuse.QUEUE_FULL, self.session.user)
        self.close(error=SLOW, allow_reconnect=True)

    def _drop_all(self) -> None:
        self._closing = True
        self._backlog.clear()
        self._wake.set()

    def _end_with(self, record: bytes) -> None:
        if self._closing:
            return
        self.silent(Silence.NONE)
        self._drop_all()
        self._backlog.put(record)
        # Who does not read never takes the last record, and would hold the connection for ever.
        wait_s = 2 * self._timings.close_wait_s
        self._released = asyncio.get_running_loop().call_later(wait_s, self.reset)

    def _send_soon(self) -> None:
        """Send what waits when this turn of the event loop is over: more may come with it."""
        if not self._flush_due and not self._drains:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Write to a client that reads as fast as it is sent to, without waking a task for it.

        The frames of a server are not masked: a whole one is written at a time, so they mix with
        those of the WebSocket in any order.
        """
        self._flush_due = False
        transport, backlog = self._transport, self._backlog
        if transport is not None and not self._closing and not self._drains:
            for _ in range(FRAMES_AT_ONCE):
                if not backlog or transport.get_write_buffer_size() or transport.is_closing():
                    break
                transport.write(signalr.text_frame(backlog.next_frame()))
        if backlog:
            self._wake.set()

    async def _write(self) -> None:
        """Send to a client that is slower than its events; close the socket at the end."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._drains = True
            while self._backlog:
                await self._socket.send_frame(self._backlog.next_frame(), WSMsgType.TEXT)
            self._drains = False
            if self._closing:
                await self._socket.close(code=WSCloseCode.OK)  # wakes the reader
                return

    # -- time -----------------------------------------------------------------------------------

    async def _keep_alive(self) -> None:
        """Ping whatever else is sent, and end the connection of a client that has gone silent."""
        loop = asyncio.get_running_loop()
        next_ping_s = loop.time() + self._timings.ping_interval_s
        while not self._closing:
            if self.silence is Silence.FROZEN or self._client_deadline_s is None:
                deadline_s = loop.time() + self._timings.client_timeout_s  # only to look again
            else:
                deadline_s = self._client_deadline_s
            wait_s = min(next_ping_s, deadline_s) - loop.time()
            await asyncio.sleep(max(TIMER_LEAST_S, wait_s))
            now_s = loop.time()
            if self._is_overdue(now_s):
                self._tally.note(Misuse.SILENT, self.session.user)
                self._end_with(signalr.CLOSED_BY_ERROR)
                return
            if now_s < next_ping_s:
                continue
            next_ping_s = now_s + self._timings.ping_interval_s
            self.end_without_token()
            if not self._closing:
                self._put(signalr.PING)

    def _is_overdue(self, now_s: float) -> bool:
        """Tell whether the client has been silent too long; a frozen server does not listen."""
        deadline_s = self._client_deadline_s
        return self.silence is not Silence.FROZEN and deadline_s is not None and now_s >= deadline_s


class _FloodError(Exception):
    """The client sends more records than it may."""


def _now_s() -> float:
    return asyncio.get_running_loop().time()
