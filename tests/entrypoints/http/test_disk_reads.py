"""Reads of the record hold up neither each other's callers for good nor the end of the guard."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from backstop.entrypoints.http.disk_reads import READS_AT_ONCE, DiskReads

PATIENCE_S = 30.0


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_true():  # noqa: ASYNC110 - what is waited for is in another thread
            await asyncio.sleep(0.01)


class StuckDisk:
    """Answers nobody until it is let go on."""

    def __init__(self) -> None:
        self.asked = 0
        self.goes_on = threading.Event()
        self._counting = threading.Lock()

    def read(self) -> str:
        with self._counting:
            self.asked += 1
        self.goes_on.wait(PATIENCE_S)
        return "a page"


def test_a_disk_that_hangs_in_a_read_does_not_hold_up_the_end() -> None:
    disk = StuckDisk()

    async def asked_and_left() -> None:
        reading = asyncio.create_task(DiskReads().read(disk.read))
        await until(lambda: disk.asked == 1)
        reading.cancel()

    process = threading.Thread(target=lambda: asyncio.run(asked_and_left()), daemon=True)
    process.start()
    process.join(PATIENCE_S / 3)
    has_ended = not process.is_alive()
    disk.goes_on.set()

    assert has_ended


async def test_callers_that_come_and_go_take_no_more_threads_than_there_are_places() -> None:
    disk, reads = StuckDisk(), DiskReads()
    callers = [asyncio.create_task(reads.read(disk.read)) for _ in range(READS_AT_ONCE)]
    await until(lambda: disk.asked == READS_AT_ONCE)
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)

    last = asyncio.create_task(reads.read(disk.read))
    done, _ = await asyncio.wait({last}, timeout=0.05)
    asked_meanwhile = disk.asked
    disk.goes_on.set()

    assert not done
    assert asked_meanwhile == READS_AT_ONCE
    async with asyncio.timeout(PATIENCE_S):
        assert await last == "a page"


async def test_what_a_read_raises_is_raised_where_it_is_waited_for() -> None:
    def fails() -> str:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await DiskReads().read(fails)
