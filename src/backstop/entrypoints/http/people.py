"""How a call says who asks and why: one rule for every call that a person answers for."""

from typing import Annotated

from msgspec import Meta

from backstop.domain.wish_terms import (
    NOT_BLANK_PATTERN,
    OPERATOR_LENGTH_MAX,
    OPERATOR_TERMS,
    REASON_LENGTH_MAX,
    REASON_TERMS,
)

UNNAMED_OPERATOR = "api"
"""Who asks where the caller does not say: what cuts risk is never refused for want of a name."""

Reason = Annotated[
    str,
    Meta(
        pattern=NOT_BLANK_PATTERN,
        max_length=REASON_LENGTH_MAX,
        description=REASON_TERMS,
    ),
]
Operator = Annotated[
    str,
    Meta(
        pattern=NOT_BLANK_PATTERN,
        max_length=OPERATOR_LENGTH_MAX,
        description=OPERATOR_TERMS,
    ),
]
