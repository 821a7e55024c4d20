"""Sliding windows per user: 200 calls in 60 s, and 50 calls in 30 s for bars.

A refused call does not count, so a client that keeps its rate recovers by itself.
"""

from collections import OrderedDict, deque
from collections.abc import Callable

from msgspec import Struct

USERS_MAX = 1024  # windows kept; the longest idle one goes first, and with it an empty history


class RateLimit(Struct, frozen=True, kw_only=True):
    """At most ``calls`` in any ``window_s`` seconds."""

    calls: int
    window_s: int


class SlidingWindows:
    """One sliding window per key; ``elapsed_us`` is time that only grows, in microseconds."""

    def __init__(self, limit: RateLimit, elapsed_us: Callable[[], int]) -> None:
        self._limit = limit
        self._elapsed_us = elapsed_us
        self._calls_us: OrderedDict[str, deque[int]] = OrderedDict()

    def admit(self, key: str) -> int | None:
        """Count one call of ``key``.

        Returns:
            None when it is within the limit, else the whole seconds until the next may pass.
        """
        now_us = self._elapsed_us()
        calls_us = self._window_of(key)
        window_us = self._limit.window_s * 1_000_000
        while calls_us and calls_us[0] <= now_us - window_us:
            calls_us.popleft()
        if len(calls_us) >= self._limit.calls:
            return max(1, -((now_us - window_us - calls_us[0]) // 1_000_000))
        calls_us.append(now_us)
        return None

    def _window_of(self, key: str) -> deque[int]:
        calls_us = self._calls_us.setdefault(key, deque())
        self._calls_us.move_to_end(key)
        if len(self._calls_us) > USERS_MAX:
            self._calls_us.popitem(last=False)
        return calls_us
