"""The two close calls: market orders without tag, with a table of codes each."""

from backstop.adapters.projectx.wire import WireOrderStatus, WireOrderType, WireSide
from backstop.adapters.projectx_server.venue import Outcome
from backstop.simulator.codes import CloseCode, PartialCloseCode
from backstop.simulator.exchange_state import ExchangeState
from backstop.simulator.order_desk import OrderDesk, Ticket
from backstop.simulator.records import Holding, Order

_Codes = type[CloseCode] | type[PartialCloseCode]


class CloseDesk:
    """Closes positions on request.

    A locked account may close: the lock is there to stop new risk.
    """

    def __init__(self, state: ExchangeState, desk: OrderDesk) -> None:
        self._state = state
        self._desk = desk

    def close(self, account_id: int, contract_id: str) -> Outcome:
        """Close all of a position that no earlier close call is closing already."""
        missing = self._missing(account_id, contract_id, CloseCode)
        if missing is not None:
            return missing
        holding = self._state.holding(account_id, contract_id)
        closing = self._closing(holding)
        if closing >= abs(holding.quantity):
            return Outcome(code=CloseCode.ORDER_PENDING)
        if not self._can_trade_now(contract_id):
            self._reject(holding, abs(holding.quantity))
            return Outcome(code=CloseCode.ORDER_REJECTED)
        self._desk.accept(_ticket(holding, abs(holding.quantity) - closing))
        return Outcome()

    def partial_close(self, account_id: int, contract_id: str, size: int) -> Outcome:
        """Close ``size`` contracts of a position."""
        missing = self._missing(account_id, contract_id, PartialCloseCode)
        if missing is not None:
            return missing
        holding = self._state.holding(account_id, contract_id)
        if not 0 < size <= abs(holding.quantity):
            return Outcome(code=PartialCloseCode.INVALID_CLOSE_SIZE)
        if not self._state.accounts[account_id].spec.simulated:
            return Outcome(code=PartialCloseCode.ACCOUNT_REJECTED)
        if self._closing(holding) + size > abs(holding.quantity):
            return Outcome(code=PartialCloseCode.ORDER_PENDING)
        if not self._can_trade_now(contract_id):
            self._reject(holding, size)
            return Outcome(code=PartialCloseCode.ORDER_REJECTED)
        self._desk.accept(_ticket(holding, size))
        return Outcome()

    def _missing(self, account_id: int, contract_id: str, codes: _Codes) -> Outcome | None:
        """Return the answer when there is nothing to close; None when there is."""
        if account_id not in self._state.accounts:
            return Outcome(code=codes.ACCOUNT_NOT_FOUND)
        market = self._state.markets.get(contract_id)
        if market is None:
            return Outcome(code=codes.CONTRACT_NOT_FOUND)
        if not self._state.holding(account_id, contract_id).quantity:
            return Outcome(code=codes.POSITION_NOT_FOUND)
        if not market.is_active:
            return Outcome(code=codes.CONTRACT_NOT_ACTIVE)
        return None

    def _closing(self, holding: Holding) -> int:
        """Contracts that close orders in flight will take off."""
        return sum(
            order.remaining
            for order in self._state.live_orders(holding.account_id, holding.contract_id)
            if order.closes and order.sign * holding.quantity < 0
        )

    def _can_trade_now(self, contract_id: str) -> bool:
        market = self._state.markets[contract_id]
        return market.is_open and market.is_quoted

    def _reject(self, holding: Holding, size: int) -> Order:
        """File the rejected market order."""
        state = self._state
        order = Order(
            id=state.next_order_id(),
            account_id=holding.account_id,
            contract_id=holding.contract_id,
            type=WireOrderType.MARKET,
            side=_exit_side(holding),
            size=size,
            status=WireOrderStatus.REJECTED,
            created_us=state.now_us,
            rest_updated_us=state.now_us,
            hub_updated_us=state.now_us,
            closes=True,
        )
        state.add_order(order)
        state.emit_order(order)
        return order


def _exit_side(holding: Holding) -> WireSide:
    return WireSide.ASK if holding.quantity > 0 else WireSide.BID


def _ticket(holding: Holding, size: int) -> Ticket:
    return Ticket(
        account_id=holding.account_id,
        contract_id=holding.contract_id,
        type=WireOrderType.MARKET,
        side=_exit_side(holding),
        size=size,
        closes=True,
    )
