"""The settings as the core's policy: texts and switches become the numbers that decisions use."""

from decimal import Decimal

from backstop.app.exposure_limits import exposure_limits
from backstop.config.choices import Calendar
from backstop.config.settings import Settings
from backstop.core.account_rules.limits import TENTHS, AccountLimits
from backstop.core.policy import MILLISECOND_NS, SECOND_NS, Policy
from backstop.domain.numbers import micros

STALE_QUOTE_NS = 30 * SECOND_NS
"""A reference older than this is none, where STALE_QUOTE_MS does not say otherwise."""

BUSY_QUOTE_NS = 2 * SECOND_NS
"""The same for the S&P and Nasdaq families while the stock market is open."""

PPM_IN_PERCENT = 10_000


def liquidate_after_ms(settings: Settings) -> int | None:
    """Return the downtime in ms after which open positions are liquidated; None: they are not."""
    after_ns = liquidate_after_ns(settings)
    return None if after_ns is None else after_ns // MILLISECOND_NS


def liquidate_after_ns(settings: Settings) -> int | None:
    """Return that downtime in ns, for guard and watchdog alike."""
    if not settings.disaster_recovery_enable:
        return None
    return settings.emergency_liquidation_threshold_ns


def account_limits(settings: Settings) -> AccountLimits | None:
    """Return the limits of the account in whole millionths and tenths; None: it has none."""
    wanted = (
        settings.max_daily_loss,
        settings.max_trailing_loss,
        settings.max_position,
        settings.cool_down_after_stops,
    )
    if all(it is None for it in wanted):
        return None
    return AccountLimits(
        starting_balance_micros=_micros(settings.account_starting_balance),
        daily_loss_micros=_micros(settings.max_daily_loss),
        trailing_loss_micros=_micros(settings.max_trailing_loss),
        high_close_micros=_micros(settings.account_high_close),
        max_position_tenths=None
        if settings.max_position is None
        else int(settings.max_position * TENTHS),
        cool_down_after_stops=settings.cool_down_after_stops,
        cool_down_ns=settings.cool_down_ns,
        fees_micros=micros(settings.fees_per_contract),
    )


def _micros(amount: Decimal | None) -> int | None:
    return None if amount is None else max(1, micros(amount))


def policy_from_settings(settings: Settings) -> Policy:
    """Return what the core enforces for ``settings``."""
    limits = None
    if settings.correlation_protection_enable:
        limits = exposure_limits(
            risk_budget=settings.risk_budget,
            max_correlation_exposure=settings.max_correlation_exposure,
            es_nq_max_combined_exposure=settings.es_nq_max_combined_exposure,
            max_directional_share=settings.max_directional_share,
            max_gross_exposure=settings.max_gross_exposure,
        )
    return Policy(
        account_id=settings.account_id,
        dry_run=settings.dry_run,
        execute=settings.execute,
        observe_only=not settings.critical_system_enable,
        unprotected=settings.unprotected,
        allow_unprotected=settings.allow_unprotected,
        symbols=settings.symbols,
        max_order_quantity=settings.max_order_quantity,
        max_order_notional_micros=micros(settings.max_order_notional),
        price_collar_ppm=int(settings.price_collar_percent * PPM_IN_PERCENT),
        prevents_self_trades=True,
        max_repeated_executions=settings.max_repeated_executions,
        max_orders_per_second=settings.max_orders_per_second,
        duplicate_window_ns=settings.duplicate_window_ns,
        min_r_multiple=settings.min_r_multiple,
        default_stop_ticks=settings.default_stop_ticks,
        stop_required=settings.stop_required,
        allow_flip=settings.allow_flip,
        protects=settings.disaster_recovery_enable,
        stale_quote_ns=settings.stale_quote_ns or STALE_QUOTE_NS,
        busy_quote_ns=BUSY_QUOTE_NS if settings.stale_quote_ns is None else None,
        keeps_hours=settings.calendar is Calendar.CME,
        execution_timeout_ns=settings.execution_timeout_ns,
        max_slippage_ticks=settings.max_slippage_ticks,
        slippage_breaches_to_reduce=settings.slippage_breaches_to_reduce,
        external_position_policy=settings.external_position_policy,
        account_limits=account_limits(settings),
        exposure_limits=limits,
        liquidates_breaches=settings.exposure_breach_liquidates,
        liquidate_after_ms=liquidate_after_ms(settings),
        archives=True,
        measures_clock=True,
        clock_offset_max_us=settings.clock_offset_max_ns // 1000,
        mode=settings.mode,
        breach_policy=settings.breach_policy,
        bot_grace_ns=settings.bot_grace_ns,
    )
