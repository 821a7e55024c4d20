"""What the interface shows of the guard itself: its state, its gates, its limits, its pulse."""

from decimal import Decimal

from msgspec import Struct

from backstop import __version__
from backstop.app.policy import PPM_IN_PERCENT
from backstop.core.book import Book, VenueOrder
from backstop.core.policy import MILLISECOND_NS, SECOND_NS, Policy
from backstop.core.protection_situation import Protection as PositionProtection
from backstop.core.trading_state import TradingState
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.numbers import decimal_text, money, plain
from backstop.domain.order import OrderState, OrderType, Side
from backstop.entrypoints.gates import Gates, gates
from backstop.entrypoints.http.account_view import AccountView, account_view
from backstop.entrypoints.http.bot_routes import BotView, bot_views
from backstop.entrypoints.http.clock_view import ClockView, clock_view
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.hours_view import MarketHoursView, market_hours_view
from backstop.entrypoints.http.latch_routes import LatchView, latch_views
from backstop.entrypoints.http.liquidation_views import LiquidationView, running_liquidations
from backstop.entrypoints.http.order_view import OrderRecord, order_records
from backstop.entrypoints.http.position_view import PositionRow, position_rows
from backstop.entrypoints.http.recovery_views import RecoveryView, recovery_view


class HealthView(Struct, frozen=True, kw_only=True):
    """May the guard be relied on now? ``reasons`` says why not; empty when it may."""

    status: str
    trading_state: TradingState
    reasons: tuple[str, ...]


class WorkingOrder(Struct, frozen=True, kw_only=True):
    """One order that can still fill at the venue: ours, a leg of ours, or foreign.

    ``client_order_id`` is the order it is, or the entry it protects; null marks a foreign order.
    """

    broker_order_id: int
    client_order_id: str | None
    role: str  # ENTRY_OR_EXIT, STOP_LOSS, TAKE_PROFIT or FOREIGN
    tag: str | None
    symbol: str
    contract_id: str
    side: Side
    quantity: int
    filled_quantity: int
    type: OrderType | None
    limit_price: str | None
    stop_price: str | None
    status: BrokerStatus


class ExposureLimitsView(Struct, frozen=True, kw_only=True):
    """The limits of correlation protection, in risk dollars."""

    correlation: str
    es_nq_combined: str
    directional: str
    gross: str


class Limits(Struct, frozen=True, kw_only=True):
    """What bounds a new order; ``exposure`` is null while correlation protection is off.

    ``stale_quote_busy_ms`` holds instead of ``stale_quote_ms`` for the S&P and Nasdaq families
    while the stock market is open; null: one time for all.
    """

    symbols: tuple[str, ...]
    max_order_quantity: int
    max_order_notional: str | None
    price_collar_percent: str | None
    max_repeated_executions: int | None
    max_orders_per_second: int
    duplicate_window_ms: int
    min_r_multiple: str | None
    stale_quote_ms: int
    stale_quote_busy_ms: int | None
    execution_timeout_s: str
    max_slippage_ticks: str
    exposure: ExposureLimitsView | None


class NakedPosition(Struct, frozen=True, kw_only=True):
    """A position that its stops do not cover, and since when."""

    symbol: str
    naked_ms: int
    protection: PositionProtection


class Protection(Struct, frozen=True, kw_only=True):
    """How positions are protected, and what is not.

    ``liquidate_after_ms`` is the downtime after which guard or watchdog take the account flat;
    null: neither does.
    """

    stop_required: bool
    default_stop_ticks: int | None
    allow_flip: bool
    switched_off: tuple[str, ...]
    allow_unprotected: bool
    liquidate_after_ms: int | None
    naked: tuple[NakedPosition, ...]
    naked_ms_max: int  # the longest that any position ever was


class Realised(Struct, frozen=True, kw_only=True):
    """What the trades brought that the guard knows, in dollars, by the venue's own figures.

    Trades that open state no result; ``closing_trades`` counts those that do.
    """

    gross: str
    costs: str
    net: str
    closing_trades: int
    trades: int


class WatchdogView(Struct, frozen=True, kw_only=True):
    """The process that watches over the guard; ``lost`` says why there is none to rely on.

    ``age_ms`` is since its newest sign of life, ``guard_restarts`` how often it had to start the
    guard again.
    """

    process_id: int | None
    age_ms: int | None
    guard_restarts: int
    lost: str


