"""The one clock that a library asks the system for: aiohttp ages its idle connections by it.

Everything else asks the event loop. With the system's clock a seed would depend on how fast it is
simulated: where an hour takes half a minute no connection is idle for too long, and on a slower
computer one is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import connector

CLOCK: Final = "monotonic"
"""The name under which ``aiohttp.connector`` imports it."""


@contextmanager
def connections_age_by(now_s: Callable[[], float]) -> Iterator[None]:
    """Have idle connections grow older by ``now_s``, inside the block."""
    system_clock = vars(connector)[CLOCK]
    vars(connector)[CLOCK] = now_s
    try:
        yield
    finally:
        vars(connector)[CLOCK] = system_clock
