"""The machine's clocks: one that counts suspend, one for people."""

import time
from datetime import UTC, datetime

from backstop.adapters import clock
from backstop.adapters.clock import SystemClock, awake_ns, boot_id
from backstop.ports import Clock


def test_elapsed_time_only_grows() -> None:
    times = [SystemClock().monotonic_ns() for _ in range(1000)]

    assert times == sorted(times)
    assert times[-1] > 0


def test_elapsed_time_counts_suspend() -> None:
    """It is the system's clock since boot, not Python's, which stands still in a sleep."""
    counts_suspend = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))

    def reference() -> int:
        if counts_suspend is None:
            return clock._elapsed_ns()
        return time.clock_gettime_ns(counts_suspend)

    before = reference()
    between = SystemClock().monotonic_ns()
    after = reference()

    assert before <= between <= after


def test_the_time_of_day_is_utc_in_microseconds() -> None:
    before = time.time_ns() // 1000
    now = SystemClock().utc_us()
    after = time.time_ns() // 1000

    assert before <= now <= after
    assert datetime.fromtimestamp(now / 1e6, tz=UTC).year >= 2025


def test_a_boot_has_one_name() -> None:
    assert boot_id() == boot_id()
    assert len(boot_id()) >= 6


def test_it_is_the_clock_that_the_application_asks_for() -> None:
    given: Clock = SystemClock()

    assert isinstance(given.monotonic_ns(), int)


def test_the_clock_that_stands_still_in_suspend_goes_on_while_awake() -> None:
    before = awake_ns()
    while awake_ns() == before:
        pass

    assert awake_ns() > before
    assert SystemClock().monotonic_ns() >= awake_ns() - 1_000_000_000
