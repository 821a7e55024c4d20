"""The calls that show the account's limits, and change them while the guard runs."""

from decimal import Decimal
from typing import Annotated

from fastapi import FastAPI, Request
from msgspec import Meta, Struct
from starlette.responses import Response

from backstop.core.step import DecisionKind
from backstop.domain.wish_terms import (
    DOLLARS_MAX,
    DOLLARS_MIN,
    MINIS_MAX,
    MINIS_MIN,
    OPERATOR_LENGTH_MAX,
    OPERATOR_TERMS,
    REASON_LENGTH_MAX,
    REASON_TERMS,
    is_operator,
    is_reason,
)
from backstop.entrypoints.http.account_view import AccountView, account_view
from backstop.entrypoints.http.answers import json_answer
from backstop.entrypoints.http.bodies import read_body
from backstop.entrypoints.http.errors import ApiError, ErrorCode
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.models import Body
from backstop.entrypoints.http.openapi import described

Dollars = Annotated[Decimal, Meta(description=f"dollars as text, {DOLLARS_MIN} to {DOLLARS_MAX}")]
Minis = Annotated[
    Decimal, Meta(description=f"minis as text, {MINIS_MIN} to {MINIS_MAX}, one decimal")
]


class LimitsBody(Body, frozen=True, kw_only=True):
    """Limits that are to hold from now on; what is left out stays.

    To tighten takes no name; to loosen takes ``operator`` and ``reason``.
    """

    daily_loss: Dollars | None = None
    trailing_loss: Dollars | None = None
    max_position: Minis | None = None
    reason: Annotated[
        str,
        Meta(
            max_length=REASON_LENGTH_MAX,
            description=f"why, in at most {REASON_LENGTH_MAX} printable characters",
        ),
    ] = ""
    operator: Annotated[
        str,
        Meta(
            max_length=OPERATOR_LENGTH_MAX,
            description=f"who asks, in at most {OPERATOR_LENGTH_MAX} printable characters",
        ),
    ] = ""

    def check(self) -> None:
        """Raise ApiError for a limit that is none, and where none is named."""
        if self.daily_loss is None and self.trailing_loss is None and self.max_position is None:
            raise ApiError(
                422,
                ErrorCode.MISSING_MEMBER,
                "no limit is named; at least one of daily_loss, trailing_loss and max_position is "
                "needed",
            )
        for field, said, is_said, terms in (
            ("operator", self.operator, is_operator, OPERATOR_TERMS),
            ("reason", self.reason, is_reason, REASON_TERMS),
        ):
            if said and not is_said(said):
                raise ApiError(
                    422, ErrorCode.INVALID_VALUE, f"{field} must be {terms}", field=field
                )
        for field, value, least, most in (
            ("daily_loss", self.daily_loss, DOLLARS_MIN, DOLLARS_MAX),
            ("trailing_loss", self.trailing_loss, DOLLARS_MIN, DOLLARS_MAX),
            ("max_position", self.max_position, MINIS_MIN, MINIS_MAX),
        ):
            if value is None:
                continue
            if not value.is_finite() or not least <= value <= most:
                raise ApiError(
                    422,
                    ErrorCode.INVALID_VALUE,
                    f"{field} is {value}; {least} to {most} is allowed",
                    field=field,
                )
        if self.max_position is not None and self.max_position * 10 % 1:
            raise ApiError(
                422,
                ErrorCode.INVALID_VALUE,
                f"max_position is {self.max_position}; a micro is a tenth, so one decimal is "
                "allowed",
                field="max_position",
            )


LIMIT_SHAPES: tuple[type[Struct], ...] = (LimitsBody, AccountView)

_ERRORS = (401, 403, 413, 503)


def add_limit_routes(api: FastAPI, guard: Guard) -> None:
    """Add the calls to ``api``."""

    @api.get("/v1/account", **described(answers={200: AccountView}, errors=(401, 403)))
    async def account() -> Response:
        """Show the day's result, what may still be lost, the floor and the limits."""
        return json_answer(account_view(guard.book, now_ns=guard.now_ns()))

    @api.patch(
        "/v1/account/limits",
        **described(body=LimitsBody, answers={200: AccountView}, errors=(*_ERRORS, 409)),
    )
    async def change_limits(request: Request) -> Response:
        """Tighten limits at once; loosen them with a name and a reason, on record."""
        body = await read_body(request, LimitsBody)
        decision = await guard.change_limits(
            daily_loss=body.daily_loss,
            trailing_loss=body.trailing_loss,
            max_position=body.max_position,
            reason=body.reason,
            operator=body.operator,
        )
        if decision.kind is not DecisionKind.ACCEPTED:
            raise ApiError(409, ErrorCode.NOT_POSSIBLE, f"not changed: {decision.message}")
        return json_answer(account_view(guard.book, now_ns=guard.now_ns()))
