"""How many wishes of bots may be undecided at the same moment: the door to the decision loop.

The loop decides in the order in which it is asked, and nothing overtakes anything: an exit that
passed the entry before it would close what is not there yet, and leave what comes after. So that
exits and the broker's word need not wait for long all the same, the line is kept short: who wants
more than fits is told so at once, before anything is done for him. What may cut risk has more room
than the rest, and what people ask for, to halt, to close and to take flat, does not pass here.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from backstop.core.book import Book
from backstop.core.order_month import instrument_of_order
from backstop.domain.order import OrderRequest, Side
from backstop.errors import GuardBusyError

MAX_UNDECIDED = 256
"""Wishes without a decision on record. One takes about a third of a millisecond, so that an exit
behind all of them waits for a tenth of a second; no strategy works with an older market."""

MAX_UNDECIDED_OF_ONE = 128
"""Of these, orders of one strategy: a bot in an endless loop must leave room for the others."""

MAX_UNDECIDED_CUTS = 1024
"""Wishes, where one more may cut risk: more cancels and exits than an account has orders."""


class UndecidedWishes:
    """Counts who waits for a decision, and refuses who would be too many."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._waiting = 0
        self._orders_of: Counter[str] = Counter()

    @contextmanager
    def order(self, request: OrderRequest) -> Iterator[None]:
        """Count a wish for an order for as long as the block runs.

        Raises:
            GuardBusyError: too many wait already; nothing was decided or sent.
        """
        name = request.strategy_id or ""
        with self._counted(self._room_for(request, name)):
            self._orders_of[name] += 1
            try:
                yield
            finally:
                self._orders_of[name] -= 1
                if not self._orders_of[name]:
                    del self._orders_of[name]

    @contextmanager
    def change(self) -> Iterator[None]:
        """Count a wish about an order that there is already likewise: it may cut risk."""
        with self._counted(MAX_UNDECIDED_CUTS):
            yield

    @contextmanager
    def _counted(self, allowed: int) -> Iterator[None]:
        if self._waiting >= allowed:
            raise GuardBusyError(self._waiting, allowed, "in all")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def _room_for(self, request: OrderRequest, name: str) -> int:
        """Return how many wishes there may be with this order; raises where it is one too many."""
        orders = self._orders_of[name]
        if self._waiting < MAX_UNDECIDED and orders < MAX_UNDECIDED_OF_ONE:
            return MAX_UNDECIDED
        if _may_be_exit(self._book, request):
            return MAX_UNDECIDED_CUTS
        if orders >= MAX_UNDECIDED_OF_ONE:
            raise GuardBusyError(orders, MAX_UNDECIDED_OF_ONE, f"of strategy {name!r}")
        return MAX_UNDECIDED


def _may_be_exit(book: Book, request: OrderRequest) -> bool:
    """Say whether an order is against a position; whether it is its exit is for the core to judge.

    Asked for every order of a flood, so it has to be quick.
    """
    instrument = instrument_of_order(book, request)
    if instrument is None:
        return False
    sign = 1 if request.side == Side.BUY else -1
    return any(held * sign < 0 for held in book.position(instrument.contract_id).possible)
