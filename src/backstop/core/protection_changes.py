"""Moves of protective orders in place: asked for, answered, followed until the venue shows them.

A leg is measured from the fill by the venue, so it can stand off the asked level: it is moved there
once. So is an order of ours that was on its way when another level was asked for. An order is never
taken away to be moved; while the venue thinks, it protects where it stands.
"""

from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from backstop.core.book import STOP_TYPES, Book, VenueOrder, Wake
from backstop.core.evidence import ask_for_audit
from backstop.core.leftovers import ASK_AGAIN_NS
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.protection_levels import is_measured, is_shown, level_ticks, moved_levels, row_of
from backstop.core.protection_record import LOTS_KEPT, Change
from backstop.core.protective_orders import move_order
from backstop.core.repeated_requests import pause_ns
from backstop.core.step import Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.commands import Severity
from backstop.domain.events import Answer, CancelAnswered, ModifyAnswered
from backstop.domain.instrument import Instrument
from backstop.domain.order import LegRole

END_TOLD_NS = 100 * MILLISECOND_NS
"""Pause before a refusal is believed to be about a level: the word of an order's end takes some
20 ms."""

SHRINK_AGAIN_NS = 5 * SECOND_NS
"""Pause before an order that was not made smaller is asked to shrink again, if it still has to."""


def align_legs(work: Workbench, contract_id: str) -> None:
    """Move what stands for the first time, and not at the level that was asked for, to that one."""
    book = work.book
    instrument = book.instruments.get(contract_id)
    if instrument is None or not book.policy.sends:
        return
    view = book.position(contract_id)
    if not view.quantity and not view.ledger:
        return
    for leg in book.live_legs(contract_id):
        if leg.owner is not None and leg.row.status is BrokerStatus.OPEN:
            _align(work, leg, instrument)
    for order in book.live_orders(contract_id):
        if order.role is not None and order.venue is not None:
            _align_own(work, order.venue, order.role, instrument)


def _align(work: Workbench, leg: VenueOrder, instrument: Instrument) -> None:
    book, number = work.book, leg.row.broker_order_id
    role = leg.role or LegRole.STOP_LOSS
    stop = role is LegRole.STOP_LOSS
    stands = level_ticks(leg.row.stop_price if stop else leg.row.limit_price, instrument)
    if stands is None or number in book.aligned:
        return
    # Once, when it first stands: later moves are the trader's own.
    book.aligned[number] = None
    if is_measured(book, leg.owner, role):
        return  # it was asked for as ticks from the fill, and there it stands
    asked = _asked_ticks(book, leg, role)
    if asked is None or asked == stands:
        return
    move_order(
        work,
        number,
        instrument,
        role=role,
        ticks=asked,
        reason="the leg follows the asked level, not the fill",
    )


def _align_own(work: Workbench, row: BrokerOrder, role: LegRole, instrument: Instrument) -> None:
    """Move an order of ours that another level was asked for while it was on its way."""
    book, number = work.book, row.broker_order_id
    stop = role is LegRole.STOP_LOSS
    stands = level_ticks(row.stop_price if stop else row.limit_price, instrument)
    if row.status is not BrokerStatus.OPEN or stands is None or number in book.aligned:
        return
    book.aligned[number] = None
    record = book.protection.record(row.contract_id)
    asked = record.stop_ticks if stop else record.target_ticks
    of_lots = (lot.stop_ticks if stop else lot.target_ticks for lot in record.lots)
    if asked is None or row.side.sign != -record.sign or stands in {asked, *of_lots}:
        return
    reason = "this level was asked for while it was on its way"
    move_order(work, number, instrument, role=role, ticks=asked, reason=reason)


def _asked_ticks(book: Book, leg: VenueOrder, role: LegRole) -> int | None:
    """Return the level that was asked for a leg: since its entry filled, or else with it."""
    stop = role is LegRole.STOP_LOSS
    for lot in book.protection.record(leg.row.contract_id).lots:
        if lot.owner == leg.owner:
            return lot.stop_ticks if stop else lot.target_ticks
    entry = book.orders.get(leg.owner or "")
    if entry is None:
        return None
    return entry.intent.stop_loss_ticks if stop else entry.intent.take_profit_ticks


def change_answered(work: Workbench, event: CancelAnswered | ModifyAnswered) -> None:
    """Note what came back for a change of a protective order."""
    book = work.book
    change = book.protection.changes.get(event.broker_order_id)
    if change is None:
        return
    work.touched_contracts[change.contract_id] = None
    if event.answer is Answer.NO and isinstance(event, ModifyAnswered):
        _refused(work, event, change)
        return
    asked_ns = change.asked_ns
    if event.answer is not Answer.YES:
        # To ask for the same change twice does no harm, and less and less good.
        asked_ns = work.now_ns + pause_ns(book, event) - ASK_AGAIN_NS
    book.protection.changes[event.broker_order_id] = replace(
        change, answer=event.answer, asked_ns=asked_ns, message=event.message
    )


def _refused(work: Workbench, event: ModifyAnswered, change: Change) -> None:
    """Take a no: a size is reached by another order; a level stays where it is.

    An order that has just ended cannot be moved either, and its end is told a moment later.
    """
    book, number = work.book, event.broker_order_id
    if change.quantity:
        _replace(book, change.contract_id, number)
    refused = replace(change, quantity=None, answer=Answer.NO, message=event.message)
    pause_ns = END_TOLD_NS if _is_move(change) else SHRINK_AGAIN_NS
    book.protection.changes[number] = replace(
        refused, asked_ns=work.now_ns + pause_ns - ASK_AGAIN_NS
    )


