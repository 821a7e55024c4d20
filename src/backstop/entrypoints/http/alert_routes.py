"""The calls about alerts: what a person was told, and that it was read."""

from typing import Annotated

from fastapi import FastAPI, Path, Query, Request
from msgspec import Struct
from starlette.responses import Response

from backstop.adapters.alert_courier import Delivery
from backstop.core.alerts import Alert
from backstop.core.step import DecisionKind
from backstop.domain.alert_code import runbook_page
from backstop.domain.commands import Severity
from backstop.domain.utc import utc_text
from backstop.domain.wish_terms import OPERATOR_LENGTH_MAX
from backstop.entrypoints.http.answers import json_answer
from backstop.entrypoints.http.bodies import read_body
from backstop.entrypoints.http.errors import ApiError, ErrorCode, echo
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.models import Body
from backstop.entrypoints.http.openapi import described
from backstop.entrypoints.http.people import UNNAMED_OPERATOR, Operator

ALERTS_SHOWN = 100
ALERTS_SHOWN_MAX = 1_000
ALERT_ID_MAX = 2**53
"""Every reader of JSON keeps numbers up to it exactly."""

_ERRORS = (401, 403)


class AcknowledgeBody(Body, frozen=True, kw_only=True):
    """Who has read it, as every other call takes a name; it goes before one in the address."""

    operator: Operator | None = None


class DeliveryView(Struct, frozen=True, kw_only=True):
    """What became of an alert on one channel; channels count from 1."""

    channel: int
    service: str
    delivered: bool
    fault: str


class AlertView(Struct, frozen=True, kw_only=True):
    """One alert; open while ``acknowledged_by`` is null.

    ``runbook`` is the page of the repository that says what to do. ``deliveries`` is empty where no
    address is set, and for alerts of an earlier process.
    """

    id: int
    severity: Severity
    code: str
    message: str
    raised_at: str
    reminders: int
    acknowledged_by: str | None
    acknowledged_at: str | None
    runbook: str
    deliveries: tuple[DeliveryView, ...]


class AlertList(Struct, frozen=True, kw_only=True):
    """Alerts, newest first; ``open`` counts all that nobody has acknowledged."""

    alerts: tuple[AlertView, ...]
    open: int


ALERT_SHAPES: tuple[type[Struct], ...] = (AcknowledgeBody, AlertView, AlertList)
"""What these calls take and answer, for the description of the interface."""


def add_alert_routes(api: FastAPI, guard: Guard) -> None:
    """Add the calls to ``api``."""

    @api.get("/v1/alerts", **described(answers={200: AlertList}, errors=_ERRORS))
    async def alerts(
        *,
        only_open: Annotated[bool, Query(alias="open")] = False,
        limit: Annotated[int, Query(ge=1, le=ALERTS_SHOWN_MAX)] = ALERTS_SHOWN,
    ) -> Response:
        """List alerts, newest first; with ``open=true`` those that nobody has acknowledged."""
        held = list(guard.book.alerts.alerts.values())
        shown = [alert for alert in reversed(held) if alert.is_open or not only_open][:limit]
        return json_answer(
            AlertList(
                alerts=tuple(_view(guard, alert) for alert in shown),
                open=sum(alert.is_open for alert in held),
            )
        )

    @api.post(
        "/v1/alerts/{alert_id}/ack",
        **described(
            body=AcknowledgeBody, answers={200: AlertView}, errors=(*_ERRORS, 404, 413, 503)
        ),
    )
    async def acknowledge(
        request: Request,
        alert_id: Annotated[int, Path(ge=1, le=ALERT_ID_MAX)],
        operator: Annotated[
            str, Query(min_length=1, max_length=OPERATOR_LENGTH_MAX)
        ] = UNNAMED_OPERATOR,
    ) -> Response:
        """Say that a person has read an alert; it lifts no latch and re-arms nothing."""
        if not operator.isprintable() or not operator.strip():
            raise ApiError(
                422,
                ErrorCode.INVALID_VALUE,
                f"operator must be 1 to {OPERATOR_LENGTH_MAX} printable characters, not blank; "
                f"got {echo(operator)!a}",
                field="operator",
            )
        body = await read_body(request, AcknowledgeBody, empty=AcknowledgeBody())
        decision = await guard.acknowledge_alert(alert_id, operator=body.operator or operator)
        if decision.kind is DecisionKind.UNKNOWN_ALERT:
            raise ApiError(404, ErrorCode.UNKNOWN_ALERT, decision.message, field="id")
        return json_answer(_view(guard, guard.book.alerts.alerts[alert_id]))


def _view(guard: Guard, alert: Alert) -> AlertView:
    read_us = alert.acknowledged_utc_us
    return AlertView(
        id=alert.alert_id,
        severity=alert.severity,
        code=alert.code,
        message=alert.message,
        raised_at=utc_text(alert.raised_utc_us),
        reminders=alert.repeats,
        acknowledged_by=alert.acknowledged_by,
        acknowledged_at=None if read_us is None else utc_text(read_us),
        runbook=runbook_page(alert.code),
        deliveries=tuple(map(_delivery, guard.deliveries(alert.alert_id))),
    )


def _delivery(delivery: Delivery) -> DeliveryView:
    return DeliveryView(
        channel=delivery.channel,
        service=delivery.service,
        delivered=delivery.delivered,
        fault=delivery.fault,
    )
