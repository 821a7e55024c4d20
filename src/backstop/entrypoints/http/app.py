"""The HTTP interface: routes that read, call the guard and print; nothing is decided here."""

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from backstop import __version__
from backstop.domain.order import OrderState
from backstop.entrypoints.http.alert_routes import ALERT_SHAPES, add_alert_routes
from backstop.entrypoints.http.answers import (
    RefusedOrder,
    changed,
    json_answer,
    starting_denials,
    submitted,
    unknown_order,
    unknown_symbol,
)
from backstop.entrypoints.http.audit_routes import AUDIT_SHAPES, add_audit_routes
from backstop.entrypoints.http.bodies import read_body
from backstop.entrypoints.http.errors import ApiError, ErrorCode
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.latch_routes import LATCH_SHAPES, add_latch_routes
from backstop.entrypoints.http.liquidation_routes import add_liquidation_routes
from backstop.entrypoints.http.liquidation_views import LIQUIDATION_SHAPES
from backstop.entrypoints.http.models import (
    ModifyBody,
    OrderBody,
    VerifyBody,
    WhatIfBody,
)
from backstop.entrypoints.http.openapi import components, described
from backstop.entrypoints.http.protection_routes import (
    PROTECTION_SHAPES,
    add_protection_routes,
)
from backstop.entrypoints.http.recovery_routes import RECOVERY_SHAPES, add_recovery_routes
from backstop.entrypoints.http.status import HealthView, StatusView, health_view, status_view
from backstop.entrypoints.http.views import (
    OrderList,
    OrderRecord,
    PositionList,
    ValidationView,
    VerificationView,
    order_list,
    order_record,
    past_record,
    position_rows,
    refused_validation,
    validation_view,
    verification_view,
)
from backstop.errors import GatewayError, JournalError

ORDERS_SHOWN = 100
ORDERS_SHOWN_MAX = 1000
"""Orders in one answer; all of them are in the audit tables."""

CANCEL_REASON = "asked for over the API"

_ERRORS = (401, 403)
_ORDER_ERRORS = (*_ERRORS, 404)


