"""Books what the venue says: order rows, trades and positions, whichever way they came."""

from msgspec.structs import replace

from backstop.core import positions
from backstop.core.book import AUDIT_INTERVAL_NS, Book, VenueOrder
from backstop.core.clock_readings import search_from_us, snapshot_span
from backstop.core.execution_verification import (
    Ask,
    OrderStep,
    doubled,
    misregistered,
    reported,
    traded,
    with_trades,
)
from backstop.core.known_rows import is_restated
from backstop.core.reference_levels import LevelHistory, with_row
from backstop.core.restated_trades import restate, tell_restated
from backstop.core.reused_ids import handed_over, other_by_tag
from backstop.core.step import Tag, Workbench
from backstop.core.tracked_order import TrackedOrder, final_quantity, fits, is_of, newer_row
from backstop.core.undecided import (
    hold_row,
    hold_trade,
    is_undecided_row,
    is_undecided_trade,
)
from backstop.core.unowned_fills import number_that_may_be
from backstop.domain.broker import BrokerOrder, BrokerPosition, BrokerStatus, BrokerTrade
from backstop.domain.commands import LookUpOrder, Severity
from backstop.domain.numbers import count_text, plain
from backstop.domain.order import LegRole, OrderType, leg_of
from backstop.errors import InvalidTransitionError


def apply_order_step(work: Workbench, step: OrderStep) -> None:
    """Put the order of ``step`` into the book and ask what it asks."""
    order = step.order
    before = work.book.orders.get(order.client_order_id)
    work.keep(order)
    if order.broker_order_id is not None and (
        before is None or before.broker_order_id != order.broker_order_id
    ):
        _claim_legs(work, order.broker_order_id)
    match step.ask:
        case Ask.LOOK_UP:
            work.commands.append(
                LookUpOrder(
                    client_order_id=order.client_order_id,
                    custom_tag=order.custom_tag,
                    account_id=order.intent.account_id,
                    since_utc_us=search_from_us(work, order),
                    broker_order_id=_number_to_ask_for(work.book, order),
                    # A position may be naked for as long as nobody knows whether its stop works.
                    urgent=bool(work.book.liquidating) or order.role is not None,
                )
            )
        case Ask.AUDIT:
            ask_for_audit(work)
        case Ask.NOTHING:
            pass


def _number_to_ask_for(book: Book, order: TrackedOrder) -> int | None:
    if order.registered and order.broker_order_id is not None:
        return order.broker_order_id  # it may have been sent long before it was registered
    return number_that_may_be(book, order)


def ask_for_audit(work: Workbench) -> None:
    """Have the account read as soon as a read can say something new.

    Reads that settle nothing are repeated ever more slowly, for the venue counts our calls.
    """
    clock = work.book.audit
    due_ns = work.now_ns + min(positions.SETTLE_NS << clock.hurries, AUDIT_INTERVAL_NS)
    clock.due_ns = min(clock.due_ns or due_ns, due_ns)
    clock.asked = True


def book_order_row(work: Workbench, row: BrokerOrder) -> None:
    """Book one order row: of an order of ours, of a leg, or of somebody else."""
    book = work.book
    if _is_foreign_account(work, row.account_id):
        return
    book.audit.newest_utc_us = max(book.audit.newest_utc_us, row.created_utc_us, row.updated_utc_us)
    work.touched_contracts[row.contract_id] = None
    if is_undecided_row(book, row):
        hold_row(work, row)
        return
    book.doubt.rows.pop(row.broker_order_id, None)
    client_order_id = book.client_of_broker_id.get(row.broker_order_id)
    if client_order_id is None and row.custom_tag is not None:
        client_order_id = book.client_of_tag.get(row.custom_tag)
    if client_order_id is None:
        _book_venue_order(work, row)
        return
    order = book.orders[client_order_id]
    other = other_by_tag(work, row, order)
    if other is not None:
        if not handed_over(work, row, holder=order, other=other):
            return
        order = other
        client_order_id = order.client_order_id
    if not is_of(order, row.contract_id, row.side):
        what = f"{row.side} {row.quantity} {row.contract_id}"
        if _is_anothers(work, order, row.broker_order_id, what):
            _book_venue_order(work, row)
        return
    if row.broker_order_id in order.refused_twins:
        return
    if not fits(order, row.contract_id, row.side):
        _mismatched(work, order, row)
        return
    try:
        if order.broker_order_id in {None, row.broker_order_id}:
            order = _with_levels(book, order, row.broker_order_id)
            row = _taken_over(work, row)
            found: OrderStep | None = reported(order, row, utc_us=work.utc_us)
        else:
            found = doubled(order, row, utc_us=work.utc_us, now_ns=work.now_ns)
    except InvalidTransitionError as error:
        contradiction(work, str(error))
        return
    if found is None:
        if row.broker_order_id not in book.venue_orders:
            _doubled_order(work, order, row)
        _book_venue_order(work, row)
        return
    apply_order_step(work, found)
    now = book.orders[client_order_id]
    if not _has_its_trades(book, now):
        recount_trades(work, now, cause="trades of the order")


