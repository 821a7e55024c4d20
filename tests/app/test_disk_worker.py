import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from backstop.app.disk_worker import DiskWorker


@pytest.fixture
async def worker() -> AsyncIterator[DiskWorker]:
    worker = DiskWorker("test")
    yield worker
    worker.close()


async def test_work_is_done_in_order_on_another_thread(worker: DiskWorker) -> None:
    done: list[int] = []
    results = await asyncio.gather(
        *(worker.do(lambda number=number: done.append(number) or number) for number in range(20))  # type: ignore[misc]
    )

    assert done == results == list(range(20))
    assert await worker.do(threading.get_ident) != threading.get_ident()


async def test_a_failure_reaches_who_waits_and_the_next_work_is_done(worker: DiskWorker) -> None:
    def fails() -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        await worker.do(fails)
    assert await worker.do(lambda: 7) == 7


async def test_the_last_thing_is_done_after_what_was_given_before() -> None:
    worker, done = DiskWorker("test"), list[int]()
    doing = asyncio.ensure_future(worker.do(lambda: done.append(1)))
    await asyncio.sleep(0)

    await worker.close(lambda: done.append(2))

    assert done == [1, 2]
    await doing


async def test_nobody_has_to_wait_any_more(worker: DiskWorker) -> None:
    held, release = threading.Event(), threading.Event()

    def hangs() -> None:
        held.set()
        release.wait(10)

    waiting = asyncio.create_task(worker.do(hangs))
    await asyncio.to_thread(held.wait, 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    release.set()
    assert await worker.do(lambda: "still working") == "still working"
