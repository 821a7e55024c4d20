"""The schedule as the guard hears it: on usual and unusual days, once and when it changes."""

import asyncio
from datetime import UTC, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.app.desk import Desk, until

from backstop.adapters.clock import SystemClock
from backstop.app.market_sessions import MarketSessions, schedule
from backstop.domain.events import Fact, SessionsScheduled
from backstop.domain.session import MarketGroup, Session


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


def first(group: MarketGroup, moment: str, **times: time) -> Session:
    chosen: dict[str, time | None] = {"entries_until": None, "flat_by": None}
    chosen |= times
    plan = schedule(
        us(moment), (), entries_until=chosen["entries_until"], flat_by=chosen["flat_by"]
    )
    return next(it for it in plan.sessions if it.group is group)


@pytest.mark.parametrize(
    ("moment", "entries_until", "flat_by"),
    [
        ("2026-11-24T18:00:00", "2026-11-24T21:00:00", "2026-11-24T21:05:00"),
        ("2026-07-07T18:00:00", "2026-07-07T20:00:00", "2026-07-07T20:05:00"),  # summer time
        ("2026-11-27T12:00:00", "2026-11-27T17:55:00", "2026-11-27T18:00:00"),  # closes 12:15
        ("2026-11-28T12:00:00", "2026-11-30T21:00:00", "2026-11-30T21:05:00"),  # Saturday
    ],
)
def test_times_of_day_become_moments_of_each_session(
    moment: str, entries_until: str, flat_by: str
) -> None:
    session = first(MarketGroup.EQUITY, moment, entries_until=time(15), flat_by=time(15, 5))

    assert session.entries_until_utc_us == us(entries_until)
    assert session.flat_by_utc_us == us(flat_by)


def test_without_such_times_positions_may_be_held_over() -> None:
    session = first(MarketGroup.EQUITY, "2026-11-24T18:00:00")

    assert session.entries_until_utc_us is None
    assert session.flat_by_utc_us is None


def test_a_market_is_busy_while_stocks_trade_and_not_after_an_early_close() -> None:
    usual = first(MarketGroup.EQUITY, "2026-11-24T18:00:00")
    early = first(MarketGroup.EQUITY, "2026-11-27T12:00:00")

    assert usual.busy_from_utc_us == us("2026-11-24T14:30:00")
    assert usual.busy_until_utc_us == us("2026-11-24T21:00:00")
    assert early.busy_until_utc_us == early.closes_utc_us == us("2026-11-27T18:15:00")


def test_beyond_the_table_of_holidays_there_are_no_sessions() -> None:
    assert schedule(us("2032-01-05T18:00:00"), (), entries_until=None, flat_by=None).sessions == ()


@given(
    moment=st.datetimes(
        min_value=datetime(2025, 1, 8),  # noqa: DTZ001 - made aware below
        max_value=datetime(2031, 12, 1),  # noqa: DTZ001 - made aware below
    )
)
def test_deadlines_lie_inside_their_sessions_whatever_the_day(moment: datetime) -> None:
    plan = schedule(
        int(moment.replace(tzinfo=UTC).timestamp()) * 1_000_000,
        (),
        entries_until=time(15),
        flat_by=time(15, 5),
    )

    for session in plan.sessions:
        assert session.entries_until_utc_us is not None
        assert session.flat_by_utc_us is not None
        assert (
            session.opens_utc_us
            < session.entries_until_utc_us
            < session.flat_by_utc_us
            < session.closes_utc_us
        )


class ClockSetTo(SystemClock):
    """The machine's clock, set to another time of day."""

    def __init__(self, utc: str) -> None:
        self._ahead_us = us(utc) - super().utc_us()

    def utc_us(self) -> int:
        return super().utc_us() + self._ahead_us


async def test_the_schedule_is_told_once_and_again_when_a_session_is_over() -> None:
    heard: list[Fact] = []
    sessions = MarketSessions(
        clock=ClockSetTo("2026-11-24T21:59:59.5"),
        sink=heard.append,
        instruments=lambda: (),
        entries_until=None,
        flat_by=None,
    )
    task = asyncio.create_task(sessions.run())
    try:
        await until(lambda: len(heard) == 2, lambda: heard)
    finally:
        task.cancel()

    dates = [it.sessions[0].trade_date for it in heard if isinstance(it, SessionsScheduled)]
    assert dates == ["2026-11-24", "2026-11-25"]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_guard_knows_the_sessions_and_the_ends_of_its_contracts(desk: Desk) -> None:
    async with desk.guard() as guard:
        contract_id = guard.instrument("MES").contract_id

        def ends() -> set[str]:
            plan = guard.book.hours.plan
            return set() if plan is None else {it.contract_id for it in plan.contract_ends}

        await until(lambda: contract_id in ends(), ends)

        assert guard.book.hours.plan is not None
        assert {it.group for it in guard.book.hours.plan.sessions} == set(MarketGroup)