def _has_its_trades(book: Book, order: TrackedOrder) -> bool:
    """Say whether the trades of ``order`` are those booked under its number, none of them voided.

    To count them all again for every row of an order with many fills would cost more than the row.
    """
    if order.voided_quantity or order.broker_order_id is None:
        return False
    booked = book.trades_of.get(order.broker_order_id, ())
    of_this_number = not order.fills or order.fills[0].broker_order_id == order.broker_order_id
    return of_this_number and len(order.fills) == len(booked)


def _doubled_order(work: Workbench, order: TrackedOrder, row: BrokerOrder) -> None:
    """Tell a person of the worst there is: one intent that stands at the venue twice."""
    work.book.counters.contradictions += 1
    work.alert(
        Severity.CRITICAL if row.status.is_live else Severity.WARNING,
        "ORDER_DOUBLED",
        f"Order {order.client_order_id} is order {order.broker_order_id} at the venue, and "
        f"{row.broker_order_id} carries its tag as well; both count.",
    )


def _mismatched(work: Workbench, order: TrackedOrder, row: BrokerOrder) -> None:
    """Tell a person once of a row that names our order and cannot be of it; the order stays as is.

    Under a number of its own it is booked as an order of somebody else: it may fill.
    """
    work.book.counters.contradictions += 1
    number = row.broker_order_id
    if number not in work.book.client_of_broker_id:
        _book_venue_order(work, row)
    told = f"{row.side} {row.quantity} {row.contract_id}"
    if order.told_as == told:
        return
    work.keep(replace(order, told_as=told))
    intent = order.intent
    work.alert(
        Severity.CRITICAL,
        "ORDER_MISMATCHED",
        f"The venue tells order {order.client_order_id} ({number}) as {told}, and it is "
        f"{intent.side} {intent.quantity} {intent.contract_id}: that proves nothing for the order. "
        "Compare orders with the venue's own list.",
    )


def _is_anothers(work: Workbench, order: TrackedOrder, broker_order_id: int, what: str) -> bool:
    """Say whether what the venue calls ``broker_order_id`` is not the order that was registered.

    A person is told once. What the venue first showed as the registered order stays that.
    """
    if broker_order_id in order.refused_twins:
        return True
    if order.is_shown and broker_order_id == order.broker_order_id:
        contradiction(work, f"order {order.client_order_id} ({broker_order_id}) is told as {what}")
        return False
    told = f"order {broker_order_id} at the venue is {what}"
    apply_order_step(
        work,
        misregistered(order, other_id=broker_order_id, told=told, utc_us=work.utc_us),
    )
    work.book.counters.contradictions += 1
    registered = f"{order.intent.side} {order.intent.quantity} {order.intent.contract_id}"
    work.alert(
        Severity.CRITICAL,
        "ORDER_MISREGISTERED",
        f"Order {order.client_order_id} was registered as {registered}, and {told}: that one "
        "counts as an order of somebody else.",
    )
    return True


def _taken_over(work: Workbench, row: BrokerOrder) -> BrokerOrder:
    """Return ``row`` with what was held of it before it was known to be of an order of ours."""
    held = work.book.venue_orders.pop(row.broker_order_id, None)
    if held is None:
        return row
    of_another = (held.row.contract_id, held.row.side) != (row.contract_id, row.side)
    work.book.live_venue.pop(row.broker_order_id, None)
    work.book.unlisted.pop(row.broker_order_id, None)
    work.touched_venue_orders.pop(row.broker_order_id, None)
    return row if of_another else newer_row(held.row, row)


