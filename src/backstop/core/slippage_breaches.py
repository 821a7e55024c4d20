"""Counts executions outside the tolerance, and reduces when there are too many in one session.

An execution is an order of ours, or a leg that the venue made of one: a stop that slips far beyond
its level is what a trader wants to hear of first. It is judged when its evidence is complete and
again whenever that changes, so it counts once, and a trade that the venue takes back takes its
breach back as well. The latch that the count put on stays: a person lifts it.

What a person resumed after, and what an earlier trading day saw, does not count again, however late
the venue tells of it. Trade numbers tell which: the venue counts them up.
"""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.book import Book, VenueOrder
from backstop.core.execution_verdict import adverse_text, fill_references
from backstop.core.lifecycle import MACHINE, latched
from backstop.core.reference_levels import (
    adverse_ticks,
    references,
    with_move_asked,
    with_move_refused,
)
from backstop.core.step import Tag, Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.core.trading_state import Latch, LatchKind
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerStatus, BrokerTrade
from backstop.domain.commands import ModifyOrder, Severity
from backstop.domain.events import Answer, ModifyAnswered
from backstop.domain.numbers import count_text, plain
from backstop.domain.order import OrderType

BREACHES_KEPT = 1000
"""Breaches that are remembered: as many as the setting can ask for before it reduces."""


class _Execution(Struct, frozen=True, kw_only=True):
    """What was filled of one order or leg, and by how much it slipped.

    Attributes:
        name: no other execution has it.
        what: for people: side, contracts, symbol, and whose it is.
        ticks: exact adverse ticks; None while the evidence is incomplete or without a reference.
        measured_from: the level of each fill, in points.
        newest_trade_id: of the trades that count; 0 of none.
    """

    name: str
    what: str
    ticks: Fraction | None
    measured_from: tuple[Decimal, ...]
    newest_trade_id: int


def count_breaches(work: Workbench) -> None:
    """Judge every order of ours, and every leg of one, that this event changed."""
    for execution in (*_touched_orders(work), *_touched_legs(work)):
        _judge(work, execution)


def _touched_orders(work: Workbench) -> Iterator[_Execution]:
    book = work.book
    for client_order_id in work.touched_orders:
        order = book.orders[client_order_id]
        if client_order_id in book.breaches or order.is_terminal:
            yield _of_order(book, order)


def _touched_legs(work: Workbench) -> Iterator[_Execution]:
    book = work.book
    if not book.venue_orders:
        return
    traded = (trade.broker_order_id for trade in work.new_trades.values())
    for number in dict.fromkeys((*work.touched_venue_orders, *traded)):
        leg = book.venue_orders.get(number)
        if leg is None:
            continue
        if leg.owner is not None:
            yield _of_leg(book, leg, f"leg {number} of {leg.owner}", leg.owner)
        elif number in book.drop_copy.judged or (book.policy.is_drop_copy and leg.row.is_leg):
            yield _of_bot(book, leg)


def count_execution_of_bot(work: Workbench, number: int) -> None:
    """Judge what was filled of an order of a bot that trades by itself, by what is known now."""
    leg = work.book.venue_orders.get(number)
    if leg is not None and leg.owner is None:
        _judge(work, _of_bot(work.book, leg))


def _of_order(book: Book, order: TrackedOrder) -> _Execution:
    instrument = book.instruments[order.intent.contract_id]
    measured_from = fill_references(order)
    ticks = None
    # What was filled is all that counts: the rest of a cancelled order has no price.
    if measured_from and order.is_terminal and not order.lacks_trades:
        ticks = adverse_ticks(
            order.fills,
            measured_from,
            side=order.intent.side,
            tick_size=instrument.tick_size,
        )
    return _Execution(
        name=order.client_order_id,
        what=(
            f"{order.intent.side} {order.filled_quantity} {order.intent.symbol} "
            f"({order.client_order_id})"
        ),
        ticks=ticks,
        measured_from=measured_from or (),
        newest_trade_id=_newest(order.fills),
    )


def _of_bot(book: Book, leg: VenueOrder) -> _Execution:
    """Return an execution of a bot that trades by itself: a market order has met the touch then."""
    number = leg.row.broker_order_id
    judged = book.drop_copy.judged.get(number)
    is_market = leg.row.type is OrderType.MARKET
    touch = judged.touch if judged is not None and is_market else None
    return _of_leg(book, leg, f"order {number}", "the bot", touch=touch)


