"""What callers may send: the bodies, and the one strict way from bytes to a body.

Numbers never pass through a float: a price is text or a JSON number and becomes a Decimal from the
very characters that were sent; a quantity is a JSON whole number and nothing else. The structs are
also the source of the published OpenAPI schemas and of the words in error messages.
"""

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
from msgspec import Meta, Struct

from backstop.domain.order import OrderRequest, OrderType, Side
from backstop.domain.wish_terms import (
    CLIENT_ORDER_ID_PATTERN,
    CLIENT_ORDER_ID_TERMS,
    NUMBER_EXPONENT_MAX,
    NUMBER_PLACES_MAX,
    QUANTITY_MAX,
    STRATEGY_ID_LENGTH_MAX,
    STRATEGY_ID_TERMS,
    is_bounded,
)
from backstop.entrypoints.http.errors import ApiError, ErrorCode, echo

VERIFY_TIMEOUT_S_MAX = 60
"""Longest wait for a verdict in one call; a caller that wants more asks again."""

WHAT_IF_ID = "what-if"
"""The name under which a body without ``client_order_id`` is judged; nothing is booked by it."""

ClientOrderId = Annotated[
    str,
    Meta(
        pattern=CLIENT_ORDER_ID_PATTERN,
        description=CLIENT_ORDER_ID_TERMS,
    ),
]
Symbol = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        description="an exchange root such as ES, or a contract id of the gateway",
    ),
]
Quantity = Annotated[
    int,
    Meta(
        ge=1, le=QUANTITY_MAX, description=f"a whole JSON number of contracts, 1 to {QUANTITY_MAX}"
    ),
]
Price = Annotated[
    Decimal,
    Meta(
        description='a price in points, as text such as "5000.25" or a JSON number, '
        f"below 1e{NUMBER_EXPONENT_MAX + 1} and with at most {NUMBER_PLACES_MAX} decimals"
    ),
]
StrategyId = Annotated[
    str, Meta(min_length=1, max_length=STRATEGY_ID_LENGTH_MAX, description=STRATEGY_ID_TERMS)
]


class SideWord(StrEnum):
    """The direction of an order, in either of the trade's two vocabularies."""

    BUY = "BUY"
    SELL = "SELL"
    LONG = "LONG"
    SHORT = "SHORT"

    @property
    def side(self) -> Side:
        """The side that the word stands for."""
        return Side.BUY if self in {SideWord.BUY, SideWord.LONG} else Side.SELL


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all request bodies."""

    def check(self) -> None:
        """Raise ApiError for what the types alone cannot say."""


class _Order(Body, frozen=True, kw_only=True):
    symbol: Symbol
    side: Annotated[SideWord, Meta(description="BUY, SELL, LONG or SHORT")]
    quantity: Quantity
    type: Annotated[OrderType, Meta(description="MARKET, LIMIT, STOP or TRAILING_STOP")]
    limit_price: Price | None = None
    stop_price: Price | None = None
    stop_loss_price: Price | None = None
    take_profit_price: Price | None = None
    strategy_id: StrategyId | None = None

    def _request(self, client_order_id: str) -> OrderRequest:
        return OrderRequest(
            client_order_id=client_order_id,
            symbol=self.symbol,
            side=self.side.side,
            quantity=self.quantity,
            type=self.type,
            limit_price=self.limit_price,
            stop_price=self.stop_price,
            stop_loss_price=self.stop_loss_price,
            take_profit_price=self.take_profit_price,
            strategy_id=self.strategy_id,
        )


class OrderBody(_Order, frozen=True, kw_only=True):
    """A new order. ``stop_price`` is the first level of a trailing stop."""

    client_order_id: ClientOrderId

    def request(self) -> OrderRequest:
        """Return the order in the trade's own terms."""
        return self._request(self.client_order_id)


class WhatIfBody(_Order, frozen=True, kw_only=True):
    """An order to be judged, not sent; it needs no name."""

    client_order_id: ClientOrderId | None = None

    def request(self) -> OrderRequest:
        """Return the order in the trade's own terms."""
        return self._request(self.client_order_id or WHAT_IF_ID)


class ModifyBody(Body, frozen=True, kw_only=True):
    """A change of a working order; what is left out or null stays as it is."""

    quantity: Quantity | None = None
    limit_price: Price | None = None
    stop_price: Price | None = None

    def check(self) -> None:
        """Refuse a change that changes nothing."""
        if self.quantity is None and self.limit_price is None and self.stop_price is None:
            raise ApiError(
                422,
                ErrorCode.MISSING_MEMBER,
                "name what to change: quantity, limit_price or stop_price",
            )


