"""The hours of CME Globex, on usual and unusual days and around the changes of the clock."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstop.adapters.session_calendar import (
    chicago,
    is_known,
    session_on,
    sessions_from,
    trade_date,
    utc_us_at,
)
from backstop.adapters.session_exceptions import EXCEPTIONS, FIRST_DATE, LAST_DATE
from backstop.core.instrument_table import CONTRACTS
from backstop.domain.session import GROUP_OF_FAMILY, MarketGroup


def us(text: str) -> int:
    """Return an ISO moment in UTC as microseconds since 1970."""
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000


moments = st.datetimes(
    min_value=datetime(2025, 1, 8),  # noqa: DTZ001 - made aware below
    max_value=datetime(2031, 12, 1),  # noqa: DTZ001 - made aware below
).map(lambda moment: int(moment.replace(tzinfo=UTC).timestamp()) * 1_000_000)
groups = st.sampled_from(MarketGroup)


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2026-11-22T22:59:59", "2026-11-23"),  # Sunday before the open belongs to Monday
        ("2026-11-22T23:00:00", "2026-11-23"),  # Sunday 17:00 Chicago in winter
        ("2026-11-23T22:59:59", "2026-11-23"),
        ("2026-11-23T23:00:00", "2026-11-24"),
        ("2026-07-06T21:59:59", "2026-07-06"),  # 17:00 Chicago is 22:00 UTC in summer
        ("2026-07-06T22:00:00", "2026-07-07"),
        ("2026-11-28T12:00:00", "2026-11-30"),  # Saturday
    ],
)
def test_the_trading_day_begins_at_17_chicago(moment: str, day: str) -> None:
    assert trade_date(us(moment)).isoformat() == day


@pytest.mark.parametrize(
    ("group", "day", "closes"),
    [
        (MarketGroup.EQUITY, "2026-11-27", "2026-11-27T18:15:00"),  # the day after Thanksgiving
        (MarketGroup.EQUITY, "2026-04-03", "2026-04-03T13:15:00"),  # Good Friday
        (MarketGroup.RATES, "2026-04-03", "2026-04-03T15:15:00"),
        (MarketGroup.ENERGY, "2026-11-26", "2026-11-26T19:30:00"),
        (MarketGroup.CURRENCIES, "2026-11-26", "2026-11-26T22:00:00"),  # a usual day for them
        (MarketGroup.EQUITY, "2026-07-06", "2026-07-06T21:00:00"),
    ],
)
def test_early_closes_are_those_of_the_group(group: MarketGroup, day: str, closes: str) -> None:
    session = session_on(group, date.fromisoformat(day))

    assert session is not None
    assert session.closes_utc_us == us(closes)
    assert session.early is (chicago(us(closes)).hour < 16)


@pytest.mark.parametrize("day", ["2026-12-25", "2026-11-28", "2026-11-29", "2027-01-01"])
def test_there_are_days_without_a_session(day: str) -> None:
    assert session_on(MarketGroup.EQUITY, date.fromisoformat(day)) is None


def test_after_an_early_close_comes_the_next_session_at_its_usual_hour() -> None:
    after_close = us("2026-11-27T18:15:00")

    (session,) = sessions_from(MarketGroup.EQUITY, after_close, count=1)

    assert session.trade_date == "2026-11-30"
    assert session.opens_utc_us == us("2026-11-29T23:00:00")


def test_an_hour_is_lost_and_won_where_the_clock_changes() -> None:
    spring = session_on(MarketGroup.EQUITY, date(2026, 3, 9))  # opens on the Sunday of the change
    autumn = session_on(MarketGroup.EQUITY, date(2026, 11, 2))

    assert spring is not None
    assert spring.opens_utc_us == us("2026-03-08T22:00:00")
    assert autumn is not None
    assert autumn.opens_utc_us == us("2026-11-01T23:00:00")


@given(group=groups, utc_us=moments)
def test_sessions_come_in_order_and_the_first_is_open_or_next(
    group: MarketGroup, utc_us: int
) -> None:
    first, second, third = sessions_from(group, utc_us, count=3)

    assert first.closes_utc_us > utc_us
    assert first.opens_utc_us < first.closes_utc_us <= second.opens_utc_us < third.opens_utc_us
    assert first.opens_utc_us - utc_us < timedelta(days=5) / timedelta(microseconds=1)


@given(utc_us=moments)
def test_a_trading_day_ends_at_17_chicago_of_its_date(utc_us: int) -> None:
    begins = utc_us_at(trade_date(utc_us), time(17))

    assert begins > utc_us
    assert trade_date(begins) > trade_date(utc_us)
    assert trade_date(begins - 1) == trade_date(utc_us)


def test_every_family_of_the_instrument_table_has_hours() -> None:
    assert {profile.family for profile in CONTRACTS.values()} <= set(GROUP_OF_FAMILY)
    assert set(EXCEPTIONS) == set(MarketGroup)


def test_what_lies_beyond_the_table_is_not_known() -> None:
    assert is_known(us(f"{FIRST_DATE}T12:00:00"))
    assert is_known(us(f"{LAST_DATE}T12:00:00"))
    assert not is_known(us(f"{LAST_DATE}T23:30:00"))


def test_the_table_names_no_weekend_and_every_close_lies_before_the_usual_one() -> None:
    for unusual in EXCEPTIONS.values():
        for day, closes in unusual.items():
            assert FIRST_DATE <= day <= LAST_DATE
            assert date.fromisoformat(day).weekday() < 5
            assert closes is None or closes < "16:00"
