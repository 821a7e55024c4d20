"""Globex hours in Chicago, across both clock changes."""

from datetime import UTC, date, datetime

import pytest

from backstop.simulator.sessions import (
    HOUR_US,
    instant_us,
    is_open,
    next_change_us,
    session_us,
    sessions_before,
    trade_date,
    utc,
)


def at(text: str) -> int:
    return instant_us(datetime.fromisoformat(text).astimezone(UTC))


@pytest.mark.parametrize(
    ("moment", "opened"),
    [
        ("2026-11-20T15:59:59-06:00", True),  # Friday
        ("2026-11-20T16:00:00-06:00", False),
        ("2026-11-21T12:00:00-06:00", False),
        ("2026-11-22T16:59:59-06:00", False),
        ("2026-11-22T17:00:00-06:00", True),  # Sunday
        ("2026-11-23T16:30:00-06:00", False),  # the daily break
        ("2026-11-23T17:00:00-06:00", True),
    ],
)
def test_globex_opens_on_sunday_evening_and_closes_on_friday_afternoon(
    moment: str,
    *,
    opened: bool,
) -> None:
    assert is_open(at(moment)) is opened


def test_a_session_bears_the_date_of_the_day_on_which_it_ends() -> None:
    assert trade_date(at("2026-11-22T17:00:00-06:00")) == date(2026, 11, 23)
    assert trade_date(at("2026-11-23T16:30:00-06:00")) == date(2026, 11, 23)
    assert trade_date(at("2026-11-23T17:00:00-06:00")) == date(2026, 11, 24)


def test_a_session_keeps_its_wall_clock_when_the_clocks_change() -> None:
    for day in (date(2026, 3, 9), date(2026, 11, 2)):
        opens, closes = session_us(day)
        assert closes - opens == 23 * HOUR_US
    assert utc(session_us(date(2026, 3, 6))[0]).hour == 23
    assert utc(session_us(date(2026, 3, 9))[0]).hour == 22


def test_the_next_change_is_found_over_the_weekend() -> None:
    friday_close = at("2026-11-20T16:00:00-06:00")

    assert next_change_us(friday_close - 1) == friday_close
    assert next_change_us(friday_close) == at("2026-11-22T17:00:00-06:00")


def test_sessions_before_an_open_session_end_with_its_running_part() -> None:
    now = at("2026-11-24T10:00:00-06:00")

    found = sessions_before(now, 3)

    assert [trade_date(opens) for opens, _ in found] == [
        date(2026, 11, 20),
        date(2026, 11, 23),
        date(2026, 11, 24),
    ]
    assert found[-1][1] == now
