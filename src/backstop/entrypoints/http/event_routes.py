"""The stream of everything that goes on record, as server-sent events that can be resumed.

The number of an event is its place in the journal, so a reader that comes back says what it has
seen (``Last-Event-ID``) and misses nothing and sees nothing twice, also over a start of the guard.
Only what is durable is told.
"""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from starlette.responses import Response, StreamingResponse

from backstop.entrypoints.http.audit_routes import SEQ_MAX
from backstop.entrypoints.http.errors import ApiError, ErrorCode, echo
from backstop.entrypoints.http.event_tail import EventTail
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.openapi import described
from backstop.errors import StateFolderError

STREAMS_MAX = 32
"""Readers at one time: each costs a connection."""

LOOK_S = 0.05
"""Between two looks at whether anything new is on record: what a reader's event may be late."""

ALIVE_S = 5.0
"""A line at least so often, by which a reader knows that the connection is not half dead."""

RETRY_MS = 1000
"""After how long a browser connects again."""

EVENT_STREAM = "text/event-stream"

_ERRORS = (401, 403, 409, 503)


def add_event_routes(api: FastAPI, guard: Guard, *, ending: asyncio.Event) -> None:
    """Add the stream to ``api``; once ``ending`` is set every reader's stream ends."""
    readers: set[object] = set()
    tail = EventTail(guard)

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
            _told(tail, next_seq, readers, ending), media_type=f"{EVENT_STREAM}; charset=utf-8"
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
        if first_seq is None:
            return newest_seq + 1
        _check_place(first_seq - 1, newest_seq, "from")
        return first_seq
    number = last_event_id.isascii() and last_event_id.isdecimal()
    seen = int(last_event_id) if number and len(last_event_id) <= len(str(SEQ_MAX)) else -1
    if seen < 0:
        raise ApiError(
            422,
            ErrorCode.INVALID_VALUE,
            f"Last-Event-ID must be the number of an event; got {echo(last_event_id)}",
            field="Last-Event-ID",
        )
    _check_place(seen, newest_seq, "Last-Event-ID")
    return seen + 1


def _check_place(seen: int, newest_seq: int, field: str) -> None:
    if seen > newest_seq:
        raise ApiError(
            409,
            ErrorCode.NOT_POSSIBLE,
            f"the record ends at {newest_seq}, so event {seen} is of another one: begin anew "
            f"without {field}, after a look at GET /v1/status",
            field=field,
        )


async def _told(
    tail: EventTail, next_seq: int, readers: set[object], ending: asyncio.Event
) -> AsyncIterator[bytes]:
    """Yield what is on record from ``next_seq`` on, and a line of life while that is nothing."""
    reader, clock = object(), asyncio.get_running_loop()
    if len(readers) >= STREAMS_MAX:
        return  # several came in one moment; who comes back is told why
    readers.add(reader)
    try:
        # The id without an event: whoever is cut off before the first one resumes here as well.
        yield f"id: {next_seq - 1}\nretry: {RETRY_MS}\n\n".encode()
        said_s = clock.time()
        while not ending.is_set():
            told = await tail.after(next_seq)
            if told is not None:
                yield told.data
                next_seq, said_s = told.next_seq, clock.time()
                await asyncio.sleep(0)  # who catches up on a long past lets others have their turn
                continue
            if clock.time() - said_s >= ALIVE_S:
                yield b": alive\n\n"
                said_s = clock.time()
            await asyncio.sleep(LOOK_S)
    except StateFolderError as error:
        # It ends here, and whoever comes back goes on where it broke off.
        yield f": the record cannot be read: {' '.join(str(error).split())}\n\n".encode()
    finally:
        readers.discard(reader)
