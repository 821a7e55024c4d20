"""The longest time for which the guard's event loop did not get round, while a bot trades.

A task of the same loop asks to be called every few milliseconds and notes how late it was, from the
moment at which the guard is well and has read the market's history. Baseline: a process that does
nothing else, at the same time on the same machine; its lateness is the machine's own.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, Goal, Of
from benchmarks.guard import READY_LIMIT_S, a_guard, filled, side
from benchmarks.venue import a_venue

TICK_S = 0.005
ORDER_EVERY_S = 2.0
"""With the reads that the guard makes by itself it stays inside the call budget."""

GOAL_MS = 10


class _Ticker:
    """Notes how late a task of this loop is called."""

    def __init__(self) -> None:
        self.late_max_s = 0.0

    async def run(self) -> None:
        """Tick until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            self.late_max_s = max(self.late_max_s, loop.time() - due_s)


def measure(*, rounds: int, seconds: float) -> Figure:
    """Return the longest stall of each round of so many seconds."""
    ours: list[float] = []
    bare: list[float] = []
    with a_venue(history=True) as url:
        for number in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                guard_ms, bare_ms = asyncio.run(
                    _stalls_ms(url, Path(folder), f"stall-{number}", seconds)
                )
            ours.append(guard_ms)
            bare.append(bare_ms)
    return Figure(
        key="event_loop_stall_ms",
        what=f"longest stall of the guard's event loop in {seconds:g} s",
        unit="ms",
        rounds=tuple(ours),
        baseline="a loop that does nothing, at the same time",
        baseline_rounds=tuple(bare),
        goal=Goal(of=Of.WORST, bound=GOAL_MS, at_least=False),
    )


async def _stalls_ms(url: str, folder: Path, name: str, seconds: float) -> tuple[float, float]:
    async with a_guard(url, folder) as guard:
        async with asyncio.timeout(READY_LIMIT_S):
            while guard.components or guard.book.estimate is None:  # noqa: ASYNC110 - a state
                await asyncio.sleep(TICK_S)
        ticker = _Ticker()
        ticking = asyncio.create_task(ticker.run())
        with subprocess.Popen(  # noqa: S603, ASYNC220 - ourselves; it starts before the clock does
            [sys.executable, "-m", "benchmarks.stall", str(seconds)],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            text=True,
        ) as bare:
            until_s, number = time.monotonic() + seconds, 0
            ticker.late_max_s = 0.0
            while time.monotonic() < until_s:
                began_s = time.monotonic()
                await filled(guard, f"{name}-{number}", side(number), quantity=1)
                number += 1
                await asyncio.sleep(max(0.0, began_s + ORDER_EVERY_S - time.monotonic()))
            ours_s = ticker.late_max_s
            ticking.cancel()
            said, _ = await asyncio.to_thread(bare.communicate)
    return ours_s * 1000, float(said)


async def _nothing_else(seconds: float) -> float:
    ticker = _Ticker()
    ticking = asyncio.create_task(ticker.run())
    await asyncio.sleep(seconds)
    ticking.cancel()
    return ticker.late_max_s * 1000


if __name__ == "__main__":
    print(asyncio.run(_nothing_else(float(sys.argv[1]))))
