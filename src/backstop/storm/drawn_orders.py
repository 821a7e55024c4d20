"""Orders as a bot draws them: what it might want, and what no guard may let pass."""

from decimal import Decimal
from itertools import count
from random import Random
from typing import Final

from msgspec.structs import replace

from backstop.adapters.projectx.wire import PlaceBody, WireOrderType
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.domain.order import OrderRequest, OrderType, Side
from backstop.storm.venue import SYMBOLS

WIRE_TYPES: Final = {
    OrderType.LIMIT: WireOrderType.LIMIT,
    OrderType.MARKET: WireOrderType.MARKET,
    OrderType.STOP: WireOrderType.STOP,
}


class DrawnOrders:
    """The orders of one bot; their names go on over restarts, as a bot's own counter would."""

    def __init__(self, name: str, chance: Random, *, old_month: str) -> None:
        """Prepare; ``old_month`` is a contract that is known and not traded any more."""
        self._name = name
        self._chance = chance
        self._old_month = old_month
        self._numbers = count(1)

    def new_name(self) -> str:
        """Return a name that no order has had."""
        return f"{self._name}-{next(self._numbers)}"

    def request(
        self,
        guard: CriticalSystemManager,
        side: Side,
        *,
        symbol: str | None = None,
        quantity: int | None = None,
        protected: bool = True,
    ) -> OrderRequest | None:
        """Draw an order at the market of now, or near it; None: there is none to be seen.

        What is None is drawn; one that is not ``protected`` has no stop and no target.
        """
        symbol = symbol or self._chance.choice(SYMBOLS)
        instrument = guard.book.instrument_for(symbol)
        if instrument is None:
            return None
        quote = guard.quotes.reference(instrument.contract_id)
        level = None if quote is None else quote.bid
        if level is None:
            return None
        kind = self._chance.choice((
            OrderType.MARKET, OrderType.MARKET, OrderType.LIMIT, OrderType.STOP,
        ))  # fmt: skip
        tick, sign = instrument.tick_size, side.sign
        away = self._chance.randint(-2, 12) * tick
        stop_away = self._chance.randint(8, 60) * tick
        level += {OrderType.LIMIT: -sign, OrderType.STOP: sign}.get(kind, 0) * away
        targets = self._chance.random() < 0.7  # noqa: PLR2004 - most entries have one
        return OrderRequest(
            client_order_id=self.new_name(),
            symbol=symbol,
            side=side,
            quantity=quantity or self._chance.choice((1, 1, 1, 2, 3)),
            type=kind,
            limit_price=level if kind is OrderType.LIMIT else None,
            stop_price=level if kind is OrderType.STOP else None,
            stop_loss_price=level - sign * stop_away if protected else None,
            take_profit_price=level + sign * 2 * stop_away if protected and targets else None,
            strategy_id=self._name,
        )

    def odd(self, guard: CriticalSystemManager, request: OrderRequest) -> OrderRequest:
        """Make nonsense of an order: no stop, a wrong side, far too much, nothing at all."""
        tick = guard.book.instruments[guard.book.contract_of[request.symbol]].tick_size
        stop = request.stop_loss_price
        odd: list[dict[str, object]] = [
            {"type": OrderType.LIMIT, "limit_price": None, "stop_price": None},
            {"type": OrderType.MARKET, "limit_price": stop, "stop_price": None},
            {"stop_loss_price": None if stop is None else stop + tick / 3},
            {"stop_loss_price": _nearer(request, 2 * tick), "take_profit_price": None},
            {"take_profit_price": _nearer(request, -5 * tick)},
            {"stop_loss_price": Decimal("Infinity")},
            {"stop_loss_price": Decimal(-5)},
            {"stop_loss_offset_ticks": 10**9},
            {"quantity": 2**40},
            {"quantity": 0},
            {"quantity": -1},
            {"quantity": 500},
            {"symbol": "XYZ"},
            {"symbol": self._old_month},
            {"stop_loss_price": request.take_profit_price},
            {"stop_loss_price": None, "take_profit_price": None},
            {"limit_price": Decimal(1), "stop_price": None, "type": OrderType.LIMIT},
            {"limit_price": Decimal("NaN"), "stop_price": None, "type": OrderType.LIMIT},
        ]
        return replace(request, **self._chance.choice(odd))


def as_sent(
    request: OrderRequest, *, account_id: int, contract_id: str, size: int, tag: str
) -> PlaceBody:
    """Return an order as a bot sends it that has a session of its own."""
    return PlaceBody(
        account_id=account_id,
        contract_id=contract_id,
        type=WIRE_TYPES[request.type],
        side=0 if request.side is Side.BUY else 1,
        size=size,
        limit_price=request.limit_price,
        stop_price=request.stop_price,
        custom_tag=tag,
    )


def _nearer(request: OrderRequest, away: Decimal) -> Decimal | None:
    """Return a level ``away`` from where an order would enter, on the side of its stop."""
    stop, level = request.stop_loss_price, request.limit_price or request.stop_price
    if level is None or stop is None:
        return stop
    return level - request.side.sign * away
