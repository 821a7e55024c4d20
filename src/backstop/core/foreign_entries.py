"""No entry of a bot that trades by itself stays at the venue when none may be taken on.

It asks nobody, so what it left there is taken away afterwards: while a latch halts, when the
calendar or a rule of the account says so, and what a limit would have refused. Its exits, its stops
and the legs of its brackets stay.
"""

from collections.abc import Iterator

from backstop.core.book import STOP_TYPES, Book, Wake
from backstop.core.foreign_orders import cancel_foreign
from backstop.core.halting import entry_bar
from backstop.core.step import Workbench
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.external import BreachPolicy

_NOT_RESTING = frozenset(
    {BrokerStatus.PENDING, BrokerStatus.PENDING_CANCELLATION, BrokerStatus.SUSPENDED}
)


def cancel_entries_of_bot(work: Workbench) -> None:
    """Ask the venue to cancel the bot's entries that may not be there."""
    book = work.book
    if not book.policy.is_drop_copy or not book.policy.sends or not book.recovered:
        return
    for row, why in _unwanted(book):
        held = book.external.working[row.broker_order_id]
        settled_ns = held.seen_ns
        if row.type in STOP_TYPES:
            # It may be the stop of a position of which nobody has told yet.
            settled_ns += book.policy.bot_grace_ns
        if work.now_ns >= settled_ns:
            cancel_foreign(work, row, reason=why, why=f"would be an entry ({why})")
            settled_ns = book.external.working[row.broker_order_id].due_ns
        book.wake(Wake.EXTERNAL, settled_ns)


def _unwanted(book: Book) -> Iterator[tuple[BrokerOrder, str]]:
    """Yield the bot's entries that have to go, with the cause."""
    for number in tuple(book.external.working):
        held = book.venue_orders.get(number)
        # What is pending is on its way into the market, or into a rest of which another row tells.
        if held is None or held.row.is_leg or held.row.status in _NOT_RESTING:
            continue
        row = held.row
        why = entry_bar(book, row.contract_id) or _refused(book, number)
        if why and not _may_close(book, row):
            yield row, why


def _refused(book: Book, number: int) -> str | None:
    """Return what would have refused an order, where the policy has it taken away for that."""
    judged = book.drop_copy.judged.get(number)
    if judged is None or not judged.codes or book.policy.breach_policy is BreachPolicy.ALERT:
        return None
    return f"outside the limits: {', '.join(judged.codes)}"


def _may_close(book: Book, row: BrokerOrder) -> bool:
    """Say whether an order may be what closes a position: every witness has to speak against it.

    One that is larger than the position is left to those who watch that nothing turns it around.
    """
    view = book.position(row.contract_id)
    awaited = book.protection.awaited.values()
    if any(it.contract_id == row.contract_id for it in awaited):
        return True
    read = () if view.differing is None else (view.differing,)
    return any(held * row.side.sign < 0 for held in (*view.possible, *read))
