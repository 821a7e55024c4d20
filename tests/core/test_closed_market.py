"""Closes that a closed market refuses: often at first, rarely by the calendar, then soon again."""

from typing import Any

import pytest
from tests.core.builders import Guard, a_policy
from tests.core.liquidation_world import Fate, World

from backstop.core.closed_market import AGAIN_NS, TRIES
from backstop.core.policy import SECOND_NS
from backstop.domain.clock import DATE_RESOLUTION_US, ClockReading
from backstop.domain.commands import AuditAccount, ClosePosition
from backstop.domain.events import Answer, CloseRefusal, SessionsScheduled, VenueClockRead
from backstop.domain.session import MarketGroup, Session

MINUTE_US = 60_000_000
PATIENT_S = 8 * TRIES
"""By then so many closes were refused that the calendar is believed."""


def a_world(*, opens_in_us: int, **policy: Any) -> World:
    """Return a world whose market takes nothing, and whose calendar says when it opens."""
    world = World(guard=Guard(policy=a_policy(**policy)), market_open=False).hold(2).start()
    utc_us = world.guard.utc_us
    session = Session(
        group=MarketGroup.EQUITY,
        trade_date="2026-09-21",
        opens_utc_us=utc_us + opens_in_us,
        closes_utc_us=utc_us + opens_in_us + 1000 * MINUTE_US,
    )
    world.feed(SessionsScheduled(utc_us=utc_us, sessions=(session,), contract_ends=()))
    return world


def tries_within(world: World, seconds: int) -> int:
    before = len(world.sent_of(ClosePosition))
    world.run(lambda: False, limit_s=seconds)
    return len(world.sent_of(ClosePosition)) - before


def test_a_market_that_is_closed_by_the_calendar_too_is_asked_once_a_minute() -> None:
    world = a_world(opens_in_us=1000 * MINUTE_US)
    world.liquidate()
    assert tries_within(world, 60) >= TRIES
    world.run(lambda: False, limit_s=PATIENT_S)
    reads = len(world.sent_of(AuditAccount))

    assert 9 <= tries_within(world, 600) <= 11
    assert len(world.sent_of(AuditAccount)) - reads <= 140


@pytest.mark.parametrize("refusal", [CloseRefusal.UNSTATED, CloseRefusal.REJECTED])
def test_a_rejection_is_for_a_closed_market_where_the_calendar_says_that_it_is(
    refusal: CloseRefusal,
) -> None:
    rejected = Fate(answer=Answer.NO, refusal=refusal)
    world = a_world(opens_in_us=1000 * MINUTE_US)
    world.fates = [rejected] * 100
    world.liquidate()
    world.run(lambda: False, limit_s=120)

    assert world.guard.alerts().count("MARKET_CLOSED_WHILE_LIQUIDATING") == 1
    assert "LIQUIDATION_ESCALATED" not in world.guard.alerts()


def test_a_close_goes_out_as_soon_as_the_market_opens() -> None:
    world = a_world(opens_in_us=10 * MINUTE_US + 30_000_000)
    name = world.liquidate()
    world.run(lambda: False, limit_s=630)
    world.market_open = True
    world.run(lambda: world.flat(name), limit_s=8)

    assert world.flat(name)
    assert world.holds == []


def test_a_halt_within_a_session_is_asked_every_five_seconds_for_as_long_as_it_takes() -> None:
    world = a_world(opens_in_us=-MINUTE_US)
    world.liquidate()
    world.run(lambda: False, limit_s=PATIENT_S)

    assert tries_within(world, 60) >= 9


def test_a_calendar_that_is_wrong_costs_a_minute() -> None:
    world = a_world(opens_in_us=1000 * MINUTE_US)
    name = world.liquidate()
    world.run(lambda: False, limit_s=600)
    world.market_open = True
    world.run(lambda: world.flat(name), limit_s=AGAIN_NS // SECOND_NS + 8)

    assert world.flat(name)


def test_the_market_opens_by_the_venues_clock_where_ours_is_late() -> None:
    world = a_world(opens_in_us=30 * MINUTE_US, measures_clock=True, clock_offset_max_us=0)
    guard = world.guard
    venue_us = guard.utc_us + 40 * MINUTE_US
    reading = ClockReading(
        read_ns=guard.now_ns,
        ours_utc_us=guard.utc_us,
        earliest_utc_us=venue_us,
        latest_utc_us=venue_us + DATE_RESOLUTION_US,
    )
    world.feed(VenueClockRead(utc_us=guard.utc_us, readings=(reading,)))
    world.liquidate()
    world.run(lambda: False, limit_s=PATIENT_S)

    assert tries_within(world, 60) >= 9
