"""Tells the decision loop what positions are worth, when that changes what the account may do."""

from backstop.app.quote_board import QuoteBoard
from backstop.core.account_rules.pricing import held_marks, is_price_news, reaches_a_limit
from backstop.core.book import Book
from backstop.core.policy import MILLISECOND_NS
from backstop.domain.events import PositionsPriced
from backstop.ports import Clock, FactSink

PAUSE_NS = 100 * MILLISECOND_NS
"""The shortest time between two records, but for a price that reaches a limit: ten a second at the
most, in the wildest market."""


class PositionPricing:
    """Follows the market of what is held."""

    def __init__(self, *, book: Book, quotes: QuoteBoard, clock: Clock, sink: FactSink) -> None:
        self._book = book
        self._quotes = quotes
        self._clock = clock
        self._sink = sink

    async def run(self) -> None:
        """Look whenever the market has moved, until cancelled."""
        told_ns = 0
        while True:
            await self._quotes.changed()
            utc_us, now_ns = self._clock.utc_us(), self._clock.monotonic_ns()
            marks = held_marks(self._book, self._quotes.marks(), utc_us=utc_us)
            if reaches_a_limit(self._book, marks) or (
                now_ns - told_ns >= PAUSE_NS and is_price_news(self._book, marks, now_ns=now_ns)
            ):
                self._sink(PositionsPriced(utc_us=utc_us, marks=marks))
                told_ns = now_ns
