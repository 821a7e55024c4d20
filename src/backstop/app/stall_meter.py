"""How long the event loop was busy at a stretch: every stall is measured, also the short ones.

A timer sees only the stalls that it falls into, and wakes an idle process to do so. The loop itself
says when it works: between two waits for events. So the wait is what is hooked, by giving the loop
a selector of our own, which the standard library has a place for; it costs two readings of a clock.

The loop of a bot that embeds a guard is not ours. And Windows waits in another way: there, too, the
pulse has to do, which sees stalls that are long.
"""

import asyncio
import selectors
import sys
import time
from selectors import SelectorKey

_NS_PER_MS = 1_000_000


class MeteredSelector(selectors.DefaultSelector):
    """Waits for events as always, and notes how long nobody waited in between."""

    def __init__(self) -> None:
        super().__init__()
        self.longest_ns = 0
        self._busy_since_ns = 0

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Wait as ``timeout`` says, in seconds."""
        if self._busy_since_ns:
            self.longest_ns = max(self.longest_ns, time.monotonic_ns() - self._busy_since_ns)
        found = super().select(timeout)
        self._busy_since_ns = time.monotonic_ns()
        return found

    def restart(self) -> None:
        """Forget what was measured, also of the round that the loop is in."""
        self.longest_ns = 0
        self._busy_since_ns = time.monotonic_ns()


class StallMeter:
    """Makes an event loop that is measured, and tells the longest stall of it."""

    def __init__(self) -> None:
        self._selector: MeteredSelector | None = None

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Return a new event loop for a runner; a measured one where the platform has a place."""
        if sys.platform == "win32":
            return asyncio.new_event_loop()
        self._selector = MeteredSelector()
        return asyncio.SelectorEventLoop(self._selector)

    def restart(self) -> None:
        """Forget the stalls so far: to load everything at a start is none."""
        if self._selector is not None:
            self._selector.restart()

    @property
    def longest_ms(self) -> int:
        """The longest stall since ``restart``, in whole ms, rounded up; 0: nothing was measured."""
        return 0 if self._selector is None else -(-self._selector.longest_ns // _NS_PER_MS)
