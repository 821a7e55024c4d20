"""What follows when the gateway's answers tell the venue's time, or stop telling it.

Entries wait while our time of day and the venue's are too far apart: sessions, tokens and whoever
reads the record go by ours. When the venue's clock goes back, everything that is kept in its time
goes back with it, so that no search begins after what it is for.
"""

from msgspec.structs import replace

from backstop.core.book import FIRST_LOOK_BACK_US, Book
from backstop.core.step import Tag, Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.core.venue_clock import (
    LOOK_BACK_US,
    STEP_US,
    Span,
    cautious_us,
    is_news,
    ours_at_zero_us,
    still_off,
    zero_of,
)
from backstop.domain.alert_code import AlertCode
from backstop.domain.clock import ClockReading
from backstop.domain.commands import Severity
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.events import VenueClockRead

ANY_TIME_US = 1 << 62
"""Later than any time of the venue: the bound of what nobody knows."""


def is_clock_news(book: Book, event: VenueClockRead) -> bool:
    """Say whether a reading has to be on record; the others change nothing."""
    return is_news(book.venue_clock, event.readings, limit_us=book.policy.clock_offset_max_us)


def clock_read(work: Workbench, event: VenueClockRead) -> None:
    """Know the venue's time by the newest readings; without any it is not known."""
    book, clock = work.book, work.book.venue_clock
    before, readings = clock.readings, event.readings
    off = still_off(clock, readings, limit_us=book.policy.clock_offset_max_us)
    if before and readings:
        _note_our_step(work, before[-1], readings[-1])
    unknown = not readings and (before or not clock.told)
    clock.readings, clock.told = readings, True
    if unknown:
        work.alert(
            Severity.WARNING,
            AlertCode.CLOCK_UNKNOWN,
            "The gateway's answers do not say what time it is there (no usable Date header). An "
            "order that is looked for and not found stays UNKNOWN until they do.",
        )
    if readings:
        _known(work, zero_of(readings))
        _judged(work, readings, off=off)


def _known(work: Workbench, zero: Span) -> None:
    book, clock = work.book, work.book.venue_clock
    before = clock.zero
    clock.show(zero, now_ns=work.now_ns)
    if before is not None:
        _set_back(work, before.earliest_us - zero.earliest_us)
    now = clock.at(work.now_ns)
    assert now is not None  # noqa: S101 - there are readings
    book.external.guarded_from(clock, utc_us=work.utc_us, now_ns=work.now_ns)
    if book.audit.cursor_utc_us > now.latest_us:
        # The venue's clock was set back while nobody looked, nobody knows how far.
        _read_again(book, now.earliest_us - FIRST_LOOK_BACK_US)


