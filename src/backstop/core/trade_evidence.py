"""Books a trade, once for ever, and gives each order exactly the trades of its number."""

from msgspec.structs import replace

from backstop.core import positions
from backstop.core.evidence import (
    apply_order_step,
    ask_for_audit,
    contradiction,
    is_anothers,
    is_foreign_account,
)
from backstop.core.execution_verification import OrderStep, traded, with_trades
from backstop.core.known_rows import is_restated
from backstop.core.order_trades import owner_of, trades_of_order
from backstop.core.restated_trades import restate, tell_restated
from backstop.core.step import Tag, Workbench
from backstop.core.tracked_order import TrackedOrder, final_quantity, fits
from backstop.core.undecided import (
    hold_trade,
    is_undecided_trade,
)
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerTrade
from backstop.domain.commands import Severity
from backstop.domain.numbers import count_text, plain
from backstop.errors import InvalidTransitionError


def book_trade(work: Workbench, trade: BrokerTrade, *, seen_ns: int | None = None) -> None:
    """Book one trade, once for ever; a voided one is taken back, also when it comes first.

    ``seen_ns`` is when the read that shows it was sent; None: it was pushed just now.
    """
    book = work.book
    if is_foreign_account(work, trade.account_id):
        return
    book.audit.newest_utc_us = max(book.audit.newest_utc_us, trade.created_utc_us)
    held = book.trades.get(trade.trade_id)
    if held is None and is_undecided_trade(book, trade):
        if hold_trade(work, trade):
            view = book.position(trade.contract_id)
            book.positions[trade.contract_id] = positions.in_motion(view, now_ns=work.now_ns)
            work.touched_contracts[trade.contract_id] = None
            ask_for_audit(work)
        return
    book.doubt.trades.pop(trade.trade_id, None)
    if held is None:
        old = book.forgotten_trade_id is not None and trade.trade_id <= book.forgotten_trade_id
        known = old and trade.trade_id not in book.new_trades
    else:
        known = held.voided or not trade.voided
    if known:
        book.counters.duplicate_trades += 1
        if held is not None:
            _told_again(work, held, trade, seen_ns=seen_ns)
        return
    if held is not None:
        # A void takes back the trade that was counted, whatever else its row says.
        trade = replace(held, voided=True, raw=trade.raw or held.raw)
    work.count(trade)
    book.new_trades.pop(trade.trade_id, None)
    if held is None:
        others = book.trades_of.get(trade.broker_order_id, ())
        book.trades_of[trade.broker_order_id] = (*others, trade.trade_id)
    effect = _effect(held, trade)
    if effect:
        held_view = book.position(trade.contract_id)
        if not positions.is_certain(held_view, trade.created_utc_us):
            ask_for_audit(work)
        view = positions.after_trade(
            held_view,
            effect,
            traded_utc_us=trade.created_utc_us,
            now_ns=work.now_ns if seen_ns is None else seen_ns,
            corrects=held is not None,
        )
        book.positions[trade.contract_id] = view
        work.touched_contracts[trade.contract_id] = None
    work.note(
        Tag.TRADE,
        "trade_voided" if trade.voided else "trade_booked",
        trade_id=trade.trade_id,
        broker_order_id=trade.broker_order_id,
        side=str(trade.side),
        quantity=trade.quantity,
        price=f"{plain(trade.price):f}",
        position=book.position(trade.contract_id).quantity,
    )
    order = _order_of(work, trade)
    if order is not None:
        if held is None and not order.registered:  # of another's order nobody knows when it left
            book.venue_clock.heard(trade.created_utc_us, after_ns=order.sent_ns, now_ns=work.now_ns)
        recount_trades(work, order, cause=f"trade {trade.trade_id}")
    elif trade.broker_order_id not in book.venue_orders:
        # An order we have not heard of: the position counts at once, its order is read.
        ask_for_audit(work)


def _told_again(
    work: Workbench, held: BrokerTrade, told: BrokerTrade, *, seen_ns: int | None
) -> None:
    """Take what is new from another telling of a trade that was counted."""
    book = work.book
    if not is_restated(held, told):
        _learn_costs(work, held, told)
        return
    tell_restated(work, held, told, stands=seen_ns is not None)
    if seen_ns is None:
        ask_for_audit(work)
        return
    before = owner_of(book, held)
    trade = restate(work, held, told, seen_ns=seen_ns)
    owners = (it for it in (before, owner_of(book, trade)) if it is not None)
    for name in dict.fromkeys(order.client_order_id for order in owners):
        recount_trades(work, book.orders[name], cause=f"trade {trade.trade_id} told anew")


def _learn_costs(work: Workbench, held: BrokerTrade, told: BrokerTrade) -> None:
    """Take over commissions that the first telling of a trade lacked: only the hub states them."""
    if told.commissions_micros <= held.commissions_micros:
        return
    trade = replace(held, commissions_micros=told.commissions_micros)
    work.count(trade)
    order = _order_of(work, trade)
    if order is not None:
        recount_trades(work, order, cause=f"costs of trade {trade.trade_id}")


def recount_trades(work: Workbench, order: TrackedOrder, *, cause: str) -> None:
    """Give ``order`` exactly the trades that are booked as its own."""
    if order.broker_order_id is None:
        return
    trades = trades_of_order(work.book, order)
    try:
        counted = traded(order, trades, cause=cause, utc_us=work.utc_us)
    except InvalidTransitionError as error:
        # The state stays as it is; the trades, and above all the voided ones, count all the same.
        contradiction(work, str(error))
        counted = OrderStep(order=with_trades(order, trades))
    apply_order_step(work, counted)
    now = work.book.orders[order.client_order_id]
    if now.filled_quantity > final_quantity(now) >= order.filled_quantity:
        work.alert(
            Severity.CRITICAL,
            AlertCode.OVERFILL,
            f"Order {now.client_order_id} asked for {count_text(final_quantity(now), 'contract')} "
            f"and trades say {now.filled_quantity}; the position counts in full.",
        )


def _order_of(work: Workbench, trade: BrokerTrade) -> TrackedOrder | None:
    """Return the order of ours that a trade belongs to; None: of an order that is not ours."""
    order = owner_of(work.book, trade)
    if order is None or fits(order, trade.contract_id, trade.side):
        return order
    what = f"{trade.side} {trade.quantity} {trade.contract_id}"
    if order.registered:
        is_anothers(work, order, trade.broker_order_id, what)
        return None
    work.book.counters.contradictions += 1
    intent = order.intent
    work.alert(
        Severity.CRITICAL,
        AlertCode.TRADE_MISMATCHED,
        f"Trade {trade.trade_id} of order {order.client_order_id} is {what}, and the order is "
        f"{intent.side} {intent.quantity} {intent.contract_id}: it counts in the position and "
        "proves nothing for the order.",
    )
    return None


def _effect(held: BrokerTrade | None, trade: BrokerTrade) -> int:
    """Return by how many signed contracts a newly told trade moves the position."""
    if held is None:
        return 0 if trade.voided else trade.side.sign * trade.quantity
    return -held.side.sign * held.quantity  # what was counted before is voided now
