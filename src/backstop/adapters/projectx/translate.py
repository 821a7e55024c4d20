"""Wire rows to domain facts, and domain commands to wire bodies; every refusal names its fault.

A row becomes a fact only when all of it makes sense: an unknown side or a negative size would
otherwise turn into a wrong position. Unknown *statuses* and *order types* are kept, because the
domain has a word for them. The text of each row goes along unchanged, for the audit.

Rounding of money finer than a micro (a millionth of a dollar): costs go up, balance and profit go
down, so that an account never looks better than it is.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Raw, Struct, UnsetType

from backstop.adapters.projectx.wire import (
    UNREADABLE,
    AccountRow,
    Bracket,
    ContractRow,
    ModifyBody,
    OrderRow,
    PlaceBody,
    PositionRow,
    TradeRow,
    WireOrderType,
    WirePositionType,
)
from backstop.adapters.projectx.wire_tables import (
    ORDER_TYPE,
    SIDE,
    STATUS,
    WIRE_ORDER_TYPE,
    WIRE_SIDE,
)
from backstop.domain.broker import (
    BrokerAccount,
    BrokerOrder,
    BrokerPosition,
    BrokerStatus,
    BrokerTrade,
)
from backstop.domain.commands import ModifyOrder, PlaceOrder
from backstop.domain.instrument import Instrument
from backstop.domain.order import OrderType, Side
from backstop.domain.utc import microseconds, utc_us_of
from backstop.errors import GatewayAnswerError

ROW_BYTES_MAX = 16_384
"""A real row has 300 to 600 bytes; a bigger one is refused before it reaches the journal."""

REJECTED_TEXT_CHARS_MAX = 2_048
"""How much of a payload that breaks its schema is kept: enough to recognise it."""

_IDENTIFIER_MAX = 2**63 - 1  # int64 on the wire and in the database
_SIZE_MAX = 2**31 - 1  # int32 on the wire
_NUMBER_EXPONENT_MAX = 15  # prices and money lie far inside 10**-15 .. 10**15
_MICROS = Decimal(1_000_000)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CONTRACT_NAME = re.compile(r"(?P<root>[A-Z0-9]+)[FGHJKMNQUVXZ][0-9]{1,2}")

_decode_order = msgspec.json.Decoder(OrderRow).decode
_decode_trade = msgspec.json.Decoder(TradeRow).decode
_decode_position = msgspec.json.Decoder(PositionRow).decode
_decode_account = msgspec.json.Decoder(AccountRow).decode
_decode_contract = msgspec.json.Decoder(ContractRow).decode

_Value = TypeVar("_Value")

Row = Raw | bytes
"""The JSON text of one row, still undecoded."""


class HistoryBar(NamedTuple):
    """What the guard needs of a bar: its open time, microseconds since 1970 UTC, and its close."""

    utc_us: int
    close: Decimal


class _ClosedBar(Struct, gc=False):
    """The two members of a ``wire.BarRow`` that are read.

    A start waits for a hundred days of bars: whole rows would take four times as long.
    """

    t: datetime
    c: Decimal


_decode_bars = msgspec.json.Decoder(list[_ClosedBar]).decode


def broker_order(row: Row) -> BrokerOrder:
    """Return the order that ``row`` states, or raise GatewayAnswerError with its fault."""
    try:
        wire = _decode_order(_bounded(row))
        return BrokerOrder(
            broker_order_id=_identifier("id", wire.id),
            account_id=_identifier("accountId", wire.account_id),
            contract_id=wire.contract_id,
            status=_broker_status(wire.status),
            type=_order_type(wire.type),
            side=_side(wire.side),
            quantity=_size("size", wire.size),
            filled_quantity=_size("fillVolume", wire.fill_volume),
            limit_price=_optional_number("limitPrice", wire.limit_price),
            stop_price=_optional_number("stopPrice", wire.stop_price),
            filled_price=_optional_number("filledPrice", wire.filled_price),
            custom_tag=wire.custom_tag,
            parent_order_id=_set_or_none(wire.parent_order_id),
            linked_order_id=_set_or_none(wire.linked_order_id),
            trail_distance_ticks=_set_or_none(wire.trail_distance),
            created_utc_us=utc_us(wire.creation_timestamp),
            updated_utc_us=utc_us(wire.update_timestamp or wire.creation_timestamp),
            raw=row_text(row),
        )
    except UNREADABLE as error:
        raise GatewayAnswerError(f"order row: {error}") from error


def broker_trade(row: Row) -> BrokerTrade:
    """Return the half-turn trade that ``row`` states, or raise GatewayAnswerError."""
    try:
        wire = _decode_trade(_bounded(row))
        profit = _optional_number("profitAndLoss", wire.profit_and_loss)
        return BrokerTrade(
            trade_id=_identifier("id", wire.id),
            broker_order_id=_identifier("orderId", wire.order_id),
            account_id=_identifier("accountId", wire.account_id),
            contract_id=wire.contract_id,
            side=_side(wire.side),
            quantity=_positive("size", wire.size),
            price=checked_number("price", wire.price),
            fees_micros=_micros("fees", wire.fees, rounding=ROUND_CEILING),
            commissions_micros=_micros(
                "commissions", _set_or_none(wire.commissions) or Decimal(0), rounding=ROUND_CEILING
            ),
            profit_and_loss_micros=None
            if profit is None
            else _micros("profitAndLoss", profit, rounding=ROUND_FLOOR),
            voided=wire.voided,
            created_utc_us=utc_us(wire.creation_timestamp),
            raw=row_text(row),
        )
    except UNREADABLE as error:
        raise GatewayAnswerError(f"trade row: {error}") from error


def broker_position(row: Row) -> BrokerPosition:
    """Return the position that ``row`` states, signed, or raise GatewayAnswerError."""
    try:
        wire = _decode_position(_bounded(row))
        return BrokerPosition(
            position_id=_identifier("id", wire.id),
            account_id=_identifier("accountId", wire.account_id),
            contract_id=wire.contract_id,
            quantity=_signed_quantity(wire.type, _size("size", wire.size)),
            average_price=checked_number("averagePrice", wire.average_price),
            created_utc_us=utc_us(wire.creation_timestamp),
            raw=row_text(row),
        )
    except UNREADABLE as error:
        raise GatewayAnswerError(f"position row: {error}") from error


def broker_account(row: Row) -> BrokerAccount:
    """Return the account that ``row`` states, or raise GatewayAnswerError."""
    try:
        wire = _decode_account(_bounded(row))
        return BrokerAccount(
            account_id=_identifier("id", wire.id),
            name=wire.name,
            balance_micros=_micros("balance", wire.balance, rounding=ROUND_FLOOR),
            can_trade=wire.can_trade,
            simulated=wire.simulated,
        )
    except UNREADABLE as error:
        raise GatewayAnswerError(f"account row: {error}") from error


def instrument(row: Row) -> Instrument:
    """Return the contract that ``row`` states, or raise GatewayAnswerError.

    The symbol is the exchange's root: ``name`` without month letter and year (``ESZ6`` is ES). It
    does not come from ``id``, whose root is the venue's own (EP for ES).
    """
    try:
        wire = _decode_contract(_bounded(row))
        matched = _CONTRACT_NAME.fullmatch(wire.name)
        return Instrument(
            contract_id=wire.id,
            symbol=matched["root"] if matched else wire.name,
            name=wire.name,
            tick_size=_above_zero("tickSize", wire.tick_size),
            tick_value_micros=_whole_micros("tickValue", wire.tick_value),
            active=wire.active_contract,
        )
    except UNREADABLE as error:
        raise GatewayAnswerError(f"contract row: {error}") from error


def history_bars(rows: Row) -> tuple[HistoryBar, ...]:
    """Return the bars that the list ``rows`` states, in its order, or raise GatewayAnswerError."""
    try:
        bars = _decode_bars(rows)
        # Prices repeat: each is looked at once. What is no number may have no hash.
        for close in [bar.c for bar in bars if not bar.c.is_finite()] or {bar.c for bar in bars}:
            checked_number("c", close)
        return tuple(HistoryBar(microseconds(bar.t), bar.c) for bar in bars)
    except UNREADABLE as error:
        raise GatewayAnswerError(f"bars: {error}") from error


def place_body(command: PlaceOrder) -> PlaceBody:
    """Return the body of the place request; bracket offsets keep their sign.

    A stop leg is a stop-market order (type 4), or a trailing stop (type 5) that the venue moves; a
    target leg is a limit order (type 1).
    """
    stop_loss, target = command.stop_loss_offset_ticks, command.take_profit_offset_ticks
    stop_type = WireOrderType.TRAILING_STOP if command.stop_loss_trails else WireOrderType.STOP
    return PlaceBody(
        account_id=command.account_id,
        contract_id=command.contract_id,
        type=WIRE_ORDER_TYPE[command.type],
        side=WIRE_SIDE[command.side],
        size=command.quantity,
        limit_price=command.limit_price,
        stop_price=command.stop_price,
        trail_price=command.trail_price,
        custom_tag=command.custom_tag,
        stop_loss_bracket=None if stop_loss is None else Bracket(ticks=stop_loss, type=stop_type),
        take_profit_bracket=None
        if target is None
        else Bracket(ticks=target, type=WireOrderType.LIMIT),
    )


def modify_body(command: ModifyOrder) -> ModifyBody:
    """Return the body of the modify request; None leaves a member as it is."""
    return ModifyBody(
        account_id=command.account_id,
        order_id=command.broker_order_id,
        size=command.quantity,
        limit_price=command.limit_price,
        stop_price=command.stop_price,
    )


def utc_us(text: str) -> int:
    """Return the instant ``text`` (ISO-8601) in microseconds since 1970, cut, not rounded.

    The gateway writes the same instant with seven digits on the hubs and cut to six by REST, so
    cutting makes both agree. A time without offset is taken as UTC.
    """
    return utc_us_of(text)


def timestamp(utc_us: int) -> str:
    """Return ``utc_us`` (microseconds since 1970) as the gateway's requests want it."""
    return (_EPOCH + utc_us * _MICROSECOND).isoformat(timespec="microseconds")


