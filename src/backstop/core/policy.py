"""The rules that one guard enforces, as plain numbers: what the settings become for the core."""

from decimal import Decimal
from functools import cached_property

from msgspec import Struct

from backstop.core.account_rules.limits import AccountLimits
from backstop.core.exposure import ExposureLimits
from backstop.domain.external import BreachPolicy, ExternalPositionPolicy, GuardMode

SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000


class Policy(Struct, frozen=True, kw_only=True, dict=True):
    """Limits and switches of the pre-trade pipeline and of execution verification.

    Attributes:
        account_id: the one account that may be traded.
        dry_run: nothing is ever sent.
        execute: the second key; sending needs ``execute`` and not ``dry_run``.
        observe_only: the whole system is switched off and only watches.
        unprotected: components that are switched off; entries are refused while any is named,
            unless ``allow_unprotected``.
        symbols: exchange roots that may be traded, such as ES, MES.
        max_order_quantity: contracts in one order.
        max_order_notional_micros: what the contracts of one order may be worth, in millionths of a
            dollar; None: not checked.
        price_collar_ppm: how far from the market the price of an entry may be, in parts per
            million of the market's price; None: not checked.
        prevents_self_trades: an entry that could trade with an order of ours is refused. Off in
            records of before that was looked at.
        max_repeated_executions: executions of one strategy in one contract and on one side within
            a minute; None: not counted.
        max_orders_per_second: entries accepted within any second.
        duplicate_window_ns: equal orders with different client ids within it are refused.
        min_r_multiple: smallest reward for one unit of risk, from rounded prices.
        default_stop_ticks: distance of the stop that an entry without one gets.
        stop_required: an entry without a stop is refused.
        allow_flip: an order beyond the position is judged as an entry for its excess.
        protects: positions are kept protected: missing stops are placed, surplus ones are cut, and
            what cannot be protected is closed. Off in the record of versions that did not.
        stale_quote_ns: a reference price older than this is none.
        busy_quote_ns: likewise while a market is at its busiest; None: no shorter limit then.
        execution_timeout_ns: an order without proof for this long is looked up by its tag.
        max_slippage_ticks: adverse ticks above which an execution is a breach.
        slippage_breaches_to_reduce: breaches within one session after which only exits pass.
        external_position_policy: what happens to a position that is not ours.
        account_limits: of the account's own rules; None: it has none.
        exposure_limits: of correlation protection; None while it is switched off.
        liquidates_breaches: an exposure limit that the market has broken takes the account flat;
            False: it is told, and adds are refused.
        liquidate_after_ms: open positions that nobody guarded for longer are liquidated at the next
            start; None: never, as in the record of versions that did not.
        keeps_hours: entries are taken only while their market is open, and what may not be held
            over a close or an expiry is closed. Off in records of before there was a calendar.
        archives: finished orders leave the book early, for an archive gives them back; False in
            records of before there was one.
        measures_clock: the venue's time is known by its own answers; False in records of before
            it was measured, where our time of day was taken for it.
        clock_offset_max_us: entries wait while the two are farther apart; 0: whatever they are.
        mode: who sends the entries; as a drop copy the guard sends none, and judges those of a bot
            that has a session of its own after the fact.
        breach_policy: what becomes of an order of that bot which a limit would have refused.
        bot_grace_ns: how long that bot has for its own stop, and for one order in the place of
            another, before the guard steps in.
    """

    account_id: int
    dry_run: bool = True
    execute: bool = False
    observe_only: bool = False
    unprotected: tuple[str, ...] = ()
    allow_unprotected: bool = False
    symbols: tuple[str, ...] = ("ES", "NQ", "MES", "MNQ")
    max_order_quantity: int = 50
    max_order_notional_micros: int | None = None
    price_collar_ppm: int | None = None
    prevents_self_trades: bool = False
    max_repeated_executions: int | None = None
    max_orders_per_second: int = 10
    duplicate_window_ns: int = SECOND_NS
    min_r_multiple: Decimal | None = None
    default_stop_ticks: int | None = None
    stop_required: bool = True
    allow_flip: bool = False
    protects: bool = False
    stale_quote_ns: int = 30 * SECOND_NS
    busy_quote_ns: int | None = None
    execution_timeout_ns: int = 10 * SECOND_NS
    max_slippage_ticks: Decimal = Decimal(2)
    slippage_breaches_to_reduce: int = 3
    external_position_policy: ExternalPositionPolicy = ExternalPositionPolicy.PROTECT
    account_limits: AccountLimits | None = None
    exposure_limits: ExposureLimits | None = None
    liquidates_breaches: bool = False
    liquidate_after_ms: int | None = None
    keeps_hours: bool = False
    archives: bool = False
    measures_clock: bool = False
    clock_offset_max_us: int = 0
    mode: GuardMode = GuardMode.GATEKEEPER
    breach_policy: BreachPolicy = BreachPolicy.ALERT
    bot_grace_ns: int = 0

    @cached_property
    def slippage_ratio(self) -> tuple[int, int]:
        """``max_slippage_ticks`` as numerator and denominator: asked of every order."""
        return self.max_slippage_ticks.as_integer_ratio()

    @cached_property
    def r_multiple_ratio(self) -> tuple[int, int]:
        """``min_r_multiple`` likewise; 0 without one."""
        return (self.min_r_multiple or Decimal(0)).as_integer_ratio()

    @property
    def sends(self) -> bool:
        """Both keys are turned, and the system is not just watching."""
        return self.execute and not self.dry_run and not self.observe_only

    @property
    def is_drop_copy(self) -> bool:
        """A bot trades by itself, and the guard watches, protects and judges afterwards."""
        return self.mode is GuardMode.DROP_COPY

    @property
    def leaves_bot_alone(self) -> bool:
        """Of such a bot not even a stop or a target is touched that protects nothing any more."""
        alerts = self.external_position_policy is ExternalPositionPolicy.ALERT
        return self.is_drop_copy and alerts
