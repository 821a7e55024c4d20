"""Follows the money: what positions cost, what the day's trades brought, what the balance is.

Positions and trades are believed as the rest of the book believes them. What a position cost is the
venue's average price where it has stated one for what is held, and our own sum of its trades until
then. The balance is the venue's, carried on by the trades since: its rows come later than they do.
"""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

from msgspec.structs import replace

from backstop.core.account_rules.record import AccountRecord, Basis, Priced
from backstop.core.book import Book
from backstop.core.clock_readings import now_us
from backstop.core.policy import MILLISECOND_NS
from backstop.core.positions import PositionView
from backstop.core.realised import RealisedResult, realised
from backstop.core.step import Tag, Workbench
from backstop.domain.broker import BrokerTrade
from backstop.domain.events import (
    AccountAudited,
    AccountHistoryRead,
    AccountReported,
    Fact,
    GuardStarted,
    PositionsPriced,
    TradingDayBegan,
    VenueClockRead,
)
from backstop.domain.instrument import Instrument
from backstop.domain.numbers import money


def follow_the_money(work: Workbench, event: Fact) -> None:
    """Take down what one event says of the account's money; once in every step."""
    match event:
        case GuardStarted():
            work.book.account_rules.restart(now_ns=work.now_ns, utc_us=work.utc_us)
        case TradingDayBegan():
            _day_began(work, event)
        case VenueClockRead():
            _measured(work)
        case PositionsPriced():
            _priced(work, event)
        case AccountHistoryRead():
            _history_read(work, event)
        case _:
            pass
    for contract_id in work.touched_contracts:
        _follow_position(work, contract_id)
    if work.new_trades:
        _count_trades(work)
    _follow_balance(work, event)


# -- what a position cost, and what it is worth --------------------------------------------------


def worth(instrument: Instrument, price: Decimal, quantity: int) -> Fraction:
    """Return ``quantity`` signed contracts at ``price`` (points), in millionths of a dollar."""
    # One fraction at the end: each in between would be reduced for nothing, in most steps.
    points, parts = price.as_integer_ratio()
    tick_points, tick_parts = instrument.tick_size.as_integer_ratio()
    value_micros = points * tick_parts * instrument.tick_value_micros * quantity
    return Fraction(value_micros, parts * tick_points)


def open_micros(book: Book, contract_id: str, price: Decimal | None) -> int | None:
    """Return what a position would bring at ``price``, rounded against it; None: nobody can say."""
    view, instrument = book.position(contract_id), book.instruments.get(contract_id)
    if not view.quantity:
        return 0
    basis = book.account_rules.bases.get(contract_id)
    if price is None or instrument is None or basis is None or basis.quantity != view.quantity:
        return None
    return floor(worth(instrument, price, view.quantity)) - basis.cost_micros


def _follow_position(work: Workbench, contract_id: str) -> None:
    book = work.book
    view, instrument = book.positions.get(contract_id), book.instruments.get(contract_id)
    if view is None or instrument is None:
        return
    record = book.account_rules
    held = record.bases.get(contract_id)
    if held is None:
        held = Basis()
    elif (held.quantity, held.venue_average) == (view.quantity, view.average_price):
        return  # what was touched is no part of what it cost
    trades = [it for it in work.new_trades.values() if it.contract_id == contract_id]
    if (basis := _basis(held, view, instrument, trades)) is None:
        record.bases.pop(contract_id, None)
    else:
        record.bases[contract_id] = basis
    if not view.quantity:
        record.prices.pop(contract_id, None)


def _basis(
    held: Basis, view: PositionView, instrument: Instrument, trades: Iterable[BrokerTrade]
) -> Basis | None:
    """Return what the position cost now; None: neither the venue nor its trades tell."""
    quantity, average = view.quantity, view.average_price
    if not quantity:
        # The average of what is gone may still stand in the view: it says nothing of what comes.
        return Basis(venue_average=average)
    if average is not None and average != held.venue_average:
        return _at_average(quantity, average, instrument)
    if quantity == held.quantity:
        return held
    return _moved(held, quantity, instrument, _price_of(trades))


def _at_average(quantity: int, average: Decimal, instrument: Instrument) -> Basis:
    cost_micros = ceil(worth(instrument, average, quantity))
    return Basis(quantity=quantity, cost_micros=cost_micros, venue_average=average)


def _moved(
    held: Basis, quantity: int, instrument: Instrument, price: Decimal | Fraction | None
) -> Basis | None:
    """Return the cost after a move to ``quantity`` that the venue's average does not show yet."""
    if held.quantity * quantity > 0 and abs(quantity) < abs(held.quantity):
        cost_micros = ceil(Fraction(held.cost_micros * quantity, held.quantity))
        return replace(held, quantity=quantity, cost_micros=cost_micros)
    if price is None:
        average = held.venue_average
        grows = held.quantity * quantity > 0 and average is not None
        return _at_average(quantity, average, instrument) if grows and average else None
    ticks = Fraction(price) / Fraction(instrument.tick_size) * instrument.tick_value_micros
    flipped = held.quantity * quantity < 0
    more, before = (quantity, 0) if flipped else (quantity - held.quantity, held.cost_micros)
    return replace(held, quantity=quantity, cost_micros=before + ceil(ticks * more))


def _price_of(trades: Iterable[BrokerTrade]) -> Fraction | None:
    """Return the mean price of ``trades`` by their contracts; None without any."""
    counted = [it for it in trades if not it.voided]
    contracts = sum(it.quantity for it in counted)
    if not contracts:
        return None
    return sum((Fraction(it.price) * it.quantity for it in counted), Fraction(0)) / contracts


