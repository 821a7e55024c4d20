"""What the evidence says about protection: folds orders, legs and trades into the records.

Nothing is asked for here. An order's own trades say what it put into the position, its legs and
their moves say where the trader wants to be taken out, and a stop of somebody else that closes the
position counts as if it were ours.
"""

from collections.abc import Iterator
from decimal import Decimal

from msgspec.structs import replace

from backstop.core.book import Book, VenueOrder
from backstop.core.positions import SNAPSHOT_LAG_NS, PositionView
from backstop.core.protection_record import (
    LOTS_KEPT,
    AwaitedFill,
    Lot,
    LotLeg,
    ProtectionRecord,
    adopted_owner,
)
from backstop.core.step import Workbench
from backstop.core.tracked_order import TrackedOrder, final_quantity
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.instrument import Instrument, Rounding
from backstop.domain.order import LegRole, OrderType

STOP_TYPES = frozenset({OrderType.STOP, OrderType.TRAILING_STOP})


def fold_protection(work: Workbench) -> None:
    """Take what this step brought into the records of the contracts that it touched."""
    _await_fills(work)
    for contract_id in tuple(work.touched_contracts):
        _fold_contract(work, contract_id)
    _drop_done_changes(work)


def evident_quantity(book: Book, view: PositionView) -> int:
    """Return the signed position with the fills that rows tell of and no trade has shown yet.

    Where rows and trades of the position differ, the row is the newer word and says the total.
    """
    if not book.recovered or not view.is_agreed:
        return view.quantity
    awaited = book.protection.awaited.values()
    return view.quantity + sum(it.quantity for it in awaited if it.contract_id == view.contract_id)


def is_adoptable(book: Book, row: BrokerOrder, sign: int) -> bool:
    """Say whether a working stop that we did not place would close a position of ``sign``.

    One of a bot's may have been meant to turn the position around: an entry, judged as one. Where
    that is allowed, it is one that was larger than the position from the beginning.
    """
    if row.status is not BrokerStatus.OPEN or row.type not in STOP_TYPES:
        return False
    if row.side.sign != -sign:
        return False
    if not book.policy.allow_flip or row.broker_order_id not in book.client_of_broker_id:
        return True
    if row.broker_order_id in book.protection.record(row.contract_id).adopted:
        return True
    held = abs(book.position(row.contract_id).quantity)
    return row.quantity - row.filled_quantity <= held


def level_ticks(price: Decimal | None, instrument: Instrument | None) -> int | None:
    """Return a level of the venue in ticks; None while it shows none."""
    if price is None or instrument is None:
        return None
    return instrument.rounded_ticks(price, Rounding.NEAREST)


# -- fills that rows tell of before their trades -------------------------------------------------


def _await_fills(work: Workbench) -> None:
    """Note which orders have filled more than their trades show: the position is about to move."""
    book = work.book
    awaited = book.protection.awaited
    rows = (*_touched_rows(work), *_rows_of_new_trades(work))
    for row, counted in rows:
        told = row.filled_quantity
        if row.status is BrokerStatus.FILLED:
            told = max(told, row.quantity)  # rows of old samples lack the filled quantity
        lacking = told - counted
        if lacking <= 0:
            awaited.pop(row.broker_order_id, None)
            continue
        held = awaited.get(row.broker_order_id)
        awaited[row.broker_order_id] = AwaitedFill(
            contract_id=row.contract_id,
            quantity=lacking * row.side.sign,
            since_ns=work.now_ns if held is None else held.since_ns,
        )
    for broker_order_id, fill in list(awaited.items()):
        view = book.position(fill.contract_id)
        if view.is_proven and view.agreed_ns >= fill.since_ns + SNAPSHOT_LAG_NS:
            # Reads that were sent long after the fill agree without its trade.
            del awaited[broker_order_id]


def _touched_rows(work: Workbench) -> Iterator[tuple[BrokerOrder, int]]:
    """Yield the rows of this step's orders, with the contracts that their trades show."""
    book = work.book
    for name in work.touched_orders:
        order = book.orders[name]
        if order.venue is not None:
            yield order.venue, order.filled_quantity + order.voided_quantity
    for number in work.touched_venue_orders:
        yield book.venue_orders[number].row, _traded(book, number)


def _rows_of_new_trades(work: Workbench) -> Iterator[tuple[BrokerOrder, int]]:
    book = work.book
    for trade in work.new_trades.values():
        held = book.venue_orders.get(trade.broker_order_id)
        if held is not None:
            yield held.row, _traded(book, trade.broker_order_id)


def _traded(book: Book, broker_order_id: int) -> int:
    trades = (book.trades.get(number) for number in book.trades_of.get(broker_order_id, ()))
    return sum(trade.quantity for trade in trades if trade is not None)


# -- one contract --------------------------------------------------------------------------------


def _fold_contract(work: Workbench, contract_id: str) -> None:
    book = work.book
    before = book.protection.record(contract_id)
    record = _of_this_position(work, before)
    record = _with_lots(work, record)
    record = _with_legs(work, record)
    if record.sign:
        record = _with_adopted(work, record)
        record = _with_levels(work, record)
    if record != before:
        book.protection.records[contract_id] = record


