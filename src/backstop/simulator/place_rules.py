"""What the gateway refuses, and in which words.

The texts are the recorded ones; those marked "no recording" are ours in the same manner. Checks
run in the order in which the gateway was seen to prefer one text over another, the cheap and
general ones first.
"""

from decimal import Decimal

from msgspec import Struct

from backstop.adapters.projectx.wire import (
    TAG_IN_USE,
    Bracket,
    ModifyBody,
    PlaceBody,
    WireOrderStatus,
    WireOrderType,
    WireSide,
)
from backstop.simulator.codes import ModifyCode, PlaceCode
from backstop.simulator.exchange_config import BracketMode, ExchangeConfig
from backstop.simulator.records import Account, Market, Order

MIN_BRACKET_TICKS = 4
"""The nearest a bracket leg may stand to the fill (recorded refusals)."""

MAX_TRAIL_TICKS = 1000
"""The longest trail that place accepts (documented); modify does not check it."""

MAX_ORDER_SIZE = 10_000
"""Contracts in one order; far above any account's size, so that a slip cannot exhaust memory."""

MAX_LIVE_ORDERS_PER_ACCOUNT = 500
"""Live orders of one account, bracket legs included; bounds the work of one quote."""

MAX_TAG_LENGTH = 200
"""Characters of a tag; the venue's own limit is unpublished."""

MARKET_CLOSED = (
    "Trading is currently unavailable. The instrument is not in an active trading status."
)
POSITION_BRACKETS = (
    "Brackets cannot be used with Position Brackets. You must enable Auto OCO Brackets."
)
NO_TRAIL = "Trail Distance not set."
TRAIL_TOO_LONG = f"Trail Distance exceeds maximum ({MAX_TRAIL_TICKS})"
NO_LAST_PRICE = "Cannot trail without a last price"
NO_QUOTE = "Invalid symbol"
OUT_OF_RANGE = "Invalid price. Price is outside allowed range."
WRONG_SIDE_OF_MARKET = "Invalid stop price"
LEG_SIZE_FIXED = "Invalid size. The size of a bracket leg cannot be changed."  # no recording

_TYPE_NAMES = {
    0: "Unknown",
    1: "Limit",
    2: "Market",
    3: "StopLimit",
    4: "Stop",
    5: "TrailingStop",
    6: "JoinBid",
    7: "JoinAsk",
}
_PLACEABLE = frozenset({1, 2, 4, 5, 6, 7})
_STOP_LEG_TYPES = frozenset({WireOrderType.STOP, WireOrderType.TRAILING_STOP})


class Refusal(Struct, frozen=True, kw_only=True):
    """Why an order is rejected."""

    code: int
    message: str | None


class Levels(Struct, frozen=True, kw_only=True):
    """The prices of an accepted order in ticks; ``trail_ticks`` is a distance."""

    limit_ticks: int | None = None
    stop_ticks: int | None = None
    trail_ticks: int | None = None


def judge(
    body: PlaceBody, *, account: Account, market: Market, config: ExchangeConfig, exposure: int
) -> Levels | Refusal:
    """Accept the order with its levels, or refuse it.

    Args:
        body: the request; its account and contract exist.
        account: the account it is for.
        market: the contract month it is for.
        config: the switches.
        exposure: the signed position if every live order on the side of ``body`` filled, without
            ``body`` itself.
    """
    refusal = (
        _refuse_identity(body, account)
        or _refuse_state(body, account, market, config)
        or _refuse_shape(body)
        or _refuse_brackets(body, account)
        or _refuse_size(body, account, exposure)
    )
    return refusal or _levels(body, market, config)


def _rejected(message: str) -> Refusal:
    return Refusal(code=PlaceCode.ORDER_REJECTED, message=message)


def _refuse_identity(body: PlaceBody, account: Account) -> Refusal | None:
    tag = body.custom_tag
    if tag is None:
        return None
    if tag in account.tags:
        return _rejected(TAG_IN_USE)
    if len(tag) > MAX_TAG_LENGTH:
        return _rejected(f"Invalid custom tag. Length exceeds maximum ({MAX_TAG_LENGTH})")
    return None


def _refuse_state(
    body: PlaceBody, account: Account, market: Market, config: ExchangeConfig
) -> Refusal | None:
    if not account.can_trade:
        # 4 and not 10: the account broke a rule or is locked out. 10 is what the other calls
        # answer for kinds of accounts that may never do this (followers, brokerage accounts).
        return Refusal(code=PlaceCode.ACCOUNT_VIOLATION, message=None)
    if not market.is_active:
        return Refusal(code=PlaceCode.CONTRACT_NOT_ACTIVE, message=None)
    if not market.is_open:
        return Refusal(code=config.closed_market_code, message=MARKET_CLOSED)
    if len(account.live_order_ids) >= MAX_LIVE_ORDERS_PER_ACCOUNT:  # no recording
        return _rejected(f"Number of working orders exceeds {MAX_LIVE_ORDERS_PER_ACCOUNT}.")
    if body.type == WireOrderType.MARKET and not market.is_quoted:
        return _rejected(NO_QUOTE)
    return None


