"""The schedule of the markets as the core takes it: moments, renewed as sessions pass.

The core compares moments only, so that a replay decides as was decided then. What people set as
times of day on Chicago's clock becomes moments here, one session at a time.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import date, time

from msgspec.structs import replace

from backstop.adapters.contract_expiry import contract_ends
from backstop.adapters.session_calendar import is_known, sessions_from, utc_us_at
from backstop.domain.events import SessionsScheduled
from backstop.domain.instrument import Instrument
from backstop.domain.session import MarketGroup, Session
from backstop.ports import Clock, FactSink

SESSIONS_AHEAD = 4
"""For each group: more than a week, should nobody renew the schedule for so long."""

BUSY_FROM, BUSY_UNTIL = time(8, 30), time(15)
"""Chicago time; while the stock market is open."""

EARLY_FLAT_US = 15 * 60_000_000
"""On a day that closes early, positions are closed this long before the close at the latest."""

EARLY_ENTRIES_US = 20 * 60_000_000
"""And entries are refused this long before it."""

LOOK_S = 30.0
"""Pause between looks at the time of day: clocks step and laptops sleep."""

FIRST_LOOK_S = 0.2
"""The same until the gateway's contracts are known."""


def schedule(
    utc_us: int,
    instruments: Iterable[Instrument],
    *,
    entries_until: time | None,
    flat_by: time | None,
) -> SessionsScheduled:
    """Return the schedule at ``utc_us``; the times are Chicago's, None for no such rule.

    Beyond the table of holidays there are no sessions: nobody knows whether a market is open.
    """
    sessions = tuple(
        _with_deadlines(session, entries_until=entries_until, flat_by=flat_by)
        for group in MarketGroup
        if is_known(utc_us)
        for session in sessions_from(group, utc_us, count=SESSIONS_AHEAD)
        if is_known(session.closes_utc_us)
    )
    return SessionsScheduled(
        utc_us=utc_us, sessions=sessions, contract_ends=contract_ends(instruments)
    )


def _with_deadlines(
    session: Session, *, entries_until: time | None, flat_by: time | None
) -> Session:
    day = date.fromisoformat(session.trade_date)
    return replace(
        session,
        busy_from_utc_us=utc_us_at(day, BUSY_FROM),
        busy_until_utc_us=min(utc_us_at(day, BUSY_UNTIL), session.closes_utc_us),
        entries_until_utc_us=_deadline(session, day, entries_until, EARLY_ENTRIES_US),
        flat_by_utc_us=_deadline(session, day, flat_by, EARLY_FLAT_US),
    )


def _deadline(session: Session, day: date, at: time | None, early_us: int) -> int | None:
    if at is None:
        return None
    usual_us = utc_us_at(day, at)
    return min(usual_us, session.closes_utc_us - early_us) if session.early else usual_us


class MarketSessions:
    """Tells the decision loop of the schedule at start, and whenever it has changed."""

    def __init__(
        self,
        *,
        clock: Clock,
        sink: FactSink,
        instruments: Callable[[], Iterable[Instrument]],
        entries_until: time | None,
        flat_by: time | None,
    ) -> None:
        self._clock = clock
        self._sink = sink
        self._instruments = instruments
        self._entries_until = entries_until
        self._flat_by = flat_by

    async def run(self) -> None:
        """Watch the time of day until cancelled."""
        told: SessionsScheduled | None = None
        while True:
            instruments = tuple(self._instruments())
            plan = schedule(
                self._clock.utc_us(),
                instruments,
                entries_until=self._entries_until,
                flat_by=self._flat_by,
            )
            if told is None or replace(told, utc_us=plan.utc_us) != plan:
                self._sink(plan)
                told = plan
            await asyncio.sleep(LOOK_S if instruments else FIRST_LOOK_S)
