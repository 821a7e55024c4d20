"""The call about recoveries: what the last start found and did, and what one would do now."""

import asyncio

from fastapi import FastAPI
from starlette.responses import Response

from backstop.app.recovery_review import plan_as_believed
from backstop.core.state_checkpoint import captured
from backstop.entrypoints.http.answers import json_answer
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.openapi import described
from backstop.entrypoints.http.recovery_views import (
    PlanView,
    RecoveriesView,
    RecoveryView,
    plan_view,
    recovery_view,
)

_ERRORS = (401, 403)

RECOVERY_SHAPES = (RecoveriesView, RecoveryView, PlanView)
"""What these calls answer, for the description of the interface."""


def add_recovery_routes(api: FastAPI, guard: Guard) -> None:
    """Add the calls to ``api``."""

    @api.get("/v1/recovery", **described(answers={200: RecoveriesView}, errors=_ERRORS))
    async def recovery() -> Response:
        """Show what the last start found and did, and what a start now would do."""
        state = captured(guard.book)  # here, between two facts; the rest takes its time
        plan = await asyncio.to_thread(plan_as_believed, state, now_ns=guard.now_ns())
        return json_answer(RecoveriesView(last=recovery_view(guard.recovery), now=plan_view(plan)))
