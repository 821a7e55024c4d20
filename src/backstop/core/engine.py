"""One event in, one step out: the fold that every process of Backstop runs, live and at replay.

``step`` is deterministic: the same events with the same monotonic times lead to the same book and
the same commands. At replay the commands are dropped, for they were carried out or became UNKNOWN.
"""

from msgspec.structs import replace

from backstop.core import execution_verification as verification
from backstop.core import wishes
from backstop.core.audit_trail import fill_row, order_row, traded_order_row, venue_row
from backstop.core.book import (
    AUDIT_INTERVAL_NS,
    FIRST_LOOK_BACK_US,
    LATCHES_KEPT,
    ORDERS_KEPT,
    TRADES_KEPT,
    VENUE_ORDERS_KEPT,
    Book,
)
from backstop.core.evidence import (
    LOOK_BACK_US,
    apply_order_step,
    ask_for_audit,
    book_order_row,
    book_position_row,
    book_trade,
    contradiction,
    recount_trades,
)
from backstop.core.halting import cancel_entries_while_halted
from backstop.core.policy import SECOND_NS, Policy
from backstop.core.positions import distrusted
from backstop.core.protection import sweep_orphans, watch_contract
from backstop.core.reconciliation import book_audit, book_look_up, condensed
from backstop.core.step import Decision, DecisionKind, Step, Tag, Workbench
from backstop.core.trading_state import Latch
from backstop.domain.audit import AuditRow
from backstop.domain.commands import AuditAccount, LookUpOrder, Severity
from backstop.domain.events import (
    AccountAudited,
    AccountReported,
    Answer,
    CancelAnswered,
    CancelRequested,
    Fact,
    GuardStarted,
    HaltRequested,
    Hub,
    HubConnected,
    HubLost,
    InstrumentsLoaded,
    ModifyAnswered,
    ModifyRequested,
    OrderDispatched,
    OrderLookedUp,
    OrderReported,
    OrderRequested,
    PayloadRejected,
    PlaceAnswered,
    PositionReported,
    ResumeRequested,
    RiskEstimated,
    SessionEvicted,
    StrategySaved,
    TimerFired,
    TradeReported,
)
from backstop.domain.order import OrderState

HURRIES_MAX = 8
"""Doublings of the pause between early audits; the audit interval bounds it long before."""

AUDIT_ANSWER_LIMIT_NS = 20 * SECOND_NS
"""An audit that has not come back by then is asked for again."""

__all__ = ["condensed", "new_book", "next_deadline_ns", "step"]


def new_book(policy: Policy) -> Book:
    """Return the state before the first event."""
    return Book(policy=policy)


def next_deadline_ns(book: Book) -> int:
    """Return the monotonic time at which ``step`` wants a TimerFired; 0 for none."""
    due = [order.due_ns for order in book.live_orders() if order.due_ns]
    if book.audit.requested_ns:
        due.append(book.audit.requested_ns + AUDIT_ANSWER_LIMIT_NS)
    elif book.audit.due_ns:
        due.append(book.audit.due_ns)
    if book.sweep_due_ns:
        due.append(book.sweep_due_ns)
    return min(due, default=0)


def step(book: Book, event: Fact, now_ns: int) -> Step:
    """Fold ``event`` into ``book``; ``now_ns`` is monotonic time, never the wall clock."""
    work = Workbench(book=book, now_ns=now_ns, utc_us=event.utc_us)
    _apply(work, event)
    _look_at_clocks(work)
    for contract_id in work.touched_contracts:
        watch_contract(work, contract_id)
    sweep_orphans(work)
    cancel_entries_while_halted(work)
    result = _finish(work)
    _forget_the_oldest(book)
    return result


