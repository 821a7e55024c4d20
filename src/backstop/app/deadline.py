"""One timer for the earliest of many deadlines, which change with every fact."""

import asyncio
from collections.abc import Callable

from backstop.ports import Clock

LOOK_S = 0.5
"""The longest wait of a timer: event loops count on a clock that stands still while a computer
sleeps, so what fell due meanwhile would be late by all that was left of the wait."""

SLACK_S = 0.001
"""A timer is not set anew for less: event loops do not count finer."""


class DeadlineTimer:
    """Calls when the deadline that it was last told of has come."""

    def __init__(self, clock: Clock, on_due: Callable[[], None]) -> None:
        self._clock = clock
        self._on_due = on_due
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, due_ns: int) -> None:
        """Look out for ``due_ns`` (monotonic), or for nothing when it is 0.

        ``on_due`` is called at once when that time has come already. It is called too early when
        the deadline has moved away or is far: so it looks for itself, and watches anew.
        """
        if not due_ns:
            return
        wait_s = (due_ns - self._clock.monotonic_ns()) / 1e9
        if wait_s <= 0:
            self._on_due()
            return
        wait_s = min(wait_s, LOOK_S)
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + wait_s + SLACK_S:
                return
            self._timer.cancel()
        self._timer = loop.call_later(wait_s, self._fire)

    def cancel(self) -> None:
        """Call no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._on_due()
