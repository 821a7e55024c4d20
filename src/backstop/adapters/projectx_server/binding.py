"""JSON text to a request body, as strictly and with the same texts as ASP.NET Core.

Member names bind without regard to case, unknown members are ignored, the last of two equal
members wins, explicit nulls are taken for optional members, and a value of another JSON type is
refused with the place where its token ends.

Nearly every body binds: it is read whole, by the JSON reader of Python. Only one that does not, or
that is unusual, is walked through for the place and the words of its fault.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from json import JSONDecodeError, JSONDecoder
from types import NoneType, UnionType
from typing import Any, Final, NoReturn, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from backstop.adapters.projectx_server.json_problems import (
    UnbindableError,
    missing_body,
    unreadable,
)

_BEYOND = Decimal("Infinity")
"""Stands for a number that JSON can write and nothing can hold: no member takes it."""


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # twenty digits of exponent
        return _BEYOND


_DECODER = JSONDecoder(parse_float=_number)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object none of whose names stands in it twice, letter for letter."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _no_number(word: str) -> NoReturn:
    """Refuse what Python reads beyond JSON: NaN and the infinities."""
    raise ValueError(word)


_WHOLE = JSONDecoder(parse_float=_number, parse_constant=_no_number, object_pairs_hook=_distinct)
_SPACE = re.compile(r"[ \t\r\n]*")
_DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,16})?)?(?:Z|[+-]\d\d:?\d\d)?)?"
)

INT64_MEMBERS: Final = frozenset({"orderId"})
"""Order ids passed two billion long ago; every other integer of a request is 32 bits wide."""

DATE_TIME_MEMBERS: Final = frozenset(
    {"startTime", "endTime", "startTimestamp", "endTimestamp", "createdAfter", "createdBefore"}
)
FRACTION_DIGITS_MAX = 28  # what .NET's decimal holds

_StructT = TypeVar("_StructT", bound=Struct)


class _Member(Struct, frozen=True, kw_only=True):
    """How one member binds."""

    name: str
    clr_type: str  # the name that the refusal text prints
    accepts: Callable[[Any], bool]
    required: bool
    nullable: bool
    nested: type[Struct] | None = None


def bind(text: bytes, body_type: type[_StructT], *, request_type: str) -> _StructT:
    """Return ``text`` as ``body_type``.

    Args:
        text: the request body as received.
        body_type: a struct whose required members have no default.
        request_type: the server's name of the request, printed when members are missing.

    Raises:
        UnbindableError: with the errors that the 400 answer lists.
    """
    members = _read_whole(text, body_type)
    if members is None:
        members = _walked(text, body_type, request_type=request_type)
    return msgspec.convert(members, body_type)


def _walked(text: bytes, body_type: type[Struct], *, request_type: str) -> dict[str, Any]:
    try:
        source = text.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise unreadable("$", "The JSON value is not valid UTF-8. Path: $.") from None
    start = _skip_space(source, 0)
    if start == len(source):
        raise missing_body()
    cursor = _Cursor(source)
    members, end = cursor.read_object(start, body_type, path="$", request_type=request_type)
    end = _skip_space(source, end)
    if end != len(source):  # a second value after the first
        raise cursor.invalid_start(end, "$")
    return members


def _read_whole(text: bytes, body_type: type[Struct]) -> dict[str, Any] | None:
    """Return the bound members of a body in which nothing is wrong or unusual; None for others."""
    try:
        value = _WHOLE.decode(text.decode())
    except (ValueError, RecursionError):
        return None
    return _bound(value, body_type)


def _bound(value: object, body_type: type[Struct]) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    known = _members(body_type)
    bound: dict[str, Any] = {}
    for name, held in value.items():
        member = known.get(name.lower())
        if member is None:
            continue
        if held is None and not member.required:
            bound.pop(member.name, None)
        elif member.nested is not None:
            inner = _bound(held, member.nested)
            if inner is None:
                return None
            bound[member.name] = inner
        elif held is None or not member.accepts(held):
            return None
        else:
            bound[member.name] = held
    lacks = any(member.required and member.name not in bound for member in known.values())
    return None if lacks else bound


def to_utc_us(text: str) -> int:
    """Return an ISO-8601 time as microseconds since 1970; a time without offset is UTC.

    More than six fractional digits are cut, as the gateway cuts its own.
    """
    trimmed = re.sub(r"(\.\d{6})\d+", r"\1", text)
    moment = datetime.fromisoformat(trimmed)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since_1970 = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since_1970.days * 86_400 + since_1970.seconds) * 1_000_000 + since_1970.microseconds


class _Cursor:
    """Walks one JSON text and remembers nothing but the text."""

    def __init__(self, source: str) -> None:
        self._source = source

    def read_object(
        self, at: int, body_type: type[Struct], *, path: str, request_type: str
    ) -> tuple[dict[str, Any], int]:
        """Return the bound members of the object at ``at`` and the place after it."""
        source = self._source
        if source[at : at + 1] != "{":
            value, end = self._any_value(at, path)
            del value
            raise self._not_convertible(path, request_type, end)
        known = _members(body_type)
        bound: dict[str, Any] = {}
        at = _skip_space(source, at + 1)
        if source[at : at + 1] == "}":
            at += 1
        else:
            while True:
                at = self._read_member(at, known, bound, path=path)
                mark = source[at : at + 1]
                at = _skip_space(source, at + 1)
                if mark == "}":
                    break
                if mark != ",":
                    raise self.invalid_start(at - 1, path)
        missing = [member.name for member in known.values() if _lacks(member, bound)]
        if missing:
            raise self._lacking(missing, bound, path, request_type, at)
        return bound, at

    def _read_member(
        self, at: int, known: dict[str, _Member], bound: dict[str, Any], *, path: str
    ) -> int:
        source = self._source
        if source[at : at + 1] != '"':
            raise self.invalid_start(at, path)
        name, at = self._any_value(at, path)
        at = _skip_space(source, at)
        if source[at : at + 1] != ":":
            raise self.invalid_start(at, path)
        at = _skip_space(source, at + 1)
        member = known.get(name.lower())
        if member is None:  # unknown members are ignored, whatever they hold
            _, at = self._any_value(at, f"{path}.{name}")
        elif member.nested is not None and source[at : at + 4] != "null":
            here = f"{path}.{member.name}"
            bound[member.name], at = self.read_object(
                at, member.nested, path=here, request_type=member.clr_type
            )
        else:
            value, at = self._checked_value(at, member, f"{path}.{member.name}")
            if value is None and not member.required:
                bound.pop(member.name, None)  # an explicit null means: as if it were absent
            else:
                bound[member.name] = value
        return _skip_space(source, at)

    def _checked_value(self, at: int, member: _Member, path: str) -> tuple[Any, int]:
        value, end = self._any_value(at, path)
        if value is None:
            # A null string passes the JSON reader and is refused by the validation after it.
            if member.nullable or member.clr_type == "System.String":
                return None, end
        elif member.accepts(value):
            return value, end
        raise self._not_convertible(path, member.clr_type, end)

    def _any_value(self, at: int, path: str) -> tuple[Any, int]:
        if self._source.startswith(("NaN", "Infinity", "-Infinity"), at):
            raise self.invalid_start(at, path)
        try:
            value, end = _DECODER.raw_decode(self._source, at)
        except JSONDecodeError as error:
            raise self.invalid_start(min(error.pos, len(self._source)), path) from None
        except (RecursionError, ValueError):  # nested too deeply, or thousands of digits
            raise self._not_convertible(path, "System.Object", at) from None
        return value, end

    def invalid_start(self, at: int, path: str) -> UnbindableError:
        """Return the refusal of a text that is not JSON from ``at`` on."""
        found = self._source[at : at + 1]
        what = (
            f"'{found}' is an invalid start of a value."
            if found
            else "The input does not contain any JSON tokens or ends inside of one."
        )
        return unreadable(path, _at_place(what, path, *self._place(at)))

    def _not_convertible(self, path: str, clr_type: str, end: int) -> UnbindableError:
        what = f"The JSON value could not be converted to {clr_type}."
        return unreadable(path, _at_place(what, path, *self._place(end)))

    def _lacking(
        self, missing: list[str], bound: dict[str, Any], path: str, request_type: str, end: int
    ) -> UnbindableError:
        null_texts = [name for name in missing if name in bound]
        if null_texts or request_type in VALIDATED_REQUESTS:
            names = [name[0].upper() + name[1:] for name in null_texts or missing]
            return UnbindableError({name: [f"The {name} field is required."] for name in names})
        listed = ", ".join(f"'{name}'" for name in missing)
        what = (
            f"JSON deserialization for type '{request_type}' "
            f"was missing required properties including: {listed}."
        )
        return unreadable(path, _at_place(what, path, *self._place(end)))

    def _place(self, at: int) -> tuple[int, int]:
        """Return (line, byte in line), both from 0."""
        before = self._source[:at]
        line_start = before.rfind("\n") + 1
        return before.count("\n"), len(before[line_start:].encode())


VALIDATED_REQUESTS: Final = frozenset({"LoginApiKeyRequest", "LoginAppRequest"})
"""Requests whose missing texts are found by validation (``UserName``), not by the JSON reader."""


def _at_place(what: str, path: str, line: int, byte: int) -> str:
    return f"{what} Path: {path} | LineNumber: {line} | BytePositionInLine: {byte}."


def _skip_space(source: str, at: int) -> int:
    match = _SPACE.match(source, at)
    return at if match is None else match.end()


def _lacks(member: _Member, bound: dict[str, Any]) -> bool:
    if member.name not in bound:
        return member.required
    return bound[member.name] is None and not member.nullable


@cache
def _members(body_type: type[Struct]) -> dict[str, _Member]:
    """Return the members of ``body_type`` by lower-case name."""
    found = {}
    for field in msgspec.structs.fields(body_type):
        variants = _variants(field.type)
        # A null is taken for every optional member; it then stands for the member's default.
        nullable = NoneType in variants or not field.required
        plain = next(variant for variant in variants if variant is not NoneType)
        clr_type, accepts = _binding_of(field.encode_name, plain)
        nested = plain if isinstance(plain, type) and issubclass(plain, Struct) else None
        if nullable and clr_type != "System.String" and nested is None:
            clr_type = f"System.Nullable`1[{clr_type}]"
        found[field.encode_name.lower()] = _Member(
            name=field.encode_name,
            clr_type=clr_type,
            accepts=accepts,
            required=field.required,
            nullable=nullable,
            nested=nested,
        )
    return found


def _variants(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in {Union, UnionType}:
        return get_args(annotation)
    return (annotation,)


def _binding_of(name: str, plain: Any) -> tuple[str, Callable[[Any], bool]]:
    if plain is int:
        return ("System.Int64", _is_int64) if name in INT64_MEMBERS else ("System.Int32", _is_int32)
    if plain is bool:
        return "System.Boolean", lambda value: isinstance(value, bool)
    if plain is Decimal:
        return "System.Decimal", _is_decimal
    if plain is str and name in DATE_TIME_MEMBERS:
        return "System.DateTimeOffset", _is_date_time
    if plain is str:
        return "System.String", lambda value: isinstance(value, str)
    if get_origin(plain) is list:
        return (
            "System.Int32[]",
            lambda value: isinstance(value, list) and all(map(_is_int32, value)),
        )
    return plain.__name__, lambda _: False


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_int32(value: Any) -> bool:
    return _is_int(value) and -(2**31) <= value < 2**31


def _is_int64(value: Any) -> bool:
    return _is_int(value) and -(2**63) <= value < 2**63


def _is_decimal(value: Any) -> bool:
    """A number that fits .NET's decimal: 96 bits of digits, at most 28 of them after the point."""
    if not _is_int(value) and not isinstance(value, Decimal):
        return False
    number = Decimal(value)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        return False
    # Without arithmetic, which would round to the digits of a context, or overflow in it.
    return number.copy_abs() < 2**96 and -exponent <= FRACTION_DIGITS_MAX


def _is_date_time(value: Any) -> bool:
    if not isinstance(value, str) or _DATE_TIME.fullmatch(value) is None:
        return False
    try:
        to_utc_us(value)
    except (ValueError, OverflowError):
        return False
    return True