def _of_this_position(work: Workbench, record: ProtectionRecord) -> ProtectionRecord:
    """Begin a new record where a position ended, turned around, or opened."""
    view = work.book.position(record.contract_id)
    newest = max(
        (
            trade.trade_id
            for trade in work.new_trades.values()
            if trade.contract_id == record.contract_id
        ),
        default=0,
    )
    # Of a flat contract the row of an entry may be the first word: its trade is on the way.
    held = view.quantity or evident_quantity(work.book, view)
    sign = (held > 0) - (held < 0)
    before_newest, newest = record.newest_trade_id, max(record.newest_trade_id, newest)
    if not sign and view.ledger:
        sign = record.sign  # trades and rows differ: it is not flat before they agree
    if not record.sign or sign == record.sign:
        return replace(record, sign=sign, newest_trade_id=newest)
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
    )


def _with_lots(work: Workbench, record: ProtectionRecord) -> ProtectionRecord:
    """Count what the entries of this step put into the position."""
    book = work.book
    lots = {lot.owner: lot for lot in record.lots}
    for name in work.touched_orders:
        order = book.orders[name]
        if order.intent.contract_id != record.contract_id or order.role is not None:
            continue
        filled = _filled_since(order, record.after_trade_id)
        held = lots.get(name)
        if not filled:
            lots.pop(name, None)
        elif held is None:
            lots[name] = _new_lot(book, order, filled)
        else:
            lots[name] = replace(held, filled_quantity=filled)
    return replace(record, lots=tuple(lots.values())[-LOTS_KEPT:])


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
    instrument = book.instruments.get(record.contract_id)
    lots = {lot.owner: lot for lot in record.lots}
    adopted = dict.fromkeys(record.adopted)
    for row in _foreign_rows(book, record.contract_id):
        if not is_adoptable(book, row, record.sign):
            continue
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
        if _is_done(book, number):
            adopted.pop(number)
            lots.pop(adopted_owner(number), None)
    return replace(
        record, lots=tuple(lots.values())[-LOTS_KEPT:], adopted=tuple(adopted)[-LOTS_KEPT:]
    )


def _foreign_rows(book: Book, contract_id: str) -> Iterator[BrokerOrder]:
    """Yield the working orders of a contract that are neither legs nor placed to protect."""
    for held in book.live_legs(contract_id):
        if held.owner is None:
            yield held.row
    for order in book.live_orders():
        row = order.venue
        if order.role is None and row is not None and row.contract_id == contract_id:
            yield row


def _is_done(book: Book, broker_order_id: int) -> bool:
    """Say whether an adopted stop ended as it should: it filled, or we asked for its end."""
    row = row_of(book, broker_order_id)
    if row is None or row.status.is_live:
        return False
    change = book.protection.changes.get(broker_order_id)
    ours = change is not None and change.quantity == 0
    return ours or row.status is BrokerStatus.FILLED


def row_of(book: Book, broker_order_id: int) -> BrokerOrder | None:
    """Return the newest row of any order that is held in memory."""
    name = book.client_of_broker_id.get(broker_order_id)
    if name is not None:
        return book.orders[name].venue
    held = book.venue_orders.get(broker_order_id)
    return None if held is None else held.row


# -- levels that were moved ----------------------------------------------------------------------


def _with_levels(work: Workbench, record: ProtectionRecord) -> ProtectionRecord:
    """Follow the moves of working stops and targets: where they stand is where they are wanted."""
    book = work.book
    instrument = book.instruments.get(record.contract_id)
    lots = list(record.lots)
    for place, lot in enumerate(lots):
        lots[place] = _leg_levels(book, record, lot, instrument)
    record = replace(record, lots=tuple(lots))
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
        if leg.broker_order_id not in book.aligned or is_moving(book, leg.broker_order_id):
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


def is_moving(book: Book, broker_order_id: int) -> bool:
    """Say whether the venue was asked to move the level of an order and has not shown it yet."""
    change = book.protection.changes.get(broker_order_id)
    return change is not None and (change.stop_ticks, change.target_ticks) != (None, None)


def opened_by_protection(work: Workbench, record: ProtectionRecord) -> bool:
    """Say whether a protective order's trade of this step opened contracts instead of closing.

    The newest trades are taken back one by one, so the position before each of them is known.
    """
    book = work.book
    after = book.position(record.contract_id).ledger
    trades = (it for it in work.new_trades.values() if it.contract_id == record.contract_id)
    for trade in sorted(trades, key=lambda trade: trade.trade_id, reverse=True):
        if trade.voided:
            continue
        signed = trade.side.sign * trade.quantity
        if after * signed > 0 and _is_protective(book, trade.broker_order_id, record):
            return True
        after -= signed
    return False


def _is_protective(book: Book, broker_order_id: int, record: ProtectionRecord) -> bool:
    name = book.client_of_broker_id.get(broker_order_id)
    if name is not None and book.orders[name].role is not None:
        return True
    held = book.venue_orders.get(broker_order_id)
    if held is not None and held.owner is not None:
        return True
    return broker_order_id in {*record.adopted, *record.leftovers}


def _drop_done_changes(work: Workbench) -> None:
    """Forget the changes that the venue shows as done; its order goes on."""
    book = work.book
    for number in _touched_numbers(work):
        change, row = book.protection.changes.get(number), row_of(book, number)
        if change is None or row is None or not row.status.is_live:
            continue
        instrument = book.instruments.get(row.contract_id)
        stop = level_ticks(row.stop_price, instrument)
        limit = level_ticks(row.limit_price, instrument)
        sized = change.quantity in {None, row.quantity}
        placed = change.stop_ticks in {None, stop} and change.target_ticks in {None, limit}
        if sized and placed:
            del book.protection.changes[number]


def drop_ended_changes(work: Workbench) -> None:
    """Forget the changes of orders that ended in this step."""
    book = work.book
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
