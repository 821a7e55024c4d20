"""The network of the simulation: connections in memory, with a delay for each direction.

It stands in for the operating system below ``asyncio``: what was written arrives in order, after
the delay of its connection; a killed process's connections end as the system would end them.
"""

import asyncio
import errno
import os
import random
import socket
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

from backstop.storm.virtual_loop import PROCESS, Process, VirtualLoop

HOST: Final = "127.0.0.1"

DELAY_S: Final = (0.000_5, 0.020)
"""Shortest and longest way of one direction, drawn for each connection."""

LOCAL_DELAY_S: Final = 0.000_1
"""From one process to another of the same computer: what was written first arrives first."""

BUFFER_BYTES: Final = 64 * 1024
"""What a reader that reads nothing is sent all the same; then its sender is told to wait."""

Factory = Callable[[], asyncio.BaseProtocol]


class _Listener:
    """Who takes connections at a port, and in which context."""

    def __init__(self, factory: Factory) -> None:
        self.factory = factory
        self.context = copy_context()


class Network:
    """Ports, and whether anything gets through."""

    def __init__(self, chance: random.Random) -> None:
        self.is_up = True
        self._chance = chance
        self._listeners: dict[int, _Listener] = {}
        self._open: dict[Wire, None] = {}
        self._held: dict[Process, dict[Wire, None]] = {}

    def listen(self, port: int, factory: Factory) -> "_Listener":
        """Take connections at ``port``, for as long as the process lives."""
        listener = self._listeners[port] = _Listener(factory)
        process = PROCESS.get()
        if process is not None:
            process.at_death.append(partial(self.ignore, port, listener))
        return listener

    def ignore(self, port: int, listener: "_Listener") -> None:
        """Take no more connections at ``port``, if it is this one that does."""
        if self._listeners.get(port) is listener:
            del self._listeners[port]

    def is_cut_off(self, port: int) -> bool:
        """Say whether nothing reaches ``port``; within the computer there is no cable."""
        return not self.is_up and port == PORT

    def cut(self) -> None:
        """Let nothing through and make no connection: a cable, a router. Nobody is told."""
        self.is_up = False

    def mend(self) -> None:
        """Let it through again; what was written meanwhile is lost with its connection."""
        self.is_up = True
        for wire in [*self._open]:
            if wire.lost_bytes:
                wire.reset()

    def delay_s(self) -> float:
        """Draw the delay of one direction of a connection."""
        return self._chance.uniform(*DELAY_S)

    def connect(self, loop: "StormLoop", port: int, factory: Factory) -> "Wire":
        """Connect two protocols; the server's side begins in the listener's context.

        Raises:
            ConnectionRefusedError: nobody listens.
        """
        listener = self._listeners.get(port)
        if listener is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        ours = Wire(loop, self, copy_context(), port)
        theirs = Wire(loop, self, listener.context.copy(), port)
        ours.peer, theirs.peer = theirs, ours
        self._open[ours] = self._open[theirs] = None
        ours.set_protocol(factory())
        theirs.set_protocol(listener.context.copy().run(listener.factory))
        ours.begin(0.0)
        theirs.begin(ours.delay_s)
        self._hold(ours, PROCESS.get())
        self._hold(theirs, listener.context.get(PROCESS))
        return ours

    def forget(self, wire: "Wire") -> None:
        """Count a connection's end."""
        self._open.pop(wire, None)
        if wire.holder is not None:
            self._held.get(wire.holder, {}).pop(wire, None)

    def _hold(self, wire: "Wire", process: Process | None) -> None:
        """Have the connections of a process end with it."""
        wire.holder = process
        if process is None:
            return
        if process not in self._held:
            self._held[process] = {}
            process.at_death.append(partial(self._die, process))
        self._held[process][wire] = None

    def _die(self, process: Process) -> None:
        for wire in self._held.pop(process):
            wire.die()


