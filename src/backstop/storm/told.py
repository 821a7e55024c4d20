"""What the guard has been told: which of the exchange's trades are in its book, and since when.

A guard that was not told is not to blame. One that was told of every trade of a contract has to
know what is held, whatever else it hears; that is judged against the exchange's truth.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet

from backstop.core.book import Book
from backstop.storm.truth import NEWS_S, TradeNews, Truth


class Told:
    """Follows the book of whichever guard runs; it may be told again after a crash."""

    def __init__(self, truth: Truth, now_s: Callable[[], float]) -> None:
        self._truth = truth
        self._now_s = now_s
        self._since_s: dict[str, float] = {}  # contract -> when all its trades were first there

    def look(self, book: Book | None) -> None:
        """Compare the newest trades of each contract with ``book``; None: nobody runs."""
        now_s = self._now_s()
        for contract_id, news in self._truth.news.items():
            if book is None or not all(_is_told(book, it) for it in news):
                self._since_s.pop(contract_id, None)
                continue
            self._since_s.setdefault(contract_id, now_s)
            while news and now_s - news[0].at_s > NEWS_S:
                news.popleft()

    def since_s(self, contract_id: str) -> float | None:
        """Return since when the guard has known every trade of a contract; None: it does not."""
        news = self._truth.news.get(contract_id)
        if not news:
            return 0.0
        since_s = self._since_s.get(contract_id)
        return None if since_s is None or news[-1].at_s > since_s else since_s

    def was_complete(self, contract_id: str, at_s: float) -> bool:
        """Say whether the guard knew by ``at_s`` every trade that there is now."""
        since_s = self.since_s(contract_id)
        return since_s is not None and since_s <= at_s


def may_be_held(
    truth: Truth, book: Book, contract_id: str, *, seen: AbstractSet[int] = frozenset()
) -> frozenset[int]:
    """Return every position that a contract may have by all that ``book`` was told.

    That is what is true, and what was before the first trade that it does not have or after any
    since. ``seen``: ids of trades of which something else has told it.
    """
    held = {truth.positions.get(contract_id, 0)}
    untold = False
    for news in truth.news.get(contract_id, ()):
        untold = untold or not (news.trade_id in seen or _is_told(book, news))
        if untold:
            held |= {news.before, news.after}
    return frozenset(held)


def shown_of_late(truth: Truth, book: Book, contract_id: str, *, since_s: float) -> int:
    """Return what a row shows against all trades in ``book``, if that was held since then; else 0.

    A row of a position may come after the trade that closed it. That it is old is never certain, so
    what it shows is protected.
    """
    view = book.position(contract_id)
    held = truth.held_of_late(contract_id, since_s=since_s)
    return 0 if view.is_agreed or view.quantity not in held else view.quantity


def _is_told(book: Book, news: TradeNews) -> bool:
    trade = book.trades.get(news.trade_id)
    if trade is None:
        forgotten = book.forgotten_trade_id
        return forgotten is not None and news.trade_id <= forgotten
    return trade.voided or not news.voided
