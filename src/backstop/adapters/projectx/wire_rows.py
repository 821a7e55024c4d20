"""Domain facts back to the rows of the wire, for whoever speaks the gateway's language onwards.

A fact that still carries the text it was made from becomes exactly that row again, with what is
known by now in place of what the text lacks; without its text it becomes a row of its members.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

import msgspec
from msgspec import UNSET

from backstop.adapters.projectx.wire import (
    UNREADABLE,
    AccountRow,
    OrderRow,
    PositionRow,
    TradeRow,
    WireOrderStatus,
    WireOrderType,
    WirePositionType,
)
from backstop.adapters.projectx.wire_tables import WIRE_ORDER_TYPE, WIRE_SIDE, WIRE_STATUS
from backstop.domain.broker import (
    BrokerAccount,
    BrokerOrder,
    BrokerPosition,
    BrokerTrade,
)

_Row = TypeVar("_Row")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_US = 1_000_000
_MICROS = Decimal(1_000_000)
_SYMBOL_PARTS = 4  # CON.F.US.MNQ of CON.F.US.MNQ.Z26

_orders = msgspec.json.Decoder(OrderRow)
_trades = msgspec.json.Decoder(TradeRow)
_positions = msgspec.json.Decoder(PositionRow)


def order_row(order: BrokerOrder) -> OrderRow:
    """Return the row that ``order`` was made from, completed by what other rows told of it."""
    row = _as_received(_orders, order.raw)
    if row is None:
        return _made_order(order)
    row.limit_price = order.limit_price if row.limit_price is None else row.limit_price
    row.stop_price = order.stop_price if row.stop_price is None else row.stop_price
    row.filled_price = order.filled_price if row.filled_price is None else row.filled_price
    row.custom_tag = order.custom_tag
    row.fill_volume = order.filled_quantity
    if order.parent_order_id is not None:
        row.parent_order_id = order.parent_order_id
    if order.linked_order_id is not None:
        row.linked_order_id = order.linked_order_id
    return row


def trade_row(trade: BrokerTrade) -> TradeRow:
    """Return the row that ``trade`` was made from; a trade that was voided since says so."""
    row = _as_received(_trades, trade.raw)
    if row is not None:
        row.voided = trade.voided
        return row
    profit = trade.profit_and_loss_micros
    return TradeRow(
        id=trade.trade_id,
        account_id=trade.account_id,
        contract_id=trade.contract_id,
        creation_timestamp=rest_time(trade.created_utc_us),
        price=trade.price,
        profit_and_loss=None if profit is None else profit / _MICROS,
        fees=trade.fees_micros / _MICROS,
        commissions=trade.commissions_micros / _MICROS if trade.commissions_micros else UNSET,
        side=WIRE_SIDE[trade.side],
        size=trade.quantity,
        voided=trade.voided,
        order_id=trade.broker_order_id,
    )


def position_row(position: BrokerPosition) -> PositionRow:
    """Return the row that ``position`` was made from; one of size 0 is of type 0."""
    row = _as_received(_positions, position.raw)
    if row is not None:
        return row
    direction = WirePositionType.LONG if position.quantity > 0 else WirePositionType.SHORT
    return PositionRow(
        id=position.position_id,
        account_id=position.account_id,
        contract_id=position.contract_id,
        creation_timestamp=rest_time(position.created_utc_us),
        type=direction if position.quantity else WirePositionType.UNDEFINED,
        size=abs(position.quantity),
        average_price=position.average_price,
    )


def account_row(account: BrokerAccount) -> AccountRow:
    """Return ``account`` as a row; the guarded account is always visible."""
    return AccountRow(
        id=account.account_id,
        name=account.name,
        balance=account.balance_micros / _MICROS,
        can_trade=account.can_trade,
        simulated=account.simulated,
    )


def rest_time(utc_us: int) -> str:
    """Return an instant as REST writes it: at most six digits, no trailing zeros."""
    seconds, micros = divmod(utc_us, _SECOND_US)
    whole = (_EPOCH + timedelta(seconds=seconds)).isoformat()[: len("2026-10-02T14:30:00")]
    digits = f".{micros:06d}".rstrip("0") if micros else ""
    return f"{whole}{digits}+00:00"


def _as_received(decoder: msgspec.json.Decoder[_Row], raw: str) -> _Row | None:
    if not raw:
        return None
    try:
        return decoder.decode(raw)
    except UNREADABLE:  # kept cut to a bound: its members are all that there is
        return None


def _made_order(order: BrokerOrder) -> OrderRow:
    row = OrderRow(
        id=order.broker_order_id,
        account_id=order.account_id,
        contract_id=order.contract_id,
        symbol_id=".".join(order.contract_id.split(".")[1:_SYMBOL_PARTS]),
        creation_timestamp=rest_time(order.created_utc_us),
        update_timestamp=rest_time(order.updated_utc_us or order.created_utc_us),
        status=WIRE_STATUS.get(order.status, WireOrderStatus.NONE),
        type=WireOrderType.UNKNOWN if order.type is None else WIRE_ORDER_TYPE[order.type],
        side=WIRE_SIDE[order.side],
        size=order.quantity,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        fill_volume=order.filled_quantity,
        filled_price=order.filled_price,
        custom_tag=order.custom_tag,
    )
    if order.parent_order_id is not None:
        row.parent_order_id = order.parent_order_id
    if order.linked_order_id is not None:
        row.linked_order_id = order.linked_order_id
    if order.trail_distance_ticks is not None:
        row.trail_distance = order.trail_distance_ticks
    return row
