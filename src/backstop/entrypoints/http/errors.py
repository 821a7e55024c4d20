"""Every refusal of the HTTP interface in one shape: ``{"error": {"code", "field", "message"}}``."""

from enum import StrEnum

import msgspec
from msgspec import Struct
from starlette.types import Send

from backstop.entrypoints.http.pace import RETRY_AFTER_S

ECHO_LENGTH_MAX = 80
"""Characters of a caller's own text that a message repeats; enough to recognise it."""


class ErrorCode(StrEnum):
    """Why a request was not carried out; programs rely on the word, people on the message."""

    TOKEN_REQUIRED = "TOKEN_REQUIRED"  # noqa: S105 - a code, not a secret
    HOST_NOT_ALLOWED = "HOST_NOT_ALLOWED"
    ORIGIN_NOT_ALLOWED = "ORIGIN_NOT_ALLOWED"
    BODY_TOO_LARGE = "BODY_TOO_LARGE"
    BODY_TOO_SLOW = "BODY_TOO_SLOW"
    BODY_INCOMPLETE = "BODY_INCOMPLETE"  # the caller went away in the midst of it
    TOO_MANY_CONNECTIONS = "TOO_MANY_CONNECTIONS"
    TOO_MANY_CALLS = "TOO_MANY_CALLS"
    MALFORMED_JSON = "MALFORMED_JSON"
    MISSING_MEMBER = "MISSING_MEMBER"
    UNKNOWN_MEMBER = "UNKNOWN_MEMBER"
    INVALID_VALUE = "INVALID_VALUE"
    UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    UNKNOWN_ALERT = "UNKNOWN_ALERT"
    UNKNOWN_BOT = "UNKNOWN_BOT"
    UNKNOWN_LIQUIDATION = "UNKNOWN_LIQUIDATION"
    TOO_MANY_STREAMS = "TOO_MANY_STREAMS"
    CONFLICT = "CONFLICT"  # the client_order_id belongs to an order with another body
    NOT_POSSIBLE = "NOT_POSSIBLE"  # not in the order's present state
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    RECORD_UNAVAILABLE = "RECORD_UNAVAILABLE"  # the journal cannot make anything durable
    GATEWAY_UNAVAILABLE = "GATEWAY_UNAVAILABLE"
    INTERNAL = "INTERNAL"


class ErrorView(Struct, frozen=True, kw_only=True):
    """One refusal. ``field`` names the member of the request it is about, where there is one."""

    code: ErrorCode
    field: str | None
    message: str


class ErrorAnswer(Struct, frozen=True, kw_only=True):
    """The body of every answer that is an error."""

    error: ErrorView


class ApiError(Exception):
    """A request that is answered with an error; the HTTP status is part of it."""

    def __init__(
        self, status: int, code: ErrorCode, message: str, *, field: str | None = None
    ) -> None:
        self.status = status
        self.code = code
        self.field = field
        super().__init__(message)

    def answer(self) -> ErrorAnswer:
        """Return the body; text that UTF-8 cannot carry is shown escaped."""
        field = None if self.field is None else _encodable(self.field)
        view = ErrorView(code=self.code, field=field, message=_encodable(str(self)))
        return ErrorAnswer(error=view)


async def send_error(send: Send, error: ApiError) -> None:
    """Answer with ``error`` where there is no framework yet, or none any more."""
    body = msgspec.json.encode(error.answer())
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode("ascii")),
    ]
    if error.code is ErrorCode.TOKEN_REQUIRED:
        headers.append((b"www-authenticate", b'Bearer realm="backstop"'))
    if error.code is ErrorCode.TOO_MANY_CALLS:
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode("ascii")))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def echo(text: str) -> str:
    """Return a caller's own ``text`` for a message, cut to a bound."""
    return text if len(text) <= ECHO_LENGTH_MAX else f"{text[:ECHO_LENGTH_MAX]}..."


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
