"""One event in, one step out: the fold that every process of Backstop runs, live and at replay.

``step`` is deterministic: the same events with the same monotonic times lead to the same book and
the same commands. At replay the commands are dropped, for they were carried out or became UNKNOWN.
"""

from msgspec.structs import replace

from backstop.core import (
    emergency_liquidation,
    lifecycle,
    order_changes,
    protection_changes,
    supervision,
    wishes,
)
from backstop.core import execution_verification as verification
from backstop.core.account_reads import next_read_ns, read_when_due
from backstop.core.account_rules.bookkeeping import follow_the_money
from backstop.core.account_rules.changes import limits_change_requested
from backstop.core.account_rules.watch import keep_account_rules
from backstop.core.alerting import alert_acknowledged, remind
from backstop.core.audit_trail import fill_row, order_row, traded_order_row, venue_row
from backstop.core.book import Book
from backstop.core.bots import bot_changed, bot_registered, bot_signed_off, close_for_bots
from backstop.core.cancels_followed import cancel_again, cancel_answered, cancels_restarted
from backstop.core.catastrophe import watch_for_blindness
from backstop.core.changes_followed import change_answered, changes_restarted, size_answered
from backstop.core.clock_readings import clock_read
from backstop.core.closing import close_answered
from backstop.core.contradictions import freeze_entries
from backstop.core.drop_copy import market_noted, watch_bot
from backstop.core.evidence import (
    apply_order_step,
    ask_for_audit,
    contradiction,
    look_up_due,
)
from backstop.core.exits_beyond import shrink_exits
from backstop.core.exposure_watch import watch_exposure
from backstop.core.external_trading import watch_others
from backstop.core.foreign_entries import cancel_entries_of_bot
from backstop.core.forgetting import forget_the_oldest, past_recalled
from backstop.core.halting import cancel_entries_while_halted
from backstop.core.hours_kept import keep_hours, sessions_scheduled
from backstop.core.journal_outage import (
    journal_changed,
    outages_restarted,
    state_file_failed,
    tell_recovery,
)
from backstop.core.left_alone import (
    left_alone,
    liquidate_what_was_left_alone,
    note_guarding,
)
from backstop.core.leg_changes import leg_change_requested
from backstop.core.lifecycle import MACHINE
from backstop.core.limit_trials import limits_tried
from backstop.core.login_access import access_changed
from backstop.core.moves_followed import move_answered, moves_restarted
from backstop.core.order_evidence import book_order_row
from backstop.core.policy import Policy
from backstop.core.position_close import close_requested
from backstop.core.position_evidence import book_position_row
from backstop.core.protection import protect, protection_restarted
from backstop.core.protection_wishes import (
    brackets_answered,
    protection_requested,
    stop_given_up,
)
from backstop.core.reconciliation import book_audit, book_look_up, condensed
from backstop.core.record_soundness import record_checked
from backstop.core.registered_orders import order_registered
from backstop.core.repeated_executions import count_executions
from backstop.core.repeated_requests import marked, note_answer, note_cancels
from backstop.core.slippage_breaches import count_breaches, follow_moves, level_answered
from backstop.core.standing_latches import latches_handed_over, records_lost
from backstop.core.standstill import stood_still
from backstop.core.start_findings import tell_unreached
from backstop.core.step import Step, Tag, Workbench
from backstop.core.strategies import strategy_failed
from backstop.core.trade_evidence import book_trade, recount_trades
from backstop.core.undecided import past_changed
from backstop.core.watch_alerts import watch_alerts_handed_over
from backstop.domain.alert_code import AlertCode
from backstop.domain.audit import AuditRow
from backstop.domain.broker import BrokerTrade
from backstop.domain.commands import Severity
from backstop.domain.events import (
    AccountAudited,
    AccountHistoryRead,
    AccountReported,
    AlertAcknowledged,
    AlertChannelUnreached,
    Answer,
    BotFellSilent,
    BotGivenUp,
    BotRegistered,
    BotReturned,
    BotSignedOff,
    CancelAnswered,
    CancelRequested,
    CloseRequested,
    EmergencyRunRecorded,
    Fact,
    GuardStarted,
    GuardStoodStill,
    HaltRequested,
    HubConnected,
    HubLost,
    InstrumentsLoaded,
    JournalFailed,
    JournalRecovered,
    LatchesHandedOver,
    LegChangeRequested,
    LifeFact,
    LimitsChangeRequested,
    LiquidationRequested,
    LoginAccepted,
    LoginRefused,
    MarketNoted,
    ModifyAnswered,
    ModifyRequested,
    OrderDispatched,
    OrderLookedUp,
    OrderRegistered,
    OrderReported,
    OrderRequested,
    PastReadable,
    PastRecalled,
    PastUnreadable,
    PayloadRejected,
    PlaceAnswered,
    PositionCloseAnswered,
    PositionReported,
    PositionsPriced,
    ProtectionRequested,
    RecordFoundSound,
    RecordFoundUnsound,
    ResumeRequested,
    RiskEstimated,
    SessionEvicted,
    SessionsScheduled,
    StateFileFailed,
    StrategyFailed,
    StrategySaved,
    TimerFired,
    TradeReported,
    TradingDayBegan,
    VenueClockRead,
    WatchAlertsHandedOver,
    WatchdogLost,
    WatchdogReturned,
    Wish,
)

