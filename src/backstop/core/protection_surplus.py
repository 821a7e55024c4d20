"""Too many stops or targets: they shrink to the position, for what is too much would open another.

To take protection away needs more than a hint: trades and rows agree and nothing is on its way, or
fresh reads say so.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from backstop.core.book import Book, Wake
from backstop.core.evidence import ask_for_audit
from backstop.core.execution_verification import REPLY_LIMIT_NS
from backstop.core.foreign_orders import cut_foreign
from backstop.core.leftovers import ASK_AGAIN_NS, ORPHAN_SETTLE_NS
from backstop.core.protection_changes import waits_to_be_shown
from backstop.core.protection_plan import (
    Cover,
    Cut,
    Origin,
    after_cuts,
    stop_cuts,
    target_cuts,
    total,
)
from backstop.core.protection_record import ProtectionRecord
from backstop.core.protection_situation import Situation, is_settled
from backstop.core.protective_orders import cut_order, size_after, working_targets
from backstop.core.step import Workbench
from backstop.core.stop_withdrawal import may_widen
from backstop.domain.events import Answer
from backstop.domain.external import ExternalPositionPolicy
from backstop.domain.order import LegRole, OrderState


def cut_surplus(work: Workbench, now: Situation) -> None:
    """Shrink stops and targets to the position, once it is certain that they are too many."""
    book = work.book
    targets = working_targets(book, now.record)
    stops_cut = _stop_cuts(work, now)
    targets_cut = target_cuts(
        now.quantity, targets, after_cuts(now.stops, stops_cut), sign=now.record.sign
    )
    cuts = (*stops_cut, *targets_cut)
    since_ns = _too_many_since(work, now, cuts)
    if not cuts or _is_going(work, now, cuts):
        return
    cuts = _surely_too_many(book, now, cuts)
    if not cuts or not _is_certain(book, now, (*now.stops, *targets)):
        ask_for_audit(work)
        book.wake(Wake.PROTECTION, work.now_ns + ASK_AGAIN_NS)
        return
    for cut in _settled(work, now, cuts, since_ns=since_ns):
        _cut(work, now.record, cut)


def _too_many_since(work: Workbench, now: Situation, cuts: tuple[Cut, ...]) -> int:
    """Return since when so many are too many; 0: none is. What became too many just now is news."""
    record, surplus = now.record, sum(it.cover.quantity - it.to_quantity for it in cuts)
    grew = surplus > record.surplus
    since_ns = work.now_ns if grew else record.surplus_since_ns if surplus else 0
    if (surplus, since_ns) != (record.surplus, record.surplus_since_ns):
        work.book.protection.records[now.contract_id] = replace(
            record, surplus=surplus, surplus_since_ns=since_ns
        )
    return since_ns


def _stop_cuts(work: Workbench, now: Situation) -> tuple[Cut, ...]:
    stops = _in_reach(work.book, now.stops)
    if total(stops) <= now.quantity:
        return ()
    return stop_cuts(
        now.quantity,
        stops,
        sign=now.record.sign,
        may_widen=may_widen(work.book, now.contract_id, now_ns=work.now_ns),
        asks_again=_may_never_be_replaced(work.book, now),
    )


def _may_never_be_replaced(book: Book, now: Situation) -> bool:
    """Say whether a stop that is to take over is of unknown fate: it may never have arrived.

    That takes 40 s and two reads to prove. What did not shrink before may do so now.
    """
    return any(
        order.role is LegRole.STOP_LOSS and order.state is OrderState.UNKNOWN
        for order in book.live_orders(now.contract_id)
    )


def _in_reach(book: Book, stops: tuple[Cover, ...]) -> tuple[Cover, ...]:
    """Return the stops that may be cut: the policy may say that nothing of others is touched.

    What the newest list lacks may be gone: it is neither cut, nor a reason to cut what is shown.
    """
    stops = tuple(stop for stop in stops if not book.is_missing(stop.broker_order_id))
    if book.policy.external_position_policy is not ExternalPositionPolicy.ALERT:
        return stops
    return tuple(stop for stop in stops if stop.origin is not Origin.FOREIGN)


def _settled(
    work: Workbench, now: Situation, cuts: tuple[Cut, ...], *, since_ns: int
) -> tuple[Cut, ...]:
    """Leave out what the venue may be changing by itself; look again when that should be done.

    It takes away the sibling of a filled leg, and what it made for a position, within 40 ms.
    """
    book = work.book
    settled_ns = since_ns + _settle_ns(book)
    ended = [cut.cover for cut in cuts if not cut.to_quantity]
    staying = [stop for stop in now.stops if stop not in ended]
    settled: list[Cut] = []
    waiting: set[str] = set()  # entries of which the stop would go with the target
    for cut in cuts:
        is_others = cut.cover.origin is not Origin.OWN
        if is_others and work.now_ns < settled_ns:
            book.wake(Wake.PROTECTION, settled_ns)
        elif is_others and book.policy.leaves_bot_alone:
            continue
        elif cut.cover in now.stops and not _are_shown(book, now, staying, beside=cut.cover):
            waiting.add(cut.cover.owner)
            ask_for_audit(work)
            book.wake(Wake.PROTECTION, work.now_ns + ASK_AGAIN_NS)
        elif cut.to_quantity or not is_others or cut.cover.owner not in waiting:
            settled.append(cut)
    return tuple(settled)


def _are_shown(book: Book, now: Situation, stops: Iterable[Cover], *, beside: Cover) -> bool:
    """Say whether those of ``stops`` that are legs were there after an exit.

    The venue may have taken them with it, and one whose end was not told still looks like a stop
    that can take over from the one ``beside`` it.
    """
    held = (book.venue_orders.get(it.broker_order_id) for it in stops if it != beside)
    legs = any(it is not None and it.row.is_leg for it in held)
    return not legs or book.audit.complete_sent_ns >= now.view.exited_ns + ORPHAN_SETTLE_NS


def _surely_too_many(book: Book, now: Situation, cuts: tuple[Cut, ...]) -> tuple[Cut, ...]:
    """Leave out stops of others while one of them may be the leg of an entry of ours.

    A leg names its entry by the number that only the answer to our request tells.
    """
    if any(
        order.broker_order_id is None and order.role is None
        for order in book.live_orders(now.contract_id)
    ):
        return tuple(cut for cut in cuts if cut.cover.origin is not Origin.FOREIGN)
    return cuts


def _settle_ns(book: Book) -> int:
    """Return how long stops of others may be too many: a bot puts one in the place of another."""
    policy = book.policy
    return max(ORPHAN_SETTLE_NS, policy.bot_grace_ns) if policy.is_drop_copy else ORPHAN_SETTLE_NS


def _is_going(work: Workbench, now: Situation, cuts: tuple[Cut, ...]) -> bool:
    """Say whether a stop is being taken away already; look again when that should be done.

    To cut another one at the same time could leave less than is needed. One that would go by the
    cuts as well is no other one; one that the guard began to cut before it was to be another one
    is.
    """
    book = work.book
    sizes = {cut.cover.broker_order_id: cut.to_quantity for cut in cuts}
    asked = [_asked_ns(book, it) for it in now.stops if sizes.get(it.broker_order_id) != 0]
    asked += [_cut_ns(book, it) for it in now.stops if it.broker_order_id not in sizes]
    due_ns = max((asked_ns + REPLY_LIMIT_NS for asked_ns in asked if asked_ns), default=0)
    if work.now_ns >= due_ns:
        return False
    book.wake(Wake.PROTECTION, due_ns)
    return True


def _asked_ns(book: Book, stop: Cover) -> int | None:
    """Return when a stop was asked to go, or to be smaller than it is still shown."""
    number = stop.broker_order_id
    asked = book.asked_sizes.get(number)
    shrinks = asked is not None and asked.quantity < stop.quantity + stop.filled_quantity
    return book.cancel_asked_ns.get(number, asked.asked_ns if asked and shrinks else None)


def _cut_ns(book: Book, stop: Cover) -> int | None:
    """Return when the guard asked a stop to go, or to be smaller than it is still shown."""
    change = book.protection.changes.get(stop.broker_order_id)
    if change is None or change.quantity is None:
        return None
    left = change.answer not in {Answer.NO, Answer.NOT_SENT}
    shrinks = change.quantity < stop.quantity + stop.filled_quantity
    return change.asked_ns if left and shrinks else None


def _cut(work: Workbench, record: ProtectionRecord, cut: Cut) -> None:
    number = cut.cover.broker_order_id
    if _is_changing(work, cut):
        return
    if cut.cover.origin is Origin.FOREIGN and cut_foreign(
        work, number, to_quantity=cut.to_quantity
    ):
        return
    cut_order(work, record, cut)
    work.book.wake(Wake.PROTECTION, work.now_ns + ASK_AGAIN_NS)


def _is_changing(work: Workbench, cut: Cut) -> bool:
    """Say whether an order is being changed: what comes of that is seen first.

    One that was not made smaller may go whole meanwhile. A move that never left changes nothing: it
    may add risk, and wait for a disk for as long as that takes nothing, which a cut need not.
    """
    change = work.book.protection.changes.get(cut.cover.broker_order_id)
    if change is None or (change.answer is Answer.NO and not cut.to_quantity):
        return False
    if change.answer is Answer.NOT_SENT and change.quantity is None:
        return False
    if waits_to_be_shown(change) and change.quantity == size_after(cut):
        return True
    return work.now_ns < change.asked_ns + ASK_AGAIN_NS


def _is_certain(book: Book, now: Situation, covers: tuple[Cover, ...]) -> bool:
    """Say whether there are too many stops for sure: to take one away needs more than a hint.

    A leg that covers more than its entry's trades account for says that trades are on the way.
    """
    if not is_settled(book, now):
        return False  # also where reads agreed before a fill that is awaited
    return now.view.is_proven or all(
        cover.quantity + cover.filled_quantity <= _filled(book, now.record, cover.owner)
        for cover in covers
        if cover.origin is Origin.LEG
    )


def _filled(book: Book, record: ProtectionRecord, owner: str) -> int:
    """Return what an entry filled in all: its legs may be for what closed a position before, too.

    A venue that makes the legs of an order which turned a position around does not subtract that.
    """
    lots = sum(lot.filled_quantity for lot in record.lots if lot.owner == owner)
    entry = book.orders.get(owner)
    return lots if entry is None else max(lots, entry.filled_quantity)
