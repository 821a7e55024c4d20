"""Simulated time: sped up, or standing until it is moved."""

from backstop.simulator.clock import SimulatorClock


class Elapsed:
    """A hand-driven stopwatch in nanoseconds."""

    def __init__(self) -> None:
        self.ns = 5_000

    def __call__(self) -> int:
        return self.ns


def test_time_passes_as_many_times_faster_as_the_speed_says() -> None:
    elapsed = Elapsed()
    clock = SimulatorClock(start_us=1_000_000, speed=60, elapsed_ns=elapsed)

    elapsed.ns += 2_000_000_000

    assert clock.now_us() == 121_000_000
    assert clock.real_s_until(181_000_000) == 1.0
    assert clock.real_s_until(1_000_000) == 0.0


def test_time_never_goes_back() -> None:
    elapsed = Elapsed()
    clock = SimulatorClock(start_us=0, speed=1, elapsed_ns=elapsed)
    elapsed.ns += 3_000_000
    assert clock.now_us() == 3_000

    elapsed.ns -= 2_000_000

    assert clock.now_us() == 3_000


def test_a_real_clock_cannot_be_moved() -> None:
    clock = SimulatorClock(start_us=7, speed=1, elapsed_ns=Elapsed())

    clock.reach(1_000)

    assert clock.now_us() == 7


def test_a_virtual_clock_stands_until_it_is_moved_and_is_never_late() -> None:
    elapsed = Elapsed()
    clock = SimulatorClock(start_us=7, speed=0, elapsed_ns=elapsed)
    elapsed.ns += 1_000_000_000
    assert clock.is_virtual
    assert clock.now_us() == 7
    assert clock.real_s_until(1_000) == 0.0

    clock.reach(1_000)
    clock.reach(500)

    assert clock.now_us() == 1_000
