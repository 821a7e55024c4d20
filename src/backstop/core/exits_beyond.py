"""Exits that close more than is held: they shrink, for what is too much would open a position.

An order that was let through as an exit has no stop of its own. When a stop, a person or another
exit has closed its contracts before it, it rests at the venue as an entry without one. So it is
made as small as the position that is left, and with none it goes. Where several exits are too many
together, the older ones keep their place: with the position as it is now, the later ones would not
have been let through.

What came with a stop of its own was judged as an entry, and stays. Stops are not looked at while
there is something to close: too many of those are cut by ``protection_surplus``.
"""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.asked_changes import AskedChange, AskedCut
from backstop.core.book import CANCEL_AGAIN_NS, STOP_TYPES, Book, Wake
from backstop.core.cancels_followed import ask_cancel, cancel_pause_ns
from backstop.core.changes_followed import change_asked
from backstop.core.evidence import ask_for_audit
from backstop.core.fills_to_come import quantity_to_come
from backstop.core.leftovers import ORPHAN_SETTLE_NS
from backstop.core.policy import SECOND_NS
from backstop.core.positions import Knowledge, PositionView
from backstop.core.step import Tag, Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.commands import ModifyOrder
from backstop.domain.events import Answer
from backstop.domain.numbers import count_text
from backstop.domain.order import OrderState, Side

LOOK_AGAIN_NS = CANCEL_AGAIN_NS
"""Pause before an exit that is still too large is looked at again, and asked about once more."""

CUTS_MAX = 3
"""Cuts to one size without any effect after which an exit goes whole: each waits twice as long as
the one before, so some 14 s have passed."""

IN_ROW_NS = 60 * SECOND_NS
"""A cut that was asked for longer ago says nothing about this one; above every pause."""


class Beyond(Struct, frozen=True, kw_only=True):
    """An exit that may close ``keeps`` of its open contracts, and no more."""

    order: TrackedOrder
    filled_quantity: int
    keeps: int


def shrink_exits(work: Workbench) -> None:
    """Cut the exits of every contract that this step, or the time, may have made too many."""
    book, policy = work.book, work.book.policy
    if not policy.protects or not policy.sends:
        return
    contracts = dict(work.touched_contracts)
    if book.woken(Wake.EXITS, work.now_ns):
        contracts |= dict.fromkeys(book.live.contracts())
    for contract_id in contracts:
        _shrink(work, contract_id)


def exits_beyond(book: Book, view: PositionView) -> Iterator[Beyond]:
    """Yield the exits of one contract that are too large for what may be held of it at most."""
    exits = [order for order in book.live_orders(view.contract_id) if _is_bare_exit(order)]
    held = {side: _held_against(book, view, side) for side in Side} if exits else {}
    left = dict(held)
    for order in exits:
        side, is_stop = order.intent.side, order.intent.type in STOP_TYPES
        if is_stop and held[side]:
            continue
        row = order.venue
        filled = max(order.filled_quantity, 0 if row is None else row.filled_quantity)
        open_quantity = max(0, order.open_quantity - (filled - order.filled_quantity))
        keeps = min(open_quantity, left[side])
        left[side] -= keeps
        if keeps < open_quantity:
            yield Beyond(order=order, filled_quantity=filled, keeps=keeps)


def _is_bare_exit(order: TrackedOrder) -> bool:
    """Say whether an order of a bot was let through as an exit, and so has no stop of its own."""
    return order.reduces_risk and order.role is None


def _held_against(book: Book, view: PositionView, side: Side) -> int:
    """Return the contracts that an order of ``side`` may close, by whatever witness says most."""
    told = (*view.possible, view.ledger, view.differing or 0, quantity_to_come(book, view))
    return max(0, *(-held * side.sign for held in told))


def _shrink(work: Workbench, contract_id: str) -> None:
    book, view = work.book, work.book.position(contract_id)
    found = tuple(exits_beyond(book, view))
    if not found:
        return
    # The venue's rows and trades of one moment come one by one, and not always in their order.
    settled_ns = view.evidence_ns + ORPHAN_SETTLE_NS
    if work.now_ns < settled_ns:
        book.wake(Wake.EXITS, settled_ns)
        return
    book.wake(Wake.EXITS, work.now_ns + LOOK_AGAIN_NS)
    for beyond in found:
        if _is_certain(book, view, beyond.order.intent.side):
            _cut(work, beyond)
        else:
            ask_for_audit(work)


