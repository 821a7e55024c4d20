"""Virtual time: it jumps, it is in one order, and what is killed never runs again."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from random import Random
from typing import Any

import pytest

from backstop.storm.network import PORT, Network, StormLoop
from backstop.storm.virtual_loop import EPOCH_S, PROCESS, Process


def simulated(story: Callable[[StormLoop], Coroutine[Any, Any, None]]) -> StormLoop:
    """Run ``story`` on a loop of its own."""
    loop = StormLoop(Network(Random(1)))  # noqa: S311 - repeatable
    try:
        loop.run_until_complete(story(loop))
    finally:
        loop.close()
    return loop


def inside(process: Process, work: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
    """Begin ``work`` in ``process``."""

    def begin() -> asyncio.Task[None]:
        PROCESS.set(process)
        return asyncio.ensure_future(work())  # type: ignore[arg-type]

    return copy_context().run(begin)


def test_an_hour_takes_no_time() -> None:
    async def story(loop: StormLoop) -> None:
        await asyncio.sleep(3600)
        assert loop.time() == EPOCH_S + 3600

    simulated(story)


def test_what_is_due_together_happens_in_the_order_in_which_it_was_asked_for() -> None:
    heard: list[int] = []

    async def story(loop: StormLoop) -> None:
        for number in range(100):
            loop.call_at(EPOCH_S + 1.0, heard.append, number)
        await asyncio.sleep(2)

    simulated(story)
    assert heard == list(range(100))


def test_a_killed_process_does_not_even_run_its_finally() -> None:
    heard: list[str] = []

    async def life() -> None:
        try:
            while True:
                heard.append("alive")
                await asyncio.sleep(1.0)
        finally:
            heard.append("finally")

    async def story(_loop: StormLoop) -> None:
        process = Process("guard")
        inside(process, life)
        await asyncio.sleep(2.5)
        process.kill()
        await asyncio.sleep(10)
        assert heard == ["alive"] * 3
        process.bury()

    simulated(story)


def test_a_process_can_be_killed_between_any_two_of_its_callbacks() -> None:
    heard: list[int] = []

    async def life() -> None:
        for number in range(10):
            heard.append(number)
            await asyncio.sleep(0)

    async def story(_loop: StormLoop) -> None:
        process = Process("guard")
        process.kill_after(4)
        inside(process, life)
        await asyncio.sleep(1)
        assert not process.alive
        process.bury()

    simulated(story)
    assert heard == [0, 1, 2, 3]


def test_a_frozen_process_goes_on_with_what_became_due_meanwhile() -> None:
    heard: list[float] = []

    async def story(loop: StormLoop) -> None:
        async def life() -> None:
            await asyncio.sleep(1.0)
            heard.append(loop.now_s - EPOCH_S)

        process = Process("guard")
        task = inside(process, life)
        await asyncio.sleep(0.5)
        process.freeze()
        await asyncio.sleep(5.0)
        assert not heard
        process.thaw(loop)
        await task

    simulated(story)
    assert heard == [5.5]


def test_the_loop_of_a_suspended_machine_does_not_count_its_sleep() -> None:
    async def story(loop: StormLoop) -> None:
        process = Process("guard")
        process.asleep_s = 100.0
        seen: list[float] = []

        async def life() -> None:
            seen.append(loop.time())
            await asyncio.sleep(1.0)
            seen.append(loop.time())

        await inside(process, life)
        assert seen == [EPOCH_S - 100.0, EPOCH_S - 99.0]
        assert loop.now_s == EPOCH_S + 1.0

    simulated(story)


def test_waiting_for_nothing_is_an_error_and_no_hang() -> None:
    async def story(loop: StormLoop) -> None:
        await loop.create_future()

    with pytest.raises(RuntimeError, match="waits for nothing"):
        simulated(story)


class Hearer(asyncio.Protocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.data = b""
        self.lost: list[Exception | None] = []

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


def test_bytes_arrive_later_and_in_order() -> None:
    async def story(loop: StormLoop) -> None:
        server = Hearer()
        loop.network.listen(1, lambda: server)
        wire = loop.network.connect(loop, 1, Hearer)
        for number in range(50):
            wire.write(b"%d," % number)
        assert server.data == b""
        await asyncio.sleep(1.0)
        assert server.data == b"".join(b"%d," % number for number in range(50))

    simulated(story)


def test_the_other_side_hears_of_a_killed_process_and_the_process_does_not() -> None:
    async def story(loop: StormLoop) -> None:
        server, client = Hearer(), Hearer()
        loop.network.listen(1, lambda: server)
        process = Process("guard")

        async def life() -> None:
            loop.network.connect(loop, 1, lambda: client)
            await asyncio.sleep(3600)

        inside(process, life)
        await asyncio.sleep(1.0)
        process.kill()
        await asyncio.sleep(1.0)
        assert [type(error) for error in server.lost] == [ConnectionResetError]
        assert client.lost == []
        process.bury()

    simulated(story)


def test_what_is_written_into_a_cut_cable_is_lost_with_its_connection() -> None:
    async def story(loop: StormLoop) -> None:
        server, client = Hearer(), Hearer()
        loop.network.listen(PORT, lambda: server)
        wire = loop.network.connect(loop, PORT, lambda: client)
        await asyncio.sleep(1.0)
        loop.network.cut()
        wire.write(b"nobody hears this")
        await asyncio.sleep(1.0)
        loop.network.mend()
        wire.write(b"nor this")
        await asyncio.sleep(1.0)
        assert server.data == b""
        assert [type(error) for error in client.lost] == [ConnectionResetError]

    simulated(story)
