"""The venue's clock beside this computer's, for status pages."""

from msgspec import Struct

from backstop.core.book import Book
from backstop.core.venue_clock import offset_of


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
    known = offset_of(clock.readings) if clock.readings else None
    return ClockView(
        offset_ms=None if known is None else known[0] // 1000,
        uncertainty_ms=None if known is None else known[1] // 1000,
        limit_ms=limit_us // 1000,
        blocks_entries=clock.is_off,
    )
