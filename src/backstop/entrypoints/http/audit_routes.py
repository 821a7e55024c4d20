"""The calls about the audit log: its newest checkpoint, its records, and proofs of inclusion.

What they answer stands on disk already and is read on a thread of its own: no question about the
past holds up what happens now.
"""

from functools import partial
from typing import Annotated

import msgspec
from fastapi import FastAPI, Path, Query, Request
from starlette.responses import PlainTextResponse, Response

from backstop.app.audit_reading import (
    RECORDS_SHOWN_MAX,
    CheckpointView,
    InclusionView,
    RecordPage,
)
from backstop.entrypoints.http.answers import json_answer
from backstop.entrypoints.http.disk_reads import DiskReads
from backstop.entrypoints.http.errors import ApiError, ErrorCode
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.openapi import described

AUDIT_SHAPES = (CheckpointView, RecordPage, InclusionView)
"""What these calls answer, for the description of the interface."""

RECORDS_SHOWN = 100
SEQ_MAX = 2**53
"""No journal gets there, and every reader of JSON keeps numbers up to it exactly."""

_NOTE = "text/plain"
_ERRORS = (401, 403)


def add_audit_routes(api: FastAPI, guard: Guard) -> None:
    """Add the calls to ``api``."""
    reads = DiskReads()

    @api.get(
        "/v1/audit/checkpoint",
        **described(answers={200: CheckpointView}, errors=(*_ERRORS, 404)),
    )
    async def checkpoint(request: Request) -> Response:
        """Give the newest signed checkpoint; with ``Accept: text/plain`` the signed note alone."""
        found = await reads.read(guard.audit.checkpoint)
        if found is None:
            raise ApiError(404, ErrorCode.NOT_FOUND, "nothing has been recorded yet")
        if request.headers.get("accept", "").startswith(_NOTE):
            return PlainTextResponse(found.note)
        return json_answer(found)

    @api.get("/v1/audit/records", **described(answers={200: RecordPage}, errors=_ERRORS))
    async def records(
        first_seq: Annotated[int, Query(alias="from", ge=1, le=SEQ_MAX)] = 1,
        limit: Annotated[int, Query(ge=1, le=RECORDS_SHOWN_MAX)] = RECORDS_SHOWN,
    ) -> Response:
        """List journal records in order, from a sequence number on."""

        def page() -> bytes:
            """Read and write down: a large page is no work for the event loop either."""
            return msgspec.json.encode(guard.audit.records(first_seq=first_seq, limit=limit))

        return Response(await reads.read(page), media_type="application/json")

    @api.get(
        "/v1/audit/proof/{seq}",
        **described(answers={200: InclusionView}, errors=(*_ERRORS, 404)),
    )
    async def proof(seq: Annotated[int, Path(ge=1, le=SEQ_MAX)]) -> Response:
        """Prove that a journal record is in the tree of the newest checkpoint."""
        found = await reads.read(partial(guard.audit.inclusion, seq))
        if found is None:
            raise ApiError(
                404, ErrorCode.NOT_FOUND, f"the log has no record {seq} yet", field="seq"
            )
        return json_answer(found)
