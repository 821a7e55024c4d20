"""What is true at the exchange, followed event by event, and how long positions were naked."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from backstop.adapters.projectx.wire import (
    OrderRow,
    TradeRow,
    WireOrderStatus,
    WireOrderType,
    WireSide,
)
from backstop.adapters.projectx_server.venue import MarketEvent, UserEvent

LIVE: Final = frozenset(
    {
        WireOrderStatus.OPEN,
        WireOrderStatus.PENDING,
        WireOrderStatus.PENDING_CANCELLATION,
        WireOrderStatus.SUSPENDED,
    }
)
STOPS: Final = frozenset({WireOrderType.STOP, WireOrderType.TRAILING_STOP})


NEWS_S: Final = 120.0
"""How far back trades and positions are remembered one by one."""


class TradeNews(NamedTuple):
    """One trade as it came about, or was taken back, and the position before and after it."""

    trade_id: int
    voided: bool
    at_s: float
    before: int
    after: int


def sign(side: int) -> int:
    """Return +1 for a buy and -1 for a sell, as the wire writes sides."""
    return 1 if side == WireSide.BID else -1


@dataclass
class Truth:
    """Orders, trades and positions as the exchange has them at this moment.

    Attributes:
        orders: every row, by id, as it is now.
        by_tag: the ids of those that were accepted.
        trades: every trade that was not voided, by id.
        positions: signed contracts, by contract id.
        traded_s: when each contract traded last.
        held_s: since when each contract that is held has been held, without being flat between.
        opened_s: since when each order has worked, by id.
        news: the trades of late, by contract id, oldest first.
        on_trade: hears of each trade, with the position before it.
    """

    now_s: Callable[[], float]
    orders: dict[int, OrderRow] = field(default_factory=dict)
    by_tag: dict[str, int] = field(default_factory=dict)
    live: dict[int, OrderRow] = field(default_factory=dict)
    trades: dict[int, TradeRow] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    traded_s: dict[str, float] = field(default_factory=dict)
    held_s: dict[str, float] = field(default_factory=dict)
    opened_s: dict[int, float] = field(default_factory=dict)
    news: dict[str, deque[TradeNews]] = field(default_factory=dict)
    on_trade: Callable[[TradeRow, int], None] = lambda _trade, _before: None

    def hear(self, event: UserEvent | MarketEvent) -> None:
        """Follow one event of the exchange, before any fault touches it."""
        if isinstance(event, MarketEvent):
            return
        if isinstance(event.data, OrderRow):
            self.orders[event.data.id] = event.data
            if event.data.custom_tag and event.data.status != WireOrderStatus.REJECTED:
                self.by_tag[event.data.custom_tag] = event.data.id
            if event.data.status in LIVE:
                self.live[event.data.id] = event.data
            else:
                self.live.pop(event.data.id, None)
            if event.data.status == WireOrderStatus.OPEN:
                self.opened_s.setdefault(event.data.id, self.now_s())
        elif isinstance(event.data, TradeRow):
            self._trade(event.data)

    def _trade(self, trade: TradeRow) -> None:
        before = self.positions.get(trade.contract_id, 0)
        signed = sign(trade.side) * trade.size
        self.traded_s[trade.contract_id] = self.now_s()
        if trade.voided:
            if self.trades.pop(trade.id, None) is not None:
                self.positions[trade.contract_id] = before - signed
                self._note(trade, before)
            return
        if trade.id not in self.trades:
            self.trades[trade.id] = trade
            self.positions[trade.contract_id] = before + signed
            self.on_trade(trade, before)
            self._note(trade, before)

    def _note(self, trade: TradeRow, before: int) -> None:
        contract_id = trade.contract_id
        if before * self.positions[contract_id] <= 0:
            self.held_s[contract_id] = self.now_s()
        self.news.setdefault(contract_id, deque()).append(
            TradeNews(trade.id, trade.voided, self.now_s(), before, self.positions[contract_id])
        )

    def held_of_late(self, contract_id: str, *, since_s: float = 0.0) -> set[int]:
        """Return every position that a contract has had since before its oldest news.

        ``since_s``: news that are older are left out.
        """
        held = {self.positions.get(contract_id, 0)}
        for news in self.news.get(contract_id, ()):
            if news.at_s >= since_s:
                held |= {news.before, news.after}
        return held

    def open_positions(self) -> Iterator[tuple[str, int]]:
        """Yield contracts that are not flat."""
        for contract_id, quantity in self.positions.items():
            if quantity:
                yield contract_id, quantity

    def stop_cover(self, contract_id: str, *, without: int | None = None) -> int:
        """Return contracts of the position that working stops would close."""
        position = self.positions.get(contract_id, 0)
        return sum(
            row.size - row.fill_volume
            for row in self.live.values()
            if row.contract_id == contract_id
            and row.id != without
            and row.status == WireOrderStatus.OPEN
            and row.type in STOPS
            and sign(row.side) * position < 0
        )

    def uncovered(self, contract_id: str) -> int:
        """Return contracts of the position that no working stop covers."""
        held = abs(self.positions.get(contract_id, 0))
        return max(0, held - self.stop_cover(contract_id))
