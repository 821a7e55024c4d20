"""An exchange whose reads lag behind its stream, as those of real venues do.

Positions are shown as they were a moment before. Lists of orders and trades lack what came about
most recently; what they show of the rest is up to date.
"""

from collections import deque
from random import Random
from typing import Any, Final

from backstop.adapters.projectx.wire import OrderRow, PositionRow, QueryBody, TradeRow
from backstop.adapters.projectx_server.venue import MarketEvent, UserEvent
from backstop.simulator.live_exchange import LiveExchange

REMEMBERED_US: Final = 2_000_000
"""Longer than any read of positions lags."""


class LaggingExchange(LiveExchange):
    """Shows its present to the stream, and its past to whoever reads.

    Attributes:
        positions_lag_us: the most by which a read of positions is late. Drawn for each read, for
            each may be served from another place: one of them is as late as that.
        lists_lag_us: what is younger than this is in no list of orders or trades.
    """

    def __init__(self, *arguments: Any, chance: Random, account_id: int, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.positions_lag_us = 0
        self.lists_lag_us = 0
        self._chance = chance
        self._account_id = account_id
        self._shown: deque[tuple[int, list[PositionRow]]] = deque([(0, [])])
        self.subscribe(self._remember)

    def _remember(self, event: UserEvent | MarketEvent) -> None:
        if event.target != "GatewayUserPosition":
            return
        now_us = self.now_us
        self._shown.append((now_us, self._reads.positions(self._account_id)))
        while self._shown[1][0] < now_us - REMEMBERED_US:
            self._shown.popleft()

    def positions(self, account_id: int) -> list[PositionRow]:
        """Return open positions as they were a moment ago."""
        rows = super().positions(account_id)
        if not self.positions_lag_us:
            return rows
        late_us = self.positions_lag_us
        if self._chance.random() < 0.5:  # noqa: PLR2004 - a coin
            late_us = self._chance.randint(0, late_us)
        moment_us = self.now_us - late_us
        return next(shown for at_us, shown in reversed(self._shown) if at_us <= moment_us)

    def orders(self, account_id: int, start_us: int, end_us: int | None) -> list[OrderRow]:
        """Return orders created in the window, without the youngest."""
        rows = super().orders(account_id, start_us, end_us)
        return [row for row in rows if self._is_listed(self._state.orders[row.id].created_us)]

    def query_orders(self, body: QueryBody) -> tuple[list[OrderRow], int]:
        """Return (page, total count) of the filtered orders, without the youngest."""
        rows, total = super().query_orders(body)
        listed = [row for row in rows if self._is_listed(self._state.orders[row.id].created_us)]
        return listed, total - (len(rows) - len(listed))

    def trades(self, account_id: int, start_us: int | None, end_us: int | None) -> list[TradeRow]:
        """Return half-turn trades in the window, without the youngest."""
        rows = super().trades(account_id, start_us, end_us)
        return [row for row in rows if self._is_listed(self._state.trades[row.id].created_us)]

    def _is_listed(self, created_us: int) -> bool:
        return created_us <= self.now_us - self.lists_lag_us
