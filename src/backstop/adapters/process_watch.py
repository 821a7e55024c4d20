"""Another process, held so that its number cannot come to mean a different one.

Each system has its own handle for that: Linux a descriptor of the process, macOS a kernel queue,
Windows a handle. All of them can be waited for together with sockets. Only the one for Linux has
been run; the others are written for their systems.
"""

import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import Protocol


class WatchedProcess(Protocol):
    """A process that is watched until its end.

    Attributes:
        process_id: its number, for people.
    """

    process_id: int

    def fileno(self) -> int:
        """Return a descriptor that can be read once the process has ended, for selectors."""

    def stop(self) -> None:
        """Tell it to end by itself, where the system has a signal for that."""

    def kill(self) -> None:
        """End it at once, also when it stands still."""

    def ask_for_stacks(self) -> None:
        """Have it write down its stacks; only for one that knows how."""

    def close(self) -> None:
        """Let go of it."""


def watched_process(process_id: int) -> WatchedProcess:
    """Return a hold on a process that is known to live: a child, or the parent.

    Raises:
        OSError: there is no such process, or the system does not let us watch it.
    """
    return _Held(process_id)


if sys.platform == "linux":

    class _Held:
        """Linux: a descriptor that stands for the process, not for its number."""

        def __init__(self, process_id: int) -> None:
            self.process_id = process_id
            self._descriptor = os.pidfd_open(process_id)

        def fileno(self) -> int:
            return self._descriptor

        def stop(self) -> None:
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)  # one that was stopped hears it only when it goes on

        def kill(self) -> None:
            self._signal(signal.SIGKILL)

        def ask_for_stacks(self) -> None:
            self._signal(signal.SIGUSR1)

        def close(self) -> None:
            os.close(self._descriptor)

        def _signal(self, number: signal.Signals) -> None:
            with suppress(ProcessLookupError):  # it has ended meanwhile: that will be read
                signal.pidfd_send_signal(self._descriptor, number)

elif sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _SYNCHRONIZE, _TERMINATE = 0x0010_0000, 0x0001
    _FOR_EVER = 0xFFFF_FFFF

    class _Held:
        """Windows: a handle, and a thread that waits for it and writes to a socket then."""

        def __init__(self, process_id: int) -> None:
            self.process_id = process_id
            self._kernel = ctypes.WinDLL("kernel32", use_last_error=True)
            self._kernel.OpenProcess.restype = wintypes.HANDLE
            self._kernel.WaitForSingleObject.argtypes = (wintypes.HANDLE, wintypes.DWORD)
            self._kernel.TerminateProcess.argtypes = (wintypes.HANDLE, wintypes.UINT)
            self._handle = self._kernel.OpenProcess(_SYNCHRONIZE | _TERMINATE, False, process_id)
            if not self._handle:
                raise ctypes.WinError(ctypes.get_last_error())
            self._told, self._tells = socket.socketpair()
            threading.Thread(target=self._wait, name="process watch", daemon=True).start()

        def _wait(self) -> None:
            self._kernel.WaitForSingleObject(self._handle, _FOR_EVER)
            with suppress(OSError):
                self._tells.send(b".")

        def fileno(self) -> int:
            return self._told.fileno()

        def stop(self) -> None:
            """There is no signal for it: it is told over its line."""

        def kill(self) -> None:
            self._kernel.TerminateProcess(self._handle, 1)

        def ask_for_stacks(self) -> None:
            """It writes them by itself when it is late: see ``stack_dump``."""

        def close(self) -> None:
            self._told.close()
            self._tells.close()

else:
    import select

    class _Held:
        """macOS and the BSDs: a queue that the kernel puts the end of the process into."""

        def __init__(self, process_id: int) -> None:
            self.process_id = process_id
            self._queue = select.kqueue()
            end = select.kevent(
                process_id,
                filter=select.KQ_FILTER_PROC,
                flags=select.KQ_EV_ADD,
                fflags=select.KQ_NOTE_EXIT,
            )
            try:
                self._queue.control([end], 0)
            except OSError:
                self._queue.close()
                raise

        def fileno(self) -> int:
            return self._queue.fileno()

        def stop(self) -> None:
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)

        def kill(self) -> None:
            self._signal(signal.SIGKILL)

        def ask_for_stacks(self) -> None:
            self._signal(signal.SIGUSR1)

        def close(self) -> None:
            self._queue.close()

        def _signal(self, number: signal.Signals) -> None:
            with suppress(ProcessLookupError):
                os.kill(self.process_id, number)