def _is_certain(book: Book, view: PositionView, side: Side) -> bool:
    """Say whether no more is held than the witnesses say: what an exit may close could be more.

    An entry of the other side that works, or may, may have filled unheard: then reads decide that
    were sent well after the last event.
    """
    if view.knowledge is not Knowledge.KNOWN or not view.is_agreed:
        return False
    return view.is_proven_late or not any(
        order.intent.side is not side and order.role is None and not order.reduces_risk
        for order in book.live_orders(view.contract_id)
    )


def _cut(work: Workbench, beyond: Beyond) -> None:
    """Ask for less of an exit, or for its end; of one whose number is not known, later."""
    order, number = beyond.order, beyond.order.broker_order_id
    if number is None or order.state is OrderState.UNKNOWN or not order.is_shown:
        return  # what it is called will be another fact, and a look at it
    size = beyond.filled_quantity + beyond.keeps if beyond.keeps else 0
    if _is_asked(work, order, size):
        return
    work.note(
        Tag.ORDER,
        "exit_cut",
        client_order_id=order.client_order_id,
        broker_order_id=number,
        from_quantity=order.open_quantity,
        to_quantity=beyond.keeps,
    )
    if not size or _cannot_shrink(work, order, size):
        ask_cancel(work, order.venue, number, reason=_reason(beyond))
        return
    held = _cut_in_row(work, order, size)
    times = 1 if held is None else held.times + 1
    work.keep(replace(order, cut=AskedCut(quantity=size, times=times, asked_ns=work.now_ns)))
    work.commands.append(
        ModifyOrder(
            account_id=order.intent.account_id,
            broker_order_id=number,
            quantity=size,
            reason=_reason(beyond),
        )
    )
    change = AskedChange(reason=_reason(beyond), quantity=size)
    change_asked(work, order.client_order_id, change)


def _is_asked(work: Workbench, order: TrackedOrder, size: int) -> bool:
    """Say whether the venue is being asked for no more than ``size`` of an order already."""
    cancel, change = order.cancel, order.change
    if cancel is not None and cancel.due_ns:
        return True  # it is asked for again by itself
    if cancel is not None:
        # The venue said no; an order that has just ended cannot be cancelled either.
        asked_ns = work.book.cancel_asked_ns.get(order.broker_order_id or 0, 0)
        return work.now_ns < asked_ns + cancel_pause_ns(cancel.times)
    cut, pause_ns = _cut_in_row(work, order, size), LOOK_AGAIN_NS
    if cut is not None:
        pause_ns <<= cut.times - 1
    if change is not None and change.quantity is not None:
        # Of two that are under way, a no does not say which one it is to.
        refused = change.answer is Answer.NO and not change.unanswered
        within = change.quantity <= size and not refused
        return within and work.now_ns < change.asked_ns + pause_ns
    return cut is not None and work.now_ns < cut.asked_ns + pause_ns


def _cannot_shrink(work: Workbench, order: TrackedOrder, size: int) -> bool:
    """Say whether an order will not become as small: then it has to go whole.

    The venue has just refused it, or has not made it so however often it was asked.
    """
    cut, change = _cut_in_row(work, order, size), order.change
    if cut is None:
        return False
    refused = change is not None and change.answer is Answer.NO and not change.unanswered
    return cut.times >= CUTS_MAX or (refused and change is not None and change.quantity == size)


def _cut_in_row(work: Workbench, order: TrackedOrder, size: int) -> AskedCut | None:
    """Return the newest cut to this size; None: it is the first, or the last is too long ago."""
    cut = order.cut
    in_row = cut is not None and cut.quantity == size and work.now_ns < cut.asked_ns + IN_ROW_NS
    return cut if in_row else None


def _reason(beyond: Beyond) -> str:
    if not beyond.keeps:
        return "an exit, and nothing is left for it to close"
    left = count_text(beyond.keeps, "contract")
    return f"an exit, and {left} are left for it to close"
