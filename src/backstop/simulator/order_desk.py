"""The life of an order at the venue: accepted, arrived, filled, cancelled."""

from collections.abc import Iterable
from functools import partial

from msgspec import Struct

from backstop.adapters.projectx.wire import WireOrderStatus, WireOrderType, WireSide
from backstop.simulator.brackets import Brackets
from backstop.simulator.exchange_config import PartialFill
from backstop.simulator.exchange_state import ExchangeState
from backstop.simulator.ledger import Ledger
from backstop.simulator.matching import (
    Execution,
    Touch,
    executions,
    follow,
    reached_stops,
    touch_of,
)
from backstop.simulator.place_rules import Levels
from backstop.simulator.position_brackets import PositionBrackets
from backstop.simulator.records import Market, Order


class Ticket(Struct, frozen=True, kw_only=True):
    """An order that passed every check; bracket offsets are signed ticks from the fill."""

    account_id: int
    contract_id: str
    type: WireOrderType
    side: WireSide
    size: int
    levels: Levels = Levels()
    tag: str | None = None
    stop_loss_ticks: int | None = None
    stop_loss_type: WireOrderType = WireOrderType.STOP
    take_profit_ticks: int | None = None
    closes: bool = False


class OrderDesk:
    """Moves orders through their statuses and tells the brackets and the ledger."""

    def __init__(self, state: ExchangeState, ledger: Ledger) -> None:
        self._state = state
        self._ledger = ledger
        self._brackets = Brackets(state, self)
        self._position_brackets = PositionBrackets(state, self)

    def accept(self, ticket: Ticket) -> Order:
        """File the order with its suspended legs, push them, and send the order on its way.

        Recorded sequence: stop-loss leg, entry, take-profit leg, all created at the same instant.
        """
        state = self._state
        is_market = ticket.type is WireOrderType.MARKET
        entry = Order(
            id=state.next_order_id(),
            account_id=ticket.account_id,
            contract_id=ticket.contract_id,
            type=ticket.type,
            side=ticket.side,
            size=ticket.size,
            status=WireOrderStatus.PENDING if is_market else WireOrderStatus.OPEN,
            created_us=state.now_us,
            rest_updated_us=state.now_us,
            hub_updated_us=state.now_us,
            tag=ticket.tag,
            limit_ticks=ticket.levels.limit_ticks,
            stop_ticks=ticket.levels.stop_ticks,
            trail_ticks=ticket.levels.trail_ticks,
            closes=ticket.closes,
        )
        state.add_order(entry)
        stop_leg, target_leg = self._brackets.create(
            entry,
            stop_loss_ticks=ticket.stop_loss_ticks,
            stop_loss_type=ticket.stop_loss_type,
            take_profit_ticks=ticket.take_profit_ticks,
        )
        for order in (stop_leg, entry, target_leg):
            if order is not None:
                state.emit_order(order)
        delay = state.config.resting_us
        if is_market:
            delay = state.config.close_fill_us if ticket.closes else state.config.market_fill_us
        state.later(delay, partial(self.arrive, entry))
        return entry

    def arrive(self, order: Order) -> None:
        """Queue an order in its market and fill at once what can fill at once."""
        if not order.is_live or order.status is WireOrderStatus.SUSPENDED:
            return
        market = self._state.markets[order.contract_id]
        market.book.pop(order.id, None)  # an order that changed goes to the end of the queue
        market.book[order.id] = order
        touch = touch_of(market, with_trade=False)
        if touch is not None:
            follow([order], touch)
            self._trigger([order], touch)
            self._protect(order, touch)
            self._match(market, [order], touch, arriving=True)
            self._rest_at_protection(order)

    def _protect(self, order: Order, touch: Touch) -> None:
        """Bound what a market order may pay, measured from the touch at which it arrives."""
        bound = self._state.config.market_protection_ticks
        if bound is not None and order.type is WireOrderType.MARKET:
            opposite = touch.ask_ticks if order.sign > 0 else touch.bid_ticks
            order.protection_ticks = opposite + order.sign * bound

    def _rest_at_protection(self, order: Order) -> None:
        """Turn what is left of a protected market order into a limit order at its bound."""
        if order.protection_ticks is None or not order.is_live or order.limit_ticks is not None:
            return
        order.type, order.limit_ticks = WireOrderType.LIMIT, order.protection_ticks
        order.status = WireOrderStatus.OPEN
        self._show_change(order)

    def look(self, market: Market, *, with_trade: bool) -> None:
        """Fill what the market's present quote fills; ``with_trade``: it came with a trade."""
        touch = touch_of(market, with_trade=with_trade)
        if touch is None:
            return
        waiting = list(market.book.values())
        moved = follow(waiting, touch)
        if self._state.config.trailing_move_events:
            for order in moved:
                self._show_change(order)
        self._trigger(waiting, touch)
        self._match(market, waiting, touch, arriving=False)

    def request_cancel(self, order: Order) -> None:
        """Begin to cancel: until it takes effect the order can still fill."""
        order.cancel_requested = True
        if self._state.config.show_pending_cancellation:
            order.status = WireOrderStatus.PENDING_CANCELLATION
            self._show_change(order)
        self._state.later(self._state.config.cancel_us, partial(self._cancel_by_client, order))

    def end(self, order: Order, status: WireOrderStatus = WireOrderStatus.CANCELLED) -> None:
        """End a live order without a fill, and with it what depends on it."""
        if not order.is_live:
            return
        order.status = status
        self._state.retire(order)
        self._show_change(order)
        self._brackets.on_end(order)

    def request_change(self, order: Order, *, levels: Levels, size: int | None) -> None:
        """Begin to change a working order; changes take effect in the order they were asked."""
        delay_us = self._state.draw(self._state.config.resting_us)
        order.change_due_us = max(self._state.now_us + delay_us, order.change_due_us)
        change = partial(self._change, order, levels, size)
        self._state.at(order.change_due_us, change)

    def _change(self, order: Order, levels: Levels, size: int | None) -> None:
        """Let a change take effect, unless the order has ended or filled past the new size."""
        if not order.is_live:
            return
        if levels.limit_ticks is not None:
            order.limit_ticks = levels.limit_ticks
        if levels.stop_ticks is not None:
            order.stop_ticks = levels.stop_ticks
        if levels.trail_ticks is not None:
            order.trail_ticks = levels.trail_ticks
        if size is not None and size > order.fill_volume:
            order.size = size
        self._show_change(order)
        if order.id in self._state.markets[order.contract_id].book:
            self.arrive(order)

    def fill_at(self, order: Order, *, price_ticks: int, size: int) -> None:
        """Book a fill of ``order`` and everything that follows from it."""
        state = self._state
        order.fill_volume += size
        order.fill_cost_ticks += size * price_ticks
        if not order.remaining:
            order.status = WireOrderStatus.FILLED
            state.retire(order)
        elif order.status is WireOrderStatus.PENDING:
            order.status = WireOrderStatus.OPEN
        order.hub_updated_us = state.now_us  # REST rows keep the older time (recorded)
        state.emit_order(order)
        holding = state.holding(order.account_id, order.contract_id)
        before = holding.quantity
        self._ledger.book(order, price_ticks=price_ticks, size=size)
        self._brackets.on_fill(order, size)
        self._position_brackets.on_fill(order)
        if not holding.quantity:
            self._brackets.on_flat(order.account_id, order.contract_id)
        elif order.leg is None and abs(holding.quantity) < abs(before):
            self._brackets.on_partial_exit(order.account_id, order.contract_id)

    def _cancel_by_client(self, order: Order) -> None:
        if order.is_live:
            self.end(order)
            self._brackets.on_client_cancel(order)

    def _show_change(self, order: Order) -> None:
        order.rest_updated_us = order.hub_updated_us = self._state.now_us
        self._state.emit_order(order)

    def _trigger(self, orders: Iterable[Order], touch: Touch) -> None:
        for order in reached_stops(orders, touch):
            order.triggered = True
            order.slippage_ticks = self._state.draw(self._state.config.stop_slippage_ticks)

    def _match(
        self, market: Market, orders: Iterable[Order], touch: Touch, *, arriving: bool
    ) -> None:
        config, now_us = self._state.config, self._state.now_us
        looks: dict[int, Order] = {}
        for execution in executions(
            market, orders, touch=touch, config=config, now_us=now_us, arriving=arriving
        ):
            looks[execution.order.id] = execution.order
            self._execute(execution)
        if config.partial_fill is PartialFill.SLICES:
            for order in looks.values():
                self._plan_next_slice(order)

    def _execute(self, execution: Execution) -> None:
        order, size = execution.order, execution.size
        if order.closes and self._state.config.close_is_reduce_only:
            held = self._state.holding(order.account_id, order.contract_id).quantity
            size = min(size, max(-order.sign * held, 0))
            if size < execution.size:
                # What is left of the close has nothing to close any more.
                if size:
                    self.fill_at(order, price_ticks=execution.price_ticks, size=size)
                self.end(order)
                return
        self.fill_at(order, price_ticks=execution.price_ticks, size=size)

    def _plan_next_slice(self, order: Order) -> None:
        if order.is_live and order.remaining:
            order.not_before_us = self._state.now_us + self._state.config.slice_gap_us
            self._state.at(order.not_before_us, partial(self._next_slice, order))

    def _next_slice(self, order: Order) -> None:
        market = self._state.markets[order.contract_id]
        touch = touch_of(market, with_trade=False)
        if order.id in market.book and touch is not None:
            self._match(market, [order], touch, arriving=False)
