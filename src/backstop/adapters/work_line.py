"""Work beside the event loop that is done in order: one thing, then the next.

A piece of work that cannot be done yet says after how many seconds it is to be tried again; what
came after it waits as long.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Protocol

Work = Callable[[], float | None]
"""Returns None when it is done, or the seconds after which it is to be called again."""


def _nothing() -> None:
    """Nobody has anything to do at the end."""


class WorkLine(Protocol):
    """Does what is put into it, in order."""

    @property
    def is_stopping(self) -> bool:
        """Nothing more comes, and a pause is not worth making any more."""

    def put(self, work: Work) -> None:
        """Take ``work`` after all that was taken before; never blocks."""

    def stop(self, at_the_end: Callable[[], None] = _nothing) -> None:
        """Do what was taken, then ``at_the_end``; pauses are cut short."""

    def join(self, limit_s: float) -> bool:
        """Wait on another thread until it has ended; say whether it has."""

    async def ended(self, limit_s: float) -> bool:
        """Wait on the event loop until it has ended; say whether it has."""


class ThreadLine:
    """A line on a thread of its own: a daemon, so that no hanging disk holds up a process's end."""

    def __init__(self, name: str) -> None:
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._at_the_end: Callable[[], None] = _nothing
        threading.Thread(target=self._run, name=name, daemon=True).start()

    @property
    def is_stopping(self) -> bool:
        """Nothing more comes, and a pause is not worth making any more."""
        return self._stopping.is_set()

    def put(self, work: Work) -> None:
        """Take ``work`` after all that was taken before; never blocks."""
        self._queue.put(work)

    def stop(self, at_the_end: Callable[[], None] = _nothing) -> None:
        """Do what was taken, then ``at_the_end``; pauses are cut short."""
        self._at_the_end = at_the_end
        self._stopping.set()
        self._queue.put(None)

    def join(self, limit_s: float) -> bool:
        """Wait on another thread until it has ended; say whether it has."""
        return self._over.wait(limit_s)

    async def ended(self, limit_s: float) -> bool:
        """Wait on the event loop until it has ended; say whether it has."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self._over.wait, limit_s)

    def _run(self) -> None:
        try:
            while (work := self._queue.get()) is not None:
                while (pause_s := work()) is not None:
                    self._stopping.wait(pause_s)
            self._at_the_end()
        finally:
            self._over.set()
