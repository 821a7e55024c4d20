"""Closes in a market that is closed: how often the venue is asked until it opens.

It may be a halt that ends at any moment, so it is asked every few seconds. Where the calendar says
as well that the market is closed, it is asked rarely after a while, and at once when it opens: each
try spends calls that others need to read the account, and leaves a refused order at the venue.
"""

from backstop.core.liquidation import CloseAttempt
from backstop.core.market_hours import session_of
from backstop.core.policy import SECOND_NS
from backstop.core.step import Workbench
from backstop.domain.events import CloseRefusal

TRIES = 12
"""Refusals in a row, about a minute, before the calendar is believed: it may be wrong."""

AGAIN_NS = 60 * SECOND_NS
"""The pause from then on: so much later is a position closed, should the calendar be wrong."""


def is_closed(work: Workbench, attempt: CloseAttempt) -> bool:
    """Say whether a close was refused because its market is closed or halted.

    By the venue's own words, or by the calendar: a rejection alone may have any reason.
    """
    if not attempt.is_refused_for_now:
        return False
    says_so = attempt.refusal is CloseRefusal.NOT_NOW
    return says_so or _is_closed_by_calendar(work, attempt.contract_id)


def is_silent(work: Workbench, attempt: CloseAttempt) -> bool:
    """Say whether a close was rejected without a word while no calendar says that it is closed."""
    silent = attempt.is_refused_for_now and attempt.refusal is CloseRefusal.UNSTATED
    return silent and not is_closed(work, attempt)


def waits_until_ns(work: Workbench, attempt: CloseAttempt) -> int:
    """Return before when a close is not tried again; 0: its market may be open."""
    if not attempt.is_refused_for_now or attempt.refusals < TRIES:
        return 0
    if not _is_closed_by_calendar(work, attempt.contract_id):
        return 0
    return attempt.sent_ns + AGAIN_NS


def _is_closed_by_calendar(work: Workbench, contract_id: str) -> bool:
    """Say whether the calendar has it that no session runs; False where it knows of none."""
    instrument = work.book.instruments.get(contract_id)
    if instrument is None:
        return False
    latest_us = _latest_us(work)
    session = session_of(work.book.hours, instrument.symbol, latest_us)
    return session is not None and latest_us < session.opens_utc_us


def _latest_us(work: Workbench) -> int:
    """Return the time of day by the clock that is ahead, ours or the venue's: it opens by both."""
    venue = work.book.venue_clock.at(work.now_ns)
    return work.utc_us if venue is None else max(work.utc_us, venue.latest_us)
