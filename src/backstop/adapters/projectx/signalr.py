"""One open SignalR connection: shake hands, serve until it ends, and say why it ended.

The client libraries for Python lose events next to the handshake, stop at unknown records, or never
notice a silent server; a safety daemon cannot afford any of it, so this is written by hand. Events
reach the listener in the order of their arrival, synchronously, on the event loop.

The server is alive as long as SignalR data comes. WebSocket pings do not count: a proxy in between
answers them for a server that is long gone.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import aiohttp
from msgspec import Raw, Struct

from backstop.adapters.projectx import hub_protocol as protocol
from backstop.adapters.projectx.hub_protocol import Record, RecordType
from backstop.adapters.projectx.transport import describe
from backstop.adapters.projectx.wire import UNREADABLE
from backstop.errors import (
    GatewayAnswerError,
    GatewayError,
    GatewayUnreachableError,
    InvariantError,
)
from backstop.ports import Clock

INVOCATIONS_MAX = 256
"""Open calls at once: two for each of the contracts that a market hub may carry."""


_RECORDS_BETWEEN_BREATHS = 256  # a burst must not keep the event loop from everything else
_NS_PER_S = 1_000_000_000


BytesSocket = aiohttp.ClientWebSocketResponse[Literal[False]]
"""A WebSocket that hands over text undecoded: the JSON decoder reads bytes."""


class HubTimings(Struct, frozen=True, kw_only=True):
    """Deadlines and rhythms of a hub connection, in seconds."""

    connect_s: float = 10.0
    handshake_s: float = 10.0
    invoke_s: float = 10.0
    send_s: float = 10.0
    ping_s: float = 15.0  # the server forgets a client that is silent for 30 s
    silence_s: float = 30.0  # the server pings every 15 s
    delays_s: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0)  # before each attempt
    proven_s: float = 5.0  # a connection that lived this long starts the delays anew
    contest_rest_s: float = 0.0  # how long a hub rests that another takes each time; 0: never
    token_check_s: float = 30.0  # a token is renewed at least half an hour before its end


class HubEndedError(GatewayUnreachableError):
    """The connection is over; the message says why."""


class InvocationFailedError(GatewayError):
    """The server answered a call with an error, or did not answer it in time."""


class Call(Struct, frozen=True):
    """A call of the server: ``target`` and its arguments."""

    target: str
    arguments: tuple[object, ...] = ()


class Listener(Protocol):
    """Who hears what the server says."""

    def on_event(self, target: str, arguments: list[Raw]) -> None:
        """Take one event; called in order of arrival, must not block."""

    def on_rejected(self, target: str, fault: str, payload: bytes) -> None:
        """Take a record that makes no sense, or that this version does not know."""


class HubConnection:
    """One open connection whose handshake succeeded."""

    def __init__(
        self,
        socket: BytesSocket,
        *,
        listener: Listener,
        clock: Clock,
        timings: HubTimings,
        strike: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._socket = socket
        self._listener = listener
        self._clock = clock
        self._timings = timings
        self._strike = strike
        self._buffer = protocol.RecordBuffer()
        self._early: list[bytes] = []  # records that came with the handshake's answer
        self._open: dict[str, asyncio.Future[None]] = {}
        self._subscriptions: Callable[[], Sequence[Call]] = tuple
        self._on_ready: Callable[[], None] = lambda: None
        self._awaited: dict[str, str] = {}  # subscriptions without completion: id and target
        self._round: asyncio.Future[Sequence[Call]] | None = None
        self._invocations = 0
        self._heard_ns = clock.monotonic_ns()
        self._end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def shake_hands(self) -> None:
        """Agree on the protocol, or raise HubEndedError."""
        await self._send(protocol.HANDSHAKE)
        try:
            async with asyncio.timeout(self._timings.handshake_s):
                records: list[bytes] = []
                while not records:
                    records = self._buffer.feed(await self._message())
        except TimeoutError:
            raise HubEndedError("no answer to the handshake within the deadline") from None
        try:
            answer = protocol.decode_handshake(self._strike(records[0]))
        except UNREADABLE:
            raise HubEndedError("the handshake's answer makes no sense") from None
        if answer.error is not None:
            raise HubEndedError(f"handshake refused: {answer.error[:300]}")
        self._early = records[1:]

    async def serve(
        self, subscriptions: Callable[[], Sequence[Call]], on_ready: Callable[[], None]
    ) -> None:
        """Subscribe, and deliver events until the connection ends.

        Args:
            subscriptions: the calls to make first; asked again when all are acknowledged, until
                there are none.
            on_ready: called at that moment, between the events before and after it.

        Raises:
            HubEndedError: always, unless cancelled.
        """
        ended: HubEndedError | None = None
        self._subscriptions, self._on_ready = subscriptions, on_ready
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._subscribe())
                tasks.create_task(self._read())
                tasks.create_task(self._keep_alive())
                tasks.create_task(self._wait_for_end())
        except* HubEndedError as group:
            ended = _first(group)
        finally:
            self._fail_open_invocations()
        raise ended or InvariantError("A hub connection ended without a reason.")

    def end(self, reason: str) -> None:
        """End the connection from our side."""
        if not self._end.done():
            self._end.set_result(reason)

    async def invoke(self, target: str, *arguments: object) -> None:
        """Call ``target`` and wait for its completion.

        Raises:
            InvocationFailedError: the server said no, or nothing within the deadline.
            HubEndedError: the connection ended first.
        """
        if len(self._open) >= INVOCATIONS_MAX:
            raise InvocationFailedError(f"{target}: {INVOCATIONS_MAX} calls are open already")
        invocation_id = self._next_id()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open[invocation_id] = done
        try:
            async with asyncio.timeout(self._timings.invoke_s):
                await self._send(protocol.invocation(invocation_id, target, arguments))
                await done
        except TimeoutError:
            raise InvocationFailedError(
                f"{target}: no completion within {self._timings.invoke_s:g} s"
            ) from None
        finally:
            self._open.pop(invocation_id, None)

    # -- the four tasks of a connection ----------------------------------------------------------

    async def _subscribe(self) -> None:
        """Make the subscriptions, round by round; ``_acknowledge`` ends each round."""
        calls = self._subscriptions()
        if not calls:
            self._on_ready()
        while calls:
            requests = {self._next_id(): call for call in calls}
            self._awaited = {number: call.target for number, call in requests.items()}
            self._round = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self._timings.invoke_s):
                    for number, call in requests.items():
                        await self._send(protocol.invocation(number, call.target, call.arguments))
                    calls = await self._round
            except TimeoutError:
                missing = ", ".join(self._awaited.values())
                raise HubEndedError(f"subscribing failed: no completion of {missing}") from None

    async def _read(self) -> None:
        self._take(self._early)
        self._early = []
        since_breath = 0
        while True:
            try:
                records = self._buffer.feed(await self._message())
            except GatewayAnswerError as error:
                raise HubEndedError(str(error)) from None
            self._take(records)
            since_breath += len(records)
            if since_breath >= _RECORDS_BETWEEN_BREATHS:
                since_breath = 0
                await asyncio.sleep(0)

    async def _keep_alive(self) -> None:
        """Ping at once and then in rhythm; notice silence, also one that the machine slept through.

        The server starts to watch its clients at their first ping.
        """
        timings = self._timings
        tick_s = min(1.0, timings.silence_s / 10, timings.ping_s / 4)
        ping_due_ns = self._clock.monotonic_ns()
        while True:
            now_ns = self._clock.monotonic_ns()
            silent_s = (now_ns - self._heard_ns) / _NS_PER_S
            if silent_s > timings.silence_s:
                raise HubEndedError(f"no SignalR data for {silent_s:.1f} s")
            if now_ns >= ping_due_ns:
                await self._send(protocol.PING)
                ping_due_ns = now_ns + int(timings.ping_s * _NS_PER_S)
            await asyncio.sleep(tick_s)

    async def _wait_for_end(self) -> None:
        raise HubEndedError(await self._end)

    def _next_id(self) -> str:
        self._invocations += 1
        return str(self._invocations)

    # -- records ---------------------------------------------------------------------------------

    def _take(self, records: list[bytes]) -> None:
        for received in records:
            # What is not understood is kept as it came: what repeats our secrets must lose them.
            data = self._strike(received)
            try:
                record = protocol.decode_record(data)
            except UNREADABLE as error:
                self._listener.on_rejected("", f"no SignalR record: {error}", data)
                continue
            match record.type:
                case RecordType.INVOCATION:
                    self._deliver(record, data)
                case RecordType.COMPLETION:
                    self._complete(record, data)
                case RecordType.PING:
                    pass
                case RecordType.CLOSE:
                    # With or without ``allowReconnect``: a safety daemon always comes back.
                    raise HubEndedError(f"the server closed: {record.error or 'no reason'}"[:300])
                case _:
                    fault = f"SignalR record of unknown type {record.type}"
                    self._listener.on_rejected("", fault, data)

    def _deliver(self, record: Record, data: bytes) -> None:
        target = record.target or ""
        try:
            arguments = protocol.decode_arguments(record.arguments)
        except UNREADABLE as error:
            self._listener.on_rejected(target, f"no list of arguments: {error}", data)
            return
        try:
            self._listener.on_event(target, arguments)
        except InvariantError:
            raise
        except Exception as error:  # noqa: BLE001 - one bad event must not end the stream
            self._listener.on_rejected(target, f"its handler failed: {error!r}"[:300], data)

    def _complete(self, record: Record, data: bytes) -> None:
        if record.invocation_id in self._awaited:
            self._acknowledge(self._awaited.pop(record.invocation_id), record)
            return
        done = self._open.get(record.invocation_id or "")
        if done is None or done.done():
            self._listener.on_rejected("", "completion of a call that is not open", data)
        elif record.error is not None:
            done.set_exception(InvocationFailedError(record.error[:300]))
        else:
            done.set_result(None)

    def _acknowledge(self, target: str, record: Record) -> None:
        """Count a completed subscription here, where records are read.

        So ``on_ready`` falls exactly between the events before and after the last completion; a
        task that waits for it would wake up some events late.
        """
        if record.error is not None:
            raise HubEndedError(f"subscribing failed: {target}: {record.error[:300]}")
        if not self._awaited:
            calls = self._subscriptions()
            if not calls:
                self._on_ready()
            if self._round is not None and not self._round.done():
                self._round.set_result(calls)

    # -- the socket ------------------------------------------------------------------------------

    async def _message(self) -> bytes:
        """Return the data of the next message, or raise HubEndedError when there is no other."""
        while True:
            message = await self._socket.receive()
            match message.type:
                case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                    if message.data:
                        self._heard_ns = self._clock.monotonic_ns()
                        data: bytes = message.data
                        return data
                case aiohttp.WSMsgType.ERROR:
                    fault = self._socket.exception()
                    words = describe(fault) if fault is not None else "broken frame"
                    raise HubEndedError(f"the WebSocket failed: {words}")
                case aiohttp.WSMsgType.CLOSE | aiohttp.WSMsgType.CLOSING | aiohttp.WSMsgType.CLOSED:
                    raise HubEndedError(f"the WebSocket ended (code {self._socket.close_code})")
                case _:
                    pass

    async def _send(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(self._timings.send_s):
                await self._socket.send_str(data.decode())
        except (aiohttp.ClientError, OSError) as error:
            raise HubEndedError(f"sending failed: {describe(error)}") from None

    def _fail_open_invocations(self) -> None:
        for done in self._open.values():
            if not done.done():
                done.set_exception(HubEndedError("the connection ended before the completion"))


def _first(group: BaseExceptionGroup[HubEndedError]) -> HubEndedError:
    """Return the first reason; the others are its consequences."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