def _refuse_shape(body: PlaceBody) -> Refusal | None:
    """Refuse what no market condition could make right; no recordings of these texts."""
    if body.type not in _PLACEABLE:
        return _rejected(f"Invalid order type ({_type_name(body.type)})")
    if body.side not in (WireSide.BID, WireSide.ASK):
        return _rejected(f"Invalid order side ({body.side})")
    if not 0 < body.size <= MAX_ORDER_SIZE:
        return _rejected(f"Invalid size ({body.size}). Size should be from 1 to {MAX_ORDER_SIZE}.")
    return None


def _refuse_size(body: PlaceBody, account: Account, exposure: int) -> Refusal | None:
    limit = account.spec.max_position
    if limit is None:
        return None
    after = exposure + (body.size if body.side == WireSide.BID else -body.size)
    if abs(after) > limit and abs(after) > abs(exposure):
        return _rejected(f"Maximum position size ({limit}) exceeded.")  # no recording
    return None


def _refuse_brackets(body: PlaceBody, account: Account) -> Refusal | None:
    stop, target = body.stop_loss_bracket, body.take_profit_bracket
    if stop is None and target is None:
        return None
    if account.bracket_mode is BracketMode.POSITION:
        return _rejected(POSITION_BRACKETS)
    buys = body.side == WireSide.BID
    if stop is not None:
        if stop.type not in _STOP_LEG_TYPES:
            return _rejected(f"Invalid stop loss type ({_type_name(stop.type)})")
        if refusal := _refuse_ticks(stop, "stop loss", wanted_sign=-1 if buys else 1, buys=buys):
            return refusal
    if target is not None:
        if target.type != WireOrderType.LIMIT:
            return _rejected(f"Invalid take profit type ({_type_name(target.type)})")
        return _refuse_ticks(target, "take profit", wanted_sign=1 if buys else -1, buys=buys)
    return None


def _refuse_ticks(bracket: Bracket, leg: str, *, wanted_sign: int, buys: bool) -> Refusal | None:
    begin = f"Invalid {leg} ticks ({bracket.ticks})."
    if bracket.ticks * wanted_sign < 0 and abs(bracket.ticks) >= MIN_BRACKET_TICKS:
        relation = "greater" if wanted_sign > 0 else "less"
        going = "longing" if buys else "going short"
        return _rejected(f"{begin} Ticks should be {relation} than zero when {going}.")
    if bracket.ticks * wanted_sign < MIN_BRACKET_TICKS:
        return _rejected(f"{begin} Price should be at least {MIN_BRACKET_TICKS} ticks away.")
    return None


def _levels(body: PlaceBody, market: Market, config: ExchangeConfig) -> Levels | Refusal:
    match WireOrderType(body.type):
        case WireOrderType.LIMIT:
            return _limit_level(body.limit_price, market, config)
        case WireOrderType.JOIN_BID | WireOrderType.JOIN_ASK as kind:
            joined = market.bid_ticks if kind is WireOrderType.JOIN_BID else market.ask_ticks
            return _rejected(NO_QUOTE) if joined is None else Levels(limit_ticks=joined)
        case WireOrderType.STOP:
            return _stop_level(body, market, config)
        case WireOrderType.TRAILING_STOP:
            return _trail_level(body, market)
        case _:
            return Levels()


def _limit_level(price: Decimal | None, market: Market, config: ExchangeConfig) -> Levels | Refusal:
    if price is None or not market.on_tick(price):
        return _rejected("Invalid limit price. Price is not aligned to tick size.")
    ticks = market.ticks(price)
    return (
        _rejected(OUT_OF_RANGE)
        if _beyond_collar(ticks, market, config)
        else Levels(limit_ticks=ticks)
    )


def _stop_level(body: PlaceBody, market: Market, config: ExchangeConfig) -> Levels | Refusal:
    price = body.stop_price
    if price is None or not market.on_tick(price):
        return _rejected("Invalid stop price. Price is not aligned to tick size.")
    ticks = market.ticks(price)
    sign = 1 if body.side == WireSide.BID else -1
    if past_market(market, sign=sign, stop_ticks=ticks) or _beyond_collar(ticks, market, config):
        return _rejected(OUT_OF_RANGE)
    return Levels(stop_ticks=ticks)


