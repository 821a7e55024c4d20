"""The calls that place, change and cancel orders, with the codes of each."""

from functools import partial

from backstop.adapters.projectx.wire import (
    TAG_IN_USE,
    ModifyBody,
    PlaceBody,
    WireOrderStatus,
    WireOrderType,
    WireSide,
)
from backstop.adapters.projectx_server.venue import Outcome
from backstop.simulator.codes import CancelCode, ModifyCode, PlaceCode
from backstop.simulator.exchange_config import DuplicateTag
from backstop.simulator.exchange_state import ExchangeState
from backstop.simulator.order_desk import OrderDesk, Ticket
from backstop.simulator.place_rules import (
    Refusal,
    judge,
    judge_modify,
)
from backstop.simulator.records import Account, Market, Order

FOLLOWER_CANNOT_CANCEL = "Follower accounts cannot cancel orders"
LIVE_NOT_SUPPORTED = "Live accounts not supported"


class OrderCalls:
    """Judges each call, then hands it to the order desk or files the rejection."""

    def __init__(self, state: ExchangeState, desk: OrderDesk) -> None:
        self._state = state
        self._desk = desk

    def place(self, body: PlaceBody) -> Outcome:
        """Accept or reject one order; a rejected one is filed and gets an id as well.

        Only an account or contract that does not exist, or a full file, leaves no order behind.
        """
        account = self._state.accounts.get(body.account_id)
        if account is None:
            return Outcome(code=PlaceCode.ACCOUNT_NOT_FOUND)
        market = self._state.markets.get(body.contract_id)
        if market is None:
            return Outcome(code=PlaceCode.CONTRACT_NOT_FOUND)
        limit = self._state.config.max_orders_per_account
        if len(account.order_ids) >= limit:  # no recording
            message = f"Number of orders exceeds {limit}."
            return Outcome(code=PlaceCode.UNKNOWN_ERROR, message=message)
        exposure = self._exposure(account, market, body)
        verdict = judge(
            body, account=account, market=market, config=self._state.config, exposure=exposure
        )
        if isinstance(verdict, Refusal):
            order = self._reject(body, verdict)
            return Outcome(code=verdict.code, message=verdict.message, order_id=order.id)
        stop, target = body.stop_loss_bracket, body.take_profit_bracket
        order = self._desk.accept(
            Ticket(
                account_id=body.account_id,
                contract_id=body.contract_id,
                type=WireOrderType(body.type),
                side=WireSide(body.side),
                size=body.size,
                levels=verdict,
                tag=body.custom_tag,
                stop_loss_ticks=None if stop is None else stop.ticks,
                stop_loss_type=WireOrderType.STOP if stop is None else WireOrderType(stop.type),
                take_profit_ticks=None if target is None else target.ticks,
            )
        )
        return Outcome(order_id=order.id)

    def modify(self, body: ModifyBody) -> Outcome:
        """Begin to change a working order; until it takes effect the old terms can fill."""
        account = self._state.accounts.get(body.account_id)
        if account is None:
            return Outcome(code=ModifyCode.ACCOUNT_NOT_FOUND)
        order = self._order_of(account, body.order_id)
        if order is None:
            return Outcome(code=ModifyCode.ORDER_NOT_FOUND)
        market = self._state.markets[order.contract_id]
        verdict = judge_modify(
            body, order=order, account=account, market=market, config=self._state.config
        )
        if isinstance(verdict, Refusal):
            return Outcome(code=verdict.code, message=verdict.message)
        self._desk.request_change(order, levels=verdict, size=body.size)
        return Outcome()

    def cancel(self, account_id: int, order_id: int) -> Outcome:
        """Begin to cancel a working or suspended order; a fill may come first."""
        account = self._state.accounts.get(account_id)
        if account is None:
            return Outcome(code=CancelCode.ACCOUNT_NOT_FOUND)
        if account.spec.follower:
            return Outcome(code=CancelCode.ACCOUNT_REJECTED, message=FOLLOWER_CANNOT_CANCEL)
        if not account.spec.simulated:
            return Outcome(code=CancelCode.ACCOUNT_REJECTED, message=LIVE_NOT_SUPPORTED)
        order = self._order_of(account, order_id)
        if order is None:
            return Outcome(code=CancelCode.ORDER_NOT_FOUND)
        if not order.is_live:
            return Outcome(code=self._state.config.cancel_finished_code)
        if order.status is WireOrderStatus.PENDING or order.cancel_requested:
            return Outcome(code=CancelCode.PENDING)
        self._desk.request_cancel(order)
        return Outcome()

    def _order_of(self, account: Account, order_id: int) -> Order | None:
        order = self._state.orders.get(order_id)
        return order if order is not None and order.account_id == account.spec.id else None

    def _exposure(self, account: Account, market: Market, body: PlaceBody) -> int:
        """Return the signed position if every live entry on the side of ``body`` filled."""
        contract_id = market.spec.row.id
        exposure = self._state.holding(account.spec.id, contract_id).quantity
        if account.spec.max_position is None:
            return exposure
        return exposure + sum(
            order.sign * order.remaining
            for order in self._state.live_orders(account.spec.id, contract_id)
            if order.side == body.side and order.leg is None
        )

    def _reject(self, body: PlaceBody, refusal: Refusal) -> Order:
        """File a rejected order: it shows at once by REST, the event follows shortly."""
        state = self._state
        updated_us = state.now_us + state.draw(self._state.config.reject_us)
        tag = body.custom_tag
        drop_tag = self._state.config.duplicate_tag is DuplicateTag.WITHOUT_TAG
        if refusal.message == TAG_IN_USE and drop_tag:
            tag = None
        known = body.type in WireOrderType.__members__.values()
        order = Order(
            id=state.next_order_id(),
            account_id=body.account_id,
            contract_id=body.contract_id,
            type=WireOrderType(body.type) if known else WireOrderType.UNKNOWN,
            side=WireSide.ASK if body.side == WireSide.ASK else WireSide.BID,
            size=body.size,
            status=WireOrderStatus.REJECTED,
            created_us=state.now_us,
            rest_updated_us=updated_us,
            hub_updated_us=updated_us,
            tag=tag,
            asked_limit_price=body.limit_price,
            asked_stop_price=body.stop_price,
        )
        state.add_order(order)
        state.at(updated_us, partial(state.emit_order, order))
        return order
