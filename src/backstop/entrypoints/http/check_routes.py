"""The call by which a running guard is asked whether its set-up is fit to trade on."""

from fastapi import FastAPI
from msgspec import Struct
from starlette.responses import Response

from backstop.core.check import Check, CheckStatus, worst
from backstop.core.set_up_checks import checks
from backstop.entrypoints.http.answers import json_answer
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.openapi import described


class CheckList(Struct, frozen=True, kw_only=True):
    """The set-up of the guard; ``status`` is that of its worst part."""

    status: CheckStatus
    checks: tuple[Check, ...]


CHECK_SHAPES = (CheckList,)


def add_check_routes(api: FastAPI, guard: Guard) -> None:
    """Add ``/v1/checks``."""

    @api.get("/v1/checks", **described(answers={200: CheckList}, errors=(401, 403)))
    async def set_up_checks() -> Response:
        """Say whether clock, disk, login, hubs, data and gates are as they should be."""
        found = checks(guard.set_up())
        return json_answer(CheckList(status=worst(found), checks=found))
