"""The stream of everything that goes on record, as server-sent events that can be resumed.

The number of an event is its place in the journal, so a reader that comes back says what it has
seen (``Last-Event-ID``) and misses nothing and sees nothing twice, also over a start of the guard.
Only what is durable is told.
"""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Query, Request
from msgspec import Struct
from starlette.responses import Response, StreamingResponse

from backstop.app.audit_reading import RecordView
from backstop.domain.utc import utc_text
from backstop.entrypoints.http.audit_routes import SEQ_MAX
from backstop.entrypoints.http.errors import ApiError, ErrorCode, echo
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.openapi import described

STREAMS_MAX = 32
"""Readers at one time: each costs a connection, and a read of the record for each change."""

LOOK_S = 0.05
"""Between two looks at whether anything new is on record: what a reader's event may be late."""

ALIVE_S = 5.0
"""A line at least so often, by which a reader knows that the connection is not half dead."""

RECORDS_PER_READ = 200
RETRY_MS = 1000
"""After how long a browser connects again."""

EVENT_STREAM = "text/event-stream"

_ERRORS = (401, 403, 409, 503)


class EventView(Struct, frozen=True, kw_only=True):
    """One record of the journal, as the ``data`` of an event; the stream's ``id`` is ``seq``.

    ``record`` is event, command, proof, policy or key-rotation. ``payload`` is what was recorded;
    the ``kind`` in it names the fact or the command, and is the stream's ``event`` too.
    """

    seq: int
    record: str
    time: str
    payload: msgspec.Raw


class _Kind(Struct):
    kind: str = ""


def add_event_routes(api: FastAPI, guard: Guard, *, ending: asyncio.Event) -> None:
    """Add the stream to ``api``; once ``ending`` is set every reader's stream ends."""
    readers: set[object] = set()

    @api.get(
        "/v1/events",
        response_class=StreamingResponse,
        **_described(),
    )
    async def events(
        request: Request,
        first_seq: Annotated[int | None, Query(alias="from", ge=1, le=SEQ_MAX)] = None,
    ) -> Response:
        """Stream the record as text/event-stream, from ``Last-Event-ID``, ``from``, or from now."""
        next_seq = _next_seq(request.headers.get("last-event-id"), first_seq, guard.journal_seq)
        if len(readers) >= STREAMS_MAX:
            raise ApiError(
                503, ErrorCode.TOO_MANY_STREAMS, f"{STREAMS_MAX} readers are connected: end one"
            )
        return StreamingResponse(
            _told(guard, next_seq, readers, ending), media_type=f"{EVENT_STREAM}; charset=utf-8"
        )


def _described() -> dict[str, Any]:
    """Return FastAPI's keywords for the stream, whose good answer is no JSON."""
    keywords = described(errors=_ERRORS)
    keywords["responses"][HTTPStatus.OK] = {
        "description": "Server-sent events: id is seq, event the kind, data an EventView.",
        "content": {EVENT_STREAM: {"schema": {"type": "string"}}},
    }
    return keywords


def _next_seq(last_event_id: str | None, first_seq: int | None, newest_seq: int) -> int:
    """Return the number of the first event that a reader is to be told.

    Raises:
        ApiError: it says that it has seen what this record does not hold.
    """
    if not last_event_id:
        return newest_seq + 1 if first_seq is None else first_seq
    number = last_event_id.isascii() and last_event_id.isdecimal()
    seen = int(last_event_id) if number and len(last_event_id) <= len(str(SEQ_MAX)) else -1
    if seen < 0:
        raise ApiError(
            422,
            ErrorCode.INVALID_VALUE,
            f"Last-Event-ID must be the number of an event; got {echo(last_event_id)}",
            field="Last-Event-ID",
        )
    if seen > newest_seq:
        raise ApiError(
            409,
            ErrorCode.NOT_POSSIBLE,
            f"the record ends at {newest_seq}, so event {seen} is of another one: begin anew "
            "without Last-Event-ID, after a look at GET /v1/status",
            field="Last-Event-ID",
        )
    return seen + 1


async def _told(
    guard: Guard, next_seq: int, readers: set[object], ending: asyncio.Event
) -> AsyncIterator[bytes]:
    """Yield what is on record from ``next_seq`` on, and a line of life while that is nothing."""
    reader, clock = object(), asyncio.get_running_loop()
    readers.add(reader)
    try:
        # The id without an event: whoever is cut off before the first one resumes here as well.
        yield f"id: {next_seq - 1}\nretry: {RETRY_MS}\n\n".encode()
        said_s = clock.time()
        while not ending.is_set():
            found: tuple[RecordView, ...] = ()
            if guard.journal_seq >= next_seq:
                page = await asyncio.to_thread(
                    guard.audit.records, first_seq=next_seq, limit=RECORDS_PER_READ
                )
                found = page.records
            for record in found:
                yield _event(record)
                next_seq = record.seq + 1
            if found:
                said_s = clock.time()
                continue
            if clock.time() - said_s >= ALIVE_S:
                yield b": alive\n\n"
                said_s = clock.time()
            await asyncio.sleep(LOOK_S)
    finally:
        readers.discard(reader)


def _event(record: RecordView) -> bytes:
    payload = b64decode(record.payload_base64)
    try:
        kind = msgspec.json.decode(payload, type=_Kind).kind
    except msgspec.MsgspecError:
        kind, payload = "", msgspec.json.encode(payload.decode("utf-8", "backslashreplace"))
    view = EventView(
        seq=record.seq,
        record=record.kind,
        time=utc_text(record.utc_us),
        payload=msgspec.Raw(payload),
    )
    head = f"id: {record.seq}\nevent: {kind or record.kind}\ndata: "
    return head.encode() + msgspec.json.encode(view) + b"\n\n"
