"""Trading days as the exchange counts them, and the task that tells the guard when one begins.

A trading day runs from 17:00 Chicago of the evening before and bears the date on which its session
ends; what is left of a week after Friday 17:00 belongs to Monday. Holidays are not looked at: their
date begins and nothing is traded in it.
"""

import asyncio
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from backstop.domain.events import TradingDayBegan
from backstop.ports import Clock, FactSink

CHICAGO = ZoneInfo("America/Chicago")

DAY_BEGINS = time(17)
"""Chicago time; no change to or from daylight saving touches it."""

SATURDAY = 5
"""As ``date.weekday`` counts, and the first of two days without a session."""

HOUR_US = 3_600_000_000

HOURS_KEPT = 4096
"""More than the hours of all history that is read: one look at the time zone serves an hour."""

LOOK_S = 30.0
"""The longest sleep before the time of day is looked at again: clocks step and laptops sleep."""


def trade_date(utc_us: int) -> str:
    """Return the trading day of a moment, as an ISO date.

    Args:
        utc_us: microseconds since 1970, UTC.
    """
    return _trade_date_of_hour(utc_us // HOUR_US)


def next_day_begins_us(utc_us: int) -> int:
    """Return the first 17:00 Chicago after ``utc_us``, in microseconds since 1970, UTC."""
    local = datetime.fromtimestamp(utc_us // 1_000_000, tz=UTC).astimezone(CHICAGO)
    date = local.date() + timedelta(days=local.time() >= DAY_BEGINS)
    return int(datetime.combine(date, DAY_BEGINS, CHICAGO).timestamp()) * 1_000_000


def day_began_us(utc_us: int) -> int:
    """Return the 17:00 Chicago at which the trading day of ``utc_us`` began.

    The days that bear one date are one: what is traded from Friday evening on is Monday's.
    """
    began_us, date = utc_us - utc_us % HOUR_US, trade_date(utc_us)
    while trade_date(began_us - HOUR_US) == date:
        began_us -= HOUR_US
    return began_us


def day_ends_us(utc_us: int) -> int:
    """Return the 17:00 Chicago at which the trading day of ``utc_us`` ends."""
    ends_us, date = utc_us - utc_us % HOUR_US, trade_date(utc_us)
    while trade_date(ends_us) == date:
        ends_us += HOUR_US
    return ends_us


@lru_cache(maxsize=HOURS_KEPT)
def _trade_date_of_hour(hour: int) -> str:
    """Trading days begin on full hours, whatever the season."""
    local = datetime.fromtimestamp(hour * 3600, tz=UTC).astimezone(CHICAGO)
    date = local.date() + timedelta(days=local.time() >= DAY_BEGINS)
    beyond_friday = max(0, date.weekday() - SATURDAY + 1)
    return (date + timedelta(days=(0, 2, 1)[beyond_friday])).isoformat()


class TradingDays:
    """Tells the decision loop of the present trading day at start, and of each that begins."""

    def __init__(self, *, clock: Clock, sink: FactSink) -> None:
        self._clock = clock
        self._sink = sink

    async def run(self) -> None:
        """Watch the time of day until cancelled."""
        told = ""
        while True:
            now_us = self._clock.utc_us()
            if (present := trade_date(now_us)) != told:
                self._sink(
                    TradingDayBegan(
                        utc_us=now_us,
                        trade_date=present,
                        began_utc_us=day_began_us(now_us),
                        ends_utc_us=day_ends_us(now_us),
                    )
                )
                told = present
            pause_s = (next_day_begins_us(now_us) - now_us) / 1e6
            await asyncio.sleep(min(pause_s, LOOK_S))
