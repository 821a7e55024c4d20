"""One line of work that waits for a disk, so that the event loop never does.

A daemon: a process that must end does not wait for a hanging disk.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from backstop.adapters.machine import machine
from backstop.app.waiter import answer, refuse

T = TypeVar("T")


def _nothing() -> None:
    """Nobody has anything to do at the end."""


class _Job(Generic[T]):
    """A piece of work, and who waits for it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[T] = self._loop.create_future()

    def run(self) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it everyone who waited
            try:
                result = self._work()
            except Exception as error:  # noqa: BLE001 - whoever waits hears of every failure
                self._loop.call_soon_threadsafe(refuse, self.done, error)
            else:
                self._loop.call_soon_threadsafe(answer, self.done, result)


class DiskWorker:
    """Does one thing after the other; ``close`` lets the line end."""

    def __init__(self, name: str) -> None:
        self._line = machine().line(name)

    async def do(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, or raise what it raises."""
        job = _Job(work)
        self._line.put(job.run)
        return await job.done

    def close(self, at_the_end: Callable[[], None] = _nothing) -> "asyncio.Future[None]":
        """Let the line end when it has done what it was given, and then ``at_the_end``.

        Returns:
            What is done by then. Nobody has to wait for it, and a process that ends does not.
        """
        last = _Job(at_the_end)
        self._line.stop(last.run)
        return last.done
