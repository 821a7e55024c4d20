"""Acts when a limit of the account is reached: the day's is a lock, the account's is a latch.

The day's loss: resting entries are cancelled, positions are closed, and nothing is taken on before
17:00 Chicago; then it lifts by itself. The account's floor: it is taken flat, and a person has to
look at it. When the firm closed positions of its own accord nothing of ours is sent against it.
"""

from backstop.core.account_rules.limits import AccountLimits
from backstop.core.account_rules.record import STOPS_KEPT
from backstop.core.account_rules.standing import FloorOrigin, Standing, standing
from backstop.core.book import Book
from backstop.core.emergency_liquidation import begin
from backstop.core.lifecycle import latched
from backstop.core.liquidation import Cause
from backstop.core.liquidation_register import joined, put_on_record, running
from backstop.core.step import Tag, Workbench
from backstop.core.trading_state import Latch, LatchKind
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerTrade
from backstop.domain.commands import Severity
from backstop.domain.events import AccountHistoryRead, Fact
from backstop.domain.numbers import count_text, money
from backstop.domain.order import LegRole, OrderType

RULES = "account rules"
"""Who asked for a close or a latch, for the record."""

STOP_ORDERS = frozenset({OrderType.STOP, OrderType.TRAILING_STOP})
MICROSECONDS = 1000  # nanoseconds in one


def keep_account_rules(work: Workbench, event: Fact) -> None:
    """Look at every limit; called once in every step, after the money was followed."""
    book, limits = work.book, work.book.account_limits
    if limits is None:
        return
    _count_stops(work, limits)
    if isinstance(event, AccountHistoryRead):
        _tell_of_the_floor(work, limits)
    if not limits.bounds_losses or not book.recovered or not book.trade_date:
        return
    now = standing(book, limits)
    _keep_the_day(work, now)
    _keep_the_floor(work, now)
    if book.account_rules.locked_on == book.trade_date:
        _close_what_is_held(work)


# -- the day ---------------------------------------------------------------------------------------


def _keep_the_day(work: Workbench, now: Standing) -> None:
    book, record = work.book, work.book.account_rules
    left_micros, limit = now.day_left_micros, now.limits.daily_loss_micros
    if left_micros is None or limit is None or left_micros > 0:
        return
    if record.locked_on == book.trade_date:
        return
    record.locked_on = book.trade_date
    record.lock_cause = (
        f"the day has brought {money(now.day_micros):f} dollars (realised with costs "
        f"{money(now.realised_micros):f}, open {money(now.open_micros):f}), and "
        f"{money(limit):f} may be lost"
    )
    work.alert(
        Severity.CRITICAL,
        AlertCode.DAILY_LOSS_REACHED,
        f"{record.lock_cause}. Resting entries are cancelled and positions closed; nothing is "
        "taken on before 17:00 Chicago.",
    )


def _close_what_is_held(work: Workbench) -> None:
    """Close every position of a day that is over; again, should one come of an order on its way."""
    book = work.book
    if not book.policy.sends or not _may_act(book):
        return
    cause = Cause(
        text=f"daily loss limit: {book.account_rules.lock_cause}",
        operator=RULES,
        utc_us=work.utc_us,
    )
    for view in [it for it in book.positions.values() if it.quantity]:
        run = running(book, view.contract_id)
        if run is None:
            put_on_record(work, cause, view.contract_id, latches=False)
        elif run.is_partial:
            joined(work, run, cause, view.contract_id, latches=False)


def _may_act(book: Book) -> bool:
    """Say whether the firm leaves the account to us: what it closes, we do not close as well."""
    return book.account is None or book.account.can_trade


# -- the floor -------------------------------------------------------------------------------------


