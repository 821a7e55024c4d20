"""What the evidence says about protection: folds orders, legs and trades into the records.

Nothing is asked for here. An order's own trades say what it put into the position, its legs and
their moves say where the trader wants to be taken out, and a stop of somebody else that closes the
position counts as if it were ours.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from backstop.core.awaited_fills import await_fills, evident_quantity
from backstop.core.book import STOP_TYPES, Book, VenueOrder
from backstop.core.positions import PositionView
from backstop.core.protection_levels import (
    drop_done_changes,
    is_moving,
    level_ticks,
    row_of,
    with_levels,
)
from backstop.core.protection_record import (
    LOTS_KEPT,
    Lot,
    LotLeg,
    ProtectionRecord,
    SetAside,
    adopted_owner,
)
from backstop.core.step import Workbench
from backstop.core.tracked_order import TrackedOrder, final_quantity
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.order import LegRole, OrderType


def fold_protection(work: Workbench) -> None:
    """Take what this step brought into the records of the contracts that it touched."""
    await_fills(work)
    for contract_id in tuple(work.touched_contracts):
        _fold_contract(work, contract_id)
    drop_done_changes(work)


def is_adoptable(book: Book, row: BrokerOrder, sign: int) -> bool:
    """Say whether a working stop that we did not place would close a position of ``sign``.

    One of a bot's may have been meant to turn the position around: an entry, judged as one. Where
    that is allowed, it is one that was not let through as an exit, and is larger than the position
    from the beginning.
    """
    if row.status is not BrokerStatus.OPEN or row.type not in STOP_TYPES:
        return False
    if row.side.sign != -sign:
        return False
    name = book.client_of_broker_id.get(row.broker_order_id)
    watched = name is None and book.policy.is_drop_copy
    if not book.policy.allow_flip or (name is None and not watched):
        return True
    if name is not None and book.orders[name].reduces_risk:
        return True
    if row.broker_order_id in book.protection.record(row.contract_id).adopted:
        return True
    held = abs(book.position(row.contract_id).quantity)
    return row.quantity - row.filled_quantity <= held


def is_target_of_bot(book: Book, row: BrokerOrder, sign: int) -> bool:
    """Say whether a bot that trades by itself means to close a position of ``sign`` with an order.

    Where a position may be turned around, one that is larger than it may be meant to do that.
    """
    if not book.policy.is_drop_copy or row.status is not BrokerStatus.OPEN:
        return False
    if row.type is not OrderType.LIMIT or row.side.sign != -sign:
        return False
    held = abs(book.position(row.contract_id).quantity)
    return not book.policy.allow_flip or row.quantity - row.filled_quantity <= held


# -- one contract --------------------------------------------------------------------------------


def _fold_contract(work: Workbench, contract_id: str) -> None:
    book = work.book
    before = book.protection.record(contract_id)
    record = _of_this_position(work, before)
    record = _with_lots(work, record)
    record = _with_legs(work, record)
    if record.sign:
        record = _with_adopted(work, record)
        record = with_levels(work, record)
    if record != before:
        book.protection.records[contract_id] = record


def _of_this_position(work: Workbench, record: ProtectionRecord) -> ProtectionRecord:
    """Begin a new record where a position ended, turned around, or opened."""
    view = work.book.position(record.contract_id)
    # Of a flat contract the row of an entry may be the first word: its trade is on the way.
    held = view.quantity or evident_quantity(work.book, view)
    sign = (held > 0) - (held < 0)
    before_newest = newest = record.newest_trade_id
    for trade in work.new_trades.values():
        if trade.contract_id == record.contract_id:
            newest = max(newest, trade.trade_id)
    if (not sign and view.ledger) or (record.sign and sign * view.ledger < 0):
        # Trades and rows differ: before they agree it is not flat, nor has it turned around.
        sign = record.sign
    if not sign and view.in_question * record.sign > 0:
        sign = record.sign  # reads of one moment alone say that it is flat
    if (sign, newest) == (record.sign, before_newest) and record.set_aside is None:
        return record
    if not record.sign or sign == record.sign:
        return _opened(work.book, replace(record, sign=sign, newest_trade_id=newest))
    # A fill that turns a position around belongs to the new one as well.
    after = newest if not sign else before_newest
    return ProtectionRecord(
        contract_id=record.contract_id,
        sign=sign,
        newest_trade_id=newest,
        after_trade_id=after,
        lots=tuple(lot for lot in record.lots if lot.sign == sign),
        leftovers=tuple(dict.fromkeys((*record.leftovers, *record.adopted))),
        replacing=record.replacing,
        set_aside=_set_aside(record, newest, view),
    )


def _set_aside(
    record: ProtectionRecord, newest_trade_id: int, view: PositionView
) -> SetAside | None:
    """Return what to keep: reads alone may be wrong, and the trade of an exit may be voided."""
    by_reads = view.taken * record.sign > 0
    if view.quantity and not by_reads:
        return None
    return SetAside(
        sign=record.sign,
        newest_trade_id=newest_trade_id,
        traded=None if by_reads else view.traded,
        after_trade_id=record.after_trade_id,
        lots=record.active_lots,
        stop_ticks=record.stop_ticks,
        target_ticks=record.target_ticks,
    )


def _opened(book: Book, record: ProtectionRecord) -> ProtectionRecord:
    """Return the record of a position that is there, or there again.

    What reads alone took away is there again with any row of it. What a trade closed is only where
    such trades were voided; otherwise the trade that opened another position is on its way.
    """
    kept = record.set_aside
    if kept is None:
        return record
    if record.sign == -kept.sign or record.newest_trade_id > kept.newest_trade_id:
        return replace(record, set_aside=None)
    if not record.sign:
        return record
    if kept.traded is not None:
        voided = book.position(record.contract_id).traded - kept.traded
        if voided * kept.sign <= 0:
            return record
    lots = tuple(replace(lot, legs=_legs_now(book, lot)) for lot in kept.lots)
    return replace(
        record,
        after_trade_id=kept.after_trade_id,
        lots=(*lots, *record.lots),
        stop_ticks=kept.stop_ticks,
        target_ticks=kept.target_ticks,
        set_aside=None,
    )


def _legs_now(book: Book, lot: Lot) -> tuple[LotLeg, ...]:
    """Return the legs of a lot as the venue shows them now; of one that is forgotten, as it was."""
    rows = ((leg, book.venue_orders.get(leg.broker_order_id)) for leg in lot.legs)
    return tuple(leg if held is None else _lot_leg(held) for leg, held in rows)


def _with_lots(work: Workbench, record: ProtectionRecord) -> ProtectionRecord:
    """Count what the entries of this step put into the position."""
    book = work.book
    lots = {lot.owner: lot for lot in record.lots}
    for name in work.touched_orders:
        order = book.orders[name]
        if order.intent.contract_id != record.contract_id or order.role is not None:
            continue
        if order.reduces_risk:
            continue  # what an exit opened by mistake is not wanted, let alone protected
        filled = _filled_since(order, record.after_trade_id)
        held = lots.get(name)
        if not filled:
            lots.pop(name, None)
        elif held is None:
            lots[name] = _new_lot(book, order, filled)
        elif held.filled_quantity != filled:
            lots[name] = replace(held, filled_quantity=filled)
    return _with_these(record, lots)


def _with_these(record: ProtectionRecord, lots: dict[str, Lot]) -> ProtectionRecord:
    """Return the record with the newest of ``lots``; most steps change none of them."""
    kept = tuple(lots.values())[-LOTS_KEPT:]
    return record if kept == record.lots else replace(record, lots=kept)


def _filled_since(order: TrackedOrder, after_trade_id: int) -> int:
    """Return the contracts that an order filled in this position, by its trades or by its row."""
    told = 0
    if order.venue is not None:
        told = order.venue.filled_quantity
        if order.venue.status is BrokerStatus.FILLED:
            told = max(told, final_quantity(order))
    earlier = sum(fill.quantity for fill in order.fills if fill.trade_id <= after_trade_id)
    return max(0, max(order.filled_quantity, told - order.voided_quantity) - earlier)


def _new_lot(book: Book, order: TrackedOrder, filled: int) -> Lot:
    legs = (
        _lot_leg(held)
        for held in book.venue_orders.values()
        if held.owner == order.client_order_id and held.role is not None
    )
    return Lot(
        owner=order.client_order_id,
        sign=order.intent.side.sign,
        filled_quantity=filled,
        stop_ticks=order.intent.stop_loss_ticks,
        target_ticks=order.intent.take_profit_ticks,
        legs=tuple(legs),
    )


def _lot_leg(held: VenueOrder) -> LotLeg:
    return LotLeg(
        broker_order_id=held.row.broker_order_id,
        role=held.role or LegRole.STOP_LOSS,
        status=held.row.status,
        filled_quantity=held.row.filled_quantity,
    )


def _with_legs(work: Workbench, record: ProtectionRecord) -> ProtectionRecord:
    """Note where the legs of the lots stand."""
    book = work.book
    touched = {
        number: held
        for number in work.touched_venue_orders
        if (held := book.venue_orders[number]).owner is not None and held.role is not None
    }
    if not touched:
        return record
    lots = list(record.lots)
    for number, held in touched.items():
        for place, lot in enumerate(lots):
            if lot.owner == held.owner:
                others = (leg for leg in lot.legs if leg.broker_order_id != number)
                legs = sorted((*others, _lot_leg(held)), key=lambda leg: leg.broker_order_id)
                lots[place] = replace(lot, legs=tuple(legs))
    return replace(record, lots=tuple(lots))


def _with_adopted(work: Workbench, record: ProtectionRecord) -> ProtectionRecord:
    """Count the stops of others that close the position, and let go of those that are done."""
    book = work.book
    rows = _foreign_rows(book, record.contract_id)
    adoptable = [
        row for row in rows if is_adoptable(book, row, record.sign) and not _is_given_up(book, row)
    ]
    if not adoptable and not record.adopted:
        return record
    instrument = book.instruments.get(record.contract_id)
    lots = {lot.owner: lot for lot in record.lots}
    adopted = dict.fromkeys(record.adopted)
    for row in adoptable:
        adopted[row.broker_order_id] = None
        owner = adopted_owner(row.broker_order_id)
        ticks = level_ticks(row.stop_price, instrument)
        held = lots.get(owner)
        leaves = row.broker_order_id in record.replacing or is_moving(book, row.broker_order_id)
        if held is not None and (ticks is None or leaves):
            ticks = held.stop_ticks
        lots[owner] = Lot(
            owner=owner,
            sign=record.sign,
            filled_quantity=row.quantity - row.filled_quantity,
            stop_ticks=ticks,
        )
    for number in record.adopted:
        if _is_done(book, number) or _is_gone_unneeded(book, record, number):
            adopted.pop(number)
            lots.pop(adopted_owner(number), None)
    return replace(_with_these(record, lots), adopted=tuple(adopted)[-LOTS_KEPT:])


def _is_given_up(book: Book, row: BrokerOrder) -> bool:
    """Say whether its bot takes a stop away where positions may go without one."""
    name = book.client_of_broker_id.get(row.broker_order_id)
    cancel = None if name is None else book.orders[name].cancel
    return not book.policy.stop_required and cancel is not None and bool(cancel.due_ns)


def _is_gone_unneeded(book: Book, record: ProtectionRecord, broker_order_id: int) -> bool:
    """Say whether a stop of others is gone from a position that entries of ours account for.

    Their stops are what was approved: where one of those is lost it is put back at its own level.
    """
    row = row_of(book, broker_order_id)
    if row is None or row.status.is_live or broker_order_id in book.client_of_broker_id:
        return False
    lots = (it for it in record.active_lots if not it.is_adopted and it.stop_ticks is not None)
    held = evident_quantity(book, book.position(record.contract_id)) * record.sign
    return sum(lot.quantity for lot in lots) >= held


def _foreign_rows(book: Book, contract_id: str) -> Iterator[BrokerOrder]:
    """Yield the working orders of a contract that are neither legs nor placed to protect."""
    for held in book.live_legs(contract_id):
        if held.owner is None:
            yield held.row
    for order in book.live_orders(contract_id):
        if order.role is None and order.venue is not None:
            yield order.venue


def _is_done(book: Book, broker_order_id: int) -> bool:
    """Say whether an adopted stop ended as it should: it filled, or we asked for its end."""
    row = row_of(book, broker_order_id)
    if row is None or row.status.is_live:
        return False
    change = book.protection.changes.get(broker_order_id)
    ours = change is not None and change.quantity == 0
    return ours or row.status is BrokerStatus.FILLED
