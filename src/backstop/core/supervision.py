"""The guard's side of being watched: what it does without a watchdog, and what it tells one."""

from backstop.core.book import Book
from backstop.core.fills_to_come import contracts_to_come
from backstop.core.positions import Knowledge
from backstop.core.step import Tag, Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.events import WatchdogLost, WatchdogReturned
from backstop.domain.heartbeat import Holdings
from backstop.domain.order import OrderState


def watchdog_changed(work: Workbench, event: WatchdogLost | WatchdogReturned) -> None:
    """Refuse entries while nobody would notice that this process hangs; exits stay possible."""
    links = work.book.links
    match event:
        case WatchdogLost():
            if not links.watchdog_lost:
                work.alert(
                    Severity.CRITICAL,
                    AlertCode.WATCHDOG_LOST,
                    f"The watchdog is lost: {event.reason}. Entries are refused until another one "
                    "watches; it is being started. Stops at the venue stay.",
                )
            links.watchdog_lost = True
        case WatchdogReturned():
            links.watchdog_lost = False
            work.note(Tag.CRITICAL_SYSTEM, "watchdog_returned", process_id=event.process_id)


def holdings(book: Book) -> Holdings:
    """Return whether the account could hold a position while this guard is away.

    A resting entry counts as open: it may fill at any time. Nothing is taken for flat that has not
    been read since the links were last trusted, of which only reads of one moment say that it is
    gone, or of which a row tells that it has filled.
    """
    open_position = any(any(view.possible) for view in book.positions.values())
    open_position = open_position or bool(contracts_to_come(book))
    could_open = any(not book.is_exit(order) for order in book.live_orders())
    if open_position or could_open:
        return Holdings.OPEN
    in_doubt = any(
        view.knowledge is not Knowledge.KNOWN for view in book.positions.values()
    ) or any(order.state is OrderState.UNKNOWN for order in book.live_orders())
    return Holdings.NONE if book.recovered and not in_doubt else Holdings.UNKNOWN
