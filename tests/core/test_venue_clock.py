"""What time it is at the venue: bounds that hold, whatever our wall clock does."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backstop.core.policy import SECOND_NS
from backstop.core.venue_clock import (
    DAY_US,
    TOLERANCE_US,
    VenueClock,
    cautious_us,
    is_news,
    is_off,
    offset_of,
    still_off,
    zero_of,
)
from backstop.domain.clock import DATE_RESOLUTION_US, ClockReading

BOOT_US = 1_790_000_000_000_000
"""The venue's time when our monotonic clock was 0."""
SECOND_US = 1_000_000
LIMIT_US = 5 * SECOND_US


def read(
    at_s: float, *, ahead_us: int = 0, ours_us: int = 0, trip_us: int = 20_000
) -> ClockReading:
    """Return what an answer says after ``at_s`` seconds.

    ``ahead_us`` is how far the venue's clock has been set since, ``ours_us`` how far ours has.
    """
    at_us = int(at_s * SECOND_US)
    made_us = BOOT_US + at_us + ahead_us - trip_us // 2
    second_us = made_us - made_us % SECOND_US
    return ClockReading(
        read_ns=at_us * 1000,
        ours_utc_us=BOOT_US + at_us + ours_us,
        earliest_utc_us=second_us,
        latest_utc_us=second_us + DATE_RESOLUTION_US + trip_us,
    )


def a_clock(*readings: ClockReading, **changes: Any) -> VenueClock:
    return VenueClock(readings=readings, zero=zero_of(readings), told=True, **changes)


@given(
    at_s=st.floats(1, 1e6),
    trip_us=st.integers(0, 10_000_000),
    ours_us=st.integers(-DAY_US, DAY_US),
    later_s=st.floats(0, 3600),
)
def test_the_bounds_hold_however_long_the_answer_took_and_whatever_our_clock_says(
    at_s: float, trip_us: int, ours_us: int, later_s: float
) -> None:
    clock = a_clock(read(at_s, trip_us=trip_us, ours_us=ours_us))
    moment_us = int((at_s + later_s) * SECOND_US)

    now = clock.at(moment_us * 1000)

    assert now is not None
    assert now.earliest_us <= BOOT_US + moment_us <= now.latest_us


def test_without_an_answer_nobody_knows_what_time_it_is() -> None:
    assert VenueClock().at(SECOND_NS) is None


def test_a_restart_forgets_the_times_of_another_boot() -> None:
    clock = a_clock(read(5), is_off=True)

    clock.restart()

    assert clock == VenueClock()


def test_readings_that_agree_narrow_each_other_down() -> None:
    alone = zero_of((read(10.9),))
    together = zero_of((read(10.9), read(12.1)))

    assert together.earliest_us > alone.earliest_us or together.latest_us < alone.latest_us
    assert together.earliest_us <= BOOT_US <= together.latest_us


def test_readings_that_cannot_both_be_true_make_the_bounds_wide() -> None:
    bounds = zero_of((read(10), read(11, ahead_us=-1200 * SECOND_US)))

    assert bounds.earliest_us <= BOOT_US - 1200 * SECOND_US
    assert bounds.latest_us >= BOOT_US


# -- what is told --------------------------------------------------------------------------------


def news(clock: VenueClock, *readings: ClockReading) -> bool:
    return is_news(clock, readings, limit_us=LIMIT_US)


def test_the_first_reading_and_the_first_silence_are_news() -> None:
    assert news(VenueClock(), read(1))
    assert news(VenueClock())
    assert not news(VenueClock(told=True))


def test_readings_that_say_the_same_are_no_news() -> None:
    clock = a_clock(read(1))

    assert not news(clock, read(5.3), read(5.7), read(6.1, trip_us=400_000))


def test_a_venue_that_is_silent_about_its_time_is_news_and_so_is_its_return() -> None:
    assert news(a_clock(read(1)))
    assert news(VenueClock(told=True, zero=zero_of((read(1),))), read(5))


def test_a_step_of_either_clock_is_news() -> None:
    clock = a_clock(read(1), read(2), read(3))

    assert news(clock, read(2), read(3), read(4, ahead_us=-3 * SECOND_US))
    assert news(clock, read(2), read(3), read(4, ahead_us=3 * SECOND_US))
    assert news(clock, read(2), read(3), read(4, ours_us=-2 * SECOND_US))


def test_a_slow_answer_is_told_and_so_is_its_end() -> None:
    slow = a_clock(read(30, trip_us=25 * SECOND_US))

    assert news(slow, read(31))
    assert not news(a_clock(read(30)), read(30), read(60, trip_us=25 * SECOND_US))


# -- too far apart -------------------------------------------------------------------------------


def test_an_offset_counts_only_beyond_what_the_round_trip_explains() -> None:
    assert is_off(read(10, ours_us=-6 * SECOND_US), limit_us=LIMIT_US)
    assert is_off(read(10, ours_us=6 * SECOND_US), limit_us=LIMIT_US)
    assert not is_off(read(10, ours_us=4 * SECOND_US), limit_us=LIMIT_US)
    assert not is_off(read(20, ours_us=7 * SECOND_US, trip_us=8 * SECOND_US), limit_us=LIMIT_US)


def test_three_answers_block_and_three_lift() -> None:
    off, good = read(10, ours_us=9 * SECOND_US), read(11)
    clock, blocked = VenueClock(), VenueClock(is_off=True)

    assert not still_off(clock, (off, off), limit_us=LIMIT_US)
    assert not still_off(clock, (off, good, off), limit_us=LIMIT_US)
    assert still_off(clock, (off, off, off), limit_us=LIMIT_US)
    assert still_off(blocked, (good, good), limit_us=LIMIT_US)
    assert still_off(blocked, (good, off, good), limit_us=LIMIT_US)
    assert not still_off(blocked, (good, good, good), limit_us=LIMIT_US)


def test_no_limit_blocks_nothing() -> None:
    off = read(10, ours_us=-DAY_US)

    assert not still_off(VenueClock(is_off=True), (off, off, off), limit_us=0)


def test_of_two_times_of_day_the_earlier_is_the_careful_one_unless_ours_is_absurd() -> None:
    assert cautious_us(BOOT_US, ours_us=BOOT_US - TOLERANCE_US) == BOOT_US - TOLERANCE_US
    assert cautious_us(BOOT_US, ours_us=BOOT_US + TOLERANCE_US) == BOOT_US
    assert cautious_us(BOOT_US, ours_us=0) == BOOT_US


# -- what a person is shown ------------------------------------------------------------------------


def test_a_slow_answer_beside_quick_ones_shows_no_clock_that_is_ahead() -> None:
    slow = read(2.0, trip_us=3_000_000)
    quick = read(1.0), read(1.5)

    _, alone_us = offset_of((slow,))
    offset_us, uncertainty_us = offset_of((*quick, slow))

    assert alone_us == (DATE_RESOLUTION_US + 3_000_000) // 2
    assert abs(offset_us) <= uncertainty_us <= DATE_RESOLUTION_US


@given(
    ahead_us=st.integers(-10_000_000, 10_000_000),
    trips_us=st.lists(st.integers(0, 4_000_000), min_size=1, max_size=3),
)
def test_the_true_offset_lies_within_what_is_shown(ahead_us: int, trips_us: list[int]) -> None:
    readings = tuple(
        read(1 + 0.7 * place, ahead_us=ahead_us, trip_us=trip_us)
        for place, trip_us in enumerate(trips_us)
    )

    offset_us, uncertainty_us = offset_of(readings)

    assert abs(offset_us - ahead_us) <= uncertainty_us + 1