def row_text(row: Row) -> str:
    """Return the row as text; bytes that are not UTF-8 show as replacement characters."""
    return bytes(row).decode("utf-8", errors="replace")


def rejected_text(payload: Row) -> str:
    """Return the beginning of a payload that broke its schema, for the record."""
    return row_text(bytes(payload)[: REJECTED_TEXT_CHARS_MAX * 4])[:REJECTED_TEXT_CHARS_MAX]


def _bounded(row: Row) -> bytes:
    text = bytes(row)
    if len(text) > ROW_BYTES_MAX:
        raise ValueError(f"{len(text)} bytes, more than the {ROW_BYTES_MAX} of any real row")
    return text


def _broker_status(number: int) -> BrokerStatus:
    return STATUS.get(number, BrokerStatus.UNRECOGNISED)


def _order_type(number: int) -> OrderType | None:
    return ORDER_TYPE.get(number)


def _side(number: int) -> Side:
    side = SIDE.get(number)
    if side is None:
        raise ValueError(f"side {number} is neither 0 (buy) nor 1 (sell)")
    return side


def _signed_quantity(position_type: int, size: int) -> int:
    """Return the signed size; a size without a direction is refused, never taken as flat."""
    if size == 0:
        return 0
    if position_type == WirePositionType.LONG:
        return size
    if position_type == WirePositionType.SHORT:
        return -size
    raise ValueError(f"size {size} with type {position_type}, which is neither long nor short")


