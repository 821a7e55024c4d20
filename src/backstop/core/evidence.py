"""Books what the venue says: order rows, trades and positions, whichever way they came."""

from backstop.core import positions
from backstop.core.book import LegRole, VenueOrder
from backstop.core.execution_verification import Ask, OrderStep, reported, traded
from backstop.core.step import Tag, Workbench
from backstop.core.tracked_order import TrackedOrder, final_quantity, newer_row
from backstop.domain.broker import BrokerOrder, BrokerPosition, BrokerTrade
from backstop.domain.commands import LookUpOrder, Severity
from backstop.domain.numbers import plain
from backstop.domain.order import TAG_PREFIX, OrderType
from backstop.errors import InvalidTransitionError

LEG_SUFFIXES = {"-SL": LegRole.STOP_LOSS, "-TP": LegRole.TAKE_PROFIT}
"""The venue names bracket legs after the tag of their entry."""

LOOK_BACK_US = 60_000_000
"""Searches begin this long before the intent: the venue's clock is not ours."""


def apply_order_step(work: Workbench, step: OrderStep) -> None:
    """Put the order of ``step`` into the book and ask what it asks."""
    order = step.order
    work.keep(order)
    match step.ask:
        case Ask.LOOK_UP:
            work.commands.append(
                LookUpOrder(
                    client_order_id=order.client_order_id,
                    custom_tag=order.custom_tag,
                    account_id=order.intent.account_id,
                    since_utc_us=order.requested_utc_us - LOOK_BACK_US,
                )
            )
        case Ask.AUDIT:
            ask_for_audit(work)
        case Ask.NOTHING:
            pass


def ask_for_audit(work: Workbench) -> None:
    """Have the account read as soon as a read can say something new."""
    due_ns = work.now_ns + positions.SETTLE_NS
    clock = work.book.audit
    clock.due_ns = min(clock.due_ns or due_ns, due_ns)


def book_order_row(work: Workbench, row: BrokerOrder) -> None:
    """Book one order row: of an order of ours, of a leg, or of somebody else."""
    book = work.book
    if row.account_id != book.policy.account_id:
        return
    work.touched_contracts[row.contract_id] = None
    client_order_id = book.client_of_broker_id.get(row.broker_order_id)
    if client_order_id is None and row.custom_tag is not None:
        client_order_id = book.client_of_tag.get(row.custom_tag)
    if client_order_id is None:
        _book_venue_order(work, row)
        return
    order = book.orders[client_order_id]
    if row.broker_order_id in order.refused_twins:
        return
    if order.broker_order_id not in {None, row.broker_order_id}:
        # Same tag, other id: a refused twin of a request that had arrived already.
        _contradiction(work, f"tag {row.custom_tag} stands on order {row.broker_order_id} as well")
        return
    if book.venue_orders.pop(row.broker_order_id, None) is not None:
        work.touched_venue_orders.pop(row.broker_order_id, None)
    try:
        apply_order_step(work, reported(order, row, utc_us=work.utc_us))
    except InvalidTransitionError as error:
        _contradiction(work, str(error))
        return
    recount_trades(work, book.orders[client_order_id], cause="trades of the order")


def recount_trades(work: Workbench, order: TrackedOrder, *, cause: str) -> None:
    """Give ``order`` exactly the trades that are booked under its broker id."""
    book = work.book
    if order.broker_order_id is None:
        return
    trades = [book.trades[trade_id] for trade_id in book.trades_of.get(order.broker_order_id, ())]
    try:
        apply_order_step(work, traded(order, trades, cause=cause, utc_us=work.utc_us))
    except InvalidTransitionError as error:
        _contradiction(work, str(error))
        return
    now = book.orders[order.client_order_id]
    if now.filled_quantity > final_quantity(now) >= order.filled_quantity:
        work.alert(
            Severity.CRITICAL,
            "OVERFILL",
            f"Order {now.client_order_id} asked for {final_quantity(now)} contracts and "
            f"{now.filled_quantity} were filled; the position counts in full.",
        )