class VerifyBody(Body, frozen=True, kw_only=True):
    """What an execution is held against; the defaults come from the order and the settings."""

    expected_quantity: Quantity | None = None
    max_slippage_ticks: (
        Annotated[Decimal, Meta(description="adverse ticks, 0 or more, as text or number")] | None
    ) = None
    timeout_s: (
        Annotated[
            Decimal,
            Meta(description=f"seconds to wait, above 0 and at most {VERIFY_TIMEOUT_S_MAX}"),
        ]
        | None
    ) = None

    def check(self) -> None:
        """Refuse numbers outside their range."""
        slippage, timeout_s = self.max_slippage_ticks, self.timeout_s
        if slippage is not None and slippage < 0:
            _refuse_value(type(self), "max_slippage_ticks", str(slippage))
        if timeout_s is not None and not 0 < timeout_s <= VERIFY_TIMEOUT_S_MAX:
            _refuse_value(type(self), "timeout_s", str(timeout_s))


BodyT = TypeVar("BodyT", bound=Body)

_NUMBER_TEXT = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_FAULTY_MEMBER = re.compile(r" - at `\$\.(\w+)`$")


def decode(raw: bytes, body_type: type[BodyT]) -> BodyT:
    """Return the body that ``raw`` holds; an empty one counts as ``{}``.

    Raises:
        ApiError: it is not strict JSON, or not what ``body_type`` describes; the message names
            the member, what it must be, and what was sent.
    """
    try:
        value = json.loads(
            raw or b"{}",
            parse_float=Decimal,
            parse_constant=Decimal,  # NaN and the infinities: refused below, by the member's name
            object_pairs_hook=_without_repeats,
        )
    except ApiError:
        raise
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise ApiError(422, ErrorCode.MALFORMED_JSON, f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ApiError(422, ErrorCode.MALFORMED_JSON, "the body must be a JSON object")
    _check_members(value, body_type)
    try:
        body = msgspec.convert(value, body_type, strict=True)
    except msgspec.ValidationError as error:
        found = _FAULTY_MEMBER.search(str(error))
        if found is None:
            raise ApiError(422, ErrorCode.INVALID_VALUE, str(error)) from error
        _refuse_value(body_type, found[1], _shown(value[found[1]]))
    _check_values(body, value)
    body.check()
    return body


def _without_repeats(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a member given twice: two readers could read two different orders."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ApiError(
                422, ErrorCode.MALFORMED_JSON, f"{echo(name)} is given twice", field=echo(name)
            )
        members[name] = value
    return members


def _check_members(value: dict[str, Any], body_type: type[Body]) -> None:
    fields = _fields(body_type)
    known = [field.name for field in fields]
    for name in value:
        if name not in known:
            raise ApiError(
                422,
                ErrorCode.UNKNOWN_MEMBER,
                f"{echo(name)} is no member of this request. Allowed: {', '.join(known)}",
                field=echo(name),
            )
    for field in fields:
        if field.required and field.name not in value:
            raise ApiError(
                422,
                ErrorCode.MISSING_MEMBER,
                f"{field.name} is missing; it must be {_description(body_type, field.name)}",
                field=field.name,
            )


@cache
def _fields(body_type: type[Body]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(body_type)


def _check_values(body: Body, written: dict[str, Any]) -> None:
    for name, raw in written.items():
        value = getattr(body, name)
        if isinstance(value, str) and not value.isprintable():
            _refuse_value(type(body), name, _shown(raw))
        if isinstance(value, Decimal) and not (is_bounded(value) and _is_number_text(raw)):
            _refuse_value(type(body), name, _shown(raw))


def _is_number_text(raw: object) -> bool:
    """Refuse what Decimal would read as a number and a person would not, such as ``50_00``."""
    return not isinstance(raw, str) or _NUMBER_TEXT.fullmatch(raw) is not None


def _refuse_value(body_type: type[Body], name: str, shown: str) -> NoReturn:
    raise ApiError(
        422,
        ErrorCode.INVALID_VALUE,
        f"{name} must be {_description(body_type, name)}; got {shown}",
        field=name,
    )


def _description(body_type: type[Body], name: str) -> str:
    schema = msgspec.json.schema_components([body_type])[1][body_type.__name__]
    member: dict[str, Any] = schema["properties"][name]
    parts = (member, *member.get("anyOf", ()))
    return str(next(part["description"] for part in parts if "description" in part))


def _shown(value: object) -> str:
    """Return a value as it was written, near enough; numbers with a fraction are Decimals here."""
    return str(value) if isinstance(value, Decimal) else echo(json.dumps(value, default=str))
