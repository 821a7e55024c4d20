"""Contracts that were closed although no trade shows it yet: by the word of orders, not of reads.

A list of positions that comes back empty may be wrong. That a stop, a target or an exit has filled,
or that the venue took a request to close the position, is another witness of the same.
"""

from backstop.core.book import Book
from backstop.core.positions import PositionView
from backstop.domain.events import Answer, CloseRefusal


def closed_untraded(book: Book, view: PositionView) -> int:
    """Return the contracts of what the trades say is held that something else says are closed."""
    held = view.ledger
    filled = sum(
        abs(fill.quantity)
        for fill in book.protection.awaited.values()
        if fill.contract_id == view.contract_id and fill.quantity * held < 0
    )
    return min(abs(held), max(filled, _asked_to_close(book, view)))


def _asked_to_close(book: Book, view: PositionView) -> int:
    """Return the contracts of the newest close that no trade has shown, if the venue took it."""
    close, held = book.closes.get(view.contract_id), view.ledger
    if close is None or close.quantity * held <= 0:
        return 0
    if close.answer is Answer.NO and close.refusal is CloseRefusal.NO_POSITION:
        return abs(held)
    if close.answer is not Answer.YES:
        return 0
    return max(0, close.wanted - max(0, abs(close.quantity) - abs(held)))
