"""One line of work that waits for a disk, so that the event loop never does.

A daemon: a process that must end does not wait for a hanging disk.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from backstop.adapters.machine import machine

T = TypeVar("T")


class _Job(Generic[T]):
    """A piece of work, and who waits for it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[T] = self._loop.create_future()

    def run(self) -> None:
        failure: Exception | None = None
        try:
            result = self._work()
        except Exception as error:  # noqa: BLE001 - whoever waits hears of every failure
            failure = error
        with suppress(RuntimeError):  # the loop has ended, and with it everyone who waited
            if failure is not None:
                self._loop.call_soon_threadsafe(self._settle_failure, failure)
            else:
                self._loop.call_soon_threadsafe(self._settle, result)

    def _settle(self, result: T) -> None:
        if not self.done.done():
            self.done.set_result(result)

    def _settle_failure(self, failure: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(failure)


class DiskWorker:
    """Does one thing after the other; ``close`` lets the line end."""

    def __init__(self, name: str) -> None:
        self._line = machine().line(name)

    async def do(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, or raise what it raises."""
        job = _Job(work)
        self._line.put(job.run)
        return await job.done

    def close(self) -> None:
        """Let the line end when it has done what it was given."""
        self._line.stop()
