"""Sets the clocks of every process of a run as the file says that TEST_CLOCKS names.

It holds two numbers of seconds: by how much the time of day was set, and how long the machine was
suspended, which only the clock that counts a suspend shows. Loaded by Python at each start.
"""

import os
import time

CLOCKS = os.environ.get("TEST_CLOCKS", "")
NS_PER_S = 1_000_000_000
COUNTS_SUSPEND = getattr(time, "CLOCK_BOOTTIME", None)  # Linux alone has it

_time_ns, _time, _clock_gettime_ns = time.time_ns, time.time, time.clock_gettime_ns


def _moved_ns(which: int) -> int:
    try:
        with open(CLOCKS, encoding="ascii") as file:  # noqa: PTH123 - pathlib is not loaded for this
            return int(file.read().split()[which]) * NS_PER_S
    except (OSError, IndexError):
        return 0


def _elapsed_ns(clock: int) -> int:
    suspended_ns = _moved_ns(1) if clock == COUNTS_SUSPEND else 0
    return _clock_gettime_ns(clock) + suspended_ns


if CLOCKS:
    time.time_ns = lambda: _time_ns() + _moved_ns(0) + _moved_ns(1)
    time.time = lambda: _time() + (_moved_ns(0) + _moved_ns(1)) / NS_PER_S
    time.clock_gettime_ns = _elapsed_ns
