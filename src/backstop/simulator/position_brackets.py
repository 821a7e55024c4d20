"""The platform's own stop and target of an account in position-bracket mode.

They hang on the net position, not on an order: one pair per contract, without tag and parent, that
appears after the fill, follows size and average price, and goes when the position is flat. The
account's owner sets the distances on the platform's page; the gateway cannot read them.
"""

from functools import partial

from backstop.adapters.projectx.wire import WireOrderStatus, WireOrderType, WireSide
from backstop.simulator.accounts import divide_half_even
from backstop.simulator.brackets import LegHandler
from backstop.simulator.exchange_config import BracketMode
from backstop.simulator.exchange_state import ExchangeState
from backstop.simulator.records import NANOTICKS, Holding, Order


class PositionBrackets:
    """Keeps one stop and one target per position of the accounts that have them set."""

    def __init__(self, state: ExchangeState, handler: LegHandler) -> None:
        self._state = state
        self._handler = handler
        self._pairs: dict[tuple[int, str], list[Order]] = {}

    def on_fill(self, order: Order) -> None:
        """Follow up a position that a fill has changed."""
        account = self._state.accounts[order.account_id]
        distances = (account.spec.position_stop_ticks, account.spec.position_target_ticks)
        if account.bracket_mode is BracketMode.POSITION and distances != (None, None):
            holding = self._state.holding(order.account_id, order.contract_id)
            delay = self._state.config.bracket_activation_us
            self._state.later(delay, partial(self._adjust, holding))

    def _adjust(self, holding: Holding) -> None:
        """Make the pair fit the position as it is now."""
        key = (holding.account_id, holding.contract_id)
        side = WireSide.ASK if holding.quantity > 0 else WireSide.BID
        pair = [order for order in self._pairs.pop(key, []) if order.is_live]
        if not holding.quantity or any(order.side is not side for order in pair):
            for order in pair:
                self._handler.end(order)
            pair = []
        if not holding.quantity:
            return
        if pair:
            self._resize(holding, pair)
        else:
            pair = self._open(holding, side)
        self._pairs[key] = pair

    def _resize(self, holding: Holding, pair: list[Order]) -> None:
        stop_ticks, target_ticks = self._levels(holding)
        for order in pair:
            order.size = order.fill_volume + abs(holding.quantity)
            if order.type is WireOrderType.STOP:
                order.stop_ticks = stop_ticks
            else:
                order.limit_ticks = target_ticks
            order.rest_updated_us = order.hub_updated_us = self._state.now_us
            self._state.emit_order(order)

    def _open(self, holding: Holding, side: WireSide) -> list[Order]:
        stop_ticks, target_ticks = self._levels(holding)
        pair = []
        for kind, level in ((WireOrderType.STOP, stop_ticks), (WireOrderType.LIMIT, target_ticks)):
            if level is not None:
                pair.append(self._order(holding, side, kind, level))
        for order in pair:
            self._handler.arrive(order)
        return pair

    def _order(
        self, holding: Holding, side: WireSide, kind: WireOrderType, level_ticks: int
    ) -> Order:
        now_us = self._state.now_us
        order = Order(
            id=self._state.next_order_id(),
            account_id=holding.account_id,
            contract_id=holding.contract_id,
            type=kind,
            side=side,
            size=abs(holding.quantity),
            status=WireOrderStatus.OPEN,
            created_us=now_us,
            rest_updated_us=now_us,
            hub_updated_us=now_us,
            stop_ticks=level_ticks if kind is WireOrderType.STOP else None,
            limit_ticks=level_ticks if kind is WireOrderType.LIMIT else None,
        )
        self._state.add_order(order)
        self._state.emit_order(order)
        return order

    def _levels(self, holding: Holding) -> tuple[int | None, int | None]:
        """Return (stop, target) in ticks, from the average price to the nearest tick."""
        spec = self._state.accounts[holding.account_id].spec
        average_ticks = divide_half_even(holding.average_nanoticks, NANOTICKS)
        sign = 1 if holding.quantity > 0 else -1
        stop, target = spec.position_stop_ticks, spec.position_target_ticks
        return (
            None if stop is None else average_ticks - sign * stop,
            None if target is None else average_ticks + sign * target,
        )