def _set_back(work: Workbench, by_us: int) -> None:
    """Take every lower bound of the venue's time back with its clock."""
    book = work.book
    if by_us <= 0:
        return
    if by_us > STEP_US:
        work.warn(Tag.CRITICAL_SYSTEM, "venue_clock_set_back", by_ms=by_us // 1000)
    if book.audit.cursor_utc_us:
        _read_again(book, max(1, book.audit.cursor_utc_us - by_us))
    if book.external.guarding_since_utc_us:
        since_us = book.external.guarding_since_utc_us
        book.external.guarding_since_utc_us = max(1, since_us - by_us)
    for order in list(book.live_orders()):
        if order.venue_from_us is not None:
            earlier = replace(order, venue_from_us=order.venue_from_us - by_us)
            book.orders[order.client_order_id] = earlier
    for contract_id, view in book.positions.items():
        # What is stamped from now on may look older than its row, or than reads that adjusted it.
        back = replace(view, row_utc_us=max(0, view.row_utc_us - by_us))
        if view.adjustment or view.adjusted_both_ways:
            back = replace(back, adjusted_from_utc_us=0, moves=())
        if back != view:
            book.positions[contract_id] = back


def _read_again(book: Book, since_us: int) -> None:
    """Have the account read from ``since_us`` on, also when a read from later on is under way."""
    audit = book.audit
    audit.cursor_utc_us = since_us
    audit.reach_back_utc_us = min(audit.reach_back_utc_us or since_us, since_us)


def _note_our_step(work: Workbench, before: ClockReading, now: ClockReading) -> None:
    """Log that somebody set this computer's clock; no deadline depends on it."""
    by_us = ours_at_zero_us(now) - ours_at_zero_us(before)
    if abs(by_us) > STEP_US:
        work.warn(Tag.CRITICAL_SYSTEM, "clock_stepped", by_ms=by_us // 1000)


def _judged(work: Workbench, readings: tuple[ClockReading, ...], *, off: bool) -> None:
    """Block entries while the clocks are too far apart, and let them through again."""
    clock, limit_us = work.book.venue_clock, work.book.policy.clock_offset_max_us
    was_off, clock.is_off = clock.is_off, off
    offset_us = readings[-1].offset_us
    if off and not was_off:
        side = "ahead of" if offset_us > 0 else "behind"
        work.alert(
            Severity.CRITICAL,
            AlertCode.CLOCK_OFFSET,
            f"The venue's clock is {abs(offset_us) / 1e6:.1f} s {side} this computer's, in "
            f"{len(readings)} answers; {limit_us / 1e6:g} s are allowed "
            "(CLOCK_OFFSET_MAX_SECONDS). Entries are refused until the clocks agree; exits stay "
            "possible. Set this computer's clock (NTP).",
        )
    elif was_off and not off:
        work.note(Tag.CRITICAL_SYSTEM, "clock_offset_over", offset_ms=offset_us // 1000)


def clock_denials(book: Book) -> tuple[Denial, ...]:
    """Refuse an entry while the two clocks are too far apart."""
    clock, limit_us = book.venue_clock, book.policy.clock_offset_max_us
    if not clock.is_off or not clock.readings:
        return ()
    offset_ms = clock.readings[-1].offset_us // 1000
    return (
        Denial(
            code=DenialCode.CLOCK_OFFSET,
            message=(
                f"the venue's clock is {offset_ms:+d} ms from this computer's, and "
                f"{limit_us // 1000} ms are allowed (CLOCK_OFFSET_MAX_SECONDS): set the clock"
            ),
            limit=str(limit_us // 1000),
            value=str(offset_ms),
        ),
    )


# -- what time is it there? ----------------------------------------------------------------------


def earliest_us(work: Workbench) -> int | None:
    """Return the earliest time that the venue can stamp what happens now; None: nobody knows.

    Where its answers and our time of day disagree, either may be the wrong one, and what stamps
    orders may be a third clock: the newest stamp that was heard of is the best word of that one.
    """
    now = work.book.venue_clock.at(work.now_ns)
    if now is None:
        return None
    stamped_us = work.book.audit.newest_utc_us or now.earliest_us
    return min(cautious_us(now.earliest_us, ours_us=work.utc_us), stamped_us)


def now_us(work: Workbench) -> int:
    """Return the venue's time now, at the earliest, or ours where nobody knows it."""
    now = work.book.venue_clock.at(work.now_ns)
    return work.utc_us if now is None else now.earliest_us


def read_to_us(work: Workbench, newest_us: int) -> int:
    """Return up to which time of the venue a complete read has read.

    The venue's own times count, so that a wrong clock of ours makes no gap; and none beyond its
    present, so that one absurd time of theirs makes none either.
    """
    if not work.book.policy.measures_clock:
        return min(newest_us, work.utc_us)
    now = work.book.venue_clock.at(work.now_ns)
    if now is None:
        return min(newest_us, work.utc_us - FIRST_LOOK_BACK_US)
    return min(newest_us, now.latest_us)


def snapshot_span(work: Workbench, sent_ns: int) -> Span:
    """Return with what trades are stamped of the moment of which a read shows the account.

    The read was sent at ``sent_ns``, and its picture was taken between then and now.
    """
    if not work.book.policy.measures_clock:
        return Span(earliest_us=work.utc_us, latest_us=work.utc_us)
    clock = work.book.venue_clock
    sent, now = clock.stamped_at(sent_ns), clock.stamped_at(work.now_ns)
    if sent is None or now is None:
        return Span(earliest_us=0, latest_us=ANY_TIME_US)
    return Span(earliest_us=sent.earliest_us, latest_us=now.latest_us)


def read_span(work: Workbench, sent_ns: int) -> Span | None:
    """Return with what trades may be stamped of the moment at which a read of before was sent.

    None: nobody knows the venue's time.
    """
    if not work.book.policy.measures_clock:
        sent_us = work.utc_us - (work.now_ns - sent_ns) // 1000
        return Span(earliest_us=sent_us, latest_us=sent_us)
    return work.book.venue_clock.stamped_at(sent_ns)


# -- where does a search begin? ------------------------------------------------------------------


def search_from_us(work: Workbench, order: TrackedOrder) -> int:
    """Return a time of the venue before which it cannot have made ``order``."""
    if not work.book.policy.measures_clock:
        return order.requested_utc_us - LOOK_BACK_US
    made_us = order.venue_from_us
    return (_by_our_time_us(work, order) if made_us is None else made_us) - LOOK_BACK_US


def _by_our_time_us(work: Workbench, order: TrackedOrder) -> int:
    """Return the bound of an order that was asked for while nobody knew the venue's time.

    All there is is our time of day of then: a day's room, and what is known of its offset by now.
    """
    requested_us = min(order.requested_utc_us, work.utc_us)
    offset_us = min(0, now_us(work) - work.utc_us)
    return requested_us + offset_us - FIRST_LOOK_BACK_US


def covers(work: Workbench, order: TrackedOrder, since_us: int | None) -> bool:
    """Say whether a search from ``since_us`` on would have shown ``order``, had it arrived.

    None: the fact is of a version that did not say; it was judged by our time of day.
    """
    if since_us is None or not work.book.policy.measures_clock:
        return True
    known = bool(work.book.venue_clock.readings)
    return known and since_us <= search_from_us(work, order)