def _with_levels(book: Book, order: TrackedOrder, broker_order_id: int) -> TrackedOrder:
    """Return ``order`` with where it stood before it was known to be of ours."""
    held = book.venue_orders.get(broker_order_id)
    return order if held is None else replace(order, levels_seen=held.levels_seen)


def _claim_legs(work: Workbench, parent_order_id: int) -> None:
    """Give an order the legs that were heard of before its broker id was."""
    for venue_order in list(work.book.live_venue_orders()):
        if venue_order.owner is None and venue_order.row.parent_order_id == parent_order_id:
            _book_venue_order(work, venue_order.row)


def recount_trades(work: Workbench, order: TrackedOrder, *, cause: str) -> None:
    """Give ``order`` exactly the trades that are booked under its broker id."""
    book = work.book
    number = order.broker_order_id
    if number is None or book.client_of_broker_id.get(number) != order.client_order_id:
        return
    held = (book.trades[trade_id] for trade_id in book.trades_of.get(number, ()))
    trades = [trade for trade in held if fits(order, trade.contract_id, trade.side)]
    try:
        counted = traded(order, trades, cause=cause, utc_us=work.utc_us)
    except InvalidTransitionError as error:
        # The state stays as it is; the trades, and above all the voided ones, count all the same.
        contradiction(work, str(error))
        counted = OrderStep(order=with_trades(order, trades))
    apply_order_step(work, counted)
    now = book.orders[order.client_order_id]
    if now.filled_quantity > final_quantity(now) >= order.filled_quantity:
        work.alert(
            Severity.CRITICAL,
            "OVERFILL",
            f"Order {now.client_order_id} asked for {count_text(final_quantity(now), 'contract')} "
            f"and trades say {now.filled_quantity}; the position counts in full.",
        )


def _book_venue_order(work: Workbench, row: BrokerOrder) -> None:
    book = work.book
    held = book.venue_orders.get(row.broker_order_id)
    believed = newer_row(held.row if held is not None else None, row)
    owner, role = _leg_of(work, believed)
    seen = LevelHistory() if held is None else held.levels_seen
    venue_order = VenueOrder(
        row=believed,
        owner=owner,
        role=role,
        levels_seen=with_row(seen, row, believed.type, believed.side),
    )
    if held == venue_order:
        return
    book.venue_orders[row.broker_order_id] = venue_order
    if believed.status.is_live:
        book.live_venue[row.broker_order_id] = None
    else:
        for by_id in (book.live_venue, book.unlisted, book.asked, book.aligned):
            by_id.pop(row.broker_order_id, None)
    work.touched_venue_orders[row.broker_order_id] = None
    if held is None or held.row.status is not believed.status:
        _suspect_position(work, believed)
        work.note(
            Tag.ORDER,
            "leg_state" if owner is not None else "foreign_order",
            broker_order_id=row.broker_order_id,
            status=str(believed.status),
            owner=owner or "",
            custom_tag=believed.custom_tag or "",
        )


def _suspect_position(work: Workbench, row: BrokerOrder) -> None:
    """A leg opens when its entry fills: that contract may be flat no longer."""
    view = work.book.positions.get(row.contract_id)
    if view is not None and row.status is BrokerStatus.OPEN:
        work.book.positions[row.contract_id] = positions.in_motion(view, now_ns=work.now_ns)


def _leg_of(work: Workbench, row: BrokerOrder) -> tuple[str | None, LegRole | None]:
    """Return the entry a row is a leg of, by its parent's id or by its tag, and its role."""
    book = work.book
    entry_tag, role = leg_of(row.custom_tag) or ("", None)
    # The tag first: it is our own name for the entry, while an id is the venue's.
    owner = book.client_of_tag.get(entry_tag)
    if owner is None and row.parent_order_id is not None:
        owner = book.client_of_broker_id.get(row.parent_order_id)
    if owner is not None and role is None:
        stop = row.type in {OrderType.STOP, OrderType.TRAILING_STOP}
        role = LegRole.STOP_LOSS if stop else LegRole.TAKE_PROFIT
    return owner, role


