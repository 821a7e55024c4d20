"""The routes of orders: wished for, listed, changed, verified and proven."""

from typing import Annotated
from urllib.parse import unquote

from fastapi import FastAPI, Query, Request
from starlette.responses import Response

from backstop.domain.numbers import count_text
from backstop.domain.order import OrderState
from backstop.entrypoints.http.answers import (
    RefusedOrder,
    changed,
    json_answer,
    starting_denials,
    submitted,
    unknown_order,
    unknown_symbol,
)
from backstop.entrypoints.http.bodies import read_body
from backstop.entrypoints.http.decision_view import (
    ValidationView,
    VerificationView,
    refused_validation,
    validation_view,
    verification_view,
)
from backstop.entrypoints.http.errors import ApiError, ErrorCode
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.models import (
    ModifyBody,
    OrderBody,
    VerifyBody,
    WhatIfBody,
)
from backstop.entrypoints.http.openapi import described
from backstop.entrypoints.http.order_view import (
    OrderList,
    OrderRecord,
    order_list,
    order_record,
    past_record,
)

ORDER_SHAPES = (
    OrderBody,
    WhatIfBody,
    ModifyBody,
    VerifyBody,
    OrderRecord,
    OrderList,
    RefusedOrder,
    ValidationView,
    VerificationView,
)

ORDERS_SHOWN = 100
ORDERS_SHOWN_MAX = 250
"""Orders in one answer, each some 30 us of the event loop; all of them are in the audit tables."""

CANCEL_REASON = "asked for over the API"

_ERRORS = (401, 403)
_ORDER_ERRORS = (*_ERRORS, 404)


def add_order_routes(api: FastAPI, guard: Guard) -> None:
    """Add everything about orders."""
    _add_wishes(api, guard)
    _add_reads(api, guard)
    _add_changes(api, guard)
    _add_evidence(api, guard)


def _add_wishes(api: FastAPI, guard: Guard) -> None:
    @api.post(
        "/v1/orders/validate",
        **described(body=WhatIfBody, answers={200: ValidationView}, errors=(*_ERRORS, 413)),
    )
    async def validate(request: Request) -> Response:
        """Judge an order as if it were submitted now; nothing is booked or sent."""
        wish = (await read_body(request, WhatIfBody)).request()
        assessment = await guard.what_if(wish)
        if assessment is not None:
            return json_answer(validation_view(guard.book, assessment))
        denials = starting_denials(guard, wish.symbol)
        if not denials:
            raise unknown_symbol(guard.book, wish.symbol)
        return json_answer(refused_validation(denials))

    @api.post(
        "/v1/orders",
        **described(
            body=OrderBody,
            answers={201: OrderRecord, 200: OrderRecord, 422: RefusedOrder},
            errors=(*_ERRORS, 409, 413, 503),
        ),
    )
    async def submit(request: Request) -> Response:
        """Submit an order; answers when the venue did, or when its silence became UNKNOWN."""
        wish = (await read_body(request, OrderBody)).request()
        return submitted(guard, wish.symbol, await guard.submit_order(wish))


def _add_reads(api: FastAPI, guard: Guard) -> None:
    @api.get("/v1/orders", **described(answers={200: OrderList}, errors=_ERRORS))
    async def orders(
        state: OrderState | None = None,
        limit: Annotated[int, Query(ge=1, le=ORDERS_SHOWN_MAX)] = ORDERS_SHOWN,
    ) -> Response:
        """List orders, newest first."""
        past = await guard.order_records.newest_past(limit=limit, state=state)
        return json_answer(order_list(guard.book, state=state, limit=limit, past=past))

    @api.get(
        "/v1/orders/{client_order_id}",
        **described(answers={200: OrderRecord}, errors=_ORDER_ERRORS),
    )
    async def order(client_order_id: str) -> Response:
        """Show one order."""
        name = unquote(client_order_id)
        held = guard.book.orders.get(name)
        if held is not None:
            return json_answer(order_record(guard.book, held))
        past = await guard.order_records.past(name)
        record = None if past is None else past_record(guard.book, past)
        if record is None:
            raise unknown_order(name)
        return json_answer(record)


def _add_changes(api: FastAPI, guard: Guard) -> None:
    @api.patch(
        "/v1/orders/{client_order_id}",
        **described(
            body=ModifyBody,
            answers={200: OrderRecord, 422: RefusedOrder},
            errors=(*_ORDER_ERRORS, 409, 413, 503),
        ),
    )
    async def modify(client_order_id: str, request: Request) -> Response:
        """Ask the venue to lower the quantity or move the price of a working order.

        Answers when the venue did, or when its silence is UNKNOWN. What it refuses is a 409 in its
        words.
        """
        name, body = unquote(client_order_id), await read_body(request, ModifyBody)
        decision = await guard.modify_order(
            name,
            quantity=body.quantity,
            limit_price=body.limit_price,
            stop_price=body.stop_price,
        )
        return changed(guard.book, name, decision)

    @api.delete(
        "/v1/orders/{client_order_id}",
        **described(
            answers={200: OrderRecord, 422: RefusedOrder}, errors=(*_ORDER_ERRORS, 409, 503)
        ),
    )
    async def cancel(client_order_id: str) -> Response:
        """Ask the venue to cancel an order, and again until it is over or the venue says no.

        What comes of it shows in the order. The stop that a position needs is not cancelled.
        """
        name = unquote(client_order_id)
        return changed(guard.book, name, await guard.cancel_order(name, reason=CANCEL_REASON))


def _add_evidence(api: FastAPI, guard: Guard) -> None:
    @api.post(
        "/v1/orders/{client_order_id}/verify",
        **described(
            body=VerifyBody,
            answers={200: VerificationView},
            errors=(*_ORDER_ERRORS, 413),
        ),
    )
    async def verify(client_order_id: str, request: Request) -> Response:
        """Wait for the evidence about an execution and judge it."""
        name, body = unquote(client_order_id), await read_body(request, VerifyBody)
        verification = await guard.verify_execution(
            name,
            expected_quantity=body.expected_quantity,
            max_slippage_ticks=body.max_slippage_ticks,
            timeout_s=None if body.timeout_s is None else float(body.timeout_s),
        )
        if verification is None:
            raise unknown_order(name)
        return json_answer(verification_view(verification))

    @api.get(
        "/v1/orders/{client_order_id}/proof",
        **described(errors=(*_ORDER_ERRORS, 409)),
    )
    async def proof(client_order_id: str) -> Response:
        """Return the signed proof of an order's fills, as it stands in the record."""
        name = unquote(client_order_id)
        held = guard.book.orders.get(name)
        if held is None:
            past = await guard.order_records.past(name)
            held = None if past is None else past.order
        if held is None:
            raise unknown_order(name)
        bundle = await guard.order_records.proof(name)
        if bundle is None:
            raise ApiError(
                409,
                ErrorCode.NOT_POSSIBLE,
                f"the order is {held.state} with {count_text(held.filled_quantity, 'contract')} "
                "filled; a proof is made when an order with fills is finished",
            )
        return Response(bundle, media_type="application/json")
