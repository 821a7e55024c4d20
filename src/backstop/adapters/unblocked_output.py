"""Output that holds nobody up: what is printed waits in memory until somebody takes it.

A terminal that was stopped with Ctrl-S, a pipe whose reader hangs or has gone, a log file on a disk
that is full: whoever writes there waits for ever, or fails. A guard must do neither, least of all
in those moments. So a thread of its own writes; what is too much for its memory is counted and left
out, and the output says so where it is missing.
"""

import atexit
import io
import os
import select
import signal
import sys
import threading
import time
from collections import deque

WAITING_BYTES_MAX = 1024 * 1024
"""Minutes of a busy market; beyond it lines are left out, the newest first: how it began is what
somebody looks for."""

GATHER_S = 0.02
"""Between two writes: what is said meanwhile goes out together, at the cost of one call."""

TAKEN_LIMIT_S = 1.0
"""How long is waited for an output that takes nothing for the moment before it is tried again."""

LAST_WORDS_S = 0.5
"""What the end of a process waits for its last lines; an output that is stuck gets no more."""


class UnblockedOutput(io.TextIOBase):
    """A text stream in the place of another one, whose ``write`` always returns at once."""

    def __init__(self, stream: io.TextIOBase) -> None:
        """Write to the file of ``stream`` from now on; raises OSError where it has none."""
        super().__init__()
        self._descriptor = stream.fileno()
        self._is_terminal = stream.isatty()
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._lost = 0
        self._arrived = threading.Event()
        self._is_empty = threading.Event()
        self._is_empty.set()
        threading.Thread(target=self._run, name="output", daemon=True).start()
        atexit.register(self.drain)

    def write(self, text: str) -> int:
        """Take ``text``; where there is no room for it, it is counted and left out."""
        data = text.encode("utf-8", "backslashreplace")
        with self._lock:
            if self._waiting_bytes + len(data) > WAITING_BYTES_MAX:
                self._lost += text.count("\n")
                self._arrived.set()  # to say so, also when nothing more is ever written
                return len(text)
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            self._is_empty.clear()
        self._arrived.set()
        return len(text)

    def flush(self) -> None:
        """Do nothing: what was written is on its way."""

    def isatty(self) -> bool:
        """Say whether a person looks at it."""
        return self._is_terminal

    def fileno(self) -> int:
        """Return the descriptor behind it."""
        return self._descriptor

    def writable(self) -> bool:
        """Say yes."""
        return True

    def drain(self, limit_s: float = LAST_WORDS_S) -> bool:
        """Wait until everything is taken, for ``limit_s`` at most; say whether it was."""
        return self._is_empty.wait(limit_s)

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        if sys.platform != "win32":
            # Who waits for a signal is the main thread: it must be woken by it, and nobody else.
            signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        while True:
            self._arrived.wait()
            self._arrived.clear()
            with self._lock:
                data, lost = b"".join(self._waiting), self._lost
                self._waiting.clear()
                self._lost = 0
            if not self._taken(data + _gap(lost)):
                lines = data.count(b"\n") + lost
                with self._lock:
                    self._lost += lines
            with self._lock:
                self._waiting_bytes = sum(map(len, self._waiting))
                if not self._waiting:
                    self._is_empty.set()
            time.sleep(GATHER_S)

    def _taken(self, data: bytes) -> bool:
        """Write all of ``data``, however long that takes; False for an output that is broken."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                # Whoever started us has set the file so, and shares it: it is not ours to change.
                select.select([], [self._descriptor], [], TAKEN_LIMIT_S)
            except OSError:
                return False
        return True


def unblock_output(*names: str) -> None:
    """Put an ``UnblockedOutput`` in the place of ``names``: ``stdout``, ``stderr``, or both.

    What is no file stays as it is.
    """
    for name in names:
        stream = getattr(sys, name)
        try:
            unblocked = UnblockedOutput(stream)
        except (AttributeError, OSError, ValueError):
            continue  # there is none, or it lives in memory
        stream.flush()
        setattr(sys, name, unblocked)


def _gap(lost: int) -> bytes:
    """Return the line that says what is missing; as JSON, for programs read it more often."""
    if not lost:
        return b""
    return (
        '{"level":"warning","component":"[CriticalSystem]","event":"output_lost",'
        f'"lines":{lost}}}\n'
    ).encode()
