"""The market at the first sight of orders that a bot sends by itself, for the record.

Quotes are not journaled; what a decision uses of them is. An order that asks here brings its market
along. One that did not ask is judged by the market at the moment when it was first heard of.
"""

from backstop.app.quote_board import QuoteBoard
from backstop.core.book import Book
from backstop.core.drop_copy import strange_contracts
from backstop.domain.events import Fact, MarketNoted
from backstop.ports import Clock


class MarketNotes:
    """Asked by the decision loop before each fact of the venue."""

    def __init__(self, *, quotes: QuoteBoard, clock: Clock) -> None:
        self._quotes = quotes
        self._clock = clock

    def before(self, book: Book, fact: Fact) -> MarketNoted | None:
        """Return the market that has to be on record before ``fact``; None: nothing needs it."""
        contracts = strange_contracts(book, fact)
        if not contracts:
            return None
        found = (self._quotes.reference(contract_id) for contract_id in contracts)
        return MarketNoted(
            utc_us=self._clock.utc_us(),
            references=tuple(it for it in found if it is not None),
            marks=self._quotes.marks(),
        )
