"""How long records waited for the disk, counted in classes: a few numbers, however many records."""

from bisect import bisect_left
from itertools import accumulate

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Upper bounds of the classes, in seconds: from a fast disk to one that holds orders up."""


class CommitWaits:
    """Counts the waits of one process."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def add(self, waited_s: float) -> None:
        """Count a commit whose oldest record waited ``waited_s`` seconds."""
        self._counts[bisect_left(BOUNDS_S, waited_s)] += 1
        self.total_s += waited_s

    def cumulative(self) -> tuple[int, ...]:
        """Return how many waits were at most each bound long, and last how many there were."""
        return tuple(accumulate(self._counts))
