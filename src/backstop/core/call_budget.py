"""How many of the gateway's calls are kept for what cuts risk.

The gateway takes 200 calls in 60 s. A flatten of everything needs a look or two, a close for each
position with its proofs, and a cancel for each order; those calls must be there when it begins.
"""

from backstop.core.book import Book
from backstop.core.liquidation_scope import unfinished

BASE_RESERVE = 20
"""For logging in, looking and looking again until flat is proven."""

RESERVE_PER_POSITION = 3
"""A close, and two reads that prove it."""

RESERVE_MAX = 120
"""More is not kept: 48 calls a minute read the account, and without them nothing is known."""


RESERVE_WHILE_LIQUIDATING = 180
"""Everything else pauses; what stays free is for a login and for the contracts at a start."""


def call_reserve(book: Book) -> int:
    """Return the calls that entries and ordinary reads leave alone: 20 + 3 per position + orders.

    Orders are all that can still fill, protective ones and those of others included. While an
    account or a contract is being liquidated nearly all calls are kept for that.
    """
    if book.liquidating and any(run.latches for run in unfinished(book)):
        return RESERVE_WHILE_LIQUIDATING
    orders = len(book.live) + len(book.live_venue)
    kept = BASE_RESERVE + RESERVE_PER_POSITION * len(book.positions.held) + orders
    return min(RESERVE_MAX, kept)
