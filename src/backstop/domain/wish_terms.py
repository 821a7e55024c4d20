"""What somebody may say who asks for something: one rule for every door of the guard.

The HTTP interface refuses it by the name of a member, an embedded guard by an error or a decision.
What is allowed stands here alone.
"""

import re
from decimal import Decimal

QUANTITY_MAX = 2**31 - 1
"""The venue's size is a 32-bit number; the limits that matter are far below and give reasons."""

CLIENT_ORDER_ID_LENGTH_MAX = 64
STRATEGY_ID_LENGTH_MAX = 64
REASON_LENGTH_MAX = 500
OPERATOR_LENGTH_MAX = 64

CLIENT_ORDER_ID_TERMS = f"1 to {CLIENT_ORDER_ID_LENGTH_MAX} printable characters without spaces"
STRATEGY_ID_TERMS = f"1 to {STRATEGY_ID_LENGTH_MAX} printable characters"
REASON_TERMS = f"why, in 1 to {REASON_LENGTH_MAX} printable characters, not blank"
OPERATOR_TERMS = f"who asks, in 1 to {OPERATOR_LENGTH_MAX} printable characters, not blank"

CLIENT_ORDER_ID_PATTERN = rf"^\S{{1,{CLIENT_ORDER_ID_LENGTH_MAX}}}$"
NOT_BLANK_PATTERN = r"\S"

NUMBER_EXPONENT_MAX = 9
NUMBER_PLACES_MAX = 30
"""Bounds on written numbers: arithmetic on ``1e999999`` would cost memory or overflow."""

WISH_BYTES_MAX = 64 * 1024
"""A hundred times the largest order; what is larger is not one. It goes on record, and what a
strategy keeps goes into every checkpoint as well."""

DOLLARS_MIN, DOLLARS_MAX = Decimal("0.01"), Decimal(1_000_000_000)
MINIS_MIN, MINIS_MAX = Decimal("0.1"), Decimal(100_000)
"""Limits of an account: what is outside of these is a wrong unit."""

_CLIENT_ORDER_ID = re.compile(CLIENT_ORDER_ID_PATTERN)


def is_bounded(number: Decimal) -> bool:
    """Say whether a number can be calculated with: finite, and neither huge nor endlessly fine.

    To be asked before any arithmetic on a number that somebody wrote.
    """
    exponent = number.as_tuple().exponent
    return (
        isinstance(exponent, int)  # NaN and the infinities have none
        and exponent >= -NUMBER_PLACES_MAX
        and number.adjusted() <= NUMBER_EXPONENT_MAX
    )


def is_client_order_id(name: str) -> bool:
    """Say whether an order can go by ``name``."""
    return name.isprintable() and _CLIENT_ORDER_ID.fullmatch(name) is not None


def is_strategy_id(name: str) -> bool:
    """Say whether a strategy can go by ``name``."""
    return 1 <= len(name) <= STRATEGY_ID_LENGTH_MAX and name.isprintable()


def is_reason(text: str) -> bool:
    """Say whether ``text`` says why."""
    return _is_said(text, REASON_LENGTH_MAX)


def is_operator(text: str) -> bool:
    """Say whether ``text`` says who asks."""
    return _is_said(text, OPERATOR_LENGTH_MAX)


def _is_said(text: str, length_max: int) -> bool:
    return bool(text.strip()) and len(text) <= length_max and text.isprintable()