def _priced(work: Workbench, event: PositionsPriced) -> None:
    book, prices = work.book, work.book.account_rules.prices
    for mark in event.marks:
        if book.position(mark.contract_id).quantity:
            as_of_ns = work.now_ns - mark.age_ms * MILLISECOND_NS
            prices[mark.contract_id] = Priced(price=mark.price, as_of_ns=as_of_ns)


# -- the day ---------------------------------------------------------------------------------------


def _count_trades(work: Workbench) -> None:
    """Count what this step told of trades: also voids and costs of such as were counted before."""
    record = work.book.account_rules
    from_utc_us = record.day_from_utc_us
    if from_utc_us:
        before = _since(work.trades_before.values(), from_utc_us)
        record.day = record.day - before + _since(work.new_trades.values(), from_utc_us)


def _count_the_day(book: Book) -> None:
    """Count the day anew, all of it: it begins at another time."""
    record = book.account_rules
    record.day = _since(book.trades.values(), record.day_from_utc_us) + record.day_let_go


def _since(trades: Iterable[BrokerTrade], from_utc_us: int) -> RealisedResult:
    return realised(it for it in trades if it.created_utc_us >= from_utc_us)


def trades_left(
    record: AccountRecord, trades: Iterable[BrokerTrade], *, back: bool = False
) -> None:
    """Keep the day's part of trades that leave the book; ``back``: that return to it."""
    if not record.day_from_utc_us:
        return
    part = _since(trades, record.day_from_utc_us)
    record.day_let_go = record.day_let_go - part if back else record.day_let_go + part


def _day_began(work: Workbench, event: TradingDayBegan) -> None:
    """Close the day before, and begin with what of the new one is known already."""
    book, record = work.book, work.book.account_rules
    record.day_ends_utc_us = event.ends_utc_us
    if event.trade_date == record.day_date:
        return
    earlier, record.day_date = record.day_date, event.trade_date
    closing_micros = None
    if record.opening_micros is not None:
        closing_micros = record.opening_micros + record.day.net_micros
    record.day_from_utc_us = _begins_us(work, event.began_utc_us or event.utc_us)
    record.day_is_measured = bool(book.venue_clock.readings)
    record.day_let_go = RealisedResult()
    _count_the_day(book)
    record.stops_in_a_row = 0
    if book.recovered and closing_micros is not None:
        record.opening_micros = closing_micros - record.day.net_micros
        _closed_at(record, record.opening_micros)
        return
    # Nobody looked while a day ended: what it ended with is read from the account.
    record.opening_micros = None
    record.history_due = bool(earlier)


def _begins_us(work: Workbench, ours_us: int) -> int:
    """Return the venue's time for one of ours: its trades bear its own."""
    return ours_us + now_us(work) - work.utc_us


def _measured(work: Workbench) -> None:
    """Move the beginning of the day to the venue's clock once it is known, and no more."""
    book, record = work.book, work.book.account_rules
    if record.day_is_measured or not record.day_from_utc_us or not book.venue_clock.readings:
        return
    record.day_is_measured = True
    record.day_from_utc_us = _begins_us(work, record.day_from_utc_us)
    _count_the_day(book)


def _closed_at(record: AccountRecord, balance_micros: int) -> None:
    """Note the balance with which a day ended: the floor follows the best of them."""
    record.high_close_micros = max(record.high_close_micros or balance_micros, balance_micros)


# -- the balance -----------------------------------------------------------------------------------


def _follow_balance(work: Workbench, event: Fact) -> None:
    """Hold the balance that we reckon against the one that the venue tells, when all is quiet.

    A row of the account may be older than a trade that we know, and a trade may be known later
    than the row that counts it. Only what stands through a complete read of a quiet account counts.
    """
    book, record = work.book, work.book.account_rules
    if work.new_trades:
        record.is_quiet = record.balance_is_new = False
    if isinstance(event, AccountReported):
        record.is_quiet, record.balance_is_new = False, True
    if not isinstance(event, AccountAudited) or not book.recovered:
        return
    parts = (event.orders, event.live_orders, event.trades, event.positions)
    if any(it is None for it in parts) or not record.day_from_utc_us or book.account is None:
        return
    opening_micros = book.account.balance_micros - record.day.net_micros
    if record.opening_micros is None or (record.is_quiet and record.balance_is_new):
        _open_at(work, opening_micros)
    record.is_quiet = True


def _open_at(work: Workbench, opening_micros: int) -> None:
    record = work.book.account_rules
    before = record.opening_micros
    if before == opening_micros:
        return
    record.opening_micros = opening_micros
    if before is None:
        # With this the day before ended.
        _closed_at(record, opening_micros)
        return
    work.warn(
        Tag.CRITICAL_SYSTEM,
        "balance_moved_without_a_trade",
        by=str(money(opening_micros - before)),
    )


def _history_read(work: Workbench, event: AccountHistoryRead) -> None:
    """Believe a history only when all of it together makes the balance of now."""
    book, record = work.book, work.book.account_rules
    limits = book.account_limits
    record.history_due = False
    starting = None if limits is None else limits.starting_balance_micros
    if starting is None:
        return
    total = starting + sum(it.net_micros for it in event.days)
    record.history_complete = total == event.balance_micros
    if not record.history_complete:
        return
    balance = starting
    _closed_at(record, starting)
    for day in event.days:
        if day.trade_date < event.trade_date:
            balance += day.net_micros
            _closed_at(record, balance)
