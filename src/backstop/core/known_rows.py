"""What a row or a trade of the venue says that was not known before: often nothing.

Reads of the account list the same finished orders and trades again and again. What says nothing new
is left out of the record, whether the book holds it or the archive.
"""

from msgspec.structs import replace

from backstop.core.tracked_order import newer_row
from backstop.domain.broker import BrokerOrder, BrokerTrade


def row_is_known(held: BrokerOrder | None, row: BrokerOrder) -> bool:
    """Say whether ``row`` tells nothing about its order that ``held`` does not."""
    return held is not None and _essence(newer_row(held, row)) == _essence(held)


def trade_is_known(held: BrokerTrade | None, trade: BrokerTrade) -> bool:
    """Say whether ``trade`` was counted, as it is told now: no void is news, and no other costs."""
    if held is None or trade.commissions_micros > held.commissions_micros:
        return False
    if is_restated(held, trade):
        return False
    return held.voided or not trade.voided


def is_restated(held: BrokerTrade, told: BrokerTrade) -> bool:
    """Say whether two tellings of one trade that counts cannot both be true."""
    return not (held.voided or told.voided) and _traded(held) != _traded(told)


def _traded(trade: BrokerTrade) -> tuple[object, ...]:
    return (trade.broker_order_id, trade.contract_id, trade.side, trade.quantity, trade.price)


def _essence(row: BrokerOrder) -> BrokerOrder:
    """Return the row without what may change although nothing happened."""
    return replace(row, raw="", updated_utc_us=0)
