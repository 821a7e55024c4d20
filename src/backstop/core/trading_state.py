"""May new exposure be taken on? Conditions lift by themselves, latches need a person."""

from enum import StrEnum

from msgspec import Struct


class TradingState(StrEnum):
    """What the guard lets through; exits pass in every state."""

    STARTING = "STARTING"  # nothing is known of the account yet
    RECOVERING = "RECOVERING"  # the broker's truth is being read
    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"  # a condition, or a latch that does not halt, refuses entries
    HALTED = "HALTED"  # a latch refuses entries and cancels resting ones until a person resumes


class Condition(StrEnum):
    """Why entries are blocked until fresh evidence says otherwise."""

    USER_HUB_LOST = "USER_HUB_LOST"
    MARKET_HUB_LOST = "MARKET_HUB_LOST"
    ACCOUNT_STALE = "ACCOUNT_STALE"
    ACCOUNT_CANNOT_TRADE = "ACCOUNT_CANNOT_TRADE"
    LOGIN_REFUSED = "LOGIN_REFUSED"  # the key is refused; at best a spare one lets us out
    WATCHDOG_LOST = "WATCHDOG_LOST"
    JOURNAL_FAILED = "JOURNAL_FAILED"
    RECORD_UNREAD = "RECORD_UNREAD"  # the start has not looked through a large audit record yet
    RECORD_UNSOUND = "RECORD_UNSOUND"  # a check of the whole audit record found something
    PAST_UNREADABLE = "PAST_UNREADABLE"  # whether an order or a trade is one of the past is unknown
    CLOCK_OFFSET = "CLOCK_OFFSET"  # our time of day and the venue's are too far apart
    LIMIT_BROKEN = "LIMIT_BROKEN"  # an exposure limit let through what it must refuse
    DAILY_LOSS_LOCK = "DAILY_LOSS_LOCK"  # the loss of the day reached its limit
    FIRM_LIQUIDATED = "FIRM_LIQUIDATED"  # the firm closed positions by itself today
    STOP_MISSING = "STOP_MISSING"  # a position that was read since lacks a stop it should have
    COOL_DOWN = "COOL_DOWN"  # so many losing stops in a row that entries wait
    FILL_UNATTRIBUTED = "FILL_UNATTRIBUTED"  # nobody could say yet whose a fill is


class LatchKind(StrEnum):
    """What a person has to look at before entries are let through again."""

    HALT = "HALT"  # a person or the kill file asked for it
    LIQUIDATION = "LIQUIDATION"  # the account, or a contract of it, was taken flat
    EMERGENCY = "EMERGENCY"  # the guard itself is not to be trusted
    DRAWDOWN = "DRAWDOWN"  # the account fell to the floor of its trailing loss
    EXTERNAL = "EXTERNAL"  # somebody else trades the account
    SLIPPAGE = "SLIPPAGE"  # too many executions outside the tolerance within one session
    CONTRADICTION = "CONTRADICTION"  # the venue said what cannot be
    UNPROTECTED = "UNPROTECTED"  # a position has no stop, and none is on record for it

    @property
    def halts(self) -> bool:
        """Entry orders that rest at the venue are cancelled as well; the others only refuse new."""
        return self in _HALTING


_HALTING = frozenset(
    {LatchKind.HALT, LatchKind.LIQUIDATION, LatchKind.EMERGENCY, LatchKind.DRAWDOWN}
)


class Latch(Struct, frozen=True, kw_only=True):
    """A block that only a person lifts; ``contract_id`` None: of every contract."""

    kind: LatchKind = LatchKind.HALT
    contract_id: str | None = None
    cause: str
    operator: str
    utc_us: int

    def binds(self, contract_id: str | None) -> bool:
        """Say whether it holds for ``contract_id``; None: for the account as a whole."""
        return self.contract_id is None or self.contract_id == contract_id


class Readiness(Struct, frozen=True, kw_only=True):
    """What has been established since the process began."""

    instruments_loaded: bool
    recovered: bool  # a complete audit was read after the user hub connected, once
    risk_estimated: bool  # volatilities and correlations were measured, or found missing
    conditions: tuple[Condition, ...]
    latches: tuple[Latch, ...]


def trading_state(ready: Readiness, contract_id: str | None = None) -> TradingState:
    """Return the one state that follows from ``ready``; the gravest reason wins.

    A latch of one contract counts for that ``contract_id`` and not for the account as a whole.
    """
    latches = _binding(ready, contract_id)
    if any(latch.kind.halts for latch in latches):
        return TradingState.HALTED
    if not ready.instruments_loaded:
        return TradingState.STARTING
    if not ready.recovered or not ready.risk_estimated:
        return TradingState.RECOVERING
    if ready.conditions or latches:
        return TradingState.REDUCING
    return TradingState.ACTIVE


def state_reasons(ready: Readiness, contract_id: str | None = None) -> tuple[str, ...]:
    """Return why the state is not ACTIVE, gravest first; ``contract_id`` as in trading_state."""
    latches = _binding(ready, contract_id)
    reasons = [
        f"{'halted' if latch.kind.halts else 'entries frozen'} by {latch.operator}: {latch.cause}"
        for latch in sorted(latches, key=lambda latch: not latch.kind.halts)
    ]
    if not ready.instruments_loaded:
        reasons.append("the gateway's contracts are not loaded yet")
    elif not ready.recovered:
        reasons.append("the account has not been read completely yet")
    elif not ready.risk_estimated:
        reasons.append("volatilities and correlations have not been estimated yet")
    reasons.extend(str(condition) for condition in ready.conditions)
    return tuple(reasons)


def _binding(ready: Readiness, contract_id: str | None) -> tuple[Latch, ...]:
    if not ready.latches:
        return ()
    return tuple(latch for latch in ready.latches if latch.binds(contract_id))
