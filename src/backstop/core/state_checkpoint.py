"""The whole book as one frozen value and back: what a start reads instead of the whole journal.

Nothing is chosen by hand. Every member of the book, and of every record inside it, becomes a member
of the state by its type, so that a member that somebody adds is kept from the first day; one that
cannot be kept is refused when this module is loaded. A book that comes back is equal to the one
that went, also in the order of its entries, so whatever is decided afterwards is the same.

That the state does not grow with the past is the work of ``forgetting``: the book itself is small.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import partial
from types import GenericAlias, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from backstop.core.book import Book
from backstop.core.by_contract import LiveOrders, Positions
from backstop.core.counted_trades import CountedTrades
from backstop.core.noted import Noted
from backstop.core.positions import PositionView
from backstop.core.protection_record import ProtectionRecord, ProtectionRecords
from backstop.domain.broker import BrokerTrade

LEFT_OUT: dict[str, str] = {
    "changed": "it is for those who follow the other members; nobody has looked at a new book yet",
    "standing": "it is made of the other members at its next use, whatever it held before",
    "account_sums": "likewise",
    "contract_facts": "likewise",
    "sound_limits": "another process, which may be another version, has to try them by itself",
}
"""Members of the book that are not kept, each with the reason why no later decision needs it."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How values of one type are kept: the type that is written, and the ways there and back."""

    kept: Any
    freeze: Callable[[Any], Any]
    thaw: Callable[[Any], Any]


def captured(book: Book) -> Struct:
    """Return the state of ``book`` as a frozen value that later steps do not touch."""
    state: Struct = _BOOK.freeze(book)
    return state


def restored(state: Struct) -> Book:
    """Return a book in exactly this state."""
    book: Book = _BOOK.thaw(state)
    return book


def encoded(state: Struct) -> bytes:
    """Return the state as JSON."""
    return msgspec.json.encode(state)


def decoded(payload: bytes | msgspec.Raw) -> Struct:
    """Return the state that ``payload`` holds.

    Raises:
        ValueError: it is no state of this form; the message says where it differs.
    """
    state: Struct = _decoder.decode(payload)
    return state


# -- how each type is kept -----------------------------------------------------------------------


def _same(value: Any) -> Any:
    return value


def form_of(kind: Any, where: str, *, longest: int | None = None) -> _Form:
    """Return how values of type ``kind`` are kept.

    Args:
        kind: the type as it is annotated.
        where: the member, for errors.
        longest: the bound of a deque.

    Raises:
        TypeError: no form is known that brings the value back as it was.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        return _record(kind, where)
    if origin in {dict, OrderedDict}:
        return _mapping(origin, *arguments, where=where)
    if origin is Noted:
        return _mapping(Noted, str, *arguments, where=where)
    if origin is LiveOrders:
        return _mapping(LiveOrders, arguments[0], str, where=where)
    if kind is Positions:
        return _mapping(Positions, str, PositionView, where=where)
    if kind is CountedTrades:
        return _mapping(CountedTrades, int, BrokerTrade, where=where)
    if kind is ProtectionRecords:
        return _mapping(ProtectionRecords, str, ProtectionRecord, where=where)
    if origin is deque:
        return _sequence(partial(deque, maxlen=longest), arguments[0], where)
    if origin is list:
        return _sequence(list, arguments[0], where)
    if _is_value(kind):
        return _Form(kept=kind, freeze=_same, thaw=_same)
    if origin in {Union, UnionType} and type(None) in arguments and len(arguments) == 2:  # noqa: PLR2004 - X or None
        (inner,) = (it for it in arguments if it is not type(None))
        form = form_of(inner, where)
        return _Form(
            kept=form.kept | None,
            freeze=lambda value: None if value is None else form.freeze(value),
            thaw=lambda value: None if value is None else form.thaw(value),
        )
    raise TypeError(
        f"{where} is a {kind}, for which no form is known that brings it back. Use frozen structs, "
        "numbers, texts, tuples, or dict, OrderedDict, deque, list and dataclasses of them; or "
        "name it in LEFT_OUT with the reason why no decision needs it."
    )


def _is_value(kind: Any) -> bool:
    """Say whether values of ``kind`` never change and can be written as they are."""
    if kind is None:
        return True
    if isinstance(kind, type):
        if issubclass(kind, Struct):
            return kind.__struct_config__.frozen
        return issubclass(kind, (int, str, float, bytes, Decimal, Enum, type(None)))
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        return all(_is_value(it) for it in arguments)
    if origin is tuple:
        return all(it is Ellipsis or _is_value(it) for it in arguments)
    return False


def _record(kind: type, where: str) -> _Form:
    """Keep a mutable record member by member."""
    hints = get_type_hints(kind)
    left_out = LEFT_OUT if kind is Book else {}
    forms = [
        (it.name, form_of(hints[it.name], f"{where}.{it.name}", longest=_longest(it)))
        for it in fields(kind)
        if it.name not in left_out
    ]
    kept: Any = msgspec.defstruct(
        f"{kind.__name__}State", [(name, form.kept) for name, form in forms], frozen=True
    )

    def freeze(value: Any) -> Any:
        return kept(*(form.freeze(getattr(value, name)) for name, form in forms))

    def thaw(state: Any) -> Any:
        return kind(**{name: form.thaw(getattr(state, name)) for name, form in forms})

    return _Form(kept=kept, freeze=freeze, thaw=thaw)


def _longest(member: Field[Any]) -> int | None:
    """Return the bound of a member that begins as a deque with one."""
    if member.default_factory is MISSING:
        return None
    return getattr(member.default_factory(), "maxlen", None)


def _mapping(origin: type, key: Any, value: Any, *, where: str) -> _Form:
    """Keep a mapping in its order; JSON has texts for keys, so other keys become pairs."""
    if not _is_value(key):
        raise TypeError(f"{where} has keys of type {key}, which can change.")
    form = form_of(value, where)
    plain = form.freeze is _same  # then nothing has to be looked at one by one
    if isinstance(key, type) and issubclass(key, (str, int)):
        return _Form(
            kept=GenericAlias(dict, (key, form.kept)),
            freeze=dict if plain else _each_value(dict, form.freeze),
            thaw=origin if plain else _each_value(origin, form.thaw),
        )
    return _Form(
        kept=GenericAlias(tuple, (GenericAlias(tuple, (key, form.kept)), ...)),
        freeze=lambda held: tuple((name, form.freeze(it)) for name, it in held.items()),
        thaw=lambda held: origin((name, form.thaw(it)) for name, it in held),
    )


def _each_value(make: Any, change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda held: make((name, change(it)) for name, it in held.items())


def _sequence(make: Callable[[Any], Any], item: Any, where: str) -> _Form:
    form = form_of(item, where)
    return _Form(
        kept=GenericAlias(tuple, (form.kept, ...)),
        freeze=lambda held: tuple(form.freeze(it) for it in held),
        thaw=lambda held: make(form.thaw(it) for it in held),
    )


_BOOK = form_of(Book, "Book")
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_BOOK.kept)
