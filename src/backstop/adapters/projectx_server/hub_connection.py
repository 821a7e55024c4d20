"""One client on a hub: handshake, reading, writing, pings and the ways a connection can end."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import StrEnum

from aiohttp import WSCloseCode, WSMsgType, web

from backstop.adapters.projectx_server import signalr
from backstop.adapters.projectx_server.config import HubTimings
from backstop.adapters.projectx_server.http_answers import reset_connection
from backstop.adapters.projectx_server.signalr import MessageType, ProtocolError, Record
from backstop.adapters.projectx_server.tokens import Session

QUEUE_BYTES_MAX = 8 * 1024 * 1024
"""What may wait for one client: half a minute of full depth for some contracts. A client that is
slower is disconnected (TCP reset): it then knows that it missed events and reads the truth again,
while quietly dropped events would leave it with a wrong picture."""

MESSAGE_BYTES_MAX = 4 * 1024 * 1024  # one WebSocket message of a client: many records may share it
FROZEN_S_MAX = 600.0  # a half-dead connection is released after ten minutes at the latest


class Silence(StrEnum):
    """How a connection can be open and of no use."""

    NONE = "none"
    NO_EVENTS = "no_events"  # alive: pings and answers go on, events do not
    FROZEN = "frozen"  # half-dead: nothing is read and nothing is written


class HubConnection:
    """The server's end of one hub connection.

    ``call`` runs one method of the hub and returns None, or the text of its error. ``token_alive``
    is asked at each ping when an expired token is to end the connection.
    """

    def __init__(
        self,
        *,
        session: Session,
        connection_id: str,
        transport: asyncio.Transport | None,
        timings: HubTimings,
        refuse_version_0: bool,
        call: Callable[["HubConnection", Record], str | None],
        token_alive: Callable[[Session], bool],
        on_ready: Callable[["HubConnection"], None],
    ) -> None:
        self.session = session
        self.connection_id = connection_id
        self.groups: Counter[tuple[str, object]] = Counter()
        self.silence = Silence.NONE
        self._transport = transport
        self._timings = timings
        self._refuse_version_0 = refuse_version_0
        self._call = call
        self._token_alive = token_alive
        self._on_ready = on_ready
        self._socket = web.WebSocketResponse(
            heartbeat=None,  # WebSocket pings with a payload kill an old client library
            compress=False,
            autoclose=True,
            timeout=timings.close_wait_s,
            max_msg_size=MESSAGE_BYTES_MAX,
        )
        self._buffer = signalr.RecordBuffer()
        self._queue: deque[bytes] = deque()
        self._queue_bytes = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._deaf = False
        self._client_deadline_s: float | None = None
        self._released: asyncio.TimerHandle | None = None

    # -- what the hub and the fault layer use ---------------------------------------------------

    def send_event(self, record: bytes) -> None:
        """Queue one event; it is lost when the connection is silent or ending."""
        if self.silence is Silence.NONE:
            self._put(record)

    def close(self, *, error: str | None, allow_reconnect: bool) -> None:
        """Say Close and end the connection in order; what was queued is dropped."""
        self._end_with(signalr.close_record(error=error, allow_reconnect=allow_reconnect))

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
            self._end_with(signalr.CLOSED_BY_ERROR)

    async def _receive(self) -> bytes | None:
        """Return the bytes of the next message, or None at the end; binary frames are taken too."""
        message = await self._socket.receive()
        if message.type is WSMsgType.TEXT:
            return str(message.data).encode()
        if message.type is WSMsgType.BINARY:
            return bytes(message.data)
        return None

    def _take_all(self, records: Iterable[bytes]) -> None:
        for record in records:
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
        if self._queue_bytes + len(record) > QUEUE_BYTES_MAX:
            self.reset()
            return
        self._queue.append(record)
        self._queue_bytes += len(record)
        self._wake.set()

    def _drop_all(self) -> None:
        self._closing = True
        self._queue.clear()
        self._wake.set()

    def _end_with(self, record: bytes) -> None:
        if self._closing:
            return
        self.silent(Silence.NONE)
        self._drop_all()
        self._queue.append(record)
        # Who does not read never takes the last record, and would hold the connection for ever.
        wait_s = 2 * self._timings.close_wait_s
        self._released = asyncio.get_running_loop().call_later(wait_s, self.reset)

    async def _write(self) -> None:
        """Send what is queued, up to 64 KB in a frame; close the socket when the end is decided."""
        while True:
            while self._queue:
                await self._socket.send_frame(self._next_frame(), WSMsgType.TEXT)
            if self._closing:
                await self._socket.close(code=WSCloseCode.OK)  # wakes the reader
                return
            self._wake.clear()
            await self._wake.wait()

    def _next_frame(self) -> bytes:
        records = [self._queue.popleft()]
        size = len(records[0])
        while self._queue and size + len(self._queue[0]) <= signalr.FRAME_BYTES_MAX:
            record = self._queue.popleft()
            size += len(record)
            records.append(record)
        self._queue_bytes = max(0, self._queue_bytes - size)
        return b"".join(records)

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
            await asyncio.sleep(max(0.0, min(next_ping_s, deadline_s) - loop.time()))
            now_s = loop.time()
            if self._is_overdue(now_s):
                self._end_with(signalr.CLOSED_BY_ERROR)
                return
            if now_s < next_ping_s:
                continue
            next_ping_s = now_s + self._timings.ping_interval_s
            if not self._token_alive(self.session):
                self._end_with(signalr.CLOSED_BY_ERROR)
                return
            self._put(signalr.PING)

    def _is_overdue(self, now_s: float) -> bool:
        """Tell whether the client has been silent too long; a frozen server does not listen."""
        deadline_s = self._client_deadline_s
        return self.silence is not Silence.FROZEN and deadline_s is not None and now_s >= deadline_s