def book_trade(work: Workbench, trade: BrokerTrade, *, seen_ns: int | None = None) -> None:
    """Book one trade, once for ever; a voided one is taken back, also when it comes first.

    ``seen_ns`` is when the read that shows it was sent; None: it was pushed just now.
    """
    book = work.book
    if _is_foreign_account(work, trade.account_id):
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
    book.trades[trade.trade_id] = trade
    book.new_trades.pop(trade.trade_id, None)
    if held is None:
        others = book.trades_of.get(trade.broker_order_id, ())
        book.trades_of[trade.broker_order_id] = (*others, trade.trade_id)
    work.new_trades[trade.trade_id] = trade
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
    trade = restate(work, held, told, seen_ns=seen_ns)
    numbers = dict.fromkeys((held.broker_order_id, trade.broker_order_id))
    for name in dict.fromkeys(book.client_of_broker_id.get(number) for number in numbers):
        if name is not None:
            recount_trades(work, book.orders[name], cause=f"trade {trade.trade_id} told anew")


def _learn_costs(work: Workbench, held: BrokerTrade, told: BrokerTrade) -> None:
    """Take over commissions that the first telling of a trade lacked: only the hub states them."""
    if told.commissions_micros <= held.commissions_micros:
        return
    trade = replace(held, commissions_micros=told.commissions_micros)
    work.book.trades[trade.trade_id] = work.new_trades[trade.trade_id] = trade
    order = _order_of(work, trade)
    if order is not None:
        recount_trades(work, order, cause=f"costs of trade {trade.trade_id}")


def _order_of(work: Workbench, trade: BrokerTrade) -> TrackedOrder | None:
    """Return the order of ours that a trade belongs to; None: of an order that is not ours."""
    client_order_id = work.book.client_of_broker_id.get(trade.broker_order_id)
    if client_order_id is None:
        return None
    order = work.book.orders[client_order_id]
    if fits(order, trade.contract_id, trade.side):
        return order
    what = f"{trade.side} {trade.quantity} {trade.contract_id}"
    if order.registered:
        _is_anothers(work, order, trade.broker_order_id, what)
        return None
    work.book.counters.contradictions += 1
    intent = order.intent
    work.alert(
        Severity.CRITICAL,
        "TRADE_MISMATCHED",
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


def book_position_row(work: Workbench, row: BrokerPosition) -> None:
    """Book a position row that the hub pushed."""
    book = work.book
    if _is_foreign_account(work, row.account_id):
        return
    view = positions.after_row(
        book.position(row.contract_id), row.quantity, row.average_price, now_ns=work.now_ns
    )
    book.positions[row.contract_id] = view
    work.touched_contracts[row.contract_id] = None
    if not view.is_agreed:
        # Its trade is on the way, or lost: read the account once it had time to settle.
        ask_for_audit(work)


def book_position_read(
    work: Workbench, contract_id: str, row: BrokerPosition | None, *, sent_ns: int
) -> None:
    """Weigh what a complete read says of one contract; no row is one reading of flat."""
    book = work.book
    held = book.position(contract_id)
    view, delta = positions.after_read(
        held,
        0 if row is None else row.quantity,
        None if row is None else row.average_price,
        sent_ns=sent_ns,
        taken=snapshot_span(work, sent_ns),
    )
    if not view.is_settled:
        ask_for_audit(work)
    if view == held:
        return
    book.positions[contract_id] = view
    work.touched_contracts[contract_id] = None
    if delta:
        book.counters.adjustments += 1
        work.adjustments[contract_id] = delta
        work.alert(
            Severity.CRITICAL,
            "POSITION_ADJUSTED",
            f"Two fresh reads say {view.quantity:+d} {contract_id} and the trades we know add up "
            f"to {view.quantity - delta:+d}: the broker is believed.",
        )


def _is_foreign_account(work: Workbench, account_id: int) -> bool:
    """Say, and count, whether a row is of an account that is not ours to guard."""
    if account_id == work.book.policy.account_id:
        return False
    work.book.counters.foreign_accounts += 1
    return True


def contradiction(work: Workbench, what: str) -> None:
    """Count and report a fact that cannot be true together with what is known."""
    work.book.counters.contradictions += 1
    work.alert(Severity.WARNING, "CONTRADICTION", what)