class Heartbeats(Struct, frozen=True, kw_only=True):
    """Signs of life, in ms before now; null: never since the guard started.

    ``faults`` holds what is not well, by component. ``watchdog`` is null, like the guard's pulse,
    where nobody was to watch: embedded in a bot. ``event_loop_stall_ms_max`` is the longest time
    for which the guard's loop did not get round, ``standstills`` how often it was found not to have
    run at all: the machine slept, or the process was stopped.
    """

    guard_pulse_age_ms: int | None
    event_loop_stall_ms_max: int | None
    standstills: int
    watchdog: WatchdogView | None
    user_hub_connected: bool
    user_hub_connected_for_ms: int | None
    market_hub_connected: bool
    market_hub_lost_for_ms: int | None
    audit_age_ms: int | None
    bots: tuple[BotView, ...]
    faults: dict[str, str]


class StatusView(Struct, frozen=True, kw_only=True):
    """The whole guard on one page."""

    trading_state: TradingState
    reasons: tuple[str, ...]
    latches: tuple[LatchView, ...]
    account_id: int
    version: str
    gates: Gates
    positions: tuple[PositionRow, ...]
    working_orders: tuple[WorkingOrder, ...]
    unknown_orders: tuple[OrderRecord, ...]
    liquidations: tuple[LiquidationView, ...]  # those that are not over
    limits: Limits
    protection: Protection
    account: AccountView
    realised: Realised
    recovery: RecoveryView | None  # with which this guard began; null before the account was read
    heartbeats: Heartbeats
    clock: ClockView
    hours: MarketHoursView


def health_view(guard: Guard) -> HealthView:
    """Return whether the guard is ACTIVE and sound, and every reason why not."""
    now_ns = guard.now_ns()
    state = guard.book.trading_state(now_ns)
    reasons = (
        *guard.book.state_reasons(now_ns),
        *(f"{component}: {fault}" for component, fault in guard.components.items()),
    )
    sound = state is TradingState.ACTIVE and not reasons
    return HealthView(status="OK" if sound else "NOT_READY", trading_state=state, reasons=reasons)


def status_view(guard: Guard) -> StatusView:
    """Return everything at one moment."""
    book, now_ns = guard.book, guard.now_ns()
    positions = position_rows(book, now_ns=now_ns)
    return StatusView(
        trading_state=book.trading_state(now_ns),
        reasons=book.state_reasons(now_ns),
        latches=latch_views(book),
        account_id=book.policy.account_id,
        version=__version__,
        gates=gates(book.policy, gateway=guard.gateway_host, warnings=guard.settings_warnings),
        positions=positions,
        working_orders=working_orders(book),
        unknown_orders=order_records(
            book, [it for it in book.live_orders() if it.state is OrderState.UNKNOWN]
        ),
        liquidations=running_liquidations(book),
        limits=_limits(book.policy),
        protection=_protection(book, positions),
        account=account_view(book, now_ns=now_ns),
        realised=_realised(book),
        recovery=recovery_view(guard.recovery),
        heartbeats=_heartbeats(guard, now_ns=now_ns),
        clock=clock_view(book),
        hours=market_hours_view(book),
    )


def working_orders(book: Book) -> tuple[WorkingOrder, ...]:
    """Return every order that can still fill at the venue, foreign ones included."""
    ours = (
        _working(
            book,
            order.venue,
            order.client_order_id,
            "ENTRY_OR_EXIT" if order.role is None else str(order.role),
            order.custom_tag,
        )
        for order in book.live_orders()
        if order.venue is not None and order.venue.status.is_live
    )
    others = (
        _working(book, held.row, held.owner, _role(held), held.row.custom_tag)
        for held in book.live_venue_orders()
    )
    return (*ours, *others)


def _role(held: VenueOrder) -> str:
    return "FOREIGN" if held.owner is None or held.role is None else str(held.role)


