"""Notices that the guard itself stood still: the machine slept, or this process did not run.

A watchdog notices as well, where there is one. A guard inside a bot has none, so it looks at its
own pulse: before anything is decided, and a few times a second.
"""

import asyncio
from collections.abc import Callable

from backstop.domain.events import GuardStoodStill
from backstop.ports import MachineClock

LOOK_S = 0.25
"""How often an idle guard looks; a busy one looks before each turn of its loop."""

SLEPT_NS = 500_000_000
"""The two clocks do not drift this far apart by themselves between two looks."""

STOOD_NS = 5_000_000_000
"""A process that did not get round for so long has missed more than a busy machine explains."""

_NS_PER_MS = 1_000_000


class StandstillWatch:
    """Compares the time that passed with the time in which this process could work."""

    def __init__(self, clock: MachineClock, *, on_standstill: Callable[[], None]) -> None:
        """Begin to watch once ``look`` is called for the first time.

        Args:
            clock: tells elapsed time, and the time that stands still during a suspend.
            on_standstill: is called when one was found, before anything is decided.
        """
        self._clock = clock
        self._on_standstill = on_standstill
        self._seen: tuple[int, int, float] | None = None

    def look(self) -> GuardStoodStill | None:
        """Return what happened since the look before, when that is more than a pause."""
        clock, running_s = self._clock, asyncio.get_running_loop().time()
        now = (clock.monotonic_ns(), clock.awake_ns(), running_s)
        seen, self._seen = self._seen, now
        if seen is None:
            return None
        asleep_ns = (now[0] - seen[0]) - (now[1] - seen[1])
        asleep_ns = asleep_ns if asleep_ns >= SLEPT_NS else 0
        stood_ns = int((running_s - seen[2]) * 1_000_000_000)
        if not asleep_ns and stood_ns < STOOD_NS:
            return None
        self._on_standstill()
        return GuardStoodStill(
            utc_us=clock.utc_us(),
            unguarded_ms=(asleep_ns + stood_ns) // _NS_PER_MS,
            asleep_ms=asleep_ns // _NS_PER_MS,
        )

    async def run(self, nudge: Callable[[], None]) -> None:
        """Have the loop go round, and so look, a few times a second until cancelled."""
        while True:
            nudge()
            await asyncio.sleep(LOOK_S)
