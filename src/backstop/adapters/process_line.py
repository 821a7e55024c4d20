"""The line between guard and watchdog: a pair of connected sockets, one message on each row.

One end is inherited by the other process when it is started. Nothing here waits: a message that
does not fit at once is kept back, and while one is kept back new ones are left out, because a
pulse that comes late is worth nothing and a reader that stands still must not hold up the writer.
"""

import socket
from typing import Self

import msgspec

from backstop.domain.heartbeat import AnyMessage

READ_BYTES = 65_536

ROW_BYTES_MAX = 65_536
"""Longest row; a message has a few hundred bytes, so a longer one is none of ours."""

_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[AnyMessage] = msgspec.json.Decoder(AnyMessage)


class ProcessLine:
    """One end of a line.

    Attributes:
        ended: the other end is closed, mostly because its process is dead.
        unreadable: rows that were no message of ours.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.socket = end
        self.ended = False
        self.unreadable = 0
        self._unread = b""
        self._unsent = b""

    @classmethod
    def pair(cls) -> tuple[Self, socket.socket]:
        """Return our end of a new line, and the one that the other process is to inherit."""
        ours, theirs = socket.socketpair()
        return cls(ours), theirs

    @classmethod
    def inherited(cls, descriptor: int) -> Self:
        """Return the end that the process which started us left open as ``descriptor``."""
        end = socket.socket(fileno=descriptor)
        end.set_inheritable(False)  # our own children have no business with it
        return cls(end)

    def fileno(self) -> int:
        """Return the descriptor, for selectors."""
        return self.socket.fileno()

    def send(self, message: AnyMessage) -> None:
        """Send ``message`` at once, or leave it out while the reader does not keep up."""
        if self.ended:
            return
        if not self._unsent:
            self._unsent = _encode(message) + b"\n"
        try:
            sent = self.socket.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.ended = True
            return
        self._unsent = self._unsent[sent:]

    def receive(self) -> tuple[AnyMessage, ...]:
        """Return every message that has arrived; ``ended`` says whether more can come."""
        messages: list[AnyMessage] = []
        while not self.ended:
            try:
                data = self.socket.recv(READ_BYTES)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                data = b""
            messages += self.read(data)
        return tuple(messages)

    def read(self, data: bytes) -> tuple[AnyMessage, ...]:
        """Return the messages that ``data``, the next bytes of the line, completes."""
        if not data:
            self.ended = True
            return ()
        *rows, self._unread = (self._unread + data).split(b"\n")
        if len(self._unread) > ROW_BYTES_MAX:
            self.ended = True
        return tuple(message for row in rows if (message := self._message(row)) is not None)

    def _message(self, row: bytes) -> AnyMessage | None:
        """Return the message of one row; a newer version may say what this one does not know."""
        try:
            return _decoder.decode(row)
        except msgspec.DecodeError:
            self.unreadable += 1
            return None

    def close(self) -> None:
        """Close this end; the other one hears of it."""
        self.ended = True
        self.socket.close()
