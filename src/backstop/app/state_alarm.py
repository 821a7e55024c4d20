"""Has a person told when the state file cannot be written, and not at every beat of it."""

from collections.abc import Callable

from backstop.domain.events import StateFileFailed
from backstop.ports import Clock, FactSink

QUIET_NS = 600 * 1_000_000_000
"""A disk that fails now and then is told of once in so long: the log has every time."""


class StateAlarm:
    """Hears of the state file's faults, and hands the first of each trouble to the core."""

    def __init__(self, *, report: Callable[[str], None], put: FactSink, clock: Clock) -> None:
        """Say every change to ``report``, which shows it as a component's fault."""
        self._report = report
        self._put = put
        self._clock = clock
        self._failing = False
        self._quiet_until_ns = 0

    def hear(self, what: str) -> None:
        """Take what is wrong; an empty text says that it is well again."""
        self._report(what)
        now_ns = self._clock.monotonic_ns()
        begins = bool(what) and not self._failing
        self._failing = bool(what)
        if begins and now_ns >= self._quiet_until_ns:
            self._quiet_until_ns = now_ns + QUIET_NS
            self._put(StateFileFailed(utc_us=self._clock.utc_us(), reason=what))
