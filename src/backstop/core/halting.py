"""No order of ours that could open or enlarge a position stays working when none may be taken on.

While a latch halts, when the calendar says that positions have to be left soon, when a rule of the
account says that its day is over, of a bot that gives no sign of life, and of a strategy that has
failed. One exception: an entry that has become a stop which a position cannot do without. It
shrinks to the position instead. What was let through as an exit is cut by ``exits_beyond``.
"""

from collections.abc import Iterator

from backstop.core.book import CANCEL_AGAIN_NS, Book, Wake
from backstop.core.bot_entries import withdrawn_entry
from backstop.core.hours_kept import entry_barred
from backstop.core.protection_evidence import is_adoptable
from backstop.core.step import Workbench
from backstop.core.stop_withdrawal import is_missed
from backstop.core.strategies import abandoned_entry, abandons_entries
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.commands import CancelOrder
from backstop.domain.order import OrderState


def cancel_entries_while_halted(work: Workbench) -> None:
    """Ask the venue to cancel our working entries; exits and protective legs stay."""
    book = work.book
    if Wake.HALTING not in book.wakes and not (book.live and _may_bar_entries(book)):
        return
    book.woken(Wake.HALTING, work.now_ns)
    if not book.policy.sends:
        return
    for order, cause in _halted_entries(work):
        broker_order_id = order.broker_order_id
        unsure = order.state is OrderState.UNKNOWN or not order.is_shown
        if broker_order_id is None or unsure:
            continue  # what it is called will be another fact, and a look at it
        asked_ns = book.cancel_asked_ns.get(broker_order_id)
        if asked_ns is None or work.now_ns >= asked_ns + CANCEL_AGAIN_NS:
            book.cancel_asked_ns[broker_order_id] = asked_ns = work.now_ns
            work.commands.append(
                CancelOrder(
                    account_id=order.intent.account_id,
                    broker_order_id=broker_order_id,
                    reason=cause,
                )
            )
        book.wake(Wake.HALTING, asked_ns + CANCEL_AGAIN_NS)


def _halted_entries(work: Workbench) -> Iterator[tuple[TrackedOrder, str]]:
    """Yield every working entry that a latch, the calendar or a rule stops, with the cause."""
    book = work.book
    if not _may_bar_entries(book):
        return
    for order in list(book.live_orders()):
        cause = (
            entry_bar(book, order.intent.contract_id)
            or withdrawn_entry(book, order)
            or abandoned_entry(book, order)
        )
        # A stop that is larger than its position for a moment must not be taken away whole.
        if cause is None or order.role is not None or book.is_exit(order):
            continue
        if not _shrinks(book, order) and not _is_cut(book, order):
            yield order, cause


def _is_cut(book: Book, order: TrackedOrder) -> bool:
    """Say whether a bot's exit is made as small as its position once that is certain.

    Its own fill is told in two facts: with one of them heard it looks too large, and is not.
    """
    return order.reduces_risk and order.role is None and book.policy.protects


def _shrinks(book: Book, order: TrackedOrder) -> bool:
    """Say whether an entry protects a position: it is cut to it, and goes when others cover it."""
    policy, row = book.policy, order.venue
    if row is None or not policy.protects or policy.leaves_bot_alone:
        return False
    return is_adoptable(book, row, -order.intent.side.sign) and is_missed(book, order)


def entry_bar(book: Book, contract_id: str) -> str | None:
    """Return what keeps every entry of a contract from resting at the venue; None: nothing."""
    halts = (it for it in book.latches if it.kind.halts and it.binds(contract_id))
    latch = next(halts, None)
    if latch is not None:
        return f"halted: {latch.cause}"
    barred = book.account_rules.entry_barred(book.trade_date)
    return barred or entry_barred(book, contract_id)


def _may_bar_entries(book: Book) -> bool:
    """Say whether anything at all may stop a working entry now: this is asked in every step."""
    return bool(
        book.hours.no_entries
        or (book.latches and any(latch.kind.halts for latch in book.latches))
        or book.account_rules.entry_barred(book.trade_date)
        or (book.bots and any(bot.withdraws_entries for bot in book.bots.values()))
        or (book.abandoned_by and abandons_entries(book))
    )
