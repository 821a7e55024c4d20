"""Reads of the record for callers: beside the event loop, few at a time, and no stop waits for one.

The event loop waits at its end for a thread of ``asyncio.to_thread``: a disk that hangs in a read
would hold up the end of a guard that has written everything.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from backstop.app.daemon_thread import in_daemon_thread

READS_AT_ONCE = 8
"""More would only wait for the same disk, each in a thread of its own."""

_Result = TypeVar("_Result")


class DiskReads:
    """Lets READS_AT_ONCE go on at one time; use it in one event loop."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(READS_AT_ONCE)

    async def read(self, work: Callable[[], _Result]) -> _Result:
        """Return what ``work`` returns, or raise what it raises.

        A caller that leaves does not end the read, so its place stays taken until the disk answers.
        """
        await self._free.acquire()
        reading = asyncio.ensure_future(in_daemon_thread(work, name="record reads"))
        reading.add_done_callback(self._over)
        return await asyncio.shield(reading)

    def _over(self, reading: "asyncio.Future[_Result]") -> None:
        self._free.release()
        if not reading.cancelled():
            reading.exception()  # whoever still waits hears of it; nobody else has to