def _has_size(book: Book, number: int, change: Change) -> bool:
    """Say whether an order shows the size that was asked for, be a level missing or not."""
    row = row_of(book, number)
    return not change.quantity or (row is not None and row.quantity == change.quantity)


def _is_move(change: Change) -> bool:
    """Say whether a change is of a level, and not of a size alone."""
    return (change.stop_ticks, change.target_ticks) != (None, None)


def _stays(work: Workbench, number: int, change: Change) -> None:
    """Tell a person that an order was not moved, and write down again where it stands."""
    book = work.book
    del book.protection.changes[number]
    why = change.message or "no reason given"
    book.protection.refusals[change.contract_id] = why
    _stays_where_it_stands(book, number, change)
    work.alert(
        Severity.WARNING,
        AlertCode.LEG_NOT_ALIGNED,
        f"The venue did not move protective order {number} to the asked level: {why}. "
        "It protects where it stands.",
    )


def _replace(book: Book, contract_id: str, broker_order_id: int) -> None:
    record = book.protection.record(contract_id)
    if broker_order_id not in record.replacing:
        replacing = (*record.replacing, broker_order_id)[-LOTS_KEPT:]
        book.protection.records[contract_id] = replace(record, replacing=replacing)


def _stays_where_it_stands(book: Book, broker_order_id: int, change: Change) -> None:
    """Let the record say again what stands at the venue."""
    row, record = row_of(book, broker_order_id), book.protection.record(change.contract_id)
    instrument = book.instruments.get(change.contract_id)
    if row is None:
        return
    for role, asked, price in (
        (LegRole.STOP_LOSS, change.stop_ticks, row.stop_price),
        (LegRole.TAKE_PROFIT, change.target_ticks, row.limit_price),
    ):
        stands = level_ticks(price, instrument)
        if asked is not None and stands is not None:
            record = moved_levels(record, role=role, from_ticks=asked, to=stands)
    book.protection.records[change.contract_id] = record


def changes_after_restart(work: Workbench) -> None:
    """Keep the moves whose effect was not seen: what was asked for holds, whether it left or not.

    Else the level where the order stood would count as its owner's wish. Sizes follow the position
    anew. Nothing is asked again before the account had the time to be read.
    """
    changes = work.book.protection.changes
    for number, change in tuple(changes.items()):
        if _is_move(change):
            changes[number] = replace(change, quantity=None, answer=None, asked_ns=work.now_ns)
        else:
            del changes[number]


def waits_to_be_shown(change: Change) -> bool:
    """Say whether the venue has said yes, and no list of later shows what it did.

    Silence does not say that it was forgotten: a stop in its place would be one too many, and to
    ask again is a call that something else may need.
    """
    if change.answer is not Answer.YES or change.quantity == 0:
        return False
    return change.unshown_ns < change.asked_ns + ASK_AGAIN_NS


def protection_read(work: Workbench, listed: AbstractSet[int], *, sent_ns: int) -> None:
    """Believe a list of live orders, asked for at ``sent_ns``, about changes that it lacks."""
    book = work.book
    for number, change in tuple(book.protection.changes.items()):
        row = row_of(book, number)
        if row is None or number not in listed or is_shown(book, change, row):
            continue
        book.protection.changes[number] = replace(change, unshown_ns=sent_ns)
        work.touched_contracts[change.contract_id] = None


def follow_changes(work: Workbench, contract_id: str) -> None:
    """Ask again for what the venue has not shown in time; what it ignores is replaced."""
    book = work.book
    instrument, view = book.instruments.get(contract_id), book.position(contract_id)
    if not book.policy.sends or not book.protection.changes:
        return
    for number, change in list(book.protection.changes.items()):
        if change.contract_id != contract_id:
            continue
        due_ns = change.asked_ns + ASK_AGAIN_NS
        if work.now_ns < due_ns:
            book.wake(Wake.PROTECTION, due_ns)
            continue
        if change.answer is Answer.NO:
            if _is_move(change):
                _stays(work, number, change)
            else:
                del book.protection.changes[number]
            continue
        if waits_to_be_shown(change):
            ask_for_audit(work)
            book.wake(Wake.PROTECTION, work.now_ns + ASK_AGAIN_NS)
            continue
        if change.quantity is not None:
            del book.protection.changes[number]
            if not change.quantity and change.answer is not Answer.NOT_SENT:
                book.cancel_asked_ns[number] = work.now_ns
                row = row_of(book, number)
                if row is not None and row.type in STOP_TYPES:
                    _replace(book, contract_id, number)  # it may be gone, whatever is still shown
            if change.answer is Answer.YES and not _has_size(book, number, change):
                _replace(book, contract_id, number)
        if not any(view.possible) and not view.ledger:
            continue  # it protects nothing any more, and is taken away
        for role, ticks in (
            (LegRole.STOP_LOSS, change.stop_ticks),
            (LegRole.TAKE_PROFIT, change.target_ticks),
        ):
            if ticks is not None and instrument is not None:
                reason = "the move was not shown yet"
                move_order(work, number, instrument, role=role, ticks=ticks, reason=reason)
