"""Writes down the stacks of every thread of this process, also when none of them can run Python.

faulthandler does it from inside the interpreter: at a signal, at a crash of native code, or, on
Windows, by itself when a pulse is late. It writes names of files, functions and line numbers and
no values, so nothing secret can be in it.
"""

import faulthandler
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from backstop.adapters.folders import make_private_folder

if sys.platform != "win32":
    import signal

LATE_S = 2.0
"""Where no signal can ask for stacks, they are written when a pulse is this late."""

STACK_BYTES_MAX = 512 * 1024
"""A file with stacks is emptied when it is larger; a hundred threads need less."""


def stack_file(folder: Path, process_id: int) -> Path:
    """Return where the process with this number writes its stacks."""
    return folder / f"stacks-{process_id}.txt"


def read_stacks(folder: Path, process_id: int) -> tuple[str, ...]:
    """Return the lines that a process has written; none when it could not."""
    try:
        with stack_file(folder, process_id).open("rb") as file:
            data = file.read(STACK_BYTES_MAX)
    except OSError:
        return ()
    return tuple(data.decode("utf-8", errors="replace").splitlines())


def bound_stacks(folder: Path, process_id: int) -> None:
    """Empty the file of a living process that was late again and again; it goes on writing."""
    path = stack_file(folder, process_id)
    with suppress(OSError):
        if path.stat().st_size > STACK_BYTES_MAX:
            os.truncate(path, 0)


def forget_stacks(folder: Path, process_id: int) -> None:
    """Remove the file of a process that has ended."""
    stack_file(folder, process_id).unlink(missing_ok=True)


class StackDump:
    """This process's readiness to write down its stacks."""

    def __init__(self, folder: Path) -> None:
        """Open the file at once: when it is needed, nothing can be opened any more.

        A disk that takes no file is no reason not to start; then there will be no stacks.
        """
        self._path = stack_file(folder, os.getpid())
        self._file = _opened(self._path)
        if self._file is None:
            _ignore_the_signal()
            return
        faulthandler.enable(self._file, all_threads=True)
        if sys.platform != "win32":
            faulthandler.register(signal.SIGUSR1, self._file, all_threads=True)

    def on_time(self) -> None:
        """Say that a pulse was on time; without a signal, its absence is what asks for stacks."""
        if sys.platform == "win32" and self._file is not None:
            faulthandler.dump_traceback_later(LATE_S, repeat=False, file=self._file)

    def close(self) -> None:
        """End it; a file with nothing in it is removed."""
        if self._file is None:
            return
        faulthandler.disable()
        if sys.platform == "win32":
            faulthandler.cancel_dump_traceback_later()
        else:
            faulthandler.unregister(signal.SIGUSR1)
            _ignore_the_signal()
        self._file.close()
        with suppress(OSError):
            if not self._path.stat().st_size:
                self._path.unlink()


def _opened(path: Path) -> IO[bytes] | None:
    """Return the file, to be added to: whoever has read it may empty it."""
    try:
        make_private_folder(path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        return os.fdopen(os.open(path, flags, 0o600), "ab", buffering=0)
    except OSError:
        return None


def _ignore_the_signal() -> None:
    """A process that cannot write its stacks must not die of being asked for them."""
    if sys.platform != "win32":
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