def _apply(work: Workbench, event: Fact) -> None:
    match event:
        case OrderReported():
            book_order_row(work, event.order)
        case TradeReported():
            book_trade(work, event.trade)
        case PositionReported():
            book_position_row(work, event.position)
        case AccountReported():
            if event.account.account_id == work.book.policy.account_id:
                work.book.account = event.account
        case OrderRequested():
            wishes.order_requested(work, event)
        case CancelRequested():
            wishes.cancel_requested(work, event)
        case ModifyRequested():
            wishes.modify_requested(work, event)
        case OrderDispatched():
            _order_dispatched(work, event)
        case PlaceAnswered():
            _place_answered(work, event)
        case CancelAnswered() | ModifyAnswered():
            _change_answered(work, event)
        case AccountAudited():
            book_audit(work, event)
        case OrderLookedUp():
            book_look_up(work, event)
        case TimerFired():
            _timer_fired(work)
        case HubConnected() | HubLost() | SessionEvicted():
            _hub_changed(work, event)
        case StrategySaved():
            work.book.strategy_states[event.strategy_id] = event.state
        case RiskEstimated():
            work.book.estimate = event
        case InstrumentsLoaded():
            _instruments_loaded(work, event)
        case GuardStarted():
            _guard_started(work, event)
        case HaltRequested():
            _halt_requested(work, event)
        case ResumeRequested():
            _resume_requested(work, event)
        case PayloadRejected():
            work.book.counters.rejected_payloads += 1
            work.alert(
                Severity.WARNING,
                "PAYLOAD_REJECTED",
                f"{event.source} {event.target} broke its schema: {event.fault}. Kept as it came.",
            )


# -- our requests and what came back -------------------------------------------------------------


def _order_dispatched(work: Workbench, event: OrderDispatched) -> None:
    order = work.book.orders.get(event.client_order_id)
    if order is not None:
        apply_order_step(
            work, verification.dispatched(order, utc_us=event.utc_us, now_ns=work.now_ns)
        )


def _place_answered(work: Workbench, event: PlaceAnswered) -> None:
    order = work.book.orders.get(event.client_order_id)
    if order is None:
        contradiction(work, f"answer for unknown order {event.client_order_id}")
        return
    apply_order_step(work, verification.answered(order, event, now_ns=work.now_ns))
    now = work.book.orders[event.client_order_id]
    recount_trades(work, now, cause="trades of the order")
    held = work.book.venue_orders.get(now.broker_order_id or 0)
    if held is not None:
        # Its row came before the answer told us that the order is ours.
        book_order_row(work, held.row)


def _change_answered(work: Workbench, event: CancelAnswered | ModifyAnswered) -> None:
    """A yes only means accepted; a no or silence says nothing about the order: read it."""
    what = "cancel" if isinstance(event, CancelAnswered) else "modify"
    work.note(
        Tag.ORDER,
        f"{what}_answered",
        broker_order_id=event.broker_order_id,
        answer=str(event.answer),
        message=event.message,
    )
    if event.answer is not Answer.YES:
        ask_for_audit(work)


# -- time ----------------------------------------------------------------------------------------


def _timer_fired(work: Workbench) -> None:
    timeout_ns = work.book.policy.execution_timeout_ns
    for order in list(work.book.live_orders()):
        apply_order_step(
            work,
            verification.on_time(
                order, utc_us=work.utc_us, now_ns=work.now_ns, timeout_ns=timeout_ns
            ),
        )


def _look_at_clocks(work: Workbench) -> None:
    """Ask for the account audit when it is due and none is under way."""
    clock = work.book.audit
    if clock.requested_ns and work.now_ns < clock.requested_ns + AUDIT_ANSWER_LIMIT_NS:
        return
    if not clock.due_ns or work.now_ns < clock.due_ns:
        return
    clock.requested_ns = work.now_ns
    clock.due_ns = work.now_ns + AUDIT_INTERVAL_NS
    clock.hurries = min(clock.hurries + 1, HURRIES_MAX) if clock.asked else 0
    clock.asked = False
    since_us = clock.cursor_utc_us or work.utc_us - FIRST_LOOK_BACK_US
    since_us = min(since_us, clock.reach_back_utc_us or since_us)
    clock.reach_back_utc_us = 0
    work.commands.append(
        AuditAccount(
            reason="interval" if work.book.recovered else "recovery",
            account_id=work.book.policy.account_id,
            since_utc_us=since_us - LOOK_BACK_US,
        )
    )


