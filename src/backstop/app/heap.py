"""Looks for garbage when nobody waits, and never twice through what stays.

A full collection looks at every object of the process: with the book and the libraries loaded it
stops the event loop for more than 100 ms, at a moment that nobody chose. So Python is left the
young generations, which are small, and this does the rest: every few seconds, when no fact has come
for a moment, it collects what came since the last time and freezes what stays. References free what
dies in the frozen part; only its cycles are left, for a whole look while nothing is open.

For a process that is a guard and nothing else: a bot that embeds one keeps its own heap.
"""

import asyncio
import gc
from collections.abc import Callable

COLLECT_EVERY_S = 10.0
"""A busy guard keeps some ten thousand objects in this time: looked through in a millisecond."""

QUIET_S = 0.02
"""No fact for so long, and the next is not likely to wait for us."""

LOOKS_MAX = 50
"""A guard that is never quiet is collected all the same: garbage must not grow."""

WHOLE_EVERY_S = 6 * 3600.0
"""How often the frozen part is looked through, if nothing is open then."""

NEVER = 1_000_000
"""Young collections before Python would begin a full one by itself."""


class HeapKeeper:
    """Collects garbage of the whole process; ``run`` it once everything is loaded.

    Attributes:
        collections: how often it has collected.
        whole_collections: and how often of those everything.
    """

    def __init__(
        self,
        *,
        steps: Callable[[], int],
        nothing_open: Callable[[], bool],
        every_s: float = COLLECT_EVERY_S,
        whole_every_s: float = WHOLE_EVERY_S,
    ) -> None:
        """Prepare.

        Args:
            steps: facts handled so far.
            nothing_open: a pause of 200 ms would harm nobody now.
            every_s: between two collections.
            whole_every_s: between two of everything.
        """
        self.collections = 0
        self.whole_collections = 0
        self._steps = steps
        self._nothing_open = nothing_open
        self._every_s = every_s
        self._whole_every_s = whole_every_s

    async def run(self) -> None:
        """Collect until cancelled; then Python does it again as before."""
        running = asyncio.get_running_loop()
        before = gc.get_threshold()
        gc.set_threshold(before[0], before[1], NEVER)
        whole_s = running.time()
        try:
            while True:
                await asyncio.sleep(self._every_s)
                await self._quiet()
                if running.time() - whole_s >= self._whole_every_s and self._nothing_open():
                    whole_s = running.time()
                    self.whole_collections += 1
                    gc.unfreeze()
                gc.collect()
                gc.freeze()
                self.collections += 1
        finally:
            gc.set_threshold(*before)

    async def _quiet(self) -> None:
        """Wait for a moment without facts, but not for ever."""
        for _ in range(LOOKS_MAX):
            steps = self._steps()
            await asyncio.sleep(QUIET_S)
            if self._steps() == steps:
                return
