"""The reading calls: rows of orders, trades and positions as REST shows them."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable

from backstop.adapters.projectx.wire import (
    OrderRow,
    PositionRow,
    QueryBody,
    TradeRow,
    WireOrderStatus,
)
from backstop.adapters.projectx_server.binding import to_utc_us
from backstop.simulator import rows
from backstop.simulator.exchange_state import ExchangeState
from backstop.simulator.records import Order

MAX_QUERY_ROWS = 100
"""Rows of one ``v2/query`` answer, whatever page size is asked for (measured live)."""

_SORT_BY_CREATION = 0
_DESCENDING = 1


class OrderReads:
    """Answers the searches; an account that does not exist has no rows."""

    def __init__(self, state: ExchangeState) -> None:
        self._state = state

    def orders(self, account_id: int, start_us: int, end_us: int | None) -> list[OrderRow]:
        """Return the orders created in the window, both ends included, ascending by id."""
        account = self._state.accounts.get(account_id)
        if account is None:
            return []
        ids = _window(account.order_ids, start_us, end_us, self._order_created_us)
        return [self._row(self._state.orders[order_id]) for order_id in ids]

    def open_orders(self, account_id: int) -> list[OrderRow]:
        """Return the orders in status 1; pending and suspended ones stay hidden."""
        if account_id not in self._state.accounts:
            return []
        live = self._state.live_orders(account_id)
        return [self._row(order) for order in live if order.status is WireOrderStatus.OPEN]

    def order(self, account_id: int, order_id: int) -> OrderRow | None:
        """Return one order of the account, in any status."""
        order = self._state.orders.get(order_id)
        if order is None or order.account_id != account_id:
            return None
        return self._row(order)

    def query(self, body: QueryBody) -> tuple[list[OrderRow], int]:
        """Return a page of the filtered orders and how many there are in all.

        Raises:
            ValueError: a time in the filter is not ISO-8601.
        """
        matching = self._filtered(body)
        by_creation = body.sort_by == _SORT_BY_CREATION
        matching.sort(
            key=lambda order: (order.created_us, order.id) if by_creation else (order.id, 0),
            reverse=body.sort_direction == _DESCENDING,
        )
        start = max(body.page_offset, 0)
        size = min(max(body.page_size, 0), MAX_QUERY_ROWS)
        return [self._row(order) for order in matching[start : start + size]], len(matching)

    def _filtered(self, body: QueryBody) -> list[Order]:
        wanted = body.filter
        account = self._state.accounts.get(wanted.account_id)
        if account is None:
            return []
        after_us = None if wanted.created_after is None else to_utc_us(wanted.created_after)
        before_us = None if wanted.created_before is None else to_utc_us(wanted.created_before)
        contract_id = None if self._state.config.query_ignores_contract else wanted.contract_id
        orders = (self._state.orders[order_id] for order_id in account.order_ids)
        return [
            order
            for order in orders
            if (not wanted.statuses or order.status in wanted.statuses)
            and contract_id in (None, order.contract_id)
            and (after_us is None or order.created_us >= after_us)
            and (before_us is None or order.created_us <= before_us)
        ]

    def positions(self, account_id: int) -> list[PositionRow]:
        """Return the open positions as last shown; they lag the trades a little."""
        return [
            holding.published
            for (owner_id, _), holding in self._state.holdings.items()
            if owner_id == account_id and holding.published is not None
        ]

    def trades(self, account_id: int, start_us: int | None, end_us: int | None) -> list[TradeRow]:
        """Return the trades in the window, both ends included, newest first."""
        account = self._state.accounts.get(account_id)
        if account is None:
            return []
        ids = _window(account.trade_ids, start_us or 0, end_us, self._trade_created_us)
        trades = (self._state.trades[trade_id] for trade_id in reversed(ids))
        return [rows.rest_trade(self._state.markets[trade.contract_id], trade) for trade in trades]

    def _row(self, order: Order) -> OrderRow:
        return rows.rest_order(self._state.markets[order.contract_id], order)

    def _order_created_us(self, order_id: int) -> int:
        return self._state.orders[order_id].created_us

    def _trade_created_us(self, trade_id: int) -> int:
        return self._state.trades[trade_id].created_us


def _window(
    ids: list[int], start_us: int, end_us: int | None, created_us: Callable[[int], int]
) -> list[int]:
    """Return the ids created in the window; ids ascend with the time of creation."""
    first = bisect_left(ids, start_us, key=created_us)
    behind = len(ids) if end_us is None else bisect_right(ids, end_us, key=created_us)
    return ids[first:behind]