def _of_leg(
    book: Book, leg: VenueOrder, name: str, owner: str, *, touch: Decimal | None = None
) -> _Execution:
    row, instrument = leg.row, book.instruments.get(leg.row.contract_id)
    trades = (book.trades[trade_id] for trade_id in book.trades_of.get(row.broker_order_id, ()))
    fills = tuple(trade for trade in trades if not trade.voided)
    measured_from = references(fills, leg.levels_seen, kind=row.type, side=row.side, as_sent=touch)
    ticks = None
    if instrument is not None and measured_from and _is_complete(book, leg):
        ticks = adverse_ticks(fills, measured_from, side=row.side, tick_size=instrument.tick_size)
    quantity = sum(fill.quantity for fill in fills)
    kind = "leg" if leg.role is None else str(leg.role).lower().replace("_", "-")
    kind = "order" if leg.owner is None else kind
    return _Execution(
        name=name,
        what=(
            f"{row.side} {quantity} {book.symbol_of(row.contract_id)} "
            f"({kind} {row.broker_order_id} of {owner})"
        ),
        ticks=ticks,
        measured_from=measured_from or (),
        newest_trade_id=_newest(fills),
    )


def _is_complete(book: Book, leg: VenueOrder) -> bool:
    """Say whether a leg has ended, and trades account for all that the venue says it filled."""
    row = leg.row
    if row.status.is_live:
        return False
    told = max(row.filled_quantity, row.quantity if row.status is BrokerStatus.FILLED else 0)
    numbers = book.trades_of.get(row.broker_order_id, ())
    return sum(book.trades[trade_id].quantity for trade_id in numbers) >= told


def _newest(fills: tuple[BrokerTrade, ...]) -> int:
    return max((fill.trade_id for fill in fills), default=0)


def _judge(work: Workbench, execution: _Execution) -> None:
    book, name = work.book, execution.name
    held = name in book.breaches
    breach = execution.ticks is not None and execution.ticks > book.policy.max_slippage_ticks
    if breach and not held:
        past = execution.newest_trade_id <= book.breaches_seen_to
        book.breaches[name] = None if past else book.trade_date
        if len(book.breaches) > BREACHES_KEPT:
            del book.breaches[next(iter(book.breaches))]
        _tell(work, execution, past=past)
    elif held and not breach:
        del book.breaches[name]
        work.note(Tag.TRADE, "slippage_breach_taken_back", client_order_id=name)


def _tell(work: Workbench, execution: _Execution, *, past: bool) -> None:
    book, limit = work.book, work.book.policy.slippage_breaches_to_reduce
    count = sum(trade_date == book.trade_date for trade_date in book.breaches.values())
    adverse = adverse_text(execution.ticks or Fraction(0))
    counts = f"Breach {count} of this session; at {limit} only exits pass."
    if past:
        counts = "It is from before a resume or the present trading day, and does not count."
    work.alert(
        Severity.WARNING,
        AlertCode.SLIPPAGE_BREACH,
        f"{execution.what} was filled with {adverse}, "
        f"{plain(book.policy.max_slippage_ticks):f} allowed, measured from "
        f"{_levels_text(execution.measured_from)}. {counts}",
    )
    if past or count < limit or any(it.kind is LatchKind.SLIPPAGE for it in book.latches):
        return
    cause = (
        f"{count_text(count, 'execution')} with more than "
        f"{plain(book.policy.max_slippage_ticks):f} adverse ticks in one session, the limit is "
        f"{limit}"
    )
    latch = Latch(kind=LatchKind.SLIPPAGE, cause=cause, operator=MACHINE, utc_us=work.utc_us)
    if latched(work, latch):
        work.alert(
            Severity.CRITICAL,
            AlertCode.SLIPPAGE_REDUCING,
            f"Entries are refused: {cause}. Exits pass. Look at the market and at the orders, "
            "then resume with a name and a reason.",
        )


def _levels_text(levels: tuple[Decimal, ...]) -> str:
    return ", ".join(dict.fromkeys(f"{plain(level):f}" for level in levels))


# -- what was asked for --------------------------------------------------------------------------


def follow_moves(work: Workbench) -> None:
    """Note every level that the venue is asked for: it may be in force before a row shows it."""
    for command in work.commands:
        if isinstance(command, ModifyOrder):
            price = command.stop_price if command.limit_price is None else command.limit_price
            if price is not None:
                _note_move(work, command.broker_order_id, price)


def level_answered(work: Workbench, event: ModifyAnswered) -> None:
    """Forget a level that the venue refused, or never heard of."""
    if event.answer in {Answer.NO, Answer.NOT_SENT}:
        _note_move(work, event.broker_order_id, None)


def _note_move(work: Workbench, number: int, price: Decimal | None) -> None:
    """Note that a move was asked for; ``price`` None: that the newest one will not be."""
    book = work.book
    order = book.orders.get(book.client_of_broker_id.get(number, ""))
    leg = book.venue_orders.get(number)
    held = leg if order is None else order
    if held is None:
        return
    row = held.venue if isinstance(held, TrackedOrder) else held.row
    if price is None:
        history = with_move_refused(held.levels_seen)
    else:
        after_utc_us = 0 if row is None else row.updated_utc_us or row.created_utc_us
        history = with_move_asked(held.levels_seen, price, after_utc_us=after_utc_us)
    if order is not None:
        work.keep(replace(order, levels_seen=history))
    elif leg is not None:
        book.venue_orders[number] = replace(leg, levels_seen=history)
