"""The published description of the interface, made from the very structs that decode and encode."""

from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from backstop.entrypoints.http.errors import ErrorAnswer

MALFORMED = HTTPStatus.UNPROCESSABLE_ENTITY
_REFERENCE = "#/components/schemas/{name}"


def described(
    *,
    body: type[Struct] | None = None,
    answers: dict[int, type[Struct]] | None = None,
    errors: tuple[int, ...],
) -> dict[str, Any]:
    """Return FastAPI's keywords that describe one call: its body, its answers, its errors.

    A status may be both: a refused order and a malformed one are 422 in two shapes.
    """
    shapes: dict[int, list[type[Struct]]] = {}
    for status, answer in (answers or {}).items():
        shapes.setdefault(status, []).append(answer)
    slow = () if body is None else (HTTPStatus.REQUEST_TIMEOUT,)
    for status in (*errors, *slow, MALFORMED, HTTPStatus.TOO_MANY_REQUESTS):
        shapes.setdefault(status, []).append(ErrorAnswer)
    responses = {
        status: {"description": _summary(structs[0]), "content": _content(structs)}
        for status, structs in shapes.items()
    }
    keywords: dict[str, Any] = {
        "responses": responses,
        "status_code": next(iter(answers)) if answers else HTTPStatus.OK,
    }
    if body is not None:
        content = _content([body])
        keywords["openapi_extra"] = {"requestBody": {"required": True, "content": content}}
    return keywords


def components(structs: tuple[type[Struct], ...]) -> dict[str, Any]:
    """Return the schemas of ``structs`` and of everything inside them, by name."""
    return msgspec.json.schema_components((*structs, ErrorAnswer), ref_template=_REFERENCE)[1]


def _content(structs: list[type[Struct]]) -> dict[str, Any]:
    references = [{"$ref": _REFERENCE.format(name=struct.__name__)} for struct in structs]
    schema = references[0] if len(references) == 1 else {"anyOf": references}
    return {"application/json": {"schema": schema}}


def _summary(struct: type[Struct]) -> str:
    return (struct.__doc__ or struct.__name__).strip().partition("\n")[0]
