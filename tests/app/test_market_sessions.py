"""The schedule as the guard hears it: on usual and unusual days, once and when it changes."""

import asyncio
from datetime import UTC, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.acceptance.scenarios.stage import net, protected, working
from tests.app.desk import Desk, Guard, until

from backstop.adapters.clock import SystemClock
from backstop.app.market_sessions import MarketSessions, schedule
from backstop.core.step import DecisionKind
from backstop.domain.denial import DenialCode
from backstop.domain.events import Fact, SessionsScheduled
from backstop.domain.order import OrderType, Side
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


HOUR_US = 3_600_000_000


def hours(guard: Guard, **changes: int) -> SessionsScheduled:
    """Return a schedule around this moment; the real one may say that it is Saturday."""
    now_us = guard.manager.clock.utc_us()
    members = {"opens_utc_us": now_us - HOUR_US, "closes_utc_us": now_us + HOUR_US} | changes
    session = Session(group=MarketGroup.EQUITY, trade_date="2026-11-24", **members)
    return SessionsScheduled(utc_us=now_us, sessions=(session,))


async def told(guard: Guard, plan: SessionsScheduled) -> None:
    """Have the guard know ``plan``, whatever the calendar says of today."""
    contract_id = guard.instrument("MES").contract_id

    def real() -> bool:
        held = guard.book.hours.plan
        return held is not None and contract_id in {it.contract_id for it in held.contract_ends}

    await until(real, lambda: guard.book.hours.plan)  # the next one comes with the next session
    guard.manager.decisions.put(plan)
    await until(lambda: guard.book.hours.plan == plan, lambda: guard.book.hours.plan)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_closed_market_takes_no_entry_and_every_exit(desk: Desk) -> None:
    async with desk.guard(BACKSTOP_CALENDAR="cme") as guard:
        await told(guard, hours(guard))
        await guard.enter(quantity=2)
        await protected(desk, 2)
        now_us = guard.manager.clock.utc_us()
        guard.manager.decisions.put(
            hours(guard, opens_utc_us=now_us + HOUR_US, closes_utc_us=now_us + 2 * HOUR_US)
        )

        entry = await guard.manager.submit_order(guard.request(Side.BUY))
        what_if = guard.manager.validate_order(guard.request(Side.BUY))
        exit_ = await guard.manager.submit_order(guard.request(Side.SELL, 2, protected=False))

        assert [it.code for it in entry.denials] == [DenialCode.SESSION_CLOSED]
        assert what_if is not None
        assert [it.code for it in what_if.denials] == [DenialCode.SESSION_CLOSED]
        assert exit_.kind is DecisionKind.ACCEPTED
        await until(lambda: net(desk) == 0, lambda: desk.truth()["positions"])


@pytest.mark.asyncio(loop_scope="module")
async def test_what_may_not_be_held_over_the_close_is_left_in_time(desk: Desk) -> None:
    async with desk.guard(BACKSTOP_CALENDAR="cme") as guard:
        await told(guard, hours(guard))
        await guard.enter(quantity=2)
        await protected(desk, 2)
        resting = await guard.send(guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-300))
        now_us = guard.manager.clock.utc_us()

        guard.manager.decisions.put(
            hours(guard, entries_until_utc_us=now_us, flat_by_utc_us=now_us + 1_500_000)
        )

        await until(
            lambda: resting.broker_order_id not in {it["id"] for it in working(desk)},
            lambda: working(desk),
        )
        await until(lambda: net(desk) == 0 and not working(desk), lambda: working(desk))
        assert guard.manager.clock.utc_us() >= now_us + 1_500_000
        assert "POSITION_PAST_ITS_TIME" in [it.code for it in guard.book.alerts.alerts.values()]
        assert guard.book.latches == ()
        late = await guard.manager.submit_order(guard.request(Side.BUY))
        assert DenialCode.SESSION_FLAT_BY in [it.code for it in late.denials]
