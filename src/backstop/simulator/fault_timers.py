"""Delays of the fault layer, bounded and forgotten together at the end."""

import asyncio
from collections.abc import Callable

TIMERS_MAX = 10_000  # delayed events and ends of silences; one more happens at once


class FaultTimers:
    """Actions that wait on the event loop's time."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.TimerHandle] = set()

    def after(self, delay_ms: int, action: Callable[[], None]) -> asyncio.TimerHandle | None:
        """Run ``action`` after ``delay_ms``; at once (None) for 0 or when too many wait already."""
        if delay_ms <= 0 or len(self._waiting) >= TIMERS_MAX:
            action()
            return None

        def run() -> None:
            self._waiting.discard(handle)
            action()

        handle = asyncio.get_running_loop().call_later(delay_ms / 1000, run)
        self._waiting.add(handle)
        return handle

    def forget(self, handle: asyncio.TimerHandle) -> None:
        """Do not run one action."""
        handle.cancel()
        self._waiting.discard(handle)

    def forget_all(self) -> None:
        """Run none of the waiting actions."""
        for handle in self._waiting:
            handle.cancel()
        self._waiting.clear()