def _identifier(member: str, number: int) -> int:
    if not 0 < number <= _IDENTIFIER_MAX:
        raise ValueError(f"{member} {number} is not a positive 64-bit number")
    return number


def _size(member: str, number: int) -> int:
    if not 0 <= number <= _SIZE_MAX:
        raise ValueError(f"{member} {number} is not a size")
    return number


def _positive(member: str, number: int) -> int:
    if _size(member, number) == 0:
        raise ValueError(f"{member} is 0")
    return number


def checked_number(member: str, number: Decimal) -> Decimal:
    """Refuse what no price or amount is: NaN, infinity, and exponents that exhaust memory."""
    if not number.is_finite():
        raise ValueError(f"{member} {number} is not a number")
    exponent = number.as_tuple().exponent
    if abs(number.adjusted()) > _NUMBER_EXPONENT_MAX or int(exponent) < -2 * _NUMBER_EXPONENT_MAX:
        raise ValueError(f"{member} {number:.3e} is out of any range")
    return number


def _above_zero(member: str, number: Decimal) -> Decimal:
    if checked_number(member, number) <= 0:
        raise ValueError(f"{member} {number} is not above 0")
    return number


def _whole_micros(member: str, dollars: Decimal) -> int:
    micros = _above_zero(member, dollars) * _MICROS
    if micros != micros.to_integral_value():
        raise ValueError(f"{member} {dollars} is finer than a micro, so it cannot be exact")
    return int(micros)


def _optional_number(member: str, number: Decimal | None) -> Decimal | None:
    return None if number is None else checked_number(member, number)


def _micros(member: str, dollars: Decimal, *, rounding: str) -> int:
    return int((checked_number(member, dollars) * _MICROS).to_integral_value(rounding))


def _set_or_none(value: _Value | UnsetType | None) -> _Value | None:
    return None if isinstance(value, UnsetType) else value