# -- links and life ------------------------------------------------------------------------------


def _hub_changed(work: Workbench, event: HubConnected | HubLost | SessionEvicted) -> None:
    book, links = work.book, work.book.links
    work.note(
        Tag.CRITICAL_SYSTEM,
        "hub_connected" if isinstance(event, HubConnected) else "hub_lost",
        hub=str(event.hub),
        generation=event.generation,
        reason=getattr(event, "reason", getattr(event, "message", "")),
    )
    up = isinstance(event, HubConnected)
    if event.hub is Hub.MARKET:
        if links.market_up and not up:
            links.market_lost_ns = work.now_ns
        links.market_up = up
    elif up:
        links.user_up, links.user_since_ns = True, work.now_ns
        # What happened before the subscription is only in the account's own records.
        book.audit.due_ns = work.now_ns
        book.audit.requested_ns = 0
    else:
        links.user_up = False
        for contract_id, view in book.positions.items():
            book.positions[contract_id] = distrusted(view)
    if isinstance(event, SessionEvicted):
        work.alert(
            Severity.CRITICAL,
            "SESSION_EVICTED",
            "The gateway sent GatewayLogout: another login may have taken this session. "
            "Entries wait until the account has been read again.",
        )


def _instruments_loaded(work: Workbench, event: InstrumentsLoaded) -> None:
    book = work.book
    for instrument in event.instruments:
        book.instruments[instrument.contract_id] = instrument
        if instrument.active:
            book.contract_of[instrument.symbol] = instrument.contract_id


def _guard_started(work: Workbench, event: GuardStarted) -> None:
    """Begin anew: monotonic times of an earlier process mean nothing, links are down."""
    book = work.book
    book.links.user_up = book.links.market_up = False
    book.links.market_lost_ns = work.now_ns
    book.links.user_since_ns = work.now_ns
    book.recovered = False
    book.audit.requested_ns = book.audit.due_ns = 0
    book.audit.hurries = 0
    book.audit.complete_ns = book.audit.complete_sent_ns = 0
    book.sweep_due_ns = 0
    book.asked.clear()
    book.entries.clear()
    for contract_id, view in book.positions.items():
        book.positions[contract_id] = replace(
            distrusted(view), evidence_ns=0, differing_ns=0, agreed_ns=0, naked_since_ns=0
        )
        if view.quantity:
            # How long it is naked counts anew, from now.
            work.touched_contracts[contract_id] = None
    for order in list(book.live_orders()):
        apply_order_step(
            work,
            verification.after_restart(order, utc_us=event.utc_us, now_ns=work.now_ns),
        )
    # Look-ups need the gateway; the orders' own deadlines ask for them once it is there.
    work.commands = [command for command in work.commands if not isinstance(command, LookUpOrder)]
    work.note(
        Tag.CRITICAL_SYSTEM,
        "guard_started",
        account_id=event.account_id,
        gateway_host=event.gateway_host,
        version=event.version,
        boot_id=event.boot_id,
        live_orders=len(book.live),
    )


def _halt_requested(work: Workbench, event: HaltRequested) -> None:
    book = work.book
    work.decision = Decision(kind=DecisionKind.ACCEPTED)
    held = any((it.cause, it.operator) == (event.reason, event.operator) for it in book.latches)
    if held or len(book.latches) >= LATCHES_KEPT:
        return
    latch = Latch(cause=event.reason, operator=event.operator, utc_us=event.utc_us)
    book.latches = (*book.latches, latch)
    work.alert(Severity.CRITICAL, "HALTED", f"Halted by {event.operator}: {event.reason}.")


