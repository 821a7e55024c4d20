"""Bracket legs: suspended with their entry, working after its fill, one cancels the other.

Both legs name their entry as parent, and the take-profit leg names the stop-loss leg as linked.
Prices are offsets from the entry's fill, so a leg has none before that.
"""

from functools import partial
from typing import Protocol

from backstop.adapters.projectx.wire import WireOrderStatus, WireOrderType, WireSide
from backstop.simulator.accounts import divide_half_even
from backstop.simulator.exchange_config import (
    LegPastMarket,
    LegsOnFlat,
    LegsOnPartialEntry,
    LegsOnPartialExit,
    SiblingOnCancel,
    SiblingOnPartialLeg,
)
from backstop.simulator.exchange_state import ExchangeState
from backstop.simulator.place_rules import past_market
from backstop.simulator.records import Leg, Order

_TAG_SUFFIX = {Leg.STOP_LOSS: "-SL", Leg.TAKE_PROFIT: "-TP"}


class LegHandler(Protocol):
    """What brackets ask of the order desk."""

    def arrive(self, order: Order) -> None:
        """Queue a released leg in its market."""

    def end(self, order: Order, status: WireOrderStatus = ...) -> None:
        """Cancel a leg."""


class Brackets:
    """Creates, releases, resizes and cancels the legs of entries."""

    def __init__(self, state: ExchangeState, handler: LegHandler) -> None:
        self._state = state
        self._handler = handler

    def create(
        self,
        entry: Order,
        *,
        stop_loss_ticks: int | None,
        stop_loss_type: WireOrderType,
        take_profit_ticks: int | None,
    ) -> tuple[Order | None, Order | None]:
        """File the suspended legs of ``entry`` and return (stop loss, take profit)."""
        stop_leg = target_leg = None
        if stop_loss_ticks is not None:
            stop_leg = self._leg(entry, Leg.STOP_LOSS, stop_loss_type, stop_loss_ticks)
        if take_profit_ticks is not None:
            target_leg = self._leg(entry, Leg.TAKE_PROFIT, WireOrderType.LIMIT, take_profit_ticks)
            target_leg.linked_id = None if stop_leg is None else stop_leg.id
        legs = tuple(leg for leg in (stop_leg, target_leg) if leg is not None)
        if legs:
            self._state.legs[entry.id] = legs
        return stop_leg, target_leg

    def _leg(self, entry: Order, leg: Leg, kind: WireOrderType, offset_ticks: int) -> Order:
        order = Order(
            id=self._state.next_order_id(of_leg=True),
            account_id=entry.account_id,
            contract_id=entry.contract_id,
            type=kind,
            side=WireSide.ASK if entry.side is WireSide.BID else WireSide.BID,
            size=entry.size,
            status=WireOrderStatus.SUSPENDED,
            created_us=entry.created_us,
            rest_updated_us=entry.created_us,
            hub_updated_us=entry.created_us,
            # No recording of the legs of an untagged entry: they get no tag either.
            tag=None if entry.tag is None else entry.tag + _TAG_SUFFIX[leg],
            parent_id=entry.id,
            leg=leg,
            leg_offset_ticks=offset_ticks,
        )
        self._state.add_order(order)
        return order

    def on_fill(self, order: Order, size: int) -> None:
        """Follow up ``size`` contracts that ``order`` just filled."""
        for leg in self._state.legs.get(order.id, ()):
            self._plan_release(order, leg)
        if order.leg is not None:
            for sibling in self._siblings(order):
                self._state.later(
                    self._state.config.sibling_cancel_us,
                    partial(self._follow_sibling, order, sibling, size),
                )

    def on_end(self, order: Order) -> None:
        """Follow up an order that ended without filling completely."""
        for leg in self._state.legs.get(order.id, ()):
            if not order.fill_volume:
                self._handler.end(leg)
            elif leg.status is WireOrderStatus.SUSPENDED:
                self._plan_release(order, leg)

    def on_client_cancel(self, order: Order) -> None:
        """Follow up a leg that its owner cancelled."""
        if self._state.config.sibling_on_manual_cancel is SiblingOnCancel.CANCEL:
            for sibling in self._siblings(order):
                self._state.later(
                    self._state.config.sibling_cancel_us, partial(self._handler.end, sibling)
                )

    def on_flat(self, account_id: int, contract_id: str) -> None:
        """Follow up a position that became flat, whatever closed it."""
        if self._state.config.legs_on_flat is LegsOnFlat.AUTO_CANCEL:
            sweep = partial(self._sweep, account_id, contract_id)
            self._state.later(self._state.config.legs_on_flat_us, sweep)

    def on_partial_exit(self, account_id: int, contract_id: str) -> None:
        """Follow up a position that something else than its legs has made smaller."""
        if self._state.config.legs_on_partial_exit is LegsOnPartialExit.CANCEL:
            drop = partial(self._end_released, account_id, contract_id)
            self._state.later(self._state.config.legs_on_flat_us, drop)

    def _sweep(self, account_id: int, contract_id: str) -> None:
        if not self._state.holding(account_id, contract_id).quantity:
            self._end_released(account_id, contract_id)

    def _end_released(self, account_id: int, contract_id: str) -> None:
        for order in self._state.live_orders(account_id, contract_id):
            if order.parent_id is not None and self._state.orders[order.parent_id].fill_volume:
                self._handler.end(order)

    def _siblings(self, leg: Order) -> list[Order]:
        if leg.parent_id is None:
            return []
        return [other for other in self._state.legs[leg.parent_id] if other.id != leg.id]

    def _plan_release(self, entry: Order, leg: Order) -> None:
        """Plan the leg's release; recorded from the creation of market entries.

        Resting entries count from the fill, which is when they became what a market entry is at
        its creation.
        """
        waits = self._state.config.legs_on_partial_entry is LegsOnPartialEntry.WAIT_FOR_ALL
        if waits and entry.is_live:
            return
        is_market = entry.type is WireOrderType.MARKET
        base_us = entry.created_us if is_market else self._state.now_us
        due_us = base_us + self._state.draw(self._state.config.bracket_activation_us)
        self._state.at(due_us, partial(self._release, entry, leg))

    def _release(self, entry: Order, leg: Order) -> None:
        """Let the leg work for what its entry has filled, or grow it by what came since."""
        grown = entry.fill_volume - leg.covered
        if not leg.is_live or leg.cancel_requested or not grown:
            return
        leg.covered = entry.fill_volume
        released = leg.status is WireOrderStatus.SUSPENDED
        if released:
            if grown <= leg.owed:
                self._handler.end(leg)
                return
            leg.size = grown - leg.owed
            self._price(entry, leg)
            if self._is_refused(leg):
                self._handler.end(leg, WireOrderStatus.REJECTED)
                return
            leg.status = WireOrderStatus.OPEN
        else:
            leg.size += grown
        leg.rest_updated_us = leg.hub_updated_us = self._state.now_us
        self._state.emit_order(leg)
        if released:
            self._handler.arrive(leg)

    def _is_refused(self, leg: Order) -> bool:
        if self._state.config.leg_past_market is LegPastMarket.TRIGGER or leg.stop_ticks is None:
            return False
        market = self._state.markets[leg.contract_id]
        return past_market(market, sign=leg.sign, stop_ticks=leg.stop_ticks)

    def _price(self, entry: Order, leg: Order) -> None:
        """Set the level from the entry's average fill, unless its owner has set one already."""
        fill_ticks = divide_half_even(entry.fill_cost_ticks, entry.fill_volume)
        level = fill_ticks + leg.leg_offset_ticks
        if leg.leg is Leg.TAKE_PROFIT:
            leg.limit_ticks = level if leg.limit_ticks is None else leg.limit_ticks
            return
        leg.stop_ticks = level if leg.stop_ticks is None else leg.stop_ticks
        if leg.type is WireOrderType.TRAILING_STOP:
            leg.trail_ticks = abs(leg.leg_offset_ticks)

    def _follow_sibling(self, leg: Order, sibling: Order, size: int) -> None:
        """Cancel the other leg of a complete one, shrink that of a partial one."""
        if not sibling.is_live:
            return
        if leg.status is WireOrderStatus.FILLED:
            self._handler.end(sibling)
        elif self._state.config.sibling_on_partial_leg is SiblingOnPartialLeg.REDUCE:
            self._shrink(sibling, size)

    def _shrink(self, sibling: Order, size: int) -> None:
        if sibling.status is WireOrderStatus.SUSPENDED:
            sibling.owed += size
            return
        if sibling.remaining <= size:
            self._handler.end(sibling)
            return
        sibling.size -= size
        sibling.rest_updated_us = sibling.hub_updated_us = self._state.now_us
        self._state.emit_order(sibling)
