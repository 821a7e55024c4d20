"""A place call of the gateway as an order of the guard: every member, or a rejection."""

from decimal import Decimal

from backstop.adapters.projectx.wire import Bracket, PlaceBody, WireOrderType
from backstop.adapters.projectx.wire_tables import ORDER_TYPE, SIDE
from backstop.adapters.projectx_server.venue import Outcome
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderRequest, OrderType
from backstop.entrypoints.gateway.refusals import PlaceCode, no
from backstop.entrypoints.gateway.shown import OUR_NAMES

TAG_LENGTH_MAX = 128
"""Nobody published the gateway's own; tags of clients have some 60 characters."""


def order_request(body: PlaceBody, name: str, *, bot: str) -> OrderRequest | Outcome:
    """Return what ``bot`` asks for, under the client order id ``name``; or why it cannot be.

    Prices that the type of the order does not take are left out, as the gateway does. Ticks of
    brackets stay what they are: signed, and from the fill.
    """
    type_, side = ORDER_TYPE.get(body.type), SIDE.get(body.side)
    if type_ is None or side is None:
        return _not_supported(
            f"type {body.type} with side {body.side}; market (2), limit (1), stop (4) and "
            "trailing stop (5) with side 0 or 1 are"
        )
    for bracket, leg, wanted in (
        (body.stop_loss_bracket, "stop loss", WireOrderType.STOP),
        (body.take_profit_bracket, "take profit", WireOrderType.LIMIT),
    ):
        if bracket is not None and bracket.type != wanted:
            return _not_supported(f"{leg} type {bracket.type}; {int(wanted)} is")
    return OrderRequest(
        client_order_id=name,
        symbol=body.contract_id,
        side=side,
        quantity=body.size,
        type=type_,
        limit_price=body.limit_price if type_.has_limit else None,
        stop_price=_stop_price(body, type_),
        strategy_id=bot,
        stop_loss_offset_ticks=_ticks(body.stop_loss_bracket),
        take_profit_offset_ticks=_ticks(body.take_profit_bracket),
    )


def tag_fault(tag: str) -> Outcome | None:
    """Return why no order can go by ``tag``; None when one can."""
    if 0 < len(tag) <= TAG_LENGTH_MAX and tag.isprintable() and not tag.startswith(OUR_NAMES):
        return None
    beginnings = " or ".join(OUR_NAMES)
    return _not_supported(
        f"this customTag; 1 to {TAG_LENGTH_MAX} printable characters that do not begin with "
        f"{beginnings} are"
    )


def _stop_price(body: PlaceBody, type_: OrderType) -> Decimal | None:
    if type_ is OrderType.TRAILING_STOP:
        return body.trail_price
    return body.stop_price if type_.has_stop else None


def _ticks(bracket: Bracket | None) -> int | None:
    return None if bracket is None else bracket.ticks


def _not_supported(what: str) -> Outcome:
    return no(PlaceCode.REJECTED, DenialCode.ORDER_NOT_SUPPORTED, f"the guard does not take {what}")
