"""The calls that take an account or a contract flat, and the one that closes a position."""

from urllib.parse import unquote

from fastapi import FastAPI, Request
from msgspec.structs import asdict
from starlette.responses import Response

from backstop.core.book import Book
from backstop.core.liquidation_scope import contract_for
from backstop.core.step import Decision, DecisionKind
from backstop.domain.commands import CancelOrder, ClosePosition
from backstop.entrypoints.http.answers import json_answer, unknown_symbol
from backstop.entrypoints.http.bodies import read_body
from backstop.entrypoints.http.errors import ApiError, ErrorCode, echo
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.liquidation_views import (
    CloseBody,
    ClosingPosition,
    LiquidateBody,
    LiquidationList,
    LiquidationView,
    RefusedClose,
    liquidation_view,
)
from backstop.entrypoints.http.openapi import described
from backstop.entrypoints.http.position_view import position_row

_ERRORS = (401, 403)


def add_liquidation_routes(api: FastAPI, guard: Guard) -> None:
    """Add the calls to ``api``."""

    @api.post(
        "/v1/liquidate",
        **described(
            body=LiquidateBody,
            answers={202: LiquidationView},
            errors=(*_ERRORS, 409, 413, 503),
        ),
    )
    async def liquidate(request: Request) -> Response:
        """Take the account flat, or with ``symbol`` one contract; a second call joins the first."""
        body = await read_body(request, LiquidateBody)
        decision = await guard.liquidate(
            reason=body.reason, operator=body.operator, symbol=body.symbol
        )
        if decision.kind is DecisionKind.UNKNOWN_SYMBOL:
            raise _no_contract(guard.book, body.symbol or "")
        return json_answer(_named(guard.book, decision.liquidation_id or ""), 202)

    @api.get("/v1/liquidations", **described(answers={200: LiquidationList}, errors=_ERRORS))
    async def liquidations() -> Response:
        """List liquidations and closes, newest first."""
        runs = reversed(guard.book.liquidations.values())
        shown = tuple(liquidation_view(guard.book, run) for run in runs)
        return json_answer(LiquidationList(liquidations=shown))

    @api.get(
        "/v1/liquidations/{liquidation_id}",
        **described(answers={200: LiquidationView}, errors=(*_ERRORS, 404)),
    )
    async def liquidation(liquidation_id: str) -> Response:
        """Show one liquidation; FLAT only after proof."""
        return json_answer(_named(guard.book, unquote(liquidation_id)))

    @api.post(
        "/v1/positions/{symbol}/close",
        **described(
            body=CloseBody,
            answers={202: ClosingPosition, 200: ClosingPosition, 422: RefusedClose},
            errors=(*_ERRORS, 409, 413, 503),
        ),
    )
    async def close(symbol: str, request: Request) -> Response:
        """Close a position, or ``quantity`` contracts of it, at the market; never flips it."""
        name, body = unquote(symbol), await read_body(request, CloseBody, empty=CloseBody())
        decision = await guard.close_position(
            name, quantity=body.quantity, reason=body.reason, operator=body.operator
        )
        return _closing(guard, name, decision)


def _closing(guard: Guard, symbol: str, decision: Decision) -> Response:
    book = guard.book
    match decision.kind:
        case DecisionKind.UNKNOWN_SYMBOL:
            raise _no_contract(book, symbol)
        case DecisionKind.REFUSED:
            planned = tuple(
                it for it in decision.would_send if isinstance(it, CancelOrder | ClosePosition)
            )
            return json_answer(RefusedClose(denials=decision.denials, would_send=planned), 422)
        case DecisionKind.ACCEPTED:
            view = book.position(contract_for(book, symbol) or symbol)
            row = position_row(book, view, now_ns=guard.now_ns())
            answer = ClosingPosition(**asdict(row), liquidation_id=decision.liquidation_id)
            return json_answer(answer, 200 if decision.liquidation_id is None else 202)
        case _:
            raise ApiError(409, ErrorCode.NOT_POSSIBLE, decision.message)


def _named(book: Book, liquidation_id: str) -> LiquidationView:
    run = book.liquidations.get(liquidation_id)
    if run is None:
        raise ApiError(
            404,
            ErrorCode.UNKNOWN_LIQUIDATION,
            f"no liquidation goes by {echo(liquidation_id)}; GET /v1/liquidations lists them",
            field="id",
        )
    return liquidation_view(book, run)


def _no_contract(book: Book, symbol: str) -> ApiError:
    if book.instruments:
        return unknown_symbol(book, symbol)
    return ApiError(
        409,
        ErrorCode.NOT_POSSIBLE,
        f"the gateway's contracts are not loaded yet, so nothing is known of {echo(symbol)}; "
        "without a symbol the whole account is taken flat",
        field="symbol",
    )
