"""The pre-trade pipeline: one pure function for validate, submit and what-if.

Every rule is a small function that returns its refusals; ``assess`` runs them in their order. What
reduces risk takes the short way: only numbers and ticks are looked at, and the gate at the end.
"""

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.book import AUDIT_STALE_NS
from backstop.core.order_limits import collar_denials, size_denials
from backstop.core.order_numbers import number_faults, on_the_tick
from backstop.core.policy import MILLISECOND_NS, Policy
from backstop.core.trading_state import TradingState
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.instrument import Instrument, Rounding
from backstop.domain.numbers import ratio_text
from backstop.domain.order import OrderIntent, OrderRequest, Side
from backstop.domain.quote import Quote

MIN_BRACKET_TICKS = 4
"""The venue refuses protective legs nearer than this to the entry."""


class Exposure(Struct, frozen=True, kw_only=True):
    """What the contract of an order already holds and could hold, in contracts.

    ``position`` is signed. ``exits`` are working, in-flight and UNKNOWN orders that would reduce
    it, protective legs excepted.
    """

    position: int = 0
    exits: int = 0


class Circumstances(Struct, frozen=True, kw_only=True):
    """What is true around one order at the moment of the decision."""

    trading_state: TradingState
    state_reasons: tuple[str, ...]
    instrument: Instrument
    reference: Quote | None
    exposure: Exposure
    look_alike: str | None  # client id of an equal order inside the duplicate window
    recent_entries: int  # entries accepted within the last second
    spare_calls: int | None = None  # calls that the gateway would still take; None: not known
    call_reserve: int = 0  # of those, the ones that are kept for what cuts risk
    account_stale_ms: int | None = None  # age of the last complete audit, when that is too old
    hours: tuple[Denial, ...] = ()  # what the calendar refuses
    busy: bool = False  # quotes of this market must be fresh to the second now


class Assessment(Struct, frozen=True, kw_only=True):
    """The decision about one order: approved when ``denials`` is empty.

    ``gate`` says what keeps an approved order from being sent. ``entry_ticks`` is the price the
    bracket is measured from; ``reward_ticks`` and ``risk_ticks`` give the R multiple.
    """

    intent: OrderIntent
    denials: tuple[Denial, ...]
    gate: Denial | None
    reducing: bool
    entry_ticks: int | None
    risk_ticks: int | None = None
    reward_ticks: int | None = None

    @property
    def refusals(self) -> tuple[Denial, ...]:
        """Everything that keeps the order from being sent, in the order of the rules."""
        if self.gate is None:
            return self.denials
        states = tuple(denial for denial in self.denials if denial.code in STATE_DENIALS)
        return (*states, self.gate, *self.denials[len(states) :])

    @property
    def r_multiple(self) -> str | None:
        """Reward for one unit of risk, from the rounded prices, as text."""
        if not self.risk_ticks or self.reward_ticks is None:
            return None
        return ratio_text(self.reward_ticks, self.risk_ticks)


def assess(request: OrderRequest, around: Circumstances, policy: Policy) -> Assessment:
    """Judge ``request``; the prices of the returned intent are rounded to the tick."""
    numbers = number_faults(request, around.instrument)
    if numbers:
        return _refused(request, around, policy, numbers)
    intent = on_the_tick(request, around.instrument, policy)
    reducing = _is_reducing(intent, around.exposure)
    gate = gate_denial(policy)
    if reducing:
        # Protective legs around an exit would open a position of their own.
        bare = replace(intent, stop_loss_ticks=None, take_profit_ticks=None)
        return Assessment(intent=bare, denials=(), gate=gate, reducing=True, entry_ticks=None)
    entry_ticks = _entry_ticks(intent, around)
    intent = _with_default_stop(intent, entry_ticks, policy)
    risk_ticks, reward_ticks = _risk_and_reward(intent, entry_ticks)
    denials = (
        *state_denials(around.trading_state, around.state_reasons, policy),
        *_allowed(intent, around.instrument, policy),
        *around.hours,
        *_flip(intent, around.exposure, policy),
        *_bracket(risk_ticks, reward_ticks),
        *_reward(risk_ticks, reward_ticks, policy),
        *_stop_present(intent, policy),
        *size_denials(intent, entry_ticks, around.instrument, policy),
        *collar_denials(intent, around.instrument, around.reference, policy),
        *_repetition(around, policy),
        *_call_budget(around),
    )
    return Assessment(
        intent=intent,
        denials=denials,
        gate=gate,
        reducing=False,
        entry_ticks=entry_ticks,
        risk_ticks=risk_ticks,
        reward_ticks=reward_ticks,
    )


