"""When the markets trade, as the guard knows it, for status pages."""

from msgspec import Struct

from backstop.core.book import Book
from backstop.core.market_hours import end_of, session_of
from backstop.domain.utc import utc_text


class HoursView(Struct, frozen=True, kw_only=True):
    """The session of one symbol that is open or comes next, and when its month is left.

    Times are UTC. ``opens`` is null where nobody knows the hours: entries are then refused.
    ``no_entries`` and ``no_position`` say why none may rest, or be held, just now; null: they may.
    """

    symbol: str
    opens: str | None
    closes: str | None
    entries_until: str | None
    flat_by: str | None
    contract_left_by: str | None
    no_entries: str | None
    no_position: str | None


class MarketHoursView(Struct, frozen=True, kw_only=True):
    """``enforced`` is false with the calendar that is always open: nothing follows from hours."""

    enforced: bool
    markets: tuple[HoursView, ...]


def market_hours_view(book: Book) -> MarketHoursView:
    """Return the hours of every symbol that may be traded and has a contract."""
    symbols = [it for it in book.policy.symbols if it in book.contract_of]
    return MarketHoursView(
        enforced=book.policy.keeps_hours,
        markets=tuple(_hours_view(book, symbol) for symbol in symbols),
    )


def _hours_view(book: Book, symbol: str) -> HoursView:
    hours, contract_id = book.hours, book.contract_of[symbol]
    # The schedule comes anew when a session is over, so its first one is open or next.
    session = None if hours.plan is None else session_of(hours, symbol, hours.plan.utc_us)
    end = end_of(hours, contract_id)
    return HoursView(
        symbol=symbol,
        opens=None if session is None else utc_text(session.opens_utc_us),
        closes=None if session is None else utc_text(session.closes_utc_us),
        entries_until=None if session is None else _text(session.entries_until_utc_us),
        flat_by=None if session is None else _text(session.flat_by_utc_us),
        contract_left_by=None if end is None else utc_text(end.flat_by_utc_us),
        no_entries=hours.no_entries.get(contract_id),
        no_position=hours.no_position.get(contract_id),
    )


def _text(utc_us: int | None) -> str | None:
    return None if utc_us is None else utc_text(utc_us)
