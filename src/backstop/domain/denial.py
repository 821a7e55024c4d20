"""Why Backstop refuses an order: one closed set of codes, each with the numbers behind it."""

from enum import StrEnum
from typing import Self

from msgspec import Struct


class DenialCode(StrEnum):
    """The rule that refused; the first words name it. Listed in docs/reference/denial-codes.md."""

    STATE_STARTING = "STATE_STARTING"
    """The gateway's contracts are not loaded yet."""
    STATE_RECOVERING = "STATE_RECOVERING"
    """The account is being read, or its risk is not estimated yet."""
    STATE_REDUCING = "STATE_REDUCING"
    """A condition, such as a lost hub, blocks entries until fresh evidence lifts it."""
    STATE_HALTED = "STATE_HALTED"
    """A latch blocks entries until a person resumes."""
    STATE_UNPROTECTED = "STATE_UNPROTECTED"
    """A component is switched off, and `ALLOW_UNPROTECTED` is off."""
    MODE_DROP_COPY = "MODE_DROP_COPY"
    """`BACKSTOP_MODE` is `drop-copy`: the bot sends its entries by itself, and exits pass here."""
    GATE_DRY_RUN = "GATE_DRY_RUN"
    """`DRY_RUN` is on: nothing is sent."""
    GATE_EXECUTE = "GATE_EXECUTE"
    """`EXECUTE` is off: nothing is sent."""
    GATE_OBSERVE_ONLY = "GATE_OBSERVE_ONLY"
    """`CRITICAL_SYSTEM_ENABLE` is off: the system observes only."""
    BOT_SILENT = "BOT_SILENT"
    """The bot registered and gives no sign of life any more; its exits pass."""
    BOT_INSTRUMENT_NOT_ALLOWED = "BOT_INSTRUMENT_NOT_ALLOWED"
    """The credentials of the bot are for other instruments; its exits pass."""
    BOT_QUANTITY_TOO_LARGE = "BOT_QUANTITY_TOO_LARGE"
    """The entry has more contracts than the credentials of the bot permit."""
    BOT_ORDERS_TOO_MANY = "BOT_ORDERS_TOO_MANY"
    """As many orders of the bot are unfinished as its credentials permit; its exits pass."""
    BOT_RATE_TOO_HIGH = "BOT_RATE_TOO_HIGH"
    """More entries within one second than the credentials of the bot permit."""
    ORDER_OF_ANOTHER = "ORDER_OF_ANOTHER"
    """The order is another bot's, a person's or the guard's: this bot may close the position."""
    ORDER_NOT_SUPPORTED = "ORDER_NOT_SUPPORTED"
    """Type or members of the order are none that the guard can follow and protect."""
    INSTRUMENT_NOT_ALLOWED = "INSTRUMENT_NOT_ALLOWED"
    """The symbol is not in `BACKSTOP_INSTRUMENTS`."""
    INSTRUMENT_NOT_ACTIVE = "INSTRUMENT_NOT_ACTIVE"
    """The contract is not the month that the venue accepts orders for."""
    SESSION_CLOSED = "SESSION_CLOSED"
    """The market of the contract is closed: night break, weekend, holiday or early close."""
    SESSION_FLAT_BY = "SESSION_FLAT_BY"
    """It is after `ENTRIES_UNTIL`: positions have to be closed before the session ends."""
    SESSION_UNKNOWN = "SESSION_UNKNOWN"
    """Nobody knows the hours of the contract's market, so it counts as closed."""
    EXPIRY_NEAR = "EXPIRY_NEAR"
    """The contract month is in its last session, or past it: trade the next month."""
    QUANTITY_INVALID = "QUANTITY_INVALID"
    """The quantity is below 1, or no number that the venue could hold."""
    PRICE_MISSING = "PRICE_MISSING"
    """The order type needs a price that is not given."""
    PRICE_UNEXPECTED = "PRICE_UNEXPECTED"
    """The order type takes no such price."""
    PRICE_INVALID = "PRICE_INVALID"
    """The number cannot be a price: not finite, not above zero, too large or too fine."""
    TICK_UNALIGNED = "TICK_UNALIGNED"
    """A registered order has a price between two ticks: only what is sent from here is rounded."""
    BRACKET_STOP_SIDE = "BRACKET_STOP_SIDE"
    """The stop lies at the entry or on its wrong side."""
    BRACKET_TARGET_SIDE = "BRACKET_TARGET_SIDE"
    """The target lies at the entry or on its wrong side."""
    BRACKET_TOO_CLOSE = "BRACKET_TOO_CLOSE"
    """Stop or target is nearer to the entry than the venue permits."""
    PROTECTION_LEFTOVER = "PROTECTION_LEFTOVER"
    """A stop or target of an earlier position still works in the contract."""
    R_MULTIPLE_TOO_LOW = "R_MULTIPLE_TOO_LOW"
    """The reward for one unit of risk is below `MIN_R_MULTIPLE`."""
    PROTECTION_REQUIRED = "PROTECTION_REQUIRED"
    """Without this stop, or with a smaller one, the working stops do not cover the position."""
    STOP_REQUIRED = "STOP_REQUIRED"
    """The entry has no stop, and `DEFAULT_STOP_TICKS` gives it none."""
    SIZE_TOO_LARGE = "SIZE_TOO_LARGE"
    """One order has more contracts than `MAX_ORDER_QUANTITY`."""
    NOTIONAL_TOO_LARGE = "NOTIONAL_TOO_LARGE"
    """The contracts of one order are worth more than `MAX_ORDER_NOTIONAL`."""
    PRICE_COLLAR = "PRICE_COLLAR"
    """The price of an entry is farther from the market than `PRICE_COLLAR_PERCENT` permits."""
    POSITION_FLIP = "POSITION_FLIP"
    """The order goes beyond closing the position, and `ALLOW_FLIP` is off."""
    POSITION_IN_QUESTION = "POSITION_IN_QUESTION"
    """Reads or a row alone say that what it closes is gone: the close call passes meanwhile."""
    POSITION_CLOSING = "POSITION_CLOSING"
    """The position of the contract is being closed; an entry would be closed with it."""
    DUPLICATE_ORDER = "DUPLICATE_ORDER"
    """An equal order with another client id came within `DUPLICATE_WINDOW_MS`."""
    RATE_TOO_HIGH = "RATE_TOO_HIGH"
    """More entries, and moves of some to more risk, in a second than `MAX_ORDERS_PER_SECOND`."""
    REPEATED_EXECUTION = "REPEATED_EXECUTION"
    """A strategy was executed more often within a minute than `MAX_REPEATED_EXECUTIONS`."""
    SELF_TRADE = "SELF_TRADE"
    """The entry could trade with an order of the same account."""
    RATE_BUDGET_LOW = "RATE_BUDGET_LOW"
    """The calls that the gateway still takes are kept for what cuts risk."""
    STALE_REFERENCE = "STALE_REFERENCE"
    """No market price is known, or it is older than `STALE_QUOTE_MS`."""
    STALE_ACCOUNT = "STALE_ACCOUNT"
    """The account was not read completely for too long; comes beside `STATE_REDUCING`."""
    CLOCK_OFFSET = "CLOCK_OFFSET"
    """The venue's clock and ours differ by more than `CLOCK_OFFSET_MAX_SECONDS`; comes beside
    `STATE_REDUCING`."""
    DAILY_LOSS_LOCKED = "DAILY_LOSS_LOCKED"
    """The loss of the day reached `MAX_DAILY_LOSS`; entries wait for 17:00 Chicago."""
    DAILY_LOSS_BUFFER = "DAILY_LOSS_BUFFER"
    """Stopped out, the order and all that is open would reach `MAX_DAILY_LOSS`."""
    MAX_LOSS_BUFFER = "MAX_LOSS_BUFFER"
    """Stopped out, the order and all that is open would reach the floor of `MAX_TRAILING_LOSS`."""
    POSITION_TOO_LARGE = "POSITION_TOO_LARGE"
    """With all that could fill, more than `MAX_POSITION` would be held."""
    COOL_DOWN = "COOL_DOWN"
    """`COOL_DOWN_AFTER_STOPS` losing stops in a row; entries wait for `COOL_DOWN_MINUTES`."""
    FIRM_LIQUIDATED = "FIRM_LIQUIDATED"
    """The firm closed positions by itself; entries wait for 17:00 Chicago."""
    STALE_VALUATION = "STALE_VALUATION"
    """What the account is worth is not known: no fresh price of a position, or no balance."""
    CORRELATION_EXPOSURE = "CORRELATION_EXPOSURE"
    """One family, with all that moves with it, exceeds `MAX_CORRELATION_EXPOSURE`."""
    ES_NQ_COMBINED_EXPOSURE = "ES_NQ_COMBINED_EXPOSURE"
    """S&P and Nasdaq together exceed `ES_NQ_MAX_COMBINED_EXPOSURE`."""
    CONCENTRATION_DIRECTIONAL = "CONCENTRATION_DIRECTIONAL"
    """All longs, or all shorts, exceed `MAX_DIRECTIONAL_SHARE`."""
    GROSS_EXPOSURE = "GROSS_EXPOSURE"
    """Longs and shorts together exceed `MAX_GROSS_EXPOSURE`."""


class Denial(Struct, frozen=True, kw_only=True):
    """One refusal: the rule, a sentence, and the numbers as text with their units in the message.

    ``max_quantity`` is the largest quantity of the same order that would pass this rule, exactly;
    0 where none would; null where no quantity is the answer.
    """

    code: DenialCode
    message: str
    limit: str | None = None
    value: str | None = None
    max_quantity: int | None = None

    @classmethod
    def of_quantity(cls, code: DenialCode, message: str, *, quantity: int, passes: int) -> Self:
        """Return the refusal of ``quantity`` contracts where at most ``passes`` would pass."""
        return cls(
            code=code,
            message=message,
            value=str(quantity),
            limit=str(passes),
            max_quantity=passes,
        )
