"""May new exposure be taken on? Conditions lift by themselves, latches need a person."""

from enum import StrEnum

from msgspec import Struct


class TradingState(StrEnum):
    """What the guard lets through; exits pass in every state."""

    STARTING = "STARTING"
    """Nothing is known of the account yet: the gateway's contracts are not loaded."""
    RECOVERING = "RECOVERING"
    """The broker's truth is being read, and the risk of the markets estimated."""
    ACTIVE = "ACTIVE"
    """Entries are judged, and those that pass are sent."""
    REDUCING = "REDUCING"
    """A condition, or a latch that does not halt, refuses entries; resting ones stay."""
    HALTED = "HALTED"
    """A latch refuses entries and cancels resting ones until a person resumes."""


ACTIVE = TradingState.ACTIVE
"""By a name of its own, for every decision asks: Python 3.11 looks members up slowly."""


class Condition(StrEnum):
    """Why entries are blocked until fresh evidence says otherwise."""

    USER_HUB_LOST = "USER_HUB_LOST"
    """Orders and fills are not pushed. Until the hub is back and the account was read since."""
    MARKET_HUB_LOST = "MARKET_HUB_LOST"
    """No prices for more than two seconds. Until the hub is connected."""
    ACCOUNT_STALE = "ACCOUNT_STALE"
    """The account was last read completely more than 15 s ago. Until it is."""
    ACCOUNT_CANNOT_TRADE = "ACCOUNT_CANNOT_TRADE"
    """The gateway says that the account may not trade. Until it says otherwise."""
    LOGIN_REFUSED = "LOGIN_REFUSED"
    """The key is refused; at best a spare one lets exits out. Until a key is accepted."""
    WATCHDOG_LOST = "WATCHDOG_LOST"
    """Nobody would notice if this process hung. Until a watchdog has watched for three seconds."""
    JOURNAL_FAILED = "JOURNAL_FAILED"
    """The disk takes no records. Until all of that time is written."""
    RECORD_UNREAD = "RECORD_UNREAD"
    """The structure of a large audit record was not looked through yet. Until it was."""
    RECORD_UNSOUND = "RECORD_UNSOUND"
    """A check of the whole audit record found something. Until one finds nothing."""
    PAST_UNREADABLE = "PAST_UNREADABLE"
    """Whether an order id or a trade is one of the past is unknown. Until its file can be read."""
    CLOCK_OFFSET = "CLOCK_OFFSET"
    """Our time of day and the venue's are too far apart. Until three answers agree."""
    LIMIT_BROKEN = "LIMIT_BROKEN"
    """A limit let a test order through that breaks it. Until a start at which none does."""
    DAILY_LOSS_LOCK = "DAILY_LOSS_LOCK"
    """The loss of the day reached its limit. Until 17:00 Chicago."""
    FIRM_LIQUIDATED = "FIRM_LIQUIDATED"
    """The firm closed positions by itself today. Until 17:00 Chicago."""
    STOP_MISSING = "STOP_MISSING"
    """A position that was read since lacks a stop that it should have. Until it is covered."""
    COOL_DOWN = "COOL_DOWN"
    """So many losing stops in a row that entries wait. Until `COOL_DOWN_MINUTES` are over."""
    FILL_UNATTRIBUTED = "FILL_UNATTRIBUTED"
    """Nobody can say yet whose a fill is. Until that is known, within some seconds."""


class LatchKind(StrEnum):
    """What a person has to look at before entries are let through again."""

    HALT = "HALT"
    """A person, a program or the kill file asked for it."""
    LIQUIDATION = "LIQUIDATION"
    """The account, or a contract of it, was taken flat."""
    EMERGENCY = "EMERGENCY"
    """The guard cannot know what it has done: an order in doubt while both hubs were lost,
    decisions that no disk took, or records that are gone."""
    DRAWDOWN = "DRAWDOWN"
    """The account fell to the floor of its trailing loss."""
    EXTERNAL = "EXTERNAL"
    """Somebody else trades the account."""
    SLIPPAGE = "SLIPPAGE"
    """Too many executions outside the tolerance within one session."""
    CONTRADICTION = "CONTRADICTION"
    """The venue said what cannot be."""
    UNPROTECTED = "UNPROTECTED"
    """A position has no stop, and none is on record for it."""

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
    if latches and any(latch.kind.halts for latch in latches):
        return TradingState.HALTED
    if not ready.instruments_loaded:
        return TradingState.STARTING
    if not ready.recovered or not ready.risk_estimated:
        return TradingState.RECOVERING
    if ready.conditions or latches:
        return TradingState.REDUCING
    return ACTIVE


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
