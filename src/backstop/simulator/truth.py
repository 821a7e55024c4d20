"""The exchange as it really is, for tests that compare a client's belief with it."""

from collections.abc import Iterable

from backstop.simulator import rows
from backstop.simulator.exchange_state import ExchangeState
from backstop.simulator.records import Account, Holding, Order, Trade


def truth(state: ExchangeState, *, liquidations: Iterable[dict[str, object]]) -> dict[str, object]:
    """Return all orders, trades, positions and accounts as JSON-able values.

    Quantities are signed (positive for long), prices are strings in points, money is integer
    micros, times are microseconds since 1970 UTC. Positions do not lag and flat ones are absent.
    """
    return {
        "nowUs": state.now_us,
        "orders": [_order(state, order) for order in state.orders.values()],
        "trades": [_trade(state, trade) for trade in state.trades.values()],
        "positions": [
            _position(state, holding) for holding in state.holdings.values() if holding.quantity
        ],
        "accounts": [_account(account) for account in state.accounts.values()],
        "liquidations": list(liquidations),
    }


def _order(state: ExchangeState, order: Order) -> dict[str, object]:
    row = rows.rest_order(state.markets[order.contract_id], order)
    return {
        "id": order.id,
        "accountId": order.account_id,
        "contractId": order.contract_id,
        "status": order.status.name,
        "type": order.type.name,
        "side": order.side.name,
        "size": order.size,
        "fillVolume": order.fill_volume,
        "limitPrice": _text(row.limit_price),
        "stopPrice": _text(row.stop_price),
        "filledPrice": _text(row.filled_price),
        "customTag": order.tag,
        "parentOrderId": order.parent_id,
        "linkedOrderId": order.linked_id,
        "leg": None if order.leg is None else order.leg.name,
        "createdUs": order.created_us,
        "updatedUs": order.hub_updated_us,
    }


def _trade(state: ExchangeState, trade: Trade) -> dict[str, object]:
    return {
        "id": trade.id,
        "orderId": trade.order_id,
        "accountId": trade.account_id,
        "contractId": trade.contract_id,
        "quantity": trade.sign * trade.size,
        "price": str(rows.price(state.markets[trade.contract_id], trade.price_ticks)),
        "pnlMicros": trade.pnl_micros,
        "feesMicros": trade.fees_micros,
        "commissionsMicros": trade.commissions_micros,
        "voided": trade.voided,
        "createdUs": trade.created_us,
    }


def _position(state: ExchangeState, holding: Holding) -> dict[str, object]:
    market = state.markets[holding.contract_id]
    return {
        "id": holding.row_id,
        "accountId": holding.account_id,
        "contractId": holding.contract_id,
        "quantity": holding.quantity,
        "averagePrice": str(rows.average_price(market, holding.average_nanoticks)),
    }


def _account(account: Account) -> dict[str, object]:
    return {
        "id": account.spec.id,
        "name": account.spec.name,
        "balanceMicros": account.balance_micros,
        "canTrade": account.can_trade,
        "bracketMode": account.bracket_mode.name,
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)
