"""Moments as text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstop.domain.utc import utc_text, utc_us_of

moments = st.integers(min_value=0, max_value=4_102_444_800_000_000)


def test_a_moment_is_written_with_six_decimals_and_z() -> None:
    assert utc_text(1_762_093_800_000_000) == "2025-11-02T14:30:00.000000Z"
    assert utc_text(1) == "1970-01-01T00:00:00.000001Z"


@given(utc_us=moments)
def test_a_moment_reads_back_exactly(utc_us: int) -> None:
    assert utc_us_of(utc_text(utc_us)) == utc_us


@given(first=moments, second=moments)
def test_the_order_of_the_texts_is_the_order_of_the_moments(first: int, second: int) -> None:
    assert (utc_text(first) < utc_text(second)) is (first < second)


def test_other_offsets_are_understood() -> None:
    assert utc_us_of("2025-11-02T08:30:00-06:00") == 1_762_093_800_000_000
    assert utc_us_of("2025-11-02 14:30:00") == 1_762_093_800_000_000


def test_text_that_is_no_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="Invalid isoformat"):
        utc_us_of("yesterday")
