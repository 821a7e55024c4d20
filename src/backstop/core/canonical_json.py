"""Canonical JSON (RFC 8785): one value, one sequence of bytes, so that it can be signed.

Numbers are whole and at most 2**53 - 1 in size, because RFC 8785 writes numbers as IEEE 754
doubles and a larger one would change silently. Money, prices and ids therefore go as text, and a
float is refused: it never belongs into a record of money.
"""

import json
from collections.abc import Mapping

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly (RFC 7493 section 2.2)."""

MAX_DEPTH = 64
"""Nesting allowed; our documents need 4, and a hostile one must not exhaust the stack."""


class CanonicalJsonError(ValueError):
    """A value that has no canonical JSON form; says where it stands and what is wrong."""

    def __init__(self, path: str, fault: str) -> None:
        self.path = path
        self.fault = fault
        super().__init__(f"{path}: {fault}")


def encode(value: object) -> bytes:
    """Return the canonical bytes of ``value``: str, int, bool, None, lists, tuples and mappings.

    Raises:
        CanonicalJsonError: a float, a whole number beyond 2**53 - 1, a name that is not text,
            a lone surrogate, nesting beyond MAX_DEPTH, or any other type.
    """
    parts: list[str] = []
    _write(value, "$", 0, parts)
    return "".join(parts).encode()


def _write(value: object, path: str, depth: int, parts: list[str]) -> None:
    if depth > MAX_DEPTH:
        raise CanonicalJsonError(path, f"nested deeper than {MAX_DEPTH} levels")
    match value:
        case None:
            parts.append("null")
        case bool():  # before int: a bool is an int in Python
            parts.append("true" if value else "false")
        case int():
            parts.append(_whole_number(int(value), path))
        case str():
            parts.append(_text(value, path))
        case list() | tuple():
            parts.append("[")
            for index, item in enumerate(value):
                if index:
                    parts.append(",")
                _write(item, f"{path}[{index}]", depth + 1, parts)
            parts.append("]")
        case Mapping():
            parts.append("{")
            for index, name in enumerate(_sorted_names(value, path)):
                if index:
                    parts.append(",")
                parts.append(_text(name, path))
                parts.append(":")
                _write(value[name], f"{path}.{name}", depth + 1, parts)
            parts.append("}")
        case _:
            kind = type(value).__name__
            raise CanonicalJsonError(path, f"a {kind} has no exact JSON form; write it as text")


def _whole_number(value: int, path: str) -> str:
    if abs(value) > MAX_SAFE_INTEGER:
        raise CanonicalJsonError(
            path, f"{value} is beyond 2**53 - 1, where JSON readers round; write it as text"
        )
    return str(value)


def _text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise CanonicalJsonError(path, "the text holds a lone surrogate") from None
    # The standard encoder escapes exactly what RFC 8785 section 3.2.2.2 asks for, and no more.
    return json.dumps(str(value), ensure_ascii=False)


def _sorted_names(value: Mapping[object, object], path: str) -> list[str]:
    names: list[str] = []
    for name in value:
        if not isinstance(name, str):
            raise CanonicalJsonError(path, f"the member name {name!r} is not text")
        _text(name, path)
        names.append(name)
    # By UTF-16 code units, not by code points: they differ beyond U+FFFF.
    return sorted(names, key=lambda name: name.encode("utf-16-be"))
