"""What a guard that a person stops leaves open, in words for whoever stopped it."""

from backstop.core.book import Book
from backstop.entrypoints.http.position_view import PositionRow, position_rows
from backstop.entrypoints.terminal import say_plainly as say


def say_held(book: Book, *, now_ns: int) -> None:
    """Print each position with the stops that stay at the venue; nothing when there is none."""
    rows = position_rows(book, now_ns=now_ns)
    for row in rows:
        say(f"HELD   {row.symbol} {_words(row)}")
    if rows:
        say("Stopped. No guard looks after it until the next start; what works at the venue stays.")


def _words(row: PositionRow) -> str:
    if not row.quantity:
        return "is not known to be flat"
    stops = ", ".join(f"{it.quantity} @ {it.price}" for it in row.stops)
    return f"{row.quantity:+d}   " + (f"stops {stops}" if stops else "WITHOUT A STOP")
