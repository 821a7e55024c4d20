"""The computer that a process runs on: threads, files, other processes, its boot, and its dice.

Whoever needs one of these asks ``machine()`` for it. That is this computer, unless somebody who
simulates a whole one has put it in place for the context that asks: then nothing of the real one
is touched, and nothing runs beside the event loop.
"""

import os
import platform
import random
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from platformdirs import user_runtime_dir

from backstop.adapters.clock import boot_id
from backstop.adapters.disk import Disk
from backstop.adapters.process_watch import WatchedProcess, watched_process
from backstop.adapters.work_line import ThreadLine, WorkLine


class Machine:
    """This computer; a simulated one overrides what it simulates.

    Attributes:
        dice: for pauses that must not be alike on many computers; nothing secret is drawn.
    """

    dice: random.Random = random.SystemRandom()

    @property
    def name(self) -> str:
        """The host's name."""
        return platform.node()

    @property
    def process_id(self) -> int:
        """The number of this process."""
        return os.getpid()

    def boot_id(self) -> str:
        """Return a name of the present boot."""
        return boot_id()

    def watched(self, process_id: int) -> WatchedProcess:
        """Return a hold on a process that is known to live: a child, or the parent.

        Raises:
            OSError: there is no such process, or the system does not let us watch it.
        """
        return watched_process(process_id)

    def at_death(self, take_back: Callable[[], None]) -> None:
        """Name what is taken back when this process dies; here the system does it by itself."""

    def disk(self) -> Disk:
        """Return the calls by which files become durable."""
        return Disk()

    def runtime_folder(self) -> Path:
        """Return the folder for locks: private to the user, emptied at the latest by a restart."""
        with warnings.catch_warnings():
            # Without a session of systemd the folder is under /tmp, which is as good for a lock.
            warnings.simplefilter("ignore")
            return Path(user_runtime_dir("backstop", appauthor=False))

    def database(self, path: Path, *, timeout_s: float) -> sqlite3.Connection:
        """Connect to the database at ``path`` for writing; transactions are begun by hand."""
        return sqlite3.connect(
            path, timeout=timeout_s, isolation_level=None, check_same_thread=False
        )

    def line(self, name: str) -> WorkLine:
        """Return a line of work beside the event loop, which does one thing after the other."""
        return ThreadLine(name)

    def start_thread(self, work: Callable[[], None], *, name: str) -> None:
        """Do ``work`` beside the event loop; a process that must end does not wait for it."""
        threading.Thread(target=work, name=name, daemon=True).start()


_machine: ContextVar[Machine] = ContextVar("machine", default=Machine())  # noqa: B039 - has no state


def machine() -> Machine:
    """Return the computer that this context runs on."""
    return _machine.get()


@contextmanager
def running_on(simulated: Machine) -> Iterator[None]:
    """Let everything that begins inside run on ``simulated``: tasks keep the computer they got."""
    token = _machine.set(simulated)
    try:
        yield
    finally:
        _machine.reset(token)
