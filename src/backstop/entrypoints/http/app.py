"""The HTTP interface: routes that read, call the guard and print; nothing is decided here."""

import asyncio
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from backstop import __version__
from backstop.entrypoints.http.alert_routes import ALERT_SHAPES, add_alert_routes
from backstop.entrypoints.http.answers import (
    json_answer,
)
from backstop.entrypoints.http.audit_routes import AUDIT_SHAPES, add_audit_routes
from backstop.entrypoints.http.bot_routes import BOT_SHAPES, add_bot_routes
from backstop.entrypoints.http.check_routes import CHECK_SHAPES, add_check_routes
from backstop.entrypoints.http.errors import ApiError, ErrorCode
from backstop.entrypoints.http.event_routes import add_event_routes
from backstop.entrypoints.http.exposure_view import EXPOSURE_SHAPES, add_exposure_routes
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.latch_routes import LATCH_SHAPES, add_latch_routes
from backstop.entrypoints.http.limit_routes import LIMIT_SHAPES, add_limit_routes
from backstop.entrypoints.http.liquidation_routes import add_liquidation_routes
from backstop.entrypoints.http.liquidation_views import LIQUIDATION_SHAPES
from backstop.entrypoints.http.metrics import add_metrics_route
from backstop.entrypoints.http.openapi import components, described
from backstop.entrypoints.http.order_routes import ORDER_SHAPES, add_order_routes
from backstop.entrypoints.http.pace import RETRY_AFTER_S
from backstop.entrypoints.http.position_view import PositionList, position_rows
from backstop.entrypoints.http.protection_routes import (
    PROTECTION_SHAPES,
    add_protection_routes,
)
from backstop.entrypoints.http.query_words import refused_value
from backstop.entrypoints.http.recovery_routes import RECOVERY_SHAPES, add_recovery_routes
from backstop.entrypoints.http.status import HealthView, StatusView, health_view, status_view
from backstop.errors import GatewayError, GuardBusyError, JournalError, StateFolderError

_ERRORS = (401, 403)


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
                    PositionList,
                    *ORDER_SHAPES,
                    *AUDIT_SHAPES,
                    *LATCH_SHAPES,
                    *LIMIT_SHAPES,
                    *ALERT_SHAPES,
                    *LIQUIDATION_SHAPES,
                    *PROTECTION_SHAPES,
                    *RECOVERY_SHAPES,
                    *BOT_SHAPES,
                    *CHECK_SHAPES,
                    *EXPOSURE_SHAPES,
                )
            )
            held["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"token": []}]
            self.openapi_schema = document
        return self.openapi_schema


def make_api(guard: Guard, *, ending: asyncio.Event | None = None) -> FastAPI:
    """Return the interface of ``guard``, which is initialised; who may call it, auth decides.

    Streams end when ``ending`` is set.
    """
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
    add_order_routes(api, guard)
    add_audit_routes(api, guard)
    add_alert_routes(api, guard)
    add_latch_routes(api, guard)
    add_limit_routes(api, guard)
    add_liquidation_routes(api, guard)
    add_protection_routes(api, guard)
    add_recovery_routes(api, guard)
    add_bot_routes(api, guard)
    add_check_routes(api, guard)
    add_event_routes(api, guard, ending=ending or asyncio.Event())
    add_exposure_routes(api, guard)
    add_metrics_route(api, guard)
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


# -- errors --------------------------------------------------------------------------------------


def _add_error_handlers(api: FastAPI) -> None:
    @api.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> Response:
        return _error_answer(error)

    @api.exception_handler(RequestValidationError)
    async def bad_query(request: Request, error: RequestValidationError) -> Response:
        return _error_answer(refused_value(request, error))

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

    @api.exception_handler(GuardBusyError)
    async def busy(_: Request, error: GuardBusyError) -> Response:
        answer = _error_answer(ApiError(429, ErrorCode.TOO_MANY_CALLS, str(error)))
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
        return answer

    @api.exception_handler(StateFolderError)
    async def unreadable(_: Request, error: StateFolderError) -> Response:
        return _error_answer(ApiError(503, ErrorCode.RECORD_UNAVAILABLE, str(error)))

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
