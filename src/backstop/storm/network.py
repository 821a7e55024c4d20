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
from typing import Any, Final

from backstop.storm.virtual_loop import PROCESS, VirtualLoop

HOST: Final = "127.0.0.1"

DELAY_S: Final = (0.000_5, 0.020)
"""Shortest and longest way of one direction, drawn for each connection."""

CONNECT_S_MAX: Final = 0.010

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

    def listen(self, port: int, factory: Factory) -> None:
        """Take connections at ``port``."""
        self._listeners[port] = _Listener(factory)

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
        process = PROCESS.get()
        if process is not None:
            process.at_death.append(ours.die)
        return ours

    def forget(self, wire: "Wire") -> None:
        """Count a connection's end."""
        self._open.pop(wire, None)


class Wire(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, loop: "StormLoop", network: Network, context: Context, port: int) -> None:
        super().__init__({"peername": (HOST, port), "sockname": (HOST, port)})
        self.peer: Wire = self
        self.delay_s = network.delay_s()
        self.lost_bytes = 0
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
        if not self._network.is_up:
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
        for data in waiting:
            self._loop.call_soon(self._take, data, context=self._context)

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
        """Nothing waits on this side."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing waits on this side."""

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

    def _arrive(self, act: Callable[..., None], *arguments: object) -> None:
        if not self._network.is_up:
            return
        self._last_s = max(self._last_s, self._loop.now_s + self.delay_s)
        self._loop.call_at_now(self._last_s, act, *arguments, context=self.peer._context)  # noqa: SLF001

    def _take(self, data: bytes | None) -> None:
        if self._over or self._closing:
            return
        if self._paused:
            self._waiting.append(data)
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


class StormLoop(VirtualLoop):
    """The virtual loop with the simulated network below it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Reach ``address``; the socket itself is only the ticket for ``create_connection``."""
        del sock
        if not self.network.is_up:
            await asyncio.sleep(120.0)  # whoever waits has a shorter deadline of its own
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        await asyncio.sleep(self.network.delay_s())
        self._address = address

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Factory, *_: Any, sock: socket.socket | None = None, **__: Any
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Make a connection in memory in place of the one over ``sock``."""
        if sock is not None:
            sock.close()
        wire = self.network.connect(self, PORT, protocol_factory)
        await asyncio.sleep(0)
        return wire, wire.get_protocol()


PORT: Final = 18_080
"""Where the gateway listens; no port of this computer."""