def _refused(
    request: OrderRequest, around: Circumstances, policy: Policy, denials: tuple[Denial, ...]
) -> Assessment:
    intent = OrderIntent(
        client_order_id=request.client_order_id,
        account_id=policy.account_id,
        contract_id=around.instrument.contract_id,
        symbol=around.instrument.symbol,
        side=request.side,
        quantity=request.quantity,
        type=request.type,
        strategy_id=request.strategy_id,
    )
    return Assessment(
        intent=intent, denials=denials, gate=gate_denial(policy), reducing=False, entry_ticks=None
    )


# -- what the order comes to ----------------------------------------------------------------------


def _is_reducing(intent: OrderIntent, exposure: Exposure) -> bool:
    opposite = exposure.position * intent.side.sign < 0
    return opposite and intent.quantity <= abs(exposure.position) - exposure.exits


def _entry_ticks(intent: OrderIntent, around: Circumstances) -> int | None:
    """Return the price the entry is expected at: its own, or the touch for a market order."""
    if intent.limit_ticks is not None:
        return intent.limit_ticks
    if intent.stop_ticks is not None:
        return intent.stop_ticks
    touch = None if around.reference is None else around.reference.touch(intent.side)
    if touch is None:
        return None
    return around.instrument.rounded_ticks(touch, Rounding.NEAREST)


def _with_default_stop(intent: OrderIntent, entry_ticks: int | None, policy: Policy) -> OrderIntent:
    if intent.stop_loss_ticks is not None or policy.default_stop_ticks is None:
        return intent
    if entry_ticks is None:
        return intent
    level = entry_ticks - intent.side.sign * policy.default_stop_ticks
    return replace(intent, stop_loss_ticks=level)


def _risk_and_reward(intent: OrderIntent, entry_ticks: int | None) -> tuple[int | None, int | None]:
    if entry_ticks is None:
        return None, None
    sign = intent.side.sign
    stop, target = intent.stop_loss_ticks, intent.take_profit_ticks
    risk = None if stop is None else (entry_ticks - stop) * sign
    reward = None if target is None else (target - entry_ticks) * sign
    return risk, reward


# -- the rules, in their order -------------------------------------------------------------------


def gate_denial(policy: Policy) -> Denial | None:
    """Return what keeps everything from being sent; None while the gate is open."""
    if policy.observe_only:
        return Denial(
            code=DenialCode.GATE_OBSERVE_ONLY,
            message="CRITICAL_SYSTEM_ENABLE is 0: the system observes only and sends nothing",
        )
    if policy.dry_run:
        return Denial(
            code=DenialCode.GATE_DRY_RUN,
            message="dry run: nothing is sent; DRY_RUN=0 together with EXECUTE=1 sends",
        )
    if not policy.execute:
        return Denial(
            code=DenialCode.GATE_EXECUTE,
            message="EXECUTE is 0: nothing is sent; EXECUTE=1 together with DRY_RUN=0 sends",
        )
    return None


_STATE_CODES = {
    TradingState.STARTING: DenialCode.STATE_STARTING,
    TradingState.RECOVERING: DenialCode.STATE_RECOVERING,
    TradingState.REDUCING: DenialCode.STATE_REDUCING,
    TradingState.HALTED: DenialCode.STATE_HALTED,
}