def _trail_level(body: PlaceBody, market: Market) -> Levels | Refusal:
    price, last = body.trail_price, market.last
    if price is None:
        return _rejected(NO_TRAIL)
    if not market.on_tick(price):
        return _rejected("Invalid trail price. Price is not aligned to tick size.")
    if last is None:
        return _rejected(NO_LAST_PRICE)
    ticks = trail_distance(market, last, price)
    if ticks > MAX_TRAIL_TICKS:
        return _rejected(TRAIL_TOO_LONG)
    sign = 1 if body.side == WireSide.BID else -1
    return Levels(trail_ticks=ticks, stop_ticks=market.ticks(last) + sign * ticks)


def trail_distance(market: Market, last: Decimal, trail_price: Decimal) -> int:
    """Return the trail in ticks: the distance of the level from the last price, cut off."""
    return int(abs(last - trail_price) // market.tick_size)


def stop_reached(
    last_ticks: int | None, opposite_ticks: int | None, *, sign: int, stop_ticks: int
) -> bool:
    """Tell whether the market is at or past a stop: by the last trade, else by the touch.

    Args:
        last_ticks: the last trade.
        opposite_ticks: the touch that the stop would trade with.
        sign: +1 for a buy stop, -1 for a sell stop.
        stop_ticks: its level.
    """
    reference = opposite_ticks if last_ticks is None else last_ticks
    return reference is not None and sign * (reference - stop_ticks) >= 0


def past_market(market: Market, *, sign: int, stop_ticks: int) -> bool:
    """Tell whether the market is at or past a stop that does not work yet."""
    opposite_ticks = market.ask_ticks if sign > 0 else market.bid_ticks
    return stop_reached(market.last_ticks, opposite_ticks, sign=sign, stop_ticks=stop_ticks)


def _beyond_collar(ticks: int, market: Market, config: ExchangeConfig) -> bool:
    collar, reference = config.price_collar_ticks, market.last_ticks
    if collar is None or reference is None:
        return False
    return abs(ticks - reference) > collar


def _type_name(number: int) -> str:
    return _TYPE_NAMES.get(number, str(number))


def judge_modify(
    body: ModifyBody, *, order: Order, account: Account, market: Market, config: ExchangeConfig
) -> Levels | Refusal:
    """Accept a change of ``order``, or refuse it; levels that stay as they are stay None."""
    if account.spec.follower:
        return Refusal(code=ModifyCode.ACCOUNT_REJECTED, message=None)
    if order.status is WireOrderStatus.PENDING or order.cancel_requested:
        return Refusal(code=ModifyCode.PENDING, message=None)
    suspended = order.status is WireOrderStatus.SUSPENDED
    if not order.is_live or (suspended and not config.modify_suspended_leg):
        return Refusal(code=ModifyCode.REJECTED, message=None)
    if not market.is_open:
        return Refusal(code=ModifyCode.REJECTED, message=MARKET_CLOSED)
    if body.size is not None and order.leg is not None and not config.resize_leg:
        return Refusal(code=ModifyCode.REJECTED, message=LEG_SIZE_FIXED)
    if body.size is not None and not order.fill_volume < body.size <= MAX_ORDER_SIZE:
        return Refusal(code=ModifyCode.REJECTED, message=f"Invalid size ({body.size}).")
    changed = _changed_levels(body, order, market, config)
    if isinstance(changed, Refusal):
        return Refusal(code=ModifyCode.REJECTED, message=changed.message)
    return changed


def _changed_levels(
    body: ModifyBody, order: Order, market: Market, config: ExchangeConfig
) -> Levels | Refusal:
    """Return the new levels; members that do not belong to the type of order are ignored."""
    match order.type:
        case WireOrderType.LIMIT | WireOrderType.JOIN_BID | WireOrderType.JOIN_ASK:
            if body.limit_price is not None:
                return _limit_level(body.limit_price, market, config)
        case WireOrderType.STOP:
            if body.stop_price is not None:
                return _changed_stop(body.stop_price, order, market)
        case WireOrderType.TRAILING_STOP:
            if body.trail_price is not None:
                return _changed_trail(body.trail_price, order, market)
        case _:
            pass
    return Levels()


def _changed_stop(price: Decimal, order: Order, market: Market) -> Levels | Refusal:
    if not market.on_tick(price):
        return _rejected("Invalid stop price. Price is not aligned to tick size.")
    ticks = market.ticks(price)
    if past_market(market, sign=order.sign, stop_ticks=ticks):
        return _rejected(WRONG_SIDE_OF_MARKET)
    return Levels(stop_ticks=ticks)


def _changed_trail(price: Decimal, order: Order, market: Market) -> Levels | Refusal:
    if not market.on_tick(price):
        return _rejected("Invalid trail price. Price is not aligned to tick size.")
    if market.last is None:
        return _rejected(NO_LAST_PRICE)
    # No maximum here: a distance sent as a level is accepted and gives an absurd trail.
    ticks = trail_distance(market, market.last, price)
    return Levels(trail_ticks=ticks, stop_ticks=market.ticks(market.last) + order.sign * ticks)
