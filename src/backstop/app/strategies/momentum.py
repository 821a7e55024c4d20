"""A small example strategy: follow the last minute's direction, one protected position at a time.

It is here to show how a strategy talks to the guard, not to make money.
"""

import asyncio
from collections import deque
from decimal import Decimal

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.orchestrator_agent import StrategyState
from backstop.app.quote_board import QuoteBoard
from backstop.domain.order import OrderRequest, OrderType, Side

PRICES_KEPT = 240
"""Prices the direction is taken from."""

PRICES_NEEDED = 30
"""Fewer say nothing about a direction."""


class Momentum:
    """Buys or sells one contract when the price left the average of the last prices behind.

    Args:
        symbol: exchange root to trade.
        threshold_ticks: how far the price must be from its average.
        stop_ticks: distance of the stop; the target lies twice as far.
        pause_s: seconds between looks at the market.
    """

    def __init__(
        self,
        symbol: str,
        *,
        threshold_ticks: int = 4,
        stop_ticks: int = 24,
        pause_s: float = 0.25,
    ) -> None:
        self.symbol = symbol
        self._threshold_ticks = threshold_ticks
        self._stop_ticks = stop_ticks
        self._pause_s = pause_s
        self._count = 0
        self._prices: deque[Decimal] = deque(maxlen=PRICES_KEPT)

    @property
    def name(self) -> str:
        """The strategy's id on its orders."""
        return f"momentum-{self.symbol.lower()}"

    def snapshot(self) -> StrategyState:
        """Return what must survive a restart: the number of the last order."""
        return {"count": self._count}

    def restore(self, state: StrategyState) -> None:
        """Go on counting where an earlier process stopped."""
        count = state.get("count")
        self._count = count if isinstance(count, int) else 0

    async def run(self, manager: CriticalSystemManager, quotes: QuoteBoard) -> None:
        """Trade until cancelled."""
        instrument = manager.book.instrument_for(self.symbol)
        if instrument is None:
            return
        tick = instrument.tick_size
        while True:
            await asyncio.sleep(self._pause_s)
            quote = quotes.reference(instrument.contract_id)
            if quote is None or quote.last is None:
                continue
            self._prices.append(quote.last)
            flat = manager.book.position(instrument.contract_id).quantity == 0
            busy = any(
                order.intent.contract_id == instrument.contract_id
                for order in manager.book.live_orders()
            )
            side = self._side(quote.last, tick)
            if side is None or not flat or busy:
                continue
            self._count += 1
            away = self._stop_ticks * tick * side.sign
            request = OrderRequest(
                client_order_id=f"{self.name}-{manager.session_id}-{self._count}",
                symbol=self.symbol,
                side=side,
                quantity=1,
                type=OrderType.MARKET,
                stop_loss_price=quote.last - away,
                take_profit_price=quote.last + 2 * away,
                strategy_id=self.name,
            )
            await manager.submit_order(request)
            await manager.verify_execution(request.client_order_id)

    def _side(self, last: Decimal, tick: Decimal) -> Side | None:
        if len(self._prices) < PRICES_NEEDED:
            return None
        distance = last - sum(self._prices, Decimal(0)) / len(self._prices)
        if abs(distance) < self._threshold_ticks * tick:
            return None
        return Side.BUY if distance > 0 else Side.SELL
