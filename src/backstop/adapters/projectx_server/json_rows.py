"""Rows of the venue to JSON text, in the two dialects of the gateway.

REST writes null for the old columns and leaves the newer ones out; the hubs leave every null out.
Prices are JSON numbers in minimal form (29547, 29547.5), whatever scale the Decimal carries.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

_ENCODER = msgspec.json.Encoder(decimal_format="number")

_NUMBERS_KEPT = 65_536
"""Prices repeat: the 80 000 in an answer of 20 000 bars are a few thousand different ones."""

_PLAIN_TYPES = frozenset({str, int, bool, float, type(None)})
"""Of most members: asking for them is much faster than asking for ABCs."""


def encode(value: object) -> bytes:
    """Return ``value`` (plain JSON-able data, Decimals as numbers) as JSON text."""
    return _ENCODER.encode(value)


@lru_cache(maxsize=_NUMBERS_KEPT)
def minimal_number(number: Decimal) -> Decimal:
    """Return ``number`` so that it prints without trailing zeros and, if whole, without point."""
    if not number:
        return Decimal(0)
    trimmed = number.normalize()
    exponent = trimmed.as_tuple().exponent
    if isinstance(exponent, int) and exponent > 0:
        return trimmed.quantize(Decimal(1))
    return trimmed


def rest_row(row: Struct) -> dict[str, Any]:
    """Return ``row`` as REST writes it."""
    return {
        name: value if type(value) in _PLAIN_TYPES else plain(value)
        for name, get, is_newer in _columns(type(row))
        if (value := get(row)) is not UNSET and not (is_newer and value is None)
    }


def hub_row(row: Struct) -> dict[str, Any]:
    """Return ``row`` as the hubs push it."""
    return {
        name: value if type(value) in _PLAIN_TYPES else plain(value)
        for name, get, _ in _columns(type(row))
        if (value := get(row)) is not UNSET and value is not None
    }


def plain(value: Any) -> Any:
    """Return JSON-able data with every Decimal in minimal form."""
    if type(value) in _PLAIN_TYPES:
        return value
    if isinstance(value, Decimal):
        return minimal_number(value)
    if isinstance(value, Mapping):
        return {name: plain(member) for name, member in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(member) for member in value]
    return value


@cache
def _columns(row_type: type[Struct]) -> tuple[tuple[str, Callable[[Any], Any], bool], ...]:
    """Return (wire name, reader, newer column) of each member; newer ones may be UNSET."""
    return tuple(
        (
            field.encode_name,
            attrgetter(field.name),
            UnsetType in getattr(field.type, "__args__", ()),
        )
        for field in msgspec.structs.fields(row_type)
    )