__all__ = ["condensed", "new_book", "next_deadline_ns", "rows_of_everything", "step"]


def new_book(policy: Policy) -> Book:
    """Return the state before the first event."""
    return Book(policy=policy)


def next_deadline_ns(book: Book) -> int:
    """Return the monotonic time at which ``step`` wants a TimerFired; 0 for none."""
    due = [order.due_ns for order in book.live_orders() if order.due_ns]
    read_ns = next_read_ns(book)
    if read_ns:
        due.append(read_ns)
    due.extend(book.wakes.values())
    return min(due, default=0)


def step(book: Book, event: Fact, now_ns: int) -> Step:
    """Fold ``event`` into ``book``; ``now_ns`` is monotonic time, never the wall clock."""
    work = Workbench(book=book, now_ns=now_ns, utc_us=event.utc_us)
    _apply(work, event)
    read_when_due(work)
    count_breaches(work)
    count_executions(work)
    for found in watch_others(work):
        emergency_liquidation.begin(
            work, cause=found.cause, operator=MACHINE, contract_id=found.contract_id
        )
    watch_bot(work, event)
    note_guarding(work, event)
    liquidate_what_was_left_alone(work)
    follow_the_money(work, event)
    keep_account_rules(work, event)
    protect(work, event)
    keep_hours(work)
    close_for_bots(work)
    watch_for_blindness(work)
    cancel_entries_while_halted(work)
    cancel_entries_of_bot(work)
    shrink_exits(work)
    cancel_again(work)
    emergency_liquidation.advance(work, event)
    freeze_entries(work)
    tell_recovery(work)
    remind(work)
    follow_moves(work)
    result = _finish(work)
    # What was called back is there for the fact that named it.
    let_go = () if isinstance(event, PastRecalled) else forget_the_oldest(work)
    return replace(result, let_go=let_go) if let_go else result


def _apply(work: Workbench, event: Fact) -> None:
    match event:
        case OrderReported():
            book_order_row(work, event.order)
        case TradeReported():
            book_trade(work, event.trade)
        case PositionReported():
            book_position_row(work, event.position)
        case MarketNoted():
            market_noted(work, event)
        case AccountReported():
            if event.account.account_id == work.book.policy.account_id:
                work.book.account = event.account
        case AccountAudited():
            book_audit(work, event)
        case OrderLookedUp():
            book_look_up(work, event)
        case OrderDispatched():
            _order_dispatched(work, event)
        case PlaceAnswered():
            _place_answered(work, event)
        case CancelAnswered() | ModifyAnswered():
            _change_answered(work, event)
        case PositionCloseAnswered():
            close_answered(work, event)
        case TimerFired():
            look_up_due(work)
        case PastRecalled():
            past_recalled(work, event)
        case RiskEstimated():
            work.book.estimate = event
            watch_exposure(work, event)
        case PositionsPriced() | AccountHistoryRead():
            pass  # money only: followed further down the step
        case PayloadRejected():
            _payload_rejected(work, event)
        case (
            OrderRequested()
            | OrderRegistered()
            | CancelRequested()
            | ModifyRequested()
            | LegChangeRequested()
            | CloseRequested()
            | ProtectionRequested()
            | LiquidationRequested()
            | HaltRequested()
            | LimitsChangeRequested()
            | ResumeRequested()
            | AlertAcknowledged()
            | StrategySaved()
            | BotRegistered()
            | BotSignedOff()
        ):
            _apply_wish(work, event)
        case _:
            _apply_life(work, event)


def _apply_wish(work: Workbench, event: Wish) -> None:
    """What bots and operators ask for."""
    match event:
        case OrderRequested():
            wishes.order_requested(work, event)
        case OrderRegistered():
            order_registered(work, event)
        case CancelRequested():
            order_changes.cancel_requested(work, event)
            stop_given_up(work, event)
        case ModifyRequested():
            order_changes.modify_requested(work, event)
        case LegChangeRequested():
            leg_change_requested(work, event)
        case LiquidationRequested():
            emergency_liquidation.liquidation_requested(work, event)
        case CloseRequested():
            close_requested(work, event)
        case ProtectionRequested():
            protection_requested(work, event)
        case HaltRequested():
            lifecycle.halt_requested(work, event)
        case LimitsChangeRequested():
            limits_change_requested(work, event)
        case ResumeRequested():
            lifecycle.resume_requested(work, event)
        case AlertAcknowledged():
            alert_acknowledged(work, event)
        case StrategySaved():
            work.book.strategy_states[event.strategy_id] = event.state
        case BotRegistered():
            bot_registered(work, event)
        case BotSignedOff():
            bot_signed_off(work, event)