class Api(FastAPI):
    """FastAPI with the schemas of our own structs in its description."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            document = super().openapi()
            held = document.setdefault("components", {})
            held["schemas"] = components(
                (
                    HealthView,
                    StatusView,
                    OrderBody,
                    WhatIfBody,
                    ModifyBody,
                    VerifyBody,
                    OrderRecord,
                    OrderList,
                    PositionList,
                    RefusedOrder,
                    ValidationView,
                    VerificationView,
                    *AUDIT_SHAPES,
                    *LATCH_SHAPES,
                    *ALERT_SHAPES,
                    *LIQUIDATION_SHAPES,
                    *PROTECTION_SHAPES,
                    *RECOVERY_SHAPES,
                )
            )
            held["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"token": []}]
            self.openapi_schema = document
        return self.openapi_schema


def make_api(guard: Guard) -> FastAPI:
    """Return the interface of ``guard``, which is initialised; who may call it, auth decides."""
    api = Api(
        title="Backstop",
        version=__version__,
        summary="The guard of one futures account.",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    _add_error_handlers(api)
    _add_guard_routes(api, guard)
    _add_order_routes(api, guard)
    _add_evidence_routes(api, guard)
    add_audit_routes(api, guard)
    add_alert_routes(api, guard)
    add_latch_routes(api, guard)
    add_liquidation_routes(api, guard)
    add_protection_routes(api, guard)
    add_recovery_routes(api, guard)
    return api


# -- routes --------------------------------------------------------------------------------------


def _add_guard_routes(api: FastAPI, guard: Guard) -> None:
    @api.get("/v1/health", **described(answers={200: HealthView, 503: HealthView}, errors=(403,)))
    async def health() -> Response:
        """Say whether the guard is ACTIVE and sound; needs no token."""
        view = health_view(guard)
        return json_answer(view, 503 if view.reasons else 200)

    @api.get("/v1/status", **described(answers={200: StatusView}, errors=_ERRORS))
    async def status() -> Response:
        """Show the whole guard."""
        return json_answer(status_view(guard))

    @api.get("/v1/positions", **described(answers={200: PositionList}, errors=_ERRORS))
    async def positions() -> Response:
        """Show every position that is not known to be flat."""
        rows = position_rows(guard.book, now_ns=guard.now_ns())
        return json_answer(PositionList(positions=rows))


def _add_order_routes(api: FastAPI, guard: Guard) -> None:
    @api.post(
        "/v1/orders/validate",
        **described(body=WhatIfBody, answers={200: ValidationView}, errors=(*_ERRORS, 413)),
    )
    async def validate(request: Request) -> Response:
        """Judge an order as if it were submitted now; nothing is booked or sent."""
        wish = (await read_body(request, WhatIfBody)).request()
        assessment = guard.validate_order(wish)
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

    @api.get("/v1/orders", **described(answers={200: OrderList}, errors=_ERRORS))
    async def orders(
        state: OrderState | None = None,
        limit: Annotated[int, Query(ge=1, le=ORDERS_SHOWN_MAX)] = ORDERS_SHOWN,
    ) -> Response:
        """List orders, newest first."""
        return json_answer(order_list(guard.book, state=state, limit=limit, past=guard.past_orders))

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
        past = guard.past_order(name)
        record = None if past is None else past_record(guard.book, past)
        if record is None:
            raise unknown_order(name)
        return json_answer(record)

    @api.patch(
        "/v1/orders/{client_order_id}",
        **described(
            body=ModifyBody,
            answers={200: OrderRecord, 422: RefusedOrder},
            errors=(*_ORDER_ERRORS, 409, 413, 503),
        ),
    )
    async def modify(client_order_id: str, request: Request) -> Response:
        """Ask the venue to lower the quantity or move the price of a working order."""
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
        """Ask the venue to cancel an order; what comes of it shows in the order.

        The stop that a position needs is not cancelled.
        """
        name = unquote(client_order_id)
        return changed(guard.book, name, await guard.cancel_order(name, reason=CANCEL_REASON))


def _add_evidence_routes(api: FastAPI, guard: Guard) -> None:
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
            past = guard.past_order(name)
            held = None if past is None else past.order
        if held is None:
            raise unknown_order(name)
        bundle = guard.execution_proof(name)
        if bundle is None:
            raise ApiError(
                409,
                ErrorCode.NOT_POSSIBLE,
                f"the order is {held.state} with {held.filled_quantity} contracts filled; a proof "
                "is made when an order with fills is finished",
            )
        return Response(bundle, media_type="application/json")


# -- errors --------------------------------------------------------------------------------------


def _add_error_handlers(api: FastAPI) -> None:
    @api.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> Response:
        return _error_answer(error)

    @api.exception_handler(RequestValidationError)
    async def bad_query(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = str(first["loc"][-1])
        return _error_answer(
            ApiError(422, ErrorCode.INVALID_VALUE, f"{name}: {first['msg']}", field=name)
        )

    @api.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        known_path = error.status_code == HTTPStatus.METHOD_NOT_ALLOWED
        code = ErrorCode.METHOD_NOT_ALLOWED if known_path else ErrorCode.NOT_FOUND
        answer = _error_answer(
            ApiError(
                error.status_code,
                code,
                f"{request.method} {request.url.path}: {error.detail}; /v1/openapi.json lists "
                "every call",
            )
        )
        answer.headers.update(error.headers or {})
        return answer

    @api.exception_handler(JournalError)
    async def not_durable(_: Request, error: JournalError) -> Response:
        return _error_answer(
            ApiError(503, ErrorCode.RECORD_UNAVAILABLE, f"{error} Nothing was sent.")
        )

    @api.exception_handler(GatewayError)
    async def no_gateway(_: Request, error: GatewayError) -> Response:
        return _error_answer(ApiError(503, ErrorCode.GATEWAY_UNAVAILABLE, str(error)))

    @api.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        # The server logs the exception with its stack; callers learn what they can act on.
        return _error_answer(
            ApiError(
                500,
                ErrorCode.INTERNAL,
                f"the guard failed at this call ({type(error).__name__}); if it was an order, "
                "look it up by its client_order_id before sending it again",
            )
        )


def _error_answer(error: ApiError) -> Response:
    return Response(
        msgspec.json.encode(error.answer()),
        status_code=error.status,
        media_type="application/json",
    )
