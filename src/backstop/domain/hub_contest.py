"""Two programs take a hub from each other: from when on one of them leaves it alone.

At some gateways the newest connection of a user ends the one before. A program that comes back each
time throws the other one out each time, for as long as both live.
"""

from collections.abc import Iterable

EVICTIONS_MAX = 3
"""So often within the window the hub was taken from us: that is no accident."""

WINDOW_NS = 3600 * 1_000_000_000
"""What is longer ago says nothing about now. One try after each rest stays within it."""

REST_S = 900.0
"""How long the hub is left alone then. Reads tell what happens meanwhile."""


def lately(evictions_ns: Iterable[int], now_ns: int) -> tuple[int, ...]:
    """Return the monotonic times of the evictions that count, and of the one of now."""
    counted = (it for it in evictions_ns if now_ns - it < WINDOW_NS)
    return (*counted, now_ns)[-EVICTIONS_MAX:]


def is_contested(evictions_ns: tuple[int, ...]) -> bool:
    """Say whether the hub is to be left alone after the newest of ``evictions_ns``."""
    return len(evictions_ns) >= EVICTIONS_MAX
