"""What is wrong with a value in an address: which one, its value, and what is allowed."""

from enum import StrEnum
from typing import Any, get_args

from fastapi import Request
from fastapi.exceptions import RequestValidationError

from backstop.entrypoints.http.errors import ApiError, ErrorCode, echo


def refused_value(request: Request, error: RequestValidationError) -> ApiError:
    """Return the answer to a call whose query or path has a value that is none.

    The framework tells the one bound that was passed, in words of its own; callers are told the
    whole range, as for a member of a body.
    """
    first = error.errors()[0]
    place, *_, name = (str(it) for it in first["loc"])
    allowed = _allowed(request, name)
    may_be = f"; {allowed} is allowed" if allowed else ""
    if first["type"] == "missing":
        text = f"{name} is missing in the {place}{may_be}"
        return ApiError(422, ErrorCode.MISSING_MEMBER, text, field=name)
    value = echo(str(first["input"])) or "empty"
    return ApiError(422, ErrorCode.INVALID_VALUE, f"{name} is {value}{may_be}", field=name)


def _allowed(request: Request, name: str) -> str:
    """Return what the route takes as ``name``; empty where it does not say."""
    route = request.scope.get("route")
    dependant = getattr(route, "dependant", None)
    if dependant is None:
        return ""
    for field in (*dependant.query_params, *dependant.path_params):
        if field.alias == name:
            return _words(field.field_info.annotation, field.field_info.metadata)
    return ""


def _words(annotation: Any, terms: list[Any]) -> str:
    (kind,) = [it for it in get_args(annotation) or (annotation,) if it is not type(None)]

    def bounds(least: str, most: str) -> tuple[Any, Any] | None:
        low, high = (
            next((getattr(it, name) for it in terms if hasattr(it, name)), None)
            for name in (least, most)
        )
        return None if low is None or high is None else (low, high)

    if kind is bool:
        return "true or false"
    if kind is int:
        numbers = bounds("ge", "le")
        return f"a whole number, {numbers[0]} to {numbers[1]}," if numbers else "a whole number"
    if issubclass(kind, StrEnum):
        return f"one of {', '.join(kind)}"
    lengths = bounds("min_length", "max_length")
    return f"a text of {lengths[0]} to {lengths[1]} characters" if lengths else "a text"
