"""The wire's numbers and the domain's words for them: one table for each, read in both directions.

A number without a word is kept as such by whoever reads it; a word that the wire has no number for
goes out as the number that says nothing.
"""

from typing import Final

from backstop.adapters.projectx.wire import WireOrderStatus, WireOrderType, WireSide
from backstop.domain.broker import BrokerStatus
from backstop.domain.order import OrderType, Side

STATUS: Final[dict[int, BrokerStatus]] = {
    WireOrderStatus.NONE: BrokerStatus.NONE,
    WireOrderStatus.OPEN: BrokerStatus.OPEN,
    WireOrderStatus.FILLED: BrokerStatus.FILLED,
    WireOrderStatus.CANCELLED: BrokerStatus.CANCELLED,
    WireOrderStatus.EXPIRED: BrokerStatus.EXPIRED,
    WireOrderStatus.REJECTED: BrokerStatus.REJECTED,
    WireOrderStatus.PENDING: BrokerStatus.PENDING,
    WireOrderStatus.PENDING_CANCELLATION: BrokerStatus.PENDING_CANCELLATION,
    WireOrderStatus.SUSPENDED: BrokerStatus.SUSPENDED,
}
ORDER_TYPE: Final[dict[int, OrderType]] = {
    WireOrderType.MARKET: OrderType.MARKET,
    WireOrderType.LIMIT: OrderType.LIMIT,
    WireOrderType.STOP: OrderType.STOP,
    WireOrderType.TRAILING_STOP: OrderType.TRAILING_STOP,
}
SIDE: Final[dict[int, Side]] = {WireSide.BID: Side.BUY, WireSide.ASK: Side.SELL}

WIRE_STATUS: Final = {word: number for number, word in STATUS.items()}
WIRE_ORDER_TYPE: Final = {word: number for number, word in ORDER_TYPE.items()}
WIRE_SIDE: Final = {word: number for number, word in SIDE.items()}