STATE_DENIALS = frozenset({*_STATE_CODES.values(), DenialCode.STATE_UNPROTECTED})


def state_denials(
    trading_state: TradingState, reasons: tuple[str, ...], policy: Policy
) -> tuple[Denial, ...]:
    """Return why no new exposure may be taken on in ``trading_state``, for ``reasons``."""
    denials: list[Denial] = []
    code = _STATE_CODES.get(trading_state)
    if code is not None:
        why = "; ".join(reasons) or "no reason recorded"
        denials.append(Denial(code=code, message=f"no new exposure while {trading_state}: {why}"))
    if policy.unprotected and not policy.allow_unprotected:
        names = ", ".join(policy.unprotected)
        denials.append(
            Denial(
                code=DenialCode.STATE_UNPROTECTED,
                message=f"{names} switched off; ALLOW_UNPROTECTED=1 accepts entries without",
            )
        )
    return tuple(denials)


def _allowed(intent: OrderIntent, instrument: Instrument, policy: Policy) -> tuple[Denial, ...]:
    if intent.symbol not in policy.symbols:
        return (
            Denial(
                code=DenialCode.INSTRUMENT_NOT_ALLOWED,
                message=f"{intent.symbol} is not in BACKSTOP_INSTRUMENTS",
                value=intent.symbol,
                limit=",".join(policy.symbols),
            ),
        )
    if not instrument.active:
        return (
            Denial(
                code=DenialCode.INSTRUMENT_NOT_ACTIVE,
                message=f"{instrument.contract_id} is not the month the venue accepts orders for",
                value=instrument.contract_id,
            ),
        )
    return ()


def _flip(intent: OrderIntent, exposure: Exposure, policy: Policy) -> tuple[Denial, ...]:
    opposite = exposure.position * intent.side.sign < 0
    if not opposite or policy.allow_flip:
        return ()
    closable = max(0, abs(exposure.position) - exposure.exits)
    return (
        Denial(
            code=DenialCode.POSITION_FLIP,
            message=(
                f"{intent.side} {intent.quantity} is more than the {closable} contracts that can "
                f"still close the position of {exposure.position:+d}; ALLOW_FLIP=1 permits it"
            ),
            value=str(intent.quantity),
            limit=str(closable),
            max_quantity=closable,
        ),
    )


def bracket_faults(intent: OrderIntent, entry_ticks: int | None) -> tuple[Denial, ...]:
    """Return what is wrong with the legs of ``intent`` around an entry at ``entry_ticks``."""
    return _bracket(*_risk_and_reward(intent, entry_ticks))


def moved_entry_denials(
    moved: OrderIntent, entry_ticks: int | None, instrument: Instrument, policy: Policy
) -> tuple[Denial, ...]:
    """Return why the price of ``moved``, what is open of an entry, gives too little or is too much.

    Its legs stay where they were asked for.
    """
    return (
        *_reward(*_risk_and_reward(moved, entry_ticks), policy),
        *size_denials(moved, entry_ticks, instrument, policy),
    )


def _bracket(risk: int | None, reward: int | None) -> tuple[Denial, ...]:
    denials: list[Denial] = []
    for name, code, distance in (
        ("stop_loss_price", DenialCode.BRACKET_STOP_SIDE, risk),
        ("take_profit_price", DenialCode.BRACKET_TARGET_SIDE, reward),
    ):
        if distance is None or distance >= MIN_BRACKET_TICKS:
            continue
        if distance <= 0:
            denials.append(
                Denial(
                    code=code,
                    message=f"{name} lies {-distance} ticks on the wrong side of the entry",
                    value=str(distance),
                    limit=str(MIN_BRACKET_TICKS),
                )
            )
        else:
            denials.append(
                Denial(
                    code=DenialCode.BRACKET_TOO_CLOSE,
                    message=f"{name} is {distance} ticks from the entry; the venue wants 4 or more",
                    value=str(distance),
                    limit=str(MIN_BRACKET_TICKS),
                )
            )
    return tuple(denials)