def _book_venue_order(work: Workbench, row: BrokerOrder) -> None:
    book = work.book
    held = book.venue_orders.get(row.broker_order_id)
    believed = newer_row(held.row if held is not None else None, row)
    owner, role = _leg_of(work, believed)
    venue_order = VenueOrder(row=believed, owner=owner, role=role)
    if held == venue_order:
        return
    book.venue_orders[row.broker_order_id] = venue_order
    work.touched_venue_orders[row.broker_order_id] = None
    if held is None or held.row.status is not believed.status:
        work.note(
            Tag.ORDER,
            "leg_state" if owner is not None else "foreign_order",
            broker_order_id=row.broker_order_id,
            status=str(believed.status),
            owner=owner or "",
            custom_tag=believed.custom_tag or "",
        )


def _leg_of(work: Workbench, row: BrokerOrder) -> tuple[str | None, LegRole | None]:
    """Return the entry a row is a leg of, by its parent's id or by its tag, and its role."""
    book = work.book
    tag = row.custom_tag or ""
    role = LEG_SUFFIXES.get(tag[-3:])
    owner = None
    if row.parent_order_id is not None:
        owner = book.client_of_broker_id.get(row.parent_order_id)
    if owner is None and role is not None and tag.startswith(TAG_PREFIX):
        owner = book.client_of_tag.get(tag[:-3])
    if owner is not None and role is None:
        stop = row.type in {OrderType.STOP, OrderType.TRAILING_STOP}
        role = LegRole.STOP_LOSS if stop else LegRole.TAKE_PROFIT
    return owner, role


def book_trade(work: Workbench, trade: BrokerTrade) -> None:
    """Book one trade, once for ever; a voided one is taken back, also when it comes first."""
    book = work.book
    if trade.account_id != book.policy.account_id:
        return
    held = book.trades.get(trade.trade_id)
    if held is not None and (held.voided or not trade.voided):
        book.counters.duplicate_trades += 1
        return
    book.trades[trade.trade_id] = trade
    if held is None:
        known = book.trades_of.get(trade.broker_order_id, ())
        book.trades_of[trade.broker_order_id] = (*known, trade.trade_id)
    work.new_trades[trade.trade_id] = trade
    effect = _effect(held, trade)
    if effect:
        view = positions.after_trade(
            book.position(trade.contract_id),
            effect,
            traded_utc_us=trade.created_utc_us,
            now_ns=work.now_ns,
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
    client_order_id = book.client_of_broker_id.get(trade.broker_order_id)
    if client_order_id is not None:
        recount_trades(work, book.orders[client_order_id], cause=f"trade {trade.trade_id}")
    elif trade.broker_order_id not in book.venue_orders:
        # An order we have not heard of: the position counts at once, its order is read.
        ask_for_audit(work)


def _effect(held: BrokerTrade | None, trade: BrokerTrade) -> int:
    """Return by how many signed contracts a newly told trade moves the position."""
    signed = trade.side.sign * trade.quantity
    if held is None:
        return 0 if trade.voided else signed
    return -signed  # it counted before, and is voided now


def book_position_row(work: Workbench, row: BrokerPosition) -> None:
    """Book a position row that the hub pushed."""
    book = work.book
    if row.account_id != book.policy.account_id:
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
        utc_us=work.utc_us,
    )
    if view == held:
        return
    book.positions[contract_id] = view
    work.touched_contracts[contract_id] = None
    if view.differing is not None:
        ask_for_audit(work)
    if delta:
        book.counters.adjustments += 1
        work.alert(
            Severity.CRITICAL,
            "POSITION_ADJUSTED",
            f"Two fresh reads say {view.quantity:+d} {contract_id} and the trades we know add up "
            f"to {view.quantity - delta:+d}: the broker is believed.",
        )


def _contradiction(work: Workbench, what: str) -> None:
    work.book.counters.contradictions += 1
    work.alert(Severity.WARNING, "CONTRADICTION", what)
