"""Price-time matching of working orders against the quoted market.

Only our own orders queue; the rest of the market is its best bid and offer, their sizes, and the
trades. Orders that take the market go first, then limit orders by price; equal ones by arrival.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from backstop.adapters.projectx.wire import WireOrderStatus
from backstop.simulator.exchange_config import ExchangeConfig, MarketRemainder, PartialFill
from backstop.simulator.place_rules import stop_reached
from backstop.simulator.records import Market, Order


class Execution(Struct, frozen=True, kw_only=True):
    """One fill that the market gives ``order``."""

    order: Order
    price_ticks: int
    size: int


class Touch(Struct, frozen=True, kw_only=True):
    """The market in ticks at one instant.

    ``through_ticks`` is the price of a trade that came with this very quote, None otherwise: an
    old trade says nothing about an order that came after it.
    """

    bid_ticks: int
    ask_ticks: int
    last_ticks: int | None
    through_ticks: int | None


def touch_of(market: Market, *, with_trade: bool) -> Touch | None:
    """Return the market in ticks; None while one side is unknown or it is closed."""
    bid_ticks, ask_ticks = market.bid_ticks, market.ask_ticks
    if bid_ticks is None or ask_ticks is None or not market.is_open:
        return None
    last_ticks = market.last_ticks
    return Touch(
        bid_ticks=bid_ticks,
        ask_ticks=ask_ticks,
        last_ticks=last_ticks,
        through_ticks=last_ticks if with_trade else None,
    )


def follow(orders: Iterable[Order], touch: Touch) -> list[Order]:
    """Move each trailing stop behind the last price and return those that moved."""
    if touch.last_ticks is None:
        return []
    moved = []
    for order in orders:
        if order.trail_ticks is None or order.stop_ticks is None or order.triggered:
            continue
        level = touch.last_ticks + order.sign * order.trail_ticks
        if order.sign * (order.stop_ticks - level) > 0:
            order.stop_ticks = level
            moved.append(order)
    return moved


def reached_stops(orders: Iterable[Order], touch: Touch) -> list[Order]:
    """Return the waiting stops whose level the market has reached."""
    return [
        order
        for order in orders
        if order.stop_ticks is not None
        and not order.triggered
        and stop_reached(
            touch.last_ticks,
            touch.ask_ticks if order.sign > 0 else touch.bid_ticks,
            sign=order.sign,
            stop_ticks=order.stop_ticks,
        )
    ]


def executions(
    market: Market,
    orders: Iterable[Order],
    *,
    touch: Touch,
    config: ExchangeConfig,
    now_us: int,
    arriving: bool,
) -> Iterator[Execution]:
    """Yield the fills of ``orders``, one after the other, as the caller books them.

    The caller may cancel other orders between two fills; those are passed over.

    Args:
        market: the contract month; what its touch still offers goes down with each fill.
        orders: those that may fill now, in order of arrival.
        touch: the market in ticks.
        config: how orders fill in parts.
        now_us: the present, for slices.
        arriving: the orders just arrived, so a limit order gets the touch where that is better;
            a resting one is met at its own price.
    """
    ready = [order for order in orders if _can_fill(order, touch, now_us)]
    ready.sort(key=_queue)
    for order in ready:
        slice_left = _slice(order, config)
        while slice_left > 0 and _is_working(order):
            execution = _next_fill(market, order, touch, config, slice_left, arriving=arriving)
            if execution is None:
                break
            slice_left -= execution.size
            yield execution


def _is_working(order: Order) -> bool:
    live = order.is_live and order.status is not WireOrderStatus.SUSPENDED
    return live and order.remaining > 0


def _can_fill(order: Order, touch: Touch, now_us: int) -> bool:
    if now_us < order.not_before_us:
        return False
    if order.limit_ticks is None:
        return order.takes_market
    return _crossed(order.limit_ticks, order.sign, touch) or (
        # A trade beyond the limit: everybody in front of this order was served.
        touch.through_ticks is not None
        and order.sign * (order.limit_ticks - touch.through_ticks) > 0
    )


def _crossed(limit_ticks: int, sign: int, touch: Touch) -> bool:
    """The opposite touch meets the limit."""
    if sign > 0:
        return touch.ask_ticks <= limit_ticks
    return touch.bid_ticks >= limit_ticks


def _queue(order: Order) -> tuple[bool, int]:
    """Sort key; the sort is stable, so equal ones stay in order of arrival."""
    if order.limit_ticks is None:
        return (False, 0)
    return (True, -order.sign * order.limit_ticks)


def _slice(order: Order, config: ExchangeConfig) -> int:
    """The most that one look at the market fills of ``order``."""
    if config.partial_fill is not PartialFill.SLICES:
        return order.remaining
    return min(order.remaining, -(-order.size // config.fill_slices))


def _next_fill(
    market: Market,
    order: Order,
    touch: Touch,
    config: ExchangeConfig,
    wanted: int,
    *,
    arriving: bool,
) -> Execution | None:
    if config.partial_fill is not PartialFill.BY_LIQUIDITY:
        price = _price(order, touch, levels_behind=0, arriving=arriving)
        return Execution(order=order, price_ticks=price, size=wanted)
    limit_ticks = order.limit_ticks
    if limit_ticks is not None and not _crossed(limit_ticks, order.sign, touch):
        size = min(wanted, market.through_left)
        market.through_left -= size
        price = _price(order, touch, levels_behind=0, arriving=False)
        return Execution(order=order, price_ticks=price, size=size) if size else None
    return _take_level(market, order, touch, config, wanted, arriving=arriving)


def _take_level(
    market: Market,
    order: Order,
    touch: Touch,
    config: ExchangeConfig,
    wanted: int,
    *,
    arriving: bool,
) -> Execution | None:
    """Take what the present level of the opposite side leaves, going one level on when empty."""
    buys = order.sign > 0
    left = market.ask_left if buys else market.bid_left
    levels = market.ask_levels if buys else market.bid_levels
    if not left:
        displayed = market.ask_size if buys else market.bid_size
        if config.market_remainder is MarketRemainder.WAIT or not displayed:
            return None
        left, levels = displayed, levels + 1
    opposite = touch.ask_ticks if buys else touch.bid_ticks
    level_ticks = opposite + order.sign * levels
    limit_ticks = order.protection_ticks if order.limit_ticks is None else order.limit_ticks
    if limit_ticks is not None and order.sign * (limit_ticks - level_ticks) < 0:
        return None
    size = min(wanted, left)
    if buys:
        market.ask_left, market.ask_levels = left - size, levels
    else:
        market.bid_left, market.bid_levels = left - size, levels
    price = _price(order, touch, levels_behind=levels, arriving=arriving)
    return Execution(order=order, price_ticks=price, size=size)


def _price(order: Order, touch: Touch, *, levels_behind: int, arriving: bool) -> int:
    """Return what ``order`` pays or gets.

    A stop slips 0 to 2 ticks beyond its level in a moving market; when the market has gapped
    past that, it gets the market, and so does what is left of it later.
    """
    opposite = touch.ask_ticks if order.sign > 0 else touch.bid_ticks
    market_ticks = opposite + order.sign * levels_behind
    if order.triggered and order.stop_ticks is not None and not order.fill_volume:
        slipped = order.stop_ticks + order.sign * order.slippage_ticks
        return _worse(order, market_ticks, slipped)
    if order.limit_ticks is None:
        return market_ticks
    if arriving and order.sign * (order.limit_ticks - market_ticks) > 0:
        return market_ticks
    return order.limit_ticks


def _worse(order: Order, one_ticks: int, other_ticks: int) -> int:
    return max(one_ticks, other_ticks) if order.sign > 0 else min(one_ticks, other_ticks)
