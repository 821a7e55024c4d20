"""A hosted strategy that has failed: nobody looks after what it left at the venue.

Unlike a bot that is silent it is known to be gone, and it may be started again at once, under the
same name. So what goes are the entries that it had by then, each by its own name: those of a
successor are its own. Exits, stops and positions stay.
"""

from backstop.core.book import Book
from backstop.core.bot_shares import shares_text
from backstop.core.step import Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.events import StrategyFailed
from backstop.domain.numbers import count_text


def strategy_failed(work: Workbench, event: StrategyFailed) -> None:
    """Call a person, and have the strategy's entries taken away; a later step asks for that.

    Also of those that are only on their way: they go once the venue has named them.
    """
    book, name = work.book, event.strategy_id
    left = [it for it in book.live_orders() if it.request.strategy_id == name]
    _forget_what_is_gone(book)
    for order in left:
        book.abandoned_by[order.client_order_id] = name
    held = shares_text(book, name)
    work.alert(
        Severity.CRITICAL if left or held else Severity.WARNING,
        AlertCode.STRATEGY_FAILED,
        f"Strategy {name} has failed: {event.reason}. It left {held or 'no position'} and "
        f"{count_text(len(left), 'live order')}. Its entries are cancelled; its exits and every "
        "stop stay. The guard does not start it again.",
    )


def abandoned_entry(book: Book, order: TrackedOrder) -> str | None:
    """Return why a working entry is cancelled for its strategy's failure; None when it is not."""
    name = book.abandoned_by.get(order.client_order_id)
    return None if name is None else f"strategy {name} has failed"


def abandons_entries(book: Book) -> bool:
    """Say whether an order that a failed strategy left can still fill."""
    return any(name in book.live for name in book.abandoned_by)


def _forget_what_is_gone(book: Book) -> None:
    """Keep no more names than there are orders; one that has ended can still be reopened."""
    for name in [it for it in book.abandoned_by if it not in book.orders]:
        del book.abandoned_by[name]