def _apply_life(work: Workbench, event: LifeFact) -> None:
    """What happens to the guard and to its links."""
    match event:
        case GuardStarted():
            lifecycle.guard_started(work, event)
            limits_tried(work)
            emergency_liquidation.restarted(work)
            protection_restarted(work)
            moves_restarted(work)
            changes_restarted(work)
            cancels_restarted(work)
            outages_restarted(work)
            left_alone(work, event)
            records_lost(work, event)
        case GuardStoodStill():
            stood_still(work, event)
        case LatchesHandedOver():
            latches_handed_over(work, event)
        case WatchAlertsHandedOver():
            watch_alerts_handed_over(work, event)
        case InstrumentsLoaded():
            lifecycle.instruments_loaded(work, event)
        case HubConnected() | HubLost() | SessionEvicted():
            lifecycle.hub_changed(work, event)
        case JournalFailed() | JournalRecovered():
            journal_changed(work, event)
        case StateFileFailed():
            state_file_failed(work, event)
        case RecordFoundUnsound() | RecordFoundSound():
            record_checked(work, event)
        case AlertChannelUnreached():
            tell_unreached(work, event)
        case PastUnreadable() | PastReadable():
            past_changed(work, event)
        case EmergencyRunRecorded():
            lifecycle.emergency_run_recorded(work, event)
        case LoginRefused() | LoginAccepted():
            access_changed(work, event)
        case WatchdogLost() | WatchdogReturned():
            supervision.watchdog_changed(work, event)
        case BotFellSilent() | BotGivenUp() | BotReturned():
            bot_changed(work, event)
        case StrategyFailed():
            strategy_failed(work, event)
        case VenueClockRead():
            clock_read(work, event)
        case TradingDayBegan():
            lifecycle.trading_day_began(work, event)
        case SessionsScheduled():
            sessions_scheduled(work, event)


def _payload_rejected(work: Workbench, event: PayloadRejected) -> None:
    work.book.counters.rejected_payloads += 1
    work.alert(
        Severity.WARNING,
        AlertCode.PAYLOAD_REJECTED,
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
    if order is None or order.registered:
        whose = "unknown order" if order is None else "an order that somebody else sends,"
        contradiction(work, f"answer for {whose} {event.client_order_id}")
        return
    owner = work.book.client_of_broker_id.get(event.broker_order_id or 0, order.client_order_id)
    if owner != order.client_order_id:
        contradiction(work, f"{event.broker_order_id} was told of {event.client_order_id}: {owner}")
        # The answer names an order that is another one: it proves nothing about this one.
        event = replace(event, answer=Answer.UNKNOWN, broker_order_id=None)
    apply_order_step(work, verification.answered(order, event, now_ns=work.now_ns))
    brackets_answered(work, event)
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
    note_answer(work, event)
    protection_changes.change_answered(work, event)
    if isinstance(event, CancelAnswered):
        cancel_answered(work, event)
    else:
        change_answered(work, event)
        level_answered(work, event)
        move_answered(work, event)
        size_answered(work, event)
    if event.answer is not Answer.YES:
        ask_for_audit(work)


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
            book.symbol_of(touched.row.contract_id),
            trades=_trades(book, broker_order_id),
        )
        rows[row.order_id] = row
    for trade in work.new_trades.values():
        order_id = str(trade.broker_order_id)
        if order_id in rows or trade.broker_order_id in book.client_of_broker_id:
            continue
        venue_order = book.venue_orders.get(trade.broker_order_id)
        symbol = book.symbol_of(trade.contract_id)
        trades = _trades(book, trade.broker_order_id)
        if venue_order is not None:
            rows[order_id] = venue_row(venue_order, symbol, trades=trades)
        else:
            rows[order_id] = traded_order_row(trade, symbol, trades=trades)
    commands = marked(book, work.commands)
    note_cancels(book, commands, now_ns=work.now_ns)
    return Step(
        commands=commands,
        order_rows=tuple(rows.values()),
        fill_rows=tuple(fill_row(trade) for trade in work.new_trades.values()),
        proofs_due=tuple(work.proofs_due),
        changed=tuple([book.orders[it] for it in work.touched_orders if it in book.orders]),
        notes=tuple(work.notes),
        decision=work.decision,
    )


def rows_of_everything(book: Book, *, now_ns: int, utc_us: int) -> Step:
    """Return the audit rows of all that ``book`` holds, for a record that has none of them yet."""
    work = Workbench(book=book, now_ns=now_ns, utc_us=utc_us)
    work.touched_orders = dict.fromkeys(book.orders)
    work.touched_venue_orders = dict.fromkeys(book.venue_orders)
    work.new_trades = dict(book.trades)
    rows = _finish(work)
    return Step(order_rows=rows.order_rows, fill_rows=rows.fill_rows)


def _trades(book: Book, broker_order_id: int) -> tuple[BrokerTrade, ...]:
    return tuple(book.trades[trade_id] for trade_id in book.trades_of.get(broker_order_id, ()))