def _reward(risk: int | None, reward: int | None, policy: Policy) -> tuple[Denial, ...]:
    wanted = policy.min_r_multiple
    if wanted is None or not risk or risk < 0 or reward is None:
        return ()
    if reward >= wanted * risk:
        return ()
    return (
        Denial(
            code=DenialCode.R_MULTIPLE_TOO_LOW,
            message=f"{reward} ticks of reward for {risk} ticks of risk",
            value=ratio_text(reward, risk),
            limit=str(wanted),
        ),
    )


def _stop_present(intent: OrderIntent, policy: Policy) -> tuple[Denial, ...]:
    if intent.stop_loss_ticks is not None or not policy.stop_required:
        return ()
    return (
        Denial(
            code=DenialCode.STOP_REQUIRED,
            message="an entry needs stop_loss_price, or DEFAULT_STOP_TICKS in the settings",
        ),
    )


def _repetition(around: Circumstances, policy: Policy) -> tuple[Denial, ...]:
    denials: list[Denial] = []
    if around.look_alike is not None:
        window_ms = policy.duplicate_window_ns // MILLISECOND_NS
        denials.append(
            Denial(
                code=DenialCode.DUPLICATE_ORDER,
                message=f"equal to order {around.look_alike} of less than {window_ms} ms ago",
                value=around.look_alike,
                limit=str(window_ms),
            )
        )
    if around.recent_entries >= policy.max_orders_per_second:
        denials.append(
            Denial(
                code=DenialCode.RATE_TOO_HIGH,
                message=f"{around.recent_entries} entries were accepted within the last second",
                value=str(around.recent_entries + 1),
                limit=str(policy.max_orders_per_second),
            )
        )
    return tuple(denials)


def _call_budget(around: Circumstances) -> tuple[Denial, ...]:
    """Refuse what would begin to use up the calls that a flatten needs."""
    spare, reserve = around.spare_calls, around.call_reserve
    if spare is None or spare > reserve:
        return ()
    return (
        Denial(
            code=DenialCode.RATE_BUDGET_LOW,
            message=(
                f"the gateway takes {spare} more calls within this minute, and {reserve} are kept "
                "for what cuts risk"
            ),
            value=str(spare),
            limit=str(reserve),
        ),
    )


def freshness_denials(side: Side, around: Circumstances, policy: Policy) -> tuple[Denial, ...]:
    """Return what is too old to decide upon: the account, or the market of the contract."""
    return (*_account(around), *_reference(side, around, policy))


def stale_after_ns(policy: Policy, *, busy: bool) -> int:
    """Return how old a market price may be; less while its market is ``busy``."""
    return (policy.busy_quote_ns if busy else None) or policy.stale_quote_ns


def _account(around: Circumstances) -> tuple[Denial, ...]:
    if around.account_stale_ms is None:
        return ()
    return (
        Denial(
            code=DenialCode.STALE_ACCOUNT,
            message=f"the account was last read completely {around.account_stale_ms} ms ago",
            value=str(around.account_stale_ms),
            limit=str(AUDIT_STALE_NS // MILLISECOND_NS),
        ),
    )


def _reference(side: Side, around: Circumstances, policy: Policy) -> tuple[Denial, ...]:
    limit_ms = stale_after_ns(policy, busy=around.busy) // MILLISECOND_NS
    symbol = around.instrument.symbol
    if around.reference is None or around.reference.touch(side) is None:
        return (
            Denial(
                code=DenialCode.STALE_REFERENCE,
                message=f"no market price of {symbol} is known",
                limit=str(limit_ms),
            ),
        )
    if around.reference.age_ms > limit_ms:
        return (
            Denial(
                code=DenialCode.STALE_REFERENCE,
                message=f"the last market data of {symbol} is {around.reference.age_ms} ms old",
                value=str(around.reference.age_ms),
                limit=str(limit_ms),
            ),
        )
    return ()
