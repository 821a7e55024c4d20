"""Why Backstop refuses an order: one closed set of codes, each with the numbers behind it."""

from enum import StrEnum

from msgspec import Struct


class DenialCode(StrEnum):
    """The rule that refused; the first words name it. Listed in docs/reference/denial-codes.md."""

    STATE_STARTING = "STATE_STARTING"
    STATE_RECOVERING = "STATE_RECOVERING"
    STATE_REDUCING = "STATE_REDUCING"
    STATE_HALTED = "STATE_HALTED"
    STATE_UNPROTECTED = "STATE_UNPROTECTED"
    GATE_DRY_RUN = "GATE_DRY_RUN"
    GATE_EXECUTE = "GATE_EXECUTE"
    GATE_OBSERVE_ONLY = "GATE_OBSERVE_ONLY"
    INSTRUMENT_NOT_ALLOWED = "INSTRUMENT_NOT_ALLOWED"
    INSTRUMENT_NOT_ACTIVE = "INSTRUMENT_NOT_ACTIVE"
    QUANTITY_INVALID = "QUANTITY_INVALID"
    PRICE_MISSING = "PRICE_MISSING"
    PRICE_UNEXPECTED = "PRICE_UNEXPECTED"
    PRICE_INVALID = "PRICE_INVALID"
    TICK_UNALIGNED = "TICK_UNALIGNED"
    BRACKET_STOP_SIDE = "BRACKET_STOP_SIDE"
    BRACKET_TARGET_SIDE = "BRACKET_TARGET_SIDE"
    BRACKET_TOO_CLOSE = "BRACKET_TOO_CLOSE"
    R_MULTIPLE_TOO_LOW = "R_MULTIPLE_TOO_LOW"
    STOP_REQUIRED = "STOP_REQUIRED"
    SIZE_TOO_LARGE = "SIZE_TOO_LARGE"
    POSITION_FLIP = "POSITION_FLIP"
    DUPLICATE_ORDER = "DUPLICATE_ORDER"
    RATE_TOO_HIGH = "RATE_TOO_HIGH"
    RATE_BUDGET_LOW = "RATE_BUDGET_LOW"
    STALE_REFERENCE = "STALE_REFERENCE"
    STALE_ACCOUNT = "STALE_ACCOUNT"
    CORRELATION_EXPOSURE = "CORRELATION_EXPOSURE"
    ES_NQ_COMBINED_EXPOSURE = "ES_NQ_COMBINED_EXPOSURE"
    CONCENTRATION_DIRECTIONAL = "CONCENTRATION_DIRECTIONAL"
    GROSS_EXPOSURE = "GROSS_EXPOSURE"


class Denial(Struct, frozen=True, kw_only=True):
    """One refusal: the rule, a sentence, and the numbers as text with their units in the message.

    ``max_quantity`` is the largest quantity of the same order that would pass this rule, where
    the rule depends on quantity.
    """

    code: DenialCode
    message: str
    limit: str | None = None
    value: str | None = None
    max_quantity: int | None = None
