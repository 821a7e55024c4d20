"""Tells the decision loop what positions are worth, when that changes what the account may do."""

import asyncio

from backstop.app.quote_board import QuoteBoard
from backstop.core.account_rules.pricing import held_marks, is_price_news
from backstop.core.book import Book
from backstop.domain.events import PositionsPriced
from backstop.ports import Clock, FactSink

PAUSE_S = 0.1
"""The shortest time between two looks: ten records a second at the most, in the wildest market."""


class PositionPricing:
    """Follows the market of what is held."""

    def __init__(self, *, book: Book, quotes: QuoteBoard, clock: Clock, sink: FactSink) -> None:
        self._book = book
        self._quotes = quotes
        self._clock = clock
        self._sink = sink

    async def run(self) -> None:
        """Look whenever the market has moved, until cancelled."""
        while True:
            await self._quotes.changed()
            utc_us = self._clock.utc_us()
            marks = held_marks(self._book, self._quotes.marks(), utc_us=utc_us)
            if is_price_news(self._book, marks, now_ns=self._clock.monotonic_ns()):
                self._sink(PositionsPriced(utc_us=utc_us, marks=marks))
            await asyncio.sleep(PAUSE_S)
