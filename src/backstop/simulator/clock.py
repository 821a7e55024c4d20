"""The simulator's time: the machine's, sped up or not, or a virtual one that jumps."""

import time
from collections.abc import Callable

_NS_PER_US = 1_000


def _elapsed_ns() -> int:
    """Return nanoseconds that go on while the machine sleeps, where the system has such a clock."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic_ns() if boottime is None else time.clock_gettime_ns(boottime)


class SimulatorClock:
    """Microseconds since 1970 UTC; never goes back.

    ``speed`` is how many simulated seconds pass in a real one; 0 means as fast as possible: time
    stands until ``reach`` moves it.
    """

    def __init__(
        self, *, start_us: int, speed: float, elapsed_ns: Callable[[], int] = _elapsed_ns
    ) -> None:
        self._start_us = self._reached_us = start_us
        self._speed = speed
        self._elapsed_ns = elapsed_ns
        self._started_ns = elapsed_ns()

    @property
    def is_virtual(self) -> bool:
        """Time stands until somebody moves it."""
        return self._speed == 0

    def now_us(self) -> int:
        """Return the present."""
        if not self.is_virtual:
            elapsed_us = (self._elapsed_ns() - self._started_ns) * self._speed / _NS_PER_US
            self._reached_us = max(self._reached_us, self._start_us + int(elapsed_us))
        return self._reached_us

    def reach(self, us: int) -> None:
        """Move a virtual clock to ``us``; a real one goes by itself."""
        if self.is_virtual:
            self._reached_us = max(self._reached_us, us)

    def real_s_until(self, us: int) -> float:
        """Return the real seconds until ``us``, never negative; 0 on a virtual clock."""
        if self.is_virtual:
            return 0.0
        return max(0.0, (us - self.now_us()) / self._speed / 1_000_000)
