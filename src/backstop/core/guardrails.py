"""What an order is held to by its own numbers: the first rules of the pipeline, in their order.

Every rule is a small function in a file of its idea that returns its refusals; ``assess`` runs
them in their order. What reduces risk takes the short way: only numbers and ticks are looked at,
and the gate at the end. Numbers that are none end no judgement: whatever can be said without them
is said.
"""

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.entry_gate import (
    STATE_DENIALS,
    gate_denial,
    list_denials,
    mode_denials,
    state_denials,
)
from backstop.core.exits_in_question import exit_denials, told_closed_denials
from backstop.core.freshness import account_age_denials, reference_denials, stale_after_ns
from backstop.core.order_brackets import (
    bracket_denials,
    reward_denials,
    risk_and_reward,
    stop_denials,
    with_default_stop,
    with_offset_legs,
)
from backstop.core.order_limits import collar_denials, size_denials
from backstop.core.order_numbers import countable, number_faults, on_the_tick
from backstop.core.order_pace import budget_denials, pace_denials
from backstop.core.policy import Policy
from backstop.core.trading_state import TradingState
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.instrument import Instrument, Rounding
from backstop.domain.numbers import count_text, ratio_text
from backstop.domain.order import OrderIntent, OrderRequest, Side
from backstop.domain.quote import Quote


