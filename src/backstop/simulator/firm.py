"""What the firm does on its own: liquidate, lock, bust or overfill, let a month expire."""

from collections import deque

from backstop.adapters.projectx.wire import WireOrderStatus, WireOrderType, WireSide
from backstop.simulator.exchange_state import ExchangeState
from backstop.simulator.ledger import Ledger
from backstop.simulator.order_desk import OrderDesk, Ticket
from backstop.simulator.records import Holding, Market, Order

LIQUIDATIONS_MAX = 1_000
"""Liquidations that the truth tells of; an account has one in its life."""


class Firm:
    """The platform's own acts; they carry no tag and ask nobody."""

    def __init__(self, state: ExchangeState, desk: OrderDesk, ledger: Ledger) -> None:
        self._state = state
        self._desk = desk
        self._ledger = ledger
        self.liquidations: deque[dict[str, object]] = deque(maxlen=LIQUIDATIONS_MAX)

    def lock(self, account_id: int, *, can_trade: bool) -> None:
        """Forbid or allow trading on an account, and push it."""
        account = self._state.accounts[account_id]
        account.can_trade = can_trade
        self._state.emit_account(account)

    def liquidate(self, account_id: int, reason: str) -> list[int]:
        """Lock the account, cancel its orders, close its positions; return the closing orders.

        A contract whose market is closed or unquoted is closed when it trades again.
        """
        state = self._state
        self.lock(account_id, can_trade=False)
        for order in state.live_orders(account_id):
            self._desk.end(order)
        closing = [
            self._close(holding).id
            for (owner_id, _), holding in state.holdings.items()
            if owner_id == account_id and holding.quantity
        ]
        self.liquidations.append(
            {"accountId": account_id, "reason": reason, "atUs": state.now_us, "orderIds": closing}
        )
        return closing

    def _close(self, holding: Holding) -> Order:
        return self._desk.accept(
            Ticket(
                account_id=holding.account_id,
                contract_id=holding.contract_id,
                type=WireOrderType.MARKET,
                side=WireSide.ASK if holding.quantity > 0 else WireSide.BID,
                size=abs(holding.quantity),
                closes=True,
            )
        )

    def bust(self, trade_id: int) -> None:
        """Void a trade; a second bust of the same one changes nothing."""
        trade = self._state.trades[trade_id]
        if not trade.voided:
            self._ledger.bust(trade)

    def overfill(self, order_id: int, size: int) -> None:
        """Fill ``size`` contracts more than a filled order asked for; its legs know nothing of it.

        No recording: what a matching engine's mistake looks like is anybody's guess.
        """
        order = self._state.orders[order_id]
        market = self._state.markets[order.contract_id]
        price_ticks = market.ask_ticks if order.sign > 0 else market.bid_ticks
        if order.status is not WireOrderStatus.FILLED or price_ticks is None:
            return
        order.fill_volume += size
        order.fill_cost_ticks += size * price_ticks
        self._state.emit_order(order)
        self._ledger.book(order, price_ticks=price_ticks, size=size)

    def expire(self, contract_id: str) -> None:
        """End a contract month: its orders expire, its positions settle at the last price."""
        state = self._state
        market = state.markets[contract_id]
        market.is_active = market.is_open = False
        for account_id in state.accounts:
            for order in state.live_orders(account_id, contract_id):
                self._desk.end(order, WireOrderStatus.EXPIRED)
        if not state.config.settle_on_expiry:
            return
        for (_, held_id), holding in list(state.holdings.items()):
            if held_id == contract_id and holding.quantity:
                self._settle(market, holding)

    def _settle(self, market: Market, holding: Holding) -> None:
        price_ticks = market.last_ticks
        if price_ticks is None:
            price_ticks = market.bid_ticks if holding.quantity > 0 else market.ask_ticks
        if price_ticks is None:
            return
        order = self._close(holding)
        self._desk.fill_at(order, price_ticks=price_ticks, size=order.size)