class Wire(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, loop: "StormLoop", network: Network, context: Context, port: int) -> None:
        super().__init__({"peername": (HOST, port), "sockname": (HOST, port)})
        self.peer: Wire = self
        self.holder: Process | None = None
        self.delay_s = network.delay_s() if port == PORT else LOCAL_DELAY_S
        self.lost_bytes = 0
        self.held_bytes = 0  # that wait for this end to read on
        self._port = port
        self._blocked = False
        self._loop = loop
        self._network = network
        self._context = context
        self._protocol: Any = None
        self._last_s = 0.0  # when the newest thing that was written arrives
        self._closing = False
        self._over = False
        self._paused = False
        self._waiting: list[bytes | None] = []  # that came while reading was paused

    def begin(self, after_s: float) -> None:
        """Tell the protocol that it is connected."""
        self._loop.call_at_now(
            self._loop.now_s + after_s, self._protocol.connection_made, self, context=self._context
        )

    # -- what protocols call ---------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data``; it arrives later, or never."""
        if self._closing or not data:
            return
        if self._network.is_cut_off(self._port):
            self.lost_bytes += len(data)
            return
        if not self.lost_bytes:  # after a hole nothing can be read
            self._arrive(self.peer._take, bytes(data))  # noqa: SLF001 - the other end

    def write_eof(self) -> None:
        """Say that nothing more comes."""

    def can_write_eof(self) -> bool:
        """Half-closed connections are not simulated."""
        return False

    def close(self) -> None:
        """Send what was written, then end."""
        if self._closing:
            return
        self._closing = True
        self._arrive(self.peer._take, None)  # noqa: SLF001 - the other end
        self._end(None)

    def abort(self) -> None:
        """End at once, with a reset for the other side."""
        if self._over:
            return
        self._closing = True
        self._arrive(self.peer.reset)
        self._end(None)

    def is_closing(self) -> bool:
        """Say whether it has ended or is about to."""
        return self._closing

    def pause_reading(self) -> None:
        """Keep what comes."""
        self._paused = True

    def resume_reading(self) -> None:
        """Hand over what came."""
        if not self._paused:
            return
        self._paused = False
        waiting, self._waiting = self._waiting, []
        self.held_bytes = 0
        for data in waiting:
            self._loop.call_soon(self._take, data, context=self._context)
        self.peer.unblock()

    def is_reading(self) -> bool:
        """Say whether what comes is handed over."""
        return not self._paused and not self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand what comes to ``protocol`` from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who hears what comes."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def get_write_buffer_size(self) -> int:
        """Return what the other side does not take."""
        return max(0, self.peer.held_bytes - BUFFER_BYTES)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is one limit, that of the other side."""

    # -- what the world does ---------------------------------------------------------------------

    def reset(self) -> None:
        """End with an error, as when the other side is gone."""
        if self._over:
            return
        self._closing = True
        self._end(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def die(self) -> None:
        """The process of this end was killed: nobody here hears of it, the other side does."""
        if not self._over:
            self._over = self._closing = True
            self._network.forget(self)
            self._arrive(self.peer.reset)

    def block(self) -> None:
        """The other side does not read: have the protocol wait."""
        if not self._blocked and not self._over:
            self._blocked = True
            self._loop.call_soon(self._protocol.pause_writing, context=self._context)

    def unblock(self) -> None:
        """The other side reads on."""
        if self._blocked and not self._over:
            self._blocked = False
            self._loop.call_soon(self._protocol.resume_writing, context=self._context)

    def _arrive(self, act: Callable[..., None], *arguments: object) -> None:
        if self._network.is_cut_off(self._port):
            return
        self._last_s = max(self._last_s, self._loop.now_s + self.delay_s)
        self._loop.call_at_now(self._last_s, act, *arguments, context=self.peer._context)  # noqa: SLF001

    def _take(self, data: bytes | None) -> None:
        if self._over or self._closing:
            return
        if self._paused:
            self._waiting.append(data)
            self.held_bytes += len(data or b"")
            if self.held_bytes > BUFFER_BYTES:
                self.peer.block()
        elif data is not None:
            self._protocol.data_received(data)
        else:
            self._protocol.eof_received()
            self._closing = True
            self._end(None)

    def _end(self, error: Exception | None) -> None:
        if self._over:
            return
        self._over = True
        self._network.forget(self)
        self._loop.call_soon(self._protocol.connection_lost, error, context=self._context)


class Listening:
    """What takes the connections of one port, as far as somebody else's server asks for it."""

    def __init__(self, network: Network, port: int, listener: _Listener) -> None:
        self._network = network
        self._port = port
        self._listener = listener

    def close(self) -> None:
        """Take no more."""
        self._network.ignore(self._port, self._listener)

    async def wait_closed(self) -> None:
        """There is nothing to wait for."""


class BoundSocket(socket.socket):
    """Stands for a port of the simulated computer; it is none of this one's."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.close()
        self._port = port

    def getsockname(self) -> tuple[str, int]:
        """Return where it is bound."""
        return HOST, self._port


class StormLoop(VirtualLoop):
    """The virtual loop with the simulated network below it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self._reached: WeakKeyDictionary[socket.socket, int] = WeakKeyDictionary()

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Reach ``address``; the socket itself is only the ticket for ``create_connection``."""
        port = address[1]
        if self.network.is_cut_off(port):
            await asyncio.sleep(120.0)  # whoever waits has a shorter deadline of its own
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        await asyncio.sleep(self.network.delay_s() if port == PORT else LOCAL_DELAY_S)
        self._reached[sock] = port

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Factory,
        host: str | None = None,  # noqa: ARG002 - there is one
        port: int = 0,
        *,
        sock: socket.socket | None = None,
        **_: Any,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Make a connection in memory in place of the one over ``sock``."""
        if sock is not None:
            port = self._reached.pop(sock)
            sock.close()
        wire = self.network.connect(self, port, protocol_factory)
        await asyncio.sleep(0)
        return wire, wire.get_protocol()

    async def create_server(  # type: ignore[override]
        self, protocol_factory: Factory, *_: Any, sock: socket.socket, **__: Any
    ) -> Listening:
        """Take connections at the port that ``sock`` is bound to."""
        port = sock.getsockname()[1]
        sock.close()
        return Listening(self.network, port, self.network.listen(port, protocol_factory))


PORT: Final = 18_080
"""Where the broker's gateway listens; no port of this computer."""

BOTS_PORT: Final = 8_721
"""Where the guard's gateway for bots listens; of this computer."""