def _keep_the_floor(work: Workbench, now: Standing) -> None:
    """Latch at the floor, as long as the account stands there; an assumed one only refuses."""
    book, left_micros = work.book, now.floor_left_micros
    floor, equity = now.floor, now.equity_micros
    if floor is None or left_micros is None or equity is None or left_micros > 0:
        return
    if floor.origin is FloorOrigin.ASSUMED:
        return
    if any(latch.kind is LatchKind.DRAWDOWN for latch in book.latches):
        return
    cause = (
        f"the account is worth {money(equity):f} dollars with what is open, and its floor is "
        f"{money(floor.micros):f} (best close {money(floor.high_close_micros or 0):f})"
    )
    latched(
        work,
        Latch(kind=LatchKind.DRAWDOWN, cause=cause, operator=RULES, utc_us=work.utc_us),
    )
    work.alert(
        Severity.CRITICAL,
        AlertCode.MAX_LOSS_REACHED,
        f"{cause}. Nothing is taken on until a person resumes, and it latches again while the "
        "account stands there.",
    )
    if _may_act(book) and any(view.quantity for view in book.positions.values()):
        begin(work, cause=f"maximum loss: {cause}", operator=RULES)


def _tell_of_the_floor(work: Workbench, limits: AccountLimits) -> None:
    floor = standing(work.book, limits).floor
    if floor is None or floor.origin is not FloorOrigin.ASSUMED:
        return
    work.alert(
        Severity.WARNING,
        AlertCode.ACCOUNT_FLOOR_ASSUMED,
        "The trades that the venue still shows do not add up to the account's balance, so its best "
        f"end-of-day balance is not known. The floor is taken to be {money(floor.micros):f}, the "
        "strictest there can be. Set ACCOUNT_HIGH_CLOSE to the best end-of-day balance as the firm "
        "shows it, and start again.",
    )


# -- the firm --------------------------------------------------------------------------------------


def firm_liquidated(work: Workbench) -> None:
    """Take the day for over when the firm closed a position by itself."""
    book = work.book
    if book.trade_date and book.account_rules.firm_closed_on != book.trade_date:
        book.account_rules.firm_closed_on = book.trade_date
        work.warn(Tag.CRITICAL_SYSTEM, "firm_liquidated", trade_date=book.trade_date)


# -- stops in a row --------------------------------------------------------------------------------


def _count_stops(work: Workbench, limits: AccountLimits) -> None:
    """Count stops that lost, each once; a trade that won begins anew."""
    most = limits.cool_down_after_stops
    if most is None or not work.new_trades:
        return
    book, record = work.book, work.book.account_rules
    for trade in work.new_trades.values():
        result = trade.profit_and_loss_micros
        if trade.voided or result is None or trade.created_utc_us < record.day_from_utc_us:
            continue
        if result > 0:
            record.stops_in_a_row = 0
        elif (
            result < 0 and _is_of_a_stop(book, trade) and trade.broker_order_id not in record.stops
        ):
            record.stops[trade.broker_order_id] = None
            if len(record.stops) > STOPS_KEPT:
                del record.stops[next(iter(record.stops))]
            record.stops_in_a_row += 1
            if record.stops_in_a_row >= most:
                _cool_down(work, limits)


def _is_of_a_stop(book: Book, trade: BrokerTrade) -> bool:
    order = book.orders.get(book.client_of_broker_id.get(trade.broker_order_id, ""))
    if order is not None:
        return order.role is LegRole.STOP_LOSS or order.intent.type in STOP_ORDERS
    held = book.venue_orders.get(trade.broker_order_id)
    return held is not None and (held.role is LegRole.STOP_LOSS or held.row.type in STOP_ORDERS)


def _cool_down(work: Workbench, limits: AccountLimits) -> None:
    record = work.book.account_rules
    record.cool_until_ns = work.now_ns + limits.cool_down_ns
    record.cool_until_utc_us = work.utc_us + limits.cool_down_ns // MICROSECONDS
    work.alert(
        Severity.WARNING,
        AlertCode.COOL_DOWN,
        f"{count_text(record.stops_in_a_row, 'losing stop')} in a row: entries wait for "
        f"{limits.cool_down_ns // 1_000_000_000} s. Exits pass.",
    )
