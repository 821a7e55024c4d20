"""The longest time for which the guard's event loop did not get round, while a bot trades.

The loop's own selector says how long each round took, from the moment at which the guard is well
and has read the market's history: by the clock, and in processor time of the loop's thread. The
clock also counts what the machine took away. Baseline: a process of which the loop has nothing to
do but a timer, at the same time on the same machine; how late its timer is, is the machine's own.
"""

import asyncio
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from selectors import SelectorKey

from msgspec import Struct

from backstop.app.heap import HeapKeeper
from benchmarks.figures import Figure, Goal, Of
from benchmarks.guard import READY_LIMIT_S, a_guard, filled, side
from benchmarks.venue import a_venue

TICK_S = 0.005
ORDER_EVERY_S = 2.0
"""With the reads that the guard makes by itself it stays inside the call budget."""

GOAL_MS = 10
_NS_PER_MS = 1_000_000


class Stalls(Struct, frozen=True, kw_only=True):
    """What one loop did in one stretch of time."""

    longest_ms: float
    longest_own_ms: float
    over_goal: int


class _Rounds(selectors.DefaultSelector):
    """Notes how long the loop takes between two waits for events."""

    def __init__(self) -> None:
        super().__init__()
        self.restart()

    def restart(self) -> None:
        """Forget the rounds so far."""
        self._longest_ns = self._longest_own_ns = self._over_goal = 0
        self._since_ns: tuple[int, int] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Wait as ``timeout`` says, in seconds."""
        if self._since_ns is not None:
            began_ns, own_ns = self._since_ns
            taken_ns = time.monotonic_ns() - began_ns
            self._longest_ns = max(self._longest_ns, taken_ns)
            self._longest_own_ns = max(self._longest_own_ns, time.thread_time_ns() - own_ns)
            self._over_goal += taken_ns > GOAL_MS * _NS_PER_MS
        found = super().select(timeout)
        self._since_ns = time.monotonic_ns(), time.thread_time_ns()
        return found

    def said(self) -> Stalls:
        """Return what was seen since the last ``restart``."""
        return Stalls(
            longest_ms=self._longest_ns / _NS_PER_MS,
            longest_own_ms=self._longest_own_ns / _NS_PER_MS,
            over_goal=self._over_goal,
        )


def measure(*, rounds: int, seconds: float, history: bool) -> Iterator[Figure]:
    """Yield the longest stalls of each round of so many seconds, and how many were too long.

    With ``history`` the venue tells what the guard asks of the past, and that is read before.
    """
    ours: list[Stalls] = []
    bare: list[Stalls] = []
    with a_venue(history=history) as url:
        for number in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                selector = _Rounds()
                loop = partial(asyncio.SelectorEventLoop, selector)
                with asyncio.Runner(loop_factory=loop) as runner:
                    pair = runner.run(
                        _stalls(
                            url,
                            Path(folder),
                            f"stall-{number}",
                            seconds,
                            selector,
                            history=history,
                        )
                    )
            ours.append(pair[0])
            bare.append(pair[1])
    yield Figure(
        key="event_loop_stall_ms",
        what=f"longest stall of the guard's event loop in {seconds:g} s",
        unit="ms",
        rounds=tuple(it.longest_ms for it in ours),
        baseline="a loop that does nothing, at the same time",
        baseline_rounds=tuple(it.longest_ms for it in bare),
        goal=Goal(of=Of.WORST, bound=GOAL_MS, at_least=False),
    )
    yield Figure(
        key="event_loop_own_stall_ms",
        what="processor time of the longest of its rounds",
        unit="ms",
        rounds=tuple(it.longest_own_ms for it in ours),
        baseline="a loop that does nothing, at the same time",
        baseline_rounds=tuple(it.longest_own_ms for it in bare),
        goal=Goal(of=Of.WORST, bound=GOAL_MS, at_least=False),
    )
    for key, of, whose in (("", ours, ""), ("bare_", bare, " of the loop that does nothing")):
        yield Figure(  # two figures: nothing is no baseline to divide by
            key=f"event_loop_{key}stalls_over_goal",
            what=f"stalls{whose} of more than {GOAL_MS} ms in {seconds:g} s",
            unit="",
            rounds=tuple(float(it.over_goal) for it in of),
        )


async def _stalls(
    url: str, folder: Path, name: str, seconds: float, selector: _Rounds, *, history: bool
) -> tuple[Stalls, Stalls]:
    async with a_guard(url, folder) as guard:
        async with asyncio.timeout(READY_LIMIT_S):
            while history and guard.components:  # noqa: ASYNC110 - a state
                await asyncio.sleep(TICK_S)
            while guard.book.estimate is None:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(TICK_S)
        heap = HeapKeeper(steps=lambda: guard.steps, nothing_open=lambda: False)
        keeping = asyncio.create_task(heap.run())  # as in a process that is a guard
        with subprocess.Popen(  # noqa: S603, ASYNC220 - ourselves; it starts before the clock does
            [sys.executable, "-m", "benchmarks.stall", str(seconds)],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            text=True,
        ) as bare:
            until_s, number = time.monotonic() + seconds, 0
            selector.restart()
            while time.monotonic() < until_s:
                began_s = time.monotonic()
                await filled(guard, f"{name}-{number}", side(number), quantity=1)
                number += 1
                await asyncio.sleep(max(0.0, began_s + ORDER_EVERY_S - time.monotonic()))
            ours = selector.said()
            keeping.cancel()
            said, _ = await asyncio.to_thread(bare.communicate)
    longest_ms, longest_own_ms, over_goal = said.split()
    return ours, Stalls(
        longest_ms=float(longest_ms),
        longest_own_ms=float(longest_own_ms),
        over_goal=int(over_goal),
    )


def _nothing_else(seconds: float) -> str:
    """Return how late the timer of a loop without work is: longest, its own time, how often."""
    selector = _Rounds()
    with asyncio.Runner(loop_factory=partial(asyncio.SelectorEventLoop, selector)) as runner:
        late_max_ms, over_goal = runner.run(_late_ms(seconds, selector))
    return f"{late_max_ms} {selector.said().longest_own_ms} {over_goal}"


async def _late_ms(seconds: float, selector: _Rounds) -> tuple[float, int]:
    loop = asyncio.get_running_loop()
    until_s, late_max_ms, over_goal = loop.time() + seconds, 0.0, 0
    selector.restart()
    while (due_s := loop.time() + TICK_S) < until_s:
        await asyncio.sleep(TICK_S)
        late_ms = (loop.time() - due_s) * 1000
        late_max_ms = max(late_max_ms, late_ms)
        over_goal += late_ms > GOAL_MS
    return late_max_ms, over_goal


if __name__ == "__main__":
    print(_nothing_else(float(sys.argv[1])))
