"""The call that gives a position its stop and its target."""

from urllib.parse import unquote

from fastapi import FastAPI, Request
from msgspec import Struct
from starlette.responses import Response

from backstop.core.liquidation_scope import contract_for
from backstop.core.step import DecisionKind
from backstop.domain.denial import Denial
from backstop.entrypoints.http.answers import json_answer, unknown_symbol
from backstop.entrypoints.http.bodies import read_body
from backstop.entrypoints.http.errors import ApiError, ErrorCode
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.models import Body, Price
from backstop.entrypoints.http.openapi import described
from backstop.entrypoints.http.position_view import PositionRow, position_row

_ERRORS = (401, 403)


class ProtectionBody(Body, frozen=True, kw_only=True):
    """The levels that a position shall have; what is left out or null stays as it is."""

    stop_price: Price | None = None
    take_profit_price: Price | None = None

    def check(self) -> None:
        """Refuse a wish that wishes nothing."""
        if self.stop_price is None and self.take_profit_price is None:
            raise ApiError(
                422, ErrorCode.MISSING_MEMBER, "name a level: stop_price or take_profit_price"
            )


class RefusedProtection(Struct, frozen=True, kw_only=True):
    """Why levels were refused; what works goes on."""

    denials: tuple[Denial, ...]


PROTECTION_SHAPES = (ProtectionBody, RefusedProtection)


def add_protection_routes(api: FastAPI, guard: Guard) -> None:
    """Add the call to ``api``."""

    @api.put(
        "/v1/positions/{symbol}/protection",
        **described(
            body=ProtectionBody,
            answers={200: PositionRow, 422: RefusedProtection},
            errors=(*_ERRORS, 409, 413, 503),
        ),
    )
    async def protect(symbol: str, request: Request) -> Response:
        """Move, or place, the stop and the target of a position; answers when they stand."""
        name, body = unquote(symbol), await read_body(request, ProtectionBody)
        decision = await guard.protect_position(
            name, stop_price=body.stop_price, take_profit_price=body.take_profit_price
        )
        book = guard.book
        match decision.kind:
            case DecisionKind.ACCEPTED:
                view = book.position(contract_for(book, name) or name)
                return json_answer(position_row(book, view, now_ns=guard.now_ns()))
            case DecisionKind.REFUSED:
                return json_answer(RefusedProtection(denials=decision.denials), 422)
            case DecisionKind.UNKNOWN_SYMBOL:
                raise unknown_symbol(book, name)
            case _:
                raise ApiError(409, ErrorCode.NOT_POSSIBLE, decision.message)
