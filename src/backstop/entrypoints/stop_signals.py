"""Turns the signals to stop into something that a process with a selector waits for."""

import selectors
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from backstop.adapters.stop_signals import STOP_SIGNALS


class StopSignals:
    """Turns signals into something that a selector waits for together with everything else."""

    def __init__(self, selector: selectors.BaseSelector, on_signal: Callable[[], None]) -> None:
        self._selector = selector
        self._on_signal = on_signal
        self._told, self._tells = socket.socketpair()

    def __enter__(self) -> None:
        self._told.setblocking(False)
        self._tells.setblocking(False)
        signal.set_wakeup_fd(self._tells.fileno(), warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
                signal.signal(number, lambda *_: None)
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        self._selector.register(self._told, selectors.EVENT_READ, self._read)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(-1)
        self._told.close()
        self._tells.close()

    def _read(self) -> None:
        with suppress(BlockingIOError):
            self._told.recv(4096)
        self._on_signal()
