"""The exchange's records as rows of the gateway: one variant for REST, one for the hub.

The same instant has six digits at most in REST rows, cut off and without trailing zeros, and seven
on the hub; position rows have six in both. REST rows of orders leave out the offsets of bracket
legs that work or ended; hub events go on carrying them. Source: recordings of live traffic.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from backstop.adapters.projectx.wire import (
    AccountRow,
    ContractRow,
    OrderRow,
    PositionRow,
    TradeRow,
    WireOrderStatus,
    WireOrderType,
    WirePositionType,
)
from backstop.simulator.records import NANOTICKS, Account, Holding, Market, Order, Trade

SECONDS_KEPT = 4096
"""Of which the text is known: rows of one answer, and those of the next, are of the same hour."""

MICROSECONDS = 1_000_000
"""Microseconds in one second."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rest_time(us: int) -> str:
    """Return an instant as REST writes it: at most six digits, no trailing zeros."""
    seconds, micros = divmod(us, MICROSECONDS)
    whole = _whole_seconds(seconds)
    digits = f".{micros:06d}".rstrip("0") if micros else ""
    return f"{whole}{digits}+00:00"


def hub_time(us: int) -> str:
    """Return an instant as the user hub writes orders and trades: seven digits.

    The seventh digit is made up from the other six and is never zero, so it always shows.
    """
    seconds, micros = divmod(us, MICROSECONDS)
    whole = _whole_seconds(seconds)
    return f"{whole}.{micros:06d}{micros * 7 % 9 + 1}+00:00"


@lru_cache(maxsize=SECONDS_KEPT)
def _whole_seconds(seconds: int) -> str:
    """Return ``seconds`` since 1970 as ``2026-10-02T14:30:00``; strftime takes thrice the time."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[: len("2026-10-02T14:30:00")]


def shortest(value: Decimal) -> Decimal:
    """Return ``value`` without trailing zeros and without an exponent on whole numbers."""
    if value == value.to_integral_value():
        return value.quantize(Decimal(1))
    return value.normalize()


def price(market: Market, ticks: int) -> Decimal:
    """Return the price in points that ``ticks`` stands for."""
    return shortest(ticks * market.tick_size)


def dollars(micros: int) -> Decimal:
    """Return integer micros as dollars."""
    return shortest(Decimal(micros).scaleb(-6))


def average_price(market: Market, nanoticks: int) -> Decimal:
    """Return an average price in points, exact to a billionth of a tick."""
    return shortest(nanoticks * market.tick_size / NANOTICKS)


def rest_order(market: Market, order: Order) -> OrderRow:
    """Return ``order`` as REST shows it."""
    suspended = order.status is WireOrderStatus.SUSPENDED
    return _order(market, order, on_hub=False, with_offset=suspended)


def hub_order(market: Market, order: Order, *, legs_keep_offset: bool) -> OrderRow:
    """Return ``order`` as the user hub shows it."""
    suspended = order.status is WireOrderStatus.SUSPENDED
    return _order(market, order, on_hub=True, with_offset=suspended or legs_keep_offset)


def _order(market: Market, order: Order, *, on_hub: bool, with_offset: bool) -> OrderRow:
    write = hub_time if on_hub else rest_time
    updated_us = order.hub_updated_us if on_hub else order.rest_updated_us
    trail_ticks = _shown_trail_ticks(order, with_offset=with_offset)
    return OrderRow(
        id=order.id,
        account_id=order.account_id,
        contract_id=order.contract_id,
        symbol_id=market.spec.row.symbol_id,
        creation_timestamp=write(order.created_us),
        update_timestamp=write(updated_us),
        status=int(order.status),
        type=int(order.type),
        side=int(order.side),
        size=order.size,
        limit_price=_level(market, order.limit_ticks, order.asked_limit_price),
        stop_price=_level(market, order.stop_ticks, order.asked_stop_price),
        fill_volume=order.fill_volume,
        filled_price=_filled_price(market, order),
        custom_tag=order.tag,
        trail_distance=UNSET if trail_ticks is None else trail_ticks,
        trail_price=UNSET if trail_ticks is None else price(market, trail_ticks),
        parent_order_id=_or_unset(order.parent_id),
        linked_order_id=_or_unset(order.linked_id),
    )


def _shown_trail_ticks(order: Order, *, with_offset: bool) -> int | None:
    if order.leg is not None and with_offset:
        return order.leg_offset_ticks
    return order.trail_ticks if order.type is WireOrderType.TRAILING_STOP else None


def _level(market: Market, ticks: int | None, asked: Decimal | None) -> Decimal | None:
    return asked if ticks is None else price(market, ticks)


def _filled_price(market: Market, order: Order) -> Decimal | None:
    if not order.fill_volume:
        return None
    nanoticks = order.fill_cost_ticks * NANOTICKS // order.fill_volume
    return average_price(market, nanoticks)


def _or_unset(value: int | None) -> int | UnsetType:
    return UNSET if value is None else value


def rest_trade(market: Market, trade: Trade) -> TradeRow:
    """Return ``trade`` as REST shows it: commissions are left out."""
    return _trade(market, trade, on_hub=False)


def hub_trade(market: Market, trade: Trade) -> TradeRow:
    """Return ``trade`` as the user hub shows it."""
    return _trade(market, trade, on_hub=True)


def _trade(market: Market, trade: Trade, *, on_hub: bool) -> TradeRow:
    return TradeRow(
        id=trade.id,
        account_id=trade.account_id,
        contract_id=trade.contract_id,
        creation_timestamp=(hub_time if on_hub else rest_time)(trade.created_us),
        price=price(market, trade.price_ticks),
        profit_and_loss=None if trade.pnl_micros is None else dollars(trade.pnl_micros),
        fees=dollars(trade.fees_micros),
        commissions=dollars(trade.commissions_micros) if on_hub else UNSET,
        side=0 if trade.sign > 0 else 1,
        size=trade.size,
        voided=trade.voided,
        order_id=trade.order_id,
    )


def position(market: Market, holding: Holding) -> PositionRow:
    """Return ``holding`` as both surfaces show it; a closed one has type 0 and size 0."""
    kind = WirePositionType.UNDEFINED
    if holding.quantity:
        kind = WirePositionType.LONG if holding.quantity > 0 else WirePositionType.SHORT
    return PositionRow(
        id=holding.row_id,
        account_id=holding.account_id,
        contract_id=holding.contract_id,
        contract_display_name=display_name(market.spec.row),
        creation_timestamp=rest_time(holding.opened_us),
        type=int(kind),
        size=abs(holding.quantity),
        average_price=average_price(market, holding.average_nanoticks),
    )


def display_name(contract: ContractRow) -> str:
    """Return the name with a two-digit year: ``NQZ6`` of ``CON.F.US.ENQ.Z26`` is ``NQZ26``."""
    month_and_year = contract.id.rsplit(".", 1)[-1]
    return contract.name[:-2] + month_and_year


def contract(market: Market) -> ContractRow:
    """Return the contract month as it stands: an expired one is not active."""
    return replace(market.spec.row, active_contract=market.is_active)


def account(record: Account) -> AccountRow:
    """Return ``record`` as both surfaces show it."""
    return AccountRow(
        id=record.spec.id,
        name=record.spec.name,
        balance=dollars(record.balance_micros),
        can_trade=record.can_trade,
        is_visible=True,
        simulated=record.spec.simulated,
    )