class Exposure(Struct, frozen=True, kw_only=True):
    """What the contract of an order already holds and could hold, in contracts.

    ``position`` is signed. ``exits`` are working, in-flight and UNKNOWN orders that would reduce
    it, protective legs excepted. ``in_question`` are contracts, signed and not in ``position``,
    that may be held or gone: reads of one moment alone say so. ``closes_to_come`` are contracts of
    ``position`` that rows alone say other orders have closed.
    """

    position: int = 0
    exits: int = 0
    in_question: int = 0
    closes_to_come: int = 0

    def closable(self, side: Side) -> int:
        """Return how many contracts an order of ``side`` could close and open none."""
        if self.position * side.sign >= 0:
            return 0
        return max(0, abs(self.position) - self.exits - self.closes_to_come)


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

    ``gate`` says what keeps an approved order from being sent. ``reducing`` says that it was held
    only to what an exit is held to. ``entry_ticks`` is the price the
    bracket is measured from; ``reward_ticks`` and ``risk_ticks`` give the R multiple.
    ``prices_known`` is False when a price of the order is none: nothing that needs one was judged.
    """

    intent: OrderIntent
    denials: tuple[Denial, ...]
    gate: Denial | None
    reducing: bool
    entry_ticks: int | None
    risk_ticks: int | None = None
    reward_ticks: int | None = None
    prices_known: bool = True

    @property
    def refusals(self) -> tuple[Denial, ...]:
        """Everything that keeps the order from being sent, in the order of the rules."""
        if self.gate is None:
            return self.denials
        states = tuple(denial for denial in self.denials if denial.code in STATE_DENIALS)
        return (*states, self.gate, *self.denials[len(states) :])

    @property
    def r_multiple(self) -> str | None:
        """Reward for one unit of risk, from the rounded prices, as text; None where none is risked.

        A stop on the wrong side risks nothing, and two wrong sides make no right one.
        """
        if self.risk_ticks is None or self.risk_ticks <= 0 or self.reward_ticks is None:
            return None
        return ratio_text(self.reward_ticks, self.risk_ticks)


def assess(request: OrderRequest, around: Circumstances, policy: Policy) -> Assessment:
    """Judge ``request``; the prices of the returned intent are rounded to the tick."""
    instrument = around.instrument
    faults, request = number_faults(request, instrument), countable(request)
    prices_known = not faults or all(it.code is DenialCode.QUANTITY_INVALID for it in faults)
    stops = (request.stop_loss_price, request.stop_loss_offset_ticks, policy.default_stop_ticks)
    has_stop = any(it is not None for it in stops)
    if not prices_known:
        request = replace(
            request, limit_price=None, stop_price=None, stop_loss_price=None, take_profit_price=None
        )
    intent = on_the_tick(request, instrument, policy)
    gate = gate_denial(policy)
    is_exit = _is_reducing(intent, around.exposure)
    in_question = () if is_exit else _in_question(intent, around.exposure)
    if is_exit or in_question:
        # Protective legs around an exit would open a position of their own.
        bare = replace(intent, stop_loss_ticks=None, take_profit_ticks=None)
        denials = (*faults, *in_question)
        return Assessment(intent=bare, denials=denials, gate=gate, reducing=True, entry_ticks=None)
    exits_only = _exits_only(request, around.exposure)
    entry_ticks = _entry_ticks(intent, around) if prices_known else None
    intent = with_offset_legs(intent, request, entry_ticks)
    intent = with_default_stop(intent, entry_ticks, policy)
    if prices_known:
        measured = request.stop_loss_offset_ticks is not None  # from a price that may be unknown
        has_stop = measured or intent.stop_loss_ticks is not None
    risk_ticks, reward_ticks = risk_and_reward(intent, entry_ticks)
    denials = (
        *state_denials(around.trading_state, around.state_reasons, policy),
        *mode_denials(policy),
        *list_denials(instrument, policy),
        *around.hours,
        *faults,
        *exits_only,
        *_flip(intent, around.exposure, policy),
        *bracket_denials(risk_ticks, reward_ticks),
        *reward_denials(risk_ticks, reward_ticks, policy),
        *stop_denials(has_stop=has_stop, policy=policy),
        *size_denials(intent, entry_ticks, instrument, policy),
        *collar_denials(intent, instrument, around.reference, policy),
        *pace_denials(around.look_alike, around.recent_entries, policy),
        *budget_denials(around.spare_calls, around.call_reserve),
    )
    return Assessment(
        intent=intent,
        denials=denials,
        gate=gate,
        reducing=False,
        entry_ticks=entry_ticks,
        risk_ticks=risk_ticks,
        reward_ticks=reward_ticks,
        prices_known=prices_known,
    )


def freshness_denials(side: Side, around: Circumstances, policy: Policy) -> tuple[Denial, ...]:
    """Return what is too old to decide upon: the account, or the market of the contract."""
    return (
        *account_age_denials(around.account_stale_ms),
        *reference_denials(
            around.reference,
            symbol=around.instrument.symbol,
            side=side,
            limit_ns=stale_after_ns(policy, busy=around.busy),
        ),
    )


# -- what the order comes to ----------------------------------------------------------------------


def _is_reducing(intent: OrderIntent, exposure: Exposure) -> bool:
    opposite = exposure.position * intent.side.sign < 0
    return opposite and intent.quantity <= exposure.closable(intent.side)


def _in_question(intent: OrderIntent, exposure: Exposure) -> tuple[Denial, ...]:
    closable = exposure.closable(intent.side)
    return exit_denials(
        intent, held=exposure.position, in_question=exposure.in_question, closable=closable
    ) or told_closed_denials(
        intent,
        held=exposure.position,
        exits=exposure.exits,
        closes_to_come=exposure.closes_to_come,
        closable=closable,
    )


def _exits_only(request: OrderRequest, exposure: Exposure) -> tuple[Denial, ...]:
    if not request.exit_only:
        return ()
    closable = exposure.closable(request.side)
    return (
        Denial.of_quantity(
            DenialCode.STALE_REFERENCE,
            f"no price of {request.symbol} was known that this order could go by, so it may "
            f"only close what is held; {request.side} {request.quantity} is more than the "
            f"{count_text(closable, 'contract')} that it could close",
            quantity=request.quantity,
            passes=closable,
        ),
    )


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


def _flip(intent: OrderIntent, exposure: Exposure, policy: Policy) -> tuple[Denial, ...]:
    opposite = exposure.position * intent.side.sign < 0
    if not opposite or policy.allow_flip:
        return ()
    closable = exposure.closable(intent.side)
    return (
        Denial.of_quantity(
            DenialCode.POSITION_FLIP,
            f"{intent.side} {intent.quantity} is more than the "
            f"{count_text(closable, 'contract')} that can still close the position of "
            f"{exposure.position:+d}; ALLOW_FLIP=1 permits it",
            quantity=intent.quantity,
            passes=closable,
        ),
    )
