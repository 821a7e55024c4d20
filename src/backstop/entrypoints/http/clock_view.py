"""The venue's clock beside this computer's, for status pages."""

from msgspec import Struct

from backstop.core.book import Book
from backstop.core.venue_clock import zero_of
from backstop.domain.clock import DATE_RESOLUTION_US


class ClockView(Struct, frozen=True, kw_only=True):
    """How far the venue's clock is from ours, by its newest answers.

    ``offset_ms`` is its time of day minus ours, null while its answers do not say it; it is true to
    ``uncertainty_ms``. ``limit_ms`` is what is allowed (0: anything); ``blocks_entries`` says that
    three answers in a row were beyond it.
    """

    offset_ms: int | None
    uncertainty_ms: int | None
    limit_ms: int
    blocks_entries: bool


def clock_view(book: Book) -> ClockView:
    """Return what the book knows of the two clocks."""
    clock, limit_us = book.venue_clock, book.policy.clock_offset_max_us
    known = bool(clock.readings)
    bounds = zero_of(clock.readings) if known else None
    width_us = None if bounds is None else bounds.latest_us - bounds.earliest_us
    return ClockView(
        offset_ms=clock.readings[-1].offset_us // 1000 if known else None,
        uncertainty_ms=None if width_us is None else max(width_us, DATE_RESOLUTION_US) // 2000,
        limit_ms=limit_us // 1000,
        blocks_entries=clock.is_off,
    )
