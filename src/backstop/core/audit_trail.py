"""Orders and trades as rows of the specification's two audit tables."""

from collections.abc import Sequence

from backstop.core.book import VenueOrder
from backstop.core.tracked_order import TrackedOrder, final_quantity, levels
from backstop.domain.audit import AuditRow, FillRow
from backstop.domain.broker import BrokerOrder, BrokerStatus, BrokerTrade
from backstop.domain.instrument import Instrument
from backstop.domain.numbers import average, fraction_text, money, plain
from backstop.domain.order import OrderState


def order_row(
    order: TrackedOrder, instrument: Instrument, *, execution_proof: str | None = None
) -> AuditRow:
    """Return the row of an order of ours; its id is provisional until the broker's is known."""
    known = order.broker_order_id is not None
    return AuditRow(
        order_id=str(order.broker_order_id) if known else order.client_order_id,
        client_order_id=order.client_order_id,
        submitted_utc_us=order.requested_utc_us,
        symbol=instrument.symbol,
        side=str(order.intent.side),
        quantity=final_quantity(order),
        price=_order_price(order, instrument),
        status=str(order.state),
        execution_proof=execution_proof,
        replaces_order_id=order.client_order_id if known else None,
    )


def _order_price(order: TrackedOrder, instrument: Instrument) -> str | None:
    """Return the level as it stands, or for a market order the average fill once there is one."""
    limit, stop = levels(order, instrument)
    level = limit if limit is not None else stop
    if level is not None:
        return f"{plain(level):f}"
    average = order.average_price
    return None if average is None else fraction_text(average)


def venue_row(
    venue_order: VenueOrder, symbol: str, *, trades: Sequence[BrokerTrade] = ()
) -> AuditRow:
    """Return the row of an order that no request of ours placed by itself.

    ``trades`` are all that were told of it. Its price is what an order of ours would show: the
    level as it stands, or for a market order (most closes are) the average fill once there is one.
    """
    row = venue_order.row
    level = row.limit_price if row.limit_price is not None else row.stop_price
    return AuditRow(
        order_id=str(row.broker_order_id),
        client_order_id=None,
        submitted_utc_us=row.created_utc_us,
        symbol=symbol,
        side=str(row.side),
        quantity=row.quantity,
        price=_average_fill(trades) if level is None else f"{plain(level):f}",
        status=str(_venue_state(row, _filled(trades))),
    )


def traded_order_row(trade: BrokerTrade, symbol: str, *, trades: Sequence[BrokerTrade]) -> AuditRow:
    """Return the row of an order of which only ``trades`` are known so far; ``trade`` is one."""
    return AuditRow(
        order_id=str(trade.broker_order_id),
        client_order_id=None,
        submitted_utc_us=trade.created_utc_us,
        symbol=symbol,
        side=str(trade.side),
        quantity=_filled(trades) or trade.quantity,
        price=_average_fill(trades),
        status=str(OrderState.PARTIALLY_FILLED),
    )


def _filled(trades: Sequence[BrokerTrade]) -> int:
    return sum(trade.quantity for trade in trades if not trade.voided)


def _average_fill(trades: Sequence[BrokerTrade]) -> str | None:
    """Return the volume-weighted price of what was not taken back; None without any."""
    found = average((trade.price, trade.quantity) for trade in trades if not trade.voided)
    return None if found is None else fraction_text(found)


def fill_row(trade: BrokerTrade) -> FillRow:
    """Return the row of one trade; its id is the key that counts it once."""
    return FillRow(
        fill_id=str(trade.trade_id),
        order_id=str(trade.broker_order_id),
        fill_utc_us=trade.created_utc_us,
        price=f"{plain(trade.price):f}",
        quantity=trade.quantity,
        commission=f"{money(trade.fees_micros + trade.commissions_micros):f}",
        voided=trade.voided,
    )


def _venue_state(row: BrokerOrder, filled_quantity: int) -> OrderState:
    match row.status:
        case BrokerStatus.FILLED if filled_quantity >= row.quantity:
            return OrderState.FILLED
        case BrokerStatus.CANCELLED:
            return OrderState.CANCELLED
        case BrokerStatus.EXPIRED:
            return OrderState.EXPIRED
        case BrokerStatus.REJECTED:
            return OrderState.REJECTED
        case _ if filled_quantity:
            return OrderState.PARTIALLY_FILLED
        case _:
            return OrderState.WORKING
