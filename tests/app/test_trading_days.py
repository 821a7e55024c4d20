"""When a trading day begins, in every season, and that the guard hears of it."""

import asyncio
from datetime import UTC, datetime

import pytest
from tests.app.desk import Desk, until

from backstop.adapters.clock import SystemClock
from backstop.app.trading_days import TradingDays, next_day_begins_us, trade_date
from backstop.domain.events import Fact, TradingDayBegan


def utc_us(utc: str) -> int:
    return int(datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp() * 1_000_000)


@pytest.mark.parametrize(
    ("utc", "date"),
    [
        ("2026-02-11T22:59:59", "2026-02-11"),  # Wednesday, in winter
        ("2026-02-11T23:00:00", "2026-02-12"),
        ("2026-07-01T21:59:59", "2026-07-01"),  # Wednesday, in summer
        ("2026-07-01T22:00:00", "2026-07-02"),
        ("2026-10-02T21:59:59", "2026-10-02"),  # Friday
        ("2026-10-02T22:00:00", "2026-10-05"),
        ("2026-10-03T22:00:00", "2026-10-05"),  # Saturday
        ("2026-10-04T21:59:59", "2026-10-05"),  # Sunday, before the session
        ("2026-10-04T22:00:00", "2026-10-05"),  # Sunday 17:00: Monday's begins
        ("2026-10-05T22:00:00", "2026-10-06"),
        ("2026-03-08T21:59:59", "2026-03-09"),  # Sunday on which summer time began
        ("2026-12-31T23:00:00", "2027-01-01"),
    ],
)
def test_a_trading_day_bears_the_date_on_which_its_session_ends(utc: str, date: str) -> None:
    assert trade_date(utc_us(utc)) == date


@pytest.mark.parametrize(
    ("utc", "begins"),
    [
        ("2026-02-11T12:00:00", "2026-02-11T23:00:00"),
        ("2026-02-11T22:59:59.9", "2026-02-11T23:00:00"),
        ("2026-02-11T23:00:00", "2026-02-12T23:00:00"),
        ("2026-07-01T22:30:00", "2026-07-02T22:00:00"),
        ("2026-03-07T23:00:00", "2026-03-08T22:00:00"),  # the night in which summer time begins
        ("2026-10-31T22:00:00", "2026-11-01T23:00:00"),  # and the one in which it ends
    ],
)
def test_the_next_one_begins_at_17_00_chicago(utc: str, begins: str) -> None:
    assert next_day_begins_us(utc_us(utc)) == utc_us(begins)


class ClockSetTo(SystemClock):
    """The machine's clock, set to another time of day."""

    def __init__(self, utc: str) -> None:
        self._ahead_us = utc_us(utc) - super().utc_us()

    def utc_us(self) -> int:
        return super().utc_us() + self._ahead_us


async def test_the_present_day_is_told_at_once_and_the_next_when_it_begins() -> None:
    heard: list[Fact] = []
    days = TradingDays(clock=ClockSetTo("2026-10-05T21:59:59.7"), sink=heard.append)
    task = asyncio.create_task(days.run())
    try:
        await until(lambda: len(heard) == 2, lambda: heard)
    finally:
        task.cancel()

    assert all(isinstance(fact, TradingDayBegan) for fact in heard)
    assert [getattr(fact, "trade_date", "") for fact in heard] == ["2026-10-05", "2026-10-06"]
    assert heard[1].utc_us >= utc_us("2026-10-05T22:00:00")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_guard_knows_its_trading_day(desk: Desk) -> None:
    async with desk.guard() as guard:
        await until(lambda: guard.book.trade_date != "", "a trading day")

        assert guard.book.trade_date == trade_date(guard.manager.clock.utc_us())
