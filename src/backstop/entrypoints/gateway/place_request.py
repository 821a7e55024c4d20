"""A place call of the gateway as an order of the guard: every member, or a rejection.

A join order is a limit order at the best price of its own side. The gateway would read that price
when the order arrives; here the guard names it, the one that it has heard last, so that the order
is judged, sent and measured at a price that is known. Where no price is known, nobody enters by it;
who wants out gets out at the market, for data that is missing must not hold a position open.
"""

from decimal import Decimal

from backstop.adapters.projectx.wire import Bracket, PlaceBody, WireOrderType
from backstop.adapters.projectx.wire_tables import ORDER_TYPE, SIDE
from backstop.adapters.projectx_server.venue import Outcome
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderRequest, OrderType, Side
from backstop.domain.quote import Quote
from backstop.entrypoints.gateway.refusals import PlaceCode, no
from backstop.entrypoints.gateway.shown import OUR_NAMES

TAG_LENGTH_MAX = 128
"""Nobody published the gateway's own; tags of clients have some 60 characters."""

_JOINS = {Side.BUY: WireOrderType.JOIN_BID, Side.SELL: WireOrderType.JOIN_ASK}
_STOP_LEGS = frozenset({WireOrderType.STOP, WireOrderType.TRAILING_STOP})


def order_request(
    body: PlaceBody, name: str, *, bot: str, quote: Quote | None
) -> OrderRequest | Outcome:
    """Return what ``bot`` asks for, under the client order id ``name``; or why it cannot be.

    Prices that the type of the order does not take are left out, as the gateway does. Ticks of
    brackets stay what they are: signed, and from the fill. ``quote`` is the market of the contract.
    """
    cannot_join = False
    type_, side, limit_price = ORDER_TYPE.get(body.type), SIDE.get(body.side), body.limit_price
    if side is not None and body.type == _JOINS[side]:
        limit_price = _best(quote, side)
        cannot_join = limit_price is None
        type_ = OrderType.MARKET if cannot_join else OrderType.LIMIT
    if type_ is None or side is None:
        return _not_supported(
            f"type {body.type} with side {body.side}; limit (1), market (2), stop (4) and "
            "trailing stop (5) with side 0 or 1, join bid (6) with 0 and join ask (7) with 1 are"
        )
    stop_loss, take_profit = body.stop_loss_bracket, body.take_profit_bracket
    if stop_loss is not None and stop_loss.type not in _STOP_LEGS:
        return _not_supported(f"stop loss type {stop_loss.type}; 4 and 5 are")
    if take_profit is not None and take_profit.type != WireOrderType.LIMIT:
        return _not_supported(f"take profit type {take_profit.type}; 1 is")
    return OrderRequest(
        client_order_id=name,
        symbol=body.contract_id,
        side=side,
        quantity=body.size,
        type=type_,
        limit_price=limit_price if type_.has_limit else None,
        stop_price=_stop_price(body, type_),
        strategy_id=bot,
        stop_loss_offset_ticks=_ticks(stop_loss),
        take_profit_offset_ticks=_ticks(take_profit),
        stop_loss_trails=stop_loss is not None and stop_loss.type == WireOrderType.TRAILING_STOP,
        exit_only=cannot_join,
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


def _best(quote: Quote | None, side: Side) -> Decimal | None:
    """Return the best price of those who wait on ``side``."""
    if quote is None:
        return None
    return quote.bid if side is Side.BUY else quote.ask


def _stop_price(body: PlaceBody, type_: OrderType) -> Decimal | None:
    if type_ is OrderType.TRAILING_STOP:
        return body.trail_price
    return body.stop_price if type_.has_stop else None


def _ticks(bracket: Bracket | None) -> int | None:
    return None if bracket is None else bracket.ticks


def _not_supported(what: str) -> Outcome:
    return no(PlaceCode.REJECTED, DenialCode.ORDER_NOT_SUPPORTED, f"the guard does not take {what}")
