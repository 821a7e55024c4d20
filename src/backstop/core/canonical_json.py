"""Canonical JSON (RFC 8785): one value, one sequence of bytes, so that it can be signed.

Numbers are whole and at most 2**53 - 1 in size, because RFC 8785 writes numbers as IEEE 754
doubles and a larger one would change silently. Money, prices and ids therefore go as text, and a
float is refused: it never belongs into a record of money.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Self

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly (RFC 7493 section 2.2)."""

MAX_DEPTH = 64
"""Nesting allowed; our documents need 4, and a hostile one must not exhaust the stack."""


_quoted = json.JSONEncoder(ensure_ascii=False).encode
"""The standard encoder escapes exactly what RFC 8785 section 3.2.2.2 asks for, and no more."""


class CanonicalJsonError(ValueError):
    """A value that has no canonical JSON form; says where it stands and what is wrong."""

    def __init__(self, path: str, fault: str) -> None:
        self.path = path
        self.fault = fault
        super().__init__(f"{path}: {fault}")


class _RefusedError(Exception):
    """What is wrong; the place is put together on the way out, and costs nothing else."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.steps: list[str] = []  # innermost first

    def inside(self, step: str) -> Self:
        """Return the same fault, seen from one container further out."""
        self.steps.append(step)
        return self


def encode(value: object) -> bytes:
    """Return the canonical bytes of ``value``: str, int, bool, None, lists, tuples and mappings.

    Raises:
        CanonicalJsonError: a float, a whole number beyond 2**53 - 1, a name that is not text,
            a lone surrogate, nesting beyond MAX_DEPTH, or any other type.
    """
    try:
        return _written(value, 0).encode()
    except _RefusedError as refused:
        path = "".join(["$", *reversed(refused.steps)])
        raise CanonicalJsonError(path, refused.fault) from None


def _written(value: object, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise _RefusedError(f"nested deeper than {MAX_DEPTH} levels")
    match value:
        case str():
            return _text(value)
        case None:
            return "null"
        case bool():  # before int: a bool is an int in Python
            return "true" if value else "false"
        case int():
            return _whole_number(int(value))
        case dict() | Mapping():
            return _object(value, depth)
        case list() | tuple():
            return _array(value, depth)
        case _:
            kind = type(value).__name__
            raise _RefusedError(f"a {kind} has no exact JSON form; write it as text")


def _array(items: Sequence[object], depth: int) -> str:
    parts: list[str] = []
    for index, item in enumerate(items):
        try:
            parts.append(_written(item, depth + 1))
        except _RefusedError as refused:
            raise refused.inside(f"[{index}]") from None
    return f"[{','.join(parts)}]"


def _object(members: Mapping[object, object], depth: int) -> str:
    parts: list[str] = []
    for name, quoted in _sorted_names(members):
        try:
            parts.append(f"{quoted}:{_written(members[name], depth + 1)}")
        except _RefusedError as refused:
            raise refused.inside(f".{name}") from None
    return f"{{{','.join(parts)}}}"


def _whole_number(value: int) -> str:
    if abs(value) > MAX_SAFE_INTEGER:
        raise _RefusedError(
            f"{value} is beyond 2**53 - 1, where JSON readers round; write it as text"
        )
    return str(value)


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _RefusedError("the text holds a lone surrogate") from None
    return _quoted(value)


def _sorted_names(members: Mapping[object, object]) -> list[tuple[str, str]]:
    """Return the names, and how they are written, in the order that the RFC asks for."""
    names: list[tuple[str, str]] = []
    plain = True
    for name in members:
        if not isinstance(name, str):
            raise _RefusedError(f"the member name {name!r} is not text")
        names.append((name, _text(name)))
        plain = plain and name.isascii()
    # By UTF-16 code units, not by code points: they differ beyond U+FFFF.
    names.sort(key=None if plain else lambda it: it[0].encode("utf-16-be"))
    return names
