from hypothesis import given
from hypothesis import strategies as st

from backstop.adapters.projectx_server.rate_limit import RateLimit, SlidingWindows

SECOND_US = 1_000_000


def windows(calls: int, window_s: int, now: list[int]) -> SlidingWindows:
    return SlidingWindows(RateLimit(calls=calls, window_s=window_s), lambda: now[0])


def test_the_call_after_the_last_allowed_one_is_told_how_long_to_wait() -> None:
    now = [0]
    window = windows(2, 60, now)

    assert window.admit("user") is None
    now[0] = 10 * SECOND_US
    assert window.admit("user") is None
    now[0] = 30 * SECOND_US
    assert window.admit("user") == 30


def test_the_window_slides_and_refused_calls_do_not_count() -> None:
    now = [0]
    window = windows(1, 60, now)
    window.admit("user")
    for second in range(1, 60):
        now[0] = second * SECOND_US
        assert window.admit("user") is not None

    now[0] = 60 * SECOND_US
    assert window.admit("user") is None


def test_each_user_has_a_window_of_its_own() -> None:
    window = windows(1, 60, [0])

    assert window.admit("a") is None
    assert window.admit("b") is None
    assert window.admit("a") is not None


@given(st.lists(st.integers(min_value=0, max_value=20 * SECOND_US), max_size=60))
def test_no_window_ever_holds_more_calls_than_allowed(steps_us: list[int]) -> None:
    now = [0]
    window = windows(3, 30, now)
    admitted: list[int] = []
    for step_us in steps_us:
        now[0] += step_us
        if window.admit("user") is None:
            admitted.append(now[0])

    for start in admitted:
        assert sum(start <= at < start + 30 * SECOND_US for at in admitted) <= 3


@given(st.lists(st.integers(min_value=0, max_value=20 * SECOND_US), max_size=60))
def test_waiting_as_long_as_told_is_enough(steps_us: list[int]) -> None:
    now = [0]
    window = windows(2, 30, now)
    for step_us in steps_us:
        now[0] += step_us
        wait_s = window.admit("user")
        if wait_s is not None:
            now[0] += wait_s * SECOND_US
            assert window.admit("user") is None
