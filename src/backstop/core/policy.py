"""The rules that one guard enforces, as plain numbers: what the settings become for the core."""

from decimal import Decimal

from msgspec import Struct

from backstop.core.exposure import ExposureLimits
from backstop.domain.external import ExternalPositionPolicy

SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000


class Policy(Struct, frozen=True, kw_only=True):
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
        max_orders_per_second: entries accepted within any second.
        duplicate_window_ns: equal orders with different client ids within it are refused.
        min_r_multiple: smallest reward for one unit of risk, from rounded prices.
        default_stop_ticks: distance of the stop that an entry without one gets.
        stop_required: an entry without a stop is refused.
        allow_flip: an order beyond the position is judged as an entry for its excess.
        protects: positions are kept protected: missing stops are placed, surplus ones are cut, and
            what cannot be protected is closed. Off in the record of versions that did not.
        stale_quote_ns: a reference price older than this is none.
        execution_timeout_ns: an order without proof for this long is looked up by its tag.
        max_slippage_ticks: adverse ticks above which an execution is a breach.
        slippage_breaches_to_reduce: breaches within one session after which only exits pass.
        external_position_policy: what happens to a position that is not ours.
        exposure_limits: of correlation protection; None while it is switched off.
        archives: finished orders leave the book early, for an archive gives them back; False in
            records of before there was one.
    """

    account_id: int
    dry_run: bool = True
    execute: bool = False
    observe_only: bool = False
    unprotected: tuple[str, ...] = ()
    allow_unprotected: bool = False
    symbols: tuple[str, ...] = ("ES", "NQ", "MES", "MNQ")
    max_order_quantity: int = 50
    max_orders_per_second: int = 10
    duplicate_window_ns: int = SECOND_NS
    min_r_multiple: Decimal | None = None
    default_stop_ticks: int | None = None
    stop_required: bool = True
    allow_flip: bool = False
    protects: bool = False
    stale_quote_ns: int = 30 * SECOND_NS
    execution_timeout_ns: int = 10 * SECOND_NS
    max_slippage_ticks: Decimal = Decimal(2)
    slippage_breaches_to_reduce: int = 3
    external_position_policy: ExternalPositionPolicy = ExternalPositionPolicy.PROTECT
    exposure_limits: ExposureLimits | None = None
    archives: bool = False

    @property
    def sends(self) -> bool:
        """Both keys are turned, and the system is not just watching."""
        return self.execute and not self.dry_run and not self.observe_only
