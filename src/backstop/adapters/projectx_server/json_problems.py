"""The 400 answer of the gateway: an RFC 7807 problem object without the usual envelope.

Texts and keys are those of ASP.NET Core's model binding, as recorded; clients match on them.
"""

import secrets
from collections.abc import Mapping

import msgspec
from aiohttp import web

_TYPE_400 = "https://tools.ietf.org/html/rfc9110#section-15.5.1"
PROBLEM_CONTENT_TYPE = "application/problem+json"

Errors = Mapping[str, list[str]]
"""Path of the offending member (``$.accountId``, ``UserName``) to the texts about it."""


class UnbindableError(Exception):
    """A request body that does not bind; ``errors`` is what the problem object lists."""

    def __init__(self, errors: Errors) -> None:
        self.errors = errors
        super().__init__("; ".join(text for texts in errors.values() for text in texts))


def missing_body() -> UnbindableError:
    """Return the refusal of an empty body where one is needed."""
    return UnbindableError(
        {
            "": ["A non-empty request body is required."],
            "request": ["The request field is required."],
        }
    )


def unreadable(path: str, text: str) -> UnbindableError:
    """Return the refusal of one JSON value; ``path`` is like ``$.accountId``."""
    return UnbindableError({"request": ["The request field is required."], path: [text]})


def problem_answer(errors: Errors) -> web.Response:
    """Return the HTTP 400 answer that lists ``errors``."""
    body = {
        "type": _TYPE_400,
        "title": "One or more validation errors occurred.",
        "status": 400,
        "errors": errors,
        "traceId": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00",
    }
    return web.Response(
        status=400,
        body=msgspec.json.encode(body),
        content_type=PROBLEM_CONTENT_TYPE,
        charset="utf-8",
    )
