"""An event loop in a thread of its own: results, errors, ends."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from backstop.portal import Portal


async def doubled(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def test_what_is_run_gives_its_result_or_its_error() -> None:
    portal = Portal("test")

    async def broken() -> None:
        raise LookupError("this one")

    assert portal.run(doubled(21)) == 42
    with pytest.raises(LookupError, match="this one"):
        portal.run(broken())
    portal.close()


def test_a_closed_portal_has_no_thread_left_and_says_so() -> None:
    portal = Portal("a-thread-of-this-test")
    portal.close()
    portal.close()

    assert "a-thread-of-this-test" not in [it.name for it in threading.enumerate()]
    with pytest.raises(RuntimeError, match="closed"):
        portal.run(doubled(1))


def test_closing_ends_what_still_runs() -> None:
    portal, ended = Portal("test"), threading.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def begin() -> asyncio.Task[None]:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        return task

    kept = portal.run(begin())
    portal.close()

    assert ended.is_set()
    assert kept.cancelled()


def test_its_own_thread_cannot_wait_for_itself() -> None:
    portal = Portal("test")

    async def nested() -> None:
        portal.run(doubled(1))

    with pytest.raises(RuntimeError, match="await instead"):
        portal.run(nested())
    portal.close()


def test_a_source_is_read_and_closed_when_nobody_asks_any_more() -> None:
    portal, closed = Portal("test"), threading.Event()

    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(1_000):
                yield number
        finally:
            closed.set()

    found = []
    reading = portal.iterate(numbers())
    for number in reading:
        found.append(number)
        if number == 2:
            break
    reading.close()  # type: ignore[attr-defined]

    assert found == [0, 1, 2]
    assert closed.is_set()
    assert list(portal.iterate(numbers())) == list(range(1_000))
    portal.close()
