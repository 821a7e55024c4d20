"""Levels that were moved: where a working order stands is where its owner wants it.

Unless we asked for a move ourselves: until the venue has shown that one, what was asked for holds.
"""

from collections.abc import Iterator
from decimal import Decimal

from msgspec.structs import replace

from backstop.core.book import Book
from backstop.core.protection_record import Change, Lot, ProtectionRecord
from backstop.core.step import Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.instrument import Instrument, Rounding
from backstop.domain.order import LegRole


def with_levels(work: Workbench, record: ProtectionRecord) -> ProtectionRecord:
    """Follow the moves of working stops and targets: where they stand is where they are wanted."""
    book = work.book
    instrument = book.instruments.get(record.contract_id)
    lots = tuple([_leg_levels(book, record, lot, instrument) for lot in record.lots])
    if lots != record.lots:
        record = replace(record, lots=lots)
    for name in work.touched_orders:
        order = book.orders[name]
        if order.role is not None and order.intent.contract_id == record.contract_id:
            record = _own_level(book, record, order, instrument)
    return record


def _leg_levels(
    book: Book, record: ProtectionRecord, lot: Lot, instrument: Instrument | None
) -> Lot:
    for leg in lot.legs:
        held = book.venue_orders.get(leg.broker_order_id)
        if held is None or held.row.status is not BrokerStatus.OPEN:
            continue
        put = leg.broker_order_id in book.aligned or is_measured(book, lot.owner, leg.role)
        if not put or is_moving(book, leg.broker_order_id):
            continue  # the venue has not put it yet where it was asked to be
        if leg.broker_order_id in record.replacing:
            continue  # another one stands where it was asked to be
        if leg.role is LegRole.STOP_LOSS:
            ticks = level_ticks(held.row.stop_price, instrument)
            lot = lot if ticks is None else replace(lot, stop_ticks=ticks)
        else:
            ticks = level_ticks(held.row.limit_price, instrument)
            lot = lot if ticks is None else replace(lot, target_ticks=ticks)
    return lot


def _own_level(
    book: Book, record: ProtectionRecord, order: TrackedOrder, instrument: Instrument | None
) -> ProtectionRecord:
    """Let the lots that a protective order of ours stands for follow its move."""
    row = order.venue
    if row is None:
        return record
    number = row.broker_order_id
    if not row.status.is_live:
        book.protection.levels.pop(number, None)
        book.aligned.pop(number, None)
        return record
    stop = order.role is LegRole.STOP_LOSS
    stands = level_ticks(row.stop_price if stop else row.limit_price, instrument)
    if stands is None or is_moving(book, number):
        return record
    asked = order.intent.stop_ticks if stop else order.intent.limit_ticks
    stood = book.protection.levels.get(number, asked)
    book.protection.levels[number] = stands
    if stands == stood or stood is None:
        return record
    return moved_levels(record, role=order.role or LegRole.STOP_LOSS, from_ticks=stood, to=stands)


def moved_levels(
    record: ProtectionRecord, *, role: LegRole, from_ticks: int, to: int
) -> ProtectionRecord:
    """Return the record with every level ``from_ticks`` of ``role`` moved."""

    def moved(ticks: int | None) -> int | None:
        return to if ticks == from_ticks else ticks

    if role is LegRole.STOP_LOSS:
        lots = tuple(replace(lot, stop_ticks=moved(lot.stop_ticks)) for lot in record.lots)
        return replace(record, lots=lots, stop_ticks=moved(record.stop_ticks))
    lots = tuple(replace(lot, target_ticks=moved(lot.target_ticks)) for lot in record.lots)
    return replace(record, lots=lots, target_ticks=moved(record.target_ticks))


def is_measured(book: Book, owner: str | None, role: LegRole) -> bool:
    """Say whether the legs of ``owner`` for ``role`` were asked for by their offset from the fill.

    Where the venue puts such a leg, there it was asked to be.
    """
    entry = book.orders.get(owner or "")
    if entry is None:
        return False
    request = entry.request
    stop = role is LegRole.STOP_LOSS
    return (
        request.stop_loss_offset_ticks if stop else request.take_profit_offset_ticks
    ) is not None


def is_moving(book: Book, broker_order_id: int) -> bool:
    """Say whether the venue was asked to move the level of an order and has not shown it yet."""
    change = book.protection.changes.get(broker_order_id)
    return change is not None and (change.stop_ticks, change.target_ticks) != (None, None)


def level_ticks(price: Decimal | None, instrument: Instrument | None) -> int | None:
    """Return a level of the venue in ticks; None while it shows none."""
    if price is None or instrument is None:
        return None
    return instrument.rounded_ticks(price, Rounding.NEAREST)


def row_of(book: Book, broker_order_id: int) -> BrokerOrder | None:
    """Return the newest row of any order that is held in memory."""
    name = book.client_of_broker_id.get(broker_order_id)
    if name is not None:
        return book.orders[name].venue
    held = book.venue_orders.get(broker_order_id)
    return None if held is None else held.row


def drop_done_changes(work: Workbench) -> None:
    """Forget the changes that the venue shows as done; its order goes on."""
    book = work.book
    if not book.protection.changes:
        return
    for number in _touched_numbers(work):
        change, row = book.protection.changes.get(number), row_of(book, number)
        if change is None or row is None or not row.status.is_live:
            continue
        if is_shown(book, change, row):
            del book.protection.changes[number]
            book.unclear.pop(number, None)


def is_shown(book: Book, change: Change, row: BrokerOrder) -> bool:
    """Say whether the row of a working order has the size and the levels that were asked for."""
    instrument = book.instruments.get(row.contract_id)
    stop = level_ticks(row.stop_price, instrument)
    limit = level_ticks(row.limit_price, instrument)
    sized = change.quantity in {None, row.quantity}
    return sized and change.stop_ticks in {None, stop} and change.target_ticks in {None, limit}


def drop_ended_changes(work: Workbench) -> None:
    """Forget the changes of orders that ended in this step."""
    book = work.book
    if not book.protection.changes:
        return
    for number in _touched_numbers(work):
        row = row_of(book, number)
        if row is not None and not row.status.is_live:
            book.protection.changes.pop(number, None)


def _touched_numbers(work: Workbench) -> Iterator[int]:
    yield from work.touched_venue_orders
    for name in work.touched_orders:
        number = work.book.orders[name].broker_order_id
        if number is not None:
            yield number
