"""What is due later, on a clock that the caller owns."""

from collections.abc import Callable
from heapq import heappop, heappush

Action = Callable[[], None]


class Agenda:
    """Planned actions, by due time and then by the order in which they were planned.

    It holds a few entries per live order, so the limit on live orders bounds it.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Action]] = []
        self._sequence = 0

    def plan(self, due_us: int, action: Action) -> None:
        """Plan ``action`` for ``due_us`` (microseconds since 1970 UTC)."""
        heappush(self._heap, (due_us, self._sequence, action))
        self._sequence += 1

    def next_due_us(self) -> int | None:
        """Return when the next action is due, None when nothing is planned."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now_us: int) -> tuple[int, Action] | None:
        """Take out the next action that is due at ``now_us`` or earlier, with its due time."""
        if not self._heap or self._heap[0][0] > now_us:
            return None
        due_us, _, action = heappop(self._heap)
        return due_us, action
