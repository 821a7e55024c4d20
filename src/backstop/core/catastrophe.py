"""When the guard cannot know what it has done: entries stop until a person has looked.

A lost hub alone is a condition, and lifts when the hub is back. But an order of unknown fate while
neither hub speaks may be filling, unseen and unprotected; and decisions that no disk took, a halt
of a person among them, are gone with the process that made them. Nothing that a machine reads later
says that somebody has thought about it. Exits, stops and liquidation go on all the while.
"""

from collections.abc import Iterator

from backstop.core.book import Book, Wake
from backstop.core.lifecycle import MACHINE, latched
from backstop.core.policy import SECOND_NS
from backstop.core.step import Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.core.trading_state import Latch, LatchKind
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.order import OrderState

BLIND_NS = 2 * SECOND_NS
"""How long both hubs may be away: a drop that both make up for within it is no catastrophe."""

BLIND = "both hubs are lost while the fate of an order is UNKNOWN"

NAMED_MAX = 3
"""Orders that the alert names; all of them stand in the status."""


def watch_for_blindness(work: Workbench) -> None:
    """Latch once both hubs have been away for too long with an order of unknown fate."""
    book = work.book
    since_ns = _blind_since_ns(book)
    if not since_ns:
        book.wakes.pop(Wake.BLINDNESS, None)
        return
    if work.now_ns < since_ns + BLIND_NS:
        book.wake(Wake.BLINDNESS, since_ns + BLIND_NS)
        return
    book.wakes.pop(Wake.BLINDNESS, None)
    names = [order.client_order_id for order in _unknown(book)]
    more = "" if len(names) <= NAMED_MAX else f" and {len(names) - NAMED_MAX} more"
    declare(work, BLIND, f"{BLIND}: {', '.join(names[:NAMED_MAX])}{more}.")


def declare(work: Workbench, cause: str, message: str) -> None:
    """Put the latch on and tell a person; nothing happens where it holds for that cause already."""
    latch = Latch(
        kind=LatchKind.EMERGENCY,
        cause=f"emergency: {cause}",
        operator=MACHINE,
        utc_us=work.utc_us,
    )
    if latched(work, latch):
        work.alert(
            Severity.CRITICAL,
            AlertCode.EMERGENCY,
            f"Emergency: {message} Entries are refused until a person has looked at the account "
            "and resumes with a name and a reason; exits, stops and liquidation go on.",
        )


def _blind_since_ns(book: Book) -> int:
    """Return since when neither hub speaks and an order is UNKNOWN; 0: it is not so.

    A process that has not heard the user hub yet has lost nothing: it recovers.
    """
    links = book.links
    if links.user_up or links.market_up or not links.user_lost_ns:
        return 0
    if next(_unknown(book), None) is None:
        return 0
    return max(links.user_lost_ns, links.market_lost_ns)


def _unknown(book: Book) -> Iterator[TrackedOrder]:
    return (order for order in book.live_orders() if order.state is OrderState.UNKNOWN)
