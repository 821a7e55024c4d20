"""Books fills: the trade, the net position, the balance, and the events that tell of them."""

from functools import partial

from backstop.adapters.projectx.wire import PositionRow
from backstop.adapters.projectx_server.venue import UserEvent
from backstop.simulator import rows
from backstop.simulator.accounts import Net, net_fill, pnl_micros, replayed
from backstop.simulator.exchange_config import Reversal
from backstop.simulator.exchange_state import REMOVED, UPDATED, ExchangeState
from backstop.simulator.records import Holding, Market, Order, Trade


class Ledger:
    """Turns executions into trades, positions and money."""

    def __init__(self, state: ExchangeState) -> None:
        self._state = state

    def book(self, order: Order, *, price_ticks: int, size: int) -> Trade:
        """Book one fill of ``order`` and push trade, position and account, in this order.

        Position and account follow the trade by the configured delay; the position is the one
        right after this trade, also when others came meanwhile.
        """
        state = self._state
        market = state.markets[order.contract_id]
        account = state.accounts[order.account_id]
        holding = state.holding(order.account_id, order.contract_id)
        netted = net_fill(_net(holding), sign=order.sign, size=size, price_ticks=price_ticks)
        trade = Trade(
            id=state.next_trade_id(),
            order_id=order.id,
            account_id=order.account_id,
            contract_id=order.contract_id,
            created_us=state.now_us,
            price_ticks=price_ticks,
            sign=order.sign,
            size=size,
            pnl_micros=pnl_micros(netted, market.tick_value_micros),
            fees_micros=size * market.fee_micros,
            commissions_micros=size * market.commission_micros,
        )
        state.trades[trade.id] = trade
        account.trade_ids.append(trade.id)
        account.balance_micros += _net_result(trade)
        state.emit_trade(trade)
        self._move(market, holding, netted.net)
        return trade

    def bust(self, trade: Trade) -> None:
        """Void ``trade``: position, balance and the results of later fills become as without it.

        The order keeps its fill; the gateway's rows of a busted order were never recorded.
        """
        state = self._state
        market = state.markets[trade.contract_id]
        account = state.accounts[trade.account_id]
        trade.voided = True
        account.balance_micros -= _net_result(trade)
        state.emit_trade(trade, action=UPDATED)
        of_contract = [
            state.trades[trade_id]
            for trade_id in account.trade_ids
            if state.trades[trade_id].contract_id == trade.contract_id
        ]
        net, results = replayed(of_contract, market.tick_value_micros)
        for other in of_contract:
            if other.voided or other.pnl_micros == results[other.id]:
                continue
            account.balance_micros += (results[other.id] or 0) - (other.pnl_micros or 0)
            other.pnl_micros = results[other.id]
            state.emit_trade(other, action=UPDATED)
        self._move(market, state.holding(trade.account_id, trade.contract_id), net)

    def _move(self, market: Market, holding: Holding, net: Net) -> None:
        """Take over ``net`` and plan the rows that show it."""
        state = self._state
        delay_us = state.draw(state.config.position_row_us)
        shown_us = max(state.now_us + delay_us, holding.shown_us)
        holding.shown_us = shown_us
        changes: list[tuple[int, PositionRow]] = []
        before = holding.quantity
        reverses = before * net.quantity < 0
        if reverses and state.config.reversal is Reversal.NEW_ROW:
            holding.quantity = 0
            changes.append((REMOVED, rows.position(market, holding)))
        if net.quantity and holding.quantity == 0:
            holding.row_id = state.next_position_id()
            holding.opened_us = shown_us
        holding.quantity = net.quantity
        holding.average_nanoticks = net.average_nanoticks
        if before or net.quantity:
            action = UPDATED if net.quantity else REMOVED
            changes.append((action, rows.position(market, holding)))
        state.at(shown_us, partial(self._show, holding, changes))

    def _show(self, holding: Holding, changes: list[tuple[int, PositionRow]]) -> None:
        for action, row in changes:
            holding.published = row if row.size else None
            self._state.emit(
                UserEvent(
                    target="GatewayUserPosition",
                    account_id=holding.account_id,
                    action=action,
                    data=row,
                )
            )
        self._state.emit_account(self._state.accounts[holding.account_id])


def _net(holding: Holding) -> Net:
    return Net(quantity=holding.quantity, average_nanoticks=holding.average_nanoticks)


def _net_result(trade: Trade) -> int:
    """What a trade adds to the balance, in micros."""
    return (trade.pnl_micros or 0) - trade.fees_micros - trade.commissions_micros
