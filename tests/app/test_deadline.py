"""The timer of the earliest deadline: a computer that slept does not make it late."""

import asyncio

from tests.app.desk import JumpingClock

from backstop.app.deadline import DeadlineTimer

PATIENCE_S = 30
HOUR_NS = 3600 * 1_000_000_000


class Watched:
    """A deadline that is looked at whenever the timer calls, as the decision loop does."""

    def __init__(self, clock: JumpingClock, due_ns: int) -> None:
        self.come = asyncio.Event()
        self.looked = asyncio.Event()
        self._clock = clock
        self._due_ns = due_ns
        self.timer = DeadlineTimer(clock, self._look)
        self.timer.watch(due_ns)

    def _look(self) -> None:
        self.looked.set()
        if self._clock.monotonic_ns() >= self._due_ns:
            self.come.set()
        else:
            self.timer.watch(self._due_ns)


async def test_what_fell_due_in_a_sleep_is_due_on_waking_though_nothing_else_happens() -> None:
    clock = JumpingClock()
    watched = Watched(clock, clock.monotonic_ns() + HOUR_NS)
    clock.jump(3601)

    async with asyncio.timeout(PATIENCE_S):
        await watched.come.wait()

    watched.timer.cancel()


async def test_a_deadline_that_has_not_come_is_only_looked_at() -> None:
    clock = JumpingClock()
    watched = Watched(clock, clock.monotonic_ns() + HOUR_NS)

    async with asyncio.timeout(PATIENCE_S):
        await watched.looked.wait()
    watched.timer.cancel()

    assert not watched.come.is_set()


async def test_a_deadline_of_the_past_is_due_at_once() -> None:
    clock = JumpingClock()

    watched = Watched(clock, 1)

    assert watched.come.is_set()


async def test_nothing_is_watched_for_without_a_deadline() -> None:
    called = asyncio.Event()
    timer = DeadlineTimer(JumpingClock(), called.set)
    timer.watch(0)
    timer.cancel()

    assert not called.is_set()
