"""The two clocks of the machine: elapsed time that counts suspend, and the time of day.

A deadline that was due while a laptop slept must be due when it wakes. Python's own monotonic clock
stands still during suspend on Linux, so the deadlines here use the system's clock that does not.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")

BOOT_ID_TIMEOUT_S = 2.0
"""For asking the system which boot this is, where it takes a command."""


def awake_ns() -> int:
    """Return nanoseconds that stand still while the machine is suspended.

    Their distance from ``SystemClock.monotonic_ns`` grows by each suspend.
    """
    return _awake_ns()


class SystemClock:
    """Implements ``ports.MachineClock`` on the machine's clocks."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds that only grow within one boot of the machine, suspend counted."""
        return _elapsed_ns()

    def awake_ns(self) -> int:
        """Return nanoseconds that stand still while the machine is suspended."""
        return _awake_ns()

    def utc_us(self) -> int:
        """Return microseconds since 1970, UTC; may step, so never for deadlines."""
        return time.time_ns() // 1000


def boot_id() -> str:
    """Return a name of the present boot: monotonic times of another boot mean nothing in it."""
    if sys.platform == "linux":
        return _BOOT_ID_FILE.read_text(encoding="utf-8").strip()
    elif sys.platform == "darwin":  # noqa: RET505 - mypy judges platforms by branch
        return subprocess.run(
            ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"],
            capture_output=True,
            check=True,
            text=True,
            timeout=BOOT_ID_TIMEOUT_S,
        ).stdout.strip()
    else:
        # The moment of the boot, to the minute: it moves a little when the time of day is set.
        return f"boot-{(time.time_ns() - _elapsed_ns()) // 60_000_000_000}"


def _elapsed_clock() -> Callable[[], int]:
    """Choose the clock of this platform that goes on during suspend."""
    if sys.platform == "linux":
        return lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    elif sys.platform == "win32":  # noqa: RET505 - mypy judges platforms by branch
        import ctypes  # noqa: PLC0415 - only this platform needs it

        interrupt_time = ctypes.WinDLL("api-ms-win-core-realtime-l1-1-1").QueryInterruptTimePrecise

        def windows_ns() -> int:
            hundreds_of_ns = ctypes.c_ulonglong()
            interrupt_time(ctypes.byref(hundreds_of_ns))
            return hundreds_of_ns.value * 100

        return windows_ns
    else:
        # On macOS CLOCK_MONOTONIC is the continuous clock; CLOCK_UPTIME_RAW would stop.
        return lambda: time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def _awake_clock() -> Callable[[], int]:
    """Choose the clock of this platform that stands still during suspend."""
    if sys.platform == "linux":
        return time.monotonic_ns
    elif sys.platform == "win32":  # noqa: RET505 - mypy judges platforms by branch
        import ctypes  # noqa: PLC0415 - only this platform needs it

        unbiased_time = ctypes.WinDLL("kernel32").QueryUnbiasedInterruptTime

        def windows_ns() -> int:
            hundreds_of_ns = ctypes.c_ulonglong()
            unbiased_time(ctypes.byref(hundreds_of_ns))
            return hundreds_of_ns.value * 100

        return windows_ns
    else:
        return lambda: time.clock_gettime_ns(time.CLOCK_UPTIME_RAW)


_elapsed_ns = _elapsed_clock()
_awake_ns = _awake_clock()