def _resume_requested(work: Workbench, event: ResumeRequested) -> None:
    """Lift the latches for a person with a name and a reason, while nothing is in doubt."""
    book = work.book
    unknown = [it.client_order_id for it in book.live_orders() if it.state is OrderState.UNKNOWN]
    message = ""
    if unknown:
        message = f"the fate of {', '.join(unknown[:3])} is UNKNOWN ({len(unknown)} in all)"
    elif not event.operator.strip() or not event.reason.strip():
        message = "to resume takes a person with a name and a reason"
    if message:
        work.decision = Decision(kind=DecisionKind.NOT_POSSIBLE, message=message)
        return
    book.latches = ()
    work.decision = Decision(kind=DecisionKind.ACCEPTED)
    work.note(Tag.CRITICAL_SYSTEM, "resumed", operator=event.operator, reason=event.reason)


# -- the end of a step ---------------------------------------------------------------------------


def _finish(work: Workbench) -> Step:
    book = work.book
    rows: dict[str, AuditRow] = {}
    for client_order_id in work.touched_orders:
        order = book.orders[client_order_id]
        row = order_row(order, book.instruments[order.intent.contract_id])
        rows[row.order_id] = row
    for broker_order_id in work.touched_venue_orders:
        touched = book.venue_orders[broker_order_id]
        row = venue_row(
            touched,
            _symbol(book, touched.row.contract_id),
            filled_quantity=_filled(book, broker_order_id),
        )
        rows[row.order_id] = row
    for trade in work.new_trades.values():
        order_id = str(trade.broker_order_id)
        if order_id in rows or trade.broker_order_id in book.client_of_broker_id:
            continue
        venue_order = book.venue_orders.get(trade.broker_order_id)
        symbol = _symbol(book, trade.contract_id)
        filled = _filled(book, trade.broker_order_id)
        if venue_order is not None:
            rows[order_id] = venue_row(venue_order, symbol, filled_quantity=filled)
        else:
            rows[order_id] = traded_order_row(trade, symbol, filled_quantity=filled)
    return Step(
        commands=tuple(work.commands),
        order_rows=tuple(rows.values()),
        fill_rows=tuple(fill_row(trade) for trade in work.new_trades.values()),
        proofs_due=tuple(work.proofs_due),
        changed_orders=tuple(work.touched_orders),
        notes=tuple(work.notes),
        decision=work.decision,
    )


def _symbol(book: Book, contract_id: str) -> str:
    instrument = book.instruments.get(contract_id)
    return contract_id if instrument is None else instrument.symbol


def _filled(book: Book, broker_order_id: int) -> int:
    trades = (book.trades[trade_id] for trade_id in book.trades_of.get(broker_order_id, ()))
    return sum(trade.quantity for trade in trades if not trade.voided)


def _forget_the_oldest(book: Book) -> None:
    """Keep memory bounded: finished orders and old trades stay in the journal."""
    while len(book.orders) > ORDERS_KEPT:
        oldest = next((name for name in book.orders if name not in book.live), None)
        if oldest is None:
            break
        order = book.orders.pop(oldest)
        book.client_of_tag.pop(order.custom_tag, None)
        book.client_of_broker_id.pop(order.broker_order_id or 0, None)
    while len(book.venue_orders) > VENUE_ORDERS_KEPT:
        oldest_id = next((key for key in book.venue_orders if key not in book.live_venue), None)
        if oldest_id is None:
            break
        del book.venue_orders[oldest_id]
    for _ in range(len(book.trades) - TRADES_KEPT):
        _forget_trade(book, next(iter(book.trades)))


def _forget_trade(book: Book, trade_id: int) -> None:
    trade = book.trades[trade_id]
    if trade.broker_order_id in book.client_of_broker_id:
        # Its order is still held, and is made of its trades: look at it again a round later.
        book.trades.move_to_end(trade_id)
        return
    del book.trades[trade_id]
    others = tuple(it for it in book.trades_of[trade.broker_order_id] if it != trade_id)
    if others:
        book.trades_of[trade.broker_order_id] = others
    else:
        del book.trades_of[trade.broker_order_id]
    # The venue numbers its trades upwards: what is older than this one was counted.
    book.forgotten_trade_id = max(book.forgotten_trade_id or trade_id, trade_id)