def _working(
    book: Book, row: BrokerOrder, client_order_id: str | None, role: str, tag: str | None
) -> WorkingOrder:
    return WorkingOrder(
        broker_order_id=row.broker_order_id,
        client_order_id=client_order_id,
        role=role,
        tag=tag,
        symbol=book.symbol_of(row.contract_id),
        contract_id=row.contract_id,
        side=row.side,
        quantity=row.quantity,
        filled_quantity=row.filled_quantity,
        type=row.type,
        limit_price=decimal_text(row.limit_price),
        stop_price=decimal_text(row.stop_price),
        status=row.status,
    )


def _limits(policy: Policy) -> Limits:
    exposure = policy.exposure_limits
    wanted = policy.min_r_multiple
    return Limits(
        symbols=policy.symbols,
        max_order_quantity=policy.max_order_quantity,
        max_order_notional=None
        if policy.max_order_notional_micros is None
        else f"{money(policy.max_order_notional_micros):f}",
        price_collar_percent=None
        if policy.price_collar_ppm is None
        else f"{plain(Decimal(policy.price_collar_ppm) / PPM_IN_PERCENT):f}",
        max_repeated_executions=policy.max_repeated_executions,
        max_orders_per_second=policy.max_orders_per_second,
        duplicate_window_ms=policy.duplicate_window_ns // MILLISECOND_NS,
        min_r_multiple=None if wanted is None else f"{plain(wanted):f}",
        stale_quote_ms=policy.stale_quote_ns // MILLISECOND_NS,
        stale_quote_busy_ms=None
        if policy.busy_quote_ns is None
        else policy.busy_quote_ns // MILLISECOND_NS,
        execution_timeout_s=f"{policy.execution_timeout_ns / SECOND_NS:g}",
        max_slippage_ticks=f"{plain(policy.max_slippage_ticks):f}",
        exposure=None
        if exposure is None
        else ExposureLimitsView(
            correlation=f"{money(exposure.correlation_micros):f}",
            es_nq_combined=f"{money(exposure.es_nq_combined_micros):f}",
            directional=f"{money(exposure.directional_micros):f}",
            gross=f"{money(exposure.gross_micros):f}",
        ),
    )


def _protection(book: Book, positions: tuple[PositionRow, ...]) -> Protection:
    policy = book.policy
    return Protection(
        stop_required=policy.stop_required,
        default_stop_ticks=policy.default_stop_ticks,
        allow_flip=policy.allow_flip,
        switched_off=policy.unprotected,
        allow_unprotected=policy.allow_unprotected,
        liquidate_after_ms=policy.liquidate_after_ms,
        naked=tuple(
            NakedPosition(symbol=row.symbol, naked_ms=row.naked_ms, protection=row.protection)
            for row in positions
            if row.naked_ms
        ),
        naked_ms_max=max(
            book.protection.naked_max_ns // MILLISECOND_NS,
            *(row.naked_ms_max for row in positions),
            0,
        ),
    )


def _realised(book: Book) -> Realised:
    result = book.trades.result + book.past_result
    return Realised(
        gross=f"{money(result.gross_micros):f}",
        costs=f"{money(result.costs_micros):f}",
        net=f"{money(result.net_micros):f}",
        closing_trades=result.closing_trades,
        trades=result.trades,
    )


def _heartbeats(guard: Guard, *, now_ns: int) -> Heartbeats:
    watch, links, audit = guard.watch, guard.book.links, guard.book.audit

    def age_ms(since_ns: int) -> int | None:
        return (now_ns - since_ns) // MILLISECOND_NS if since_ns else None

    return Heartbeats(
        guard_pulse_age_ms=None if watch is None else watch.pulse_age_ms,
        event_loop_stall_ms_max=None if watch is None else watch.stall_ms_max,
        standstills=guard.book.standstills,
        watchdog=None
        if watch is None
        else WatchdogView(
            process_id=watch.watchdog_process_id,
            age_ms=watch.watchdog_age_ms,
            guard_restarts=watch.guard_restarts,
            lost=watch.lost,
        ),
        user_hub_connected=links.user_up,
        user_hub_connected_for_ms=age_ms(links.user_since_ns) if links.user_up else None,
        market_hub_connected=links.market_up,
        market_hub_lost_for_ms=None if links.market_up else age_ms(links.market_lost_ns),
        audit_age_ms=age_ms(audit.complete_ns),
        bots=bot_views(guard.bots.report()),
        faults=dict(guard.components),
    )
