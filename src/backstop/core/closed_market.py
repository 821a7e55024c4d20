"""Closes in a market that is closed: how often the venue is asked until it opens.

It may be a halt that ends at any moment, so it is asked every few seconds. Where the calendar says
as well that the market is closed, it is asked rarely after a while, and at once when it opens: each
try spends calls that others need to read the account, and leaves a refused order at the venue.
"""

from backstop.core.liquidation import CloseAttempt
from backstop.core.market_hours import session_of
from backstop.core.policy import SECOND_NS
from backstop.core.step import Workbench

TRIES = 12
"""Refusals in a row, about a minute, before the calendar is believed: it may be wrong."""

AGAIN_NS = 60 * SECOND_NS
"""The pause from then on: so much later is a position closed, should the calendar be wrong."""


def waits_until_ns(work: Workbench, attempt: CloseAttempt) -> int:
    """Return before when a close is not tried again; 0: its market may be open."""
    if not attempt.is_refused_for_now or attempt.refusals < TRIES:
        return 0
    instrument = work.book.instruments.get(attempt.contract_id)
    if instrument is None:
        return 0
    latest_us = _latest_us(work)
    session = session_of(work.book.hours, instrument.symbol, latest_us)
    if session is None or latest_us >= session.opens_utc_us:
        return 0
    return attempt.sent_ns + AGAIN_NS


def _latest_us(work: Workbench) -> int:
    """Return the time of day by the clock that is ahead, ours or the venue's: it opens by both."""
    venue = work.book.venue_clock.at(work.now_ns)
    return work.utc_us if venue is None else max(work.utc_us, venue.latest_us)
