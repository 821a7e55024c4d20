"""Facts as the broker states them: order rows, trades, positions, accounts.

Prices stay Decimal points here, exactly as stated; the core turns them into ticks when it books
them, so that an off-tick or foreign price is a finding and not a lost message.
"""

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from backstop.domain.order import OrderType, Side, leg_of


class BrokerStatus(StrEnum):
    """The venue's own word for where an order stands; numbers as on the wire in comments."""

    NONE = "NONE"  # 0
    OPEN = "OPEN"  # 1
    FILLED = "FILLED"  # 2
    CANCELLED = "CANCELLED"  # 3
    EXPIRED = "EXPIRED"  # 4
    REJECTED = "REJECTED"  # 5
    PENDING = "PENDING"  # 6
    PENDING_CANCELLATION = "PENDING_CANCELLATION"  # 7
    SUSPENDED = "SUSPENDED"  # 8: a bracket leg whose entry has not filled yet
    UNRECOGNISED = "UNRECOGNISED"  # a number this version does not know

    @property
    def is_live(self) -> bool:
        """The order can still fill; an unrecognised status counts as live, never as gone."""
        return self not in _DONE


_DONE = frozenset(
    {
        BrokerStatus.FILLED,
        BrokerStatus.CANCELLED,
        BrokerStatus.EXPIRED,
        BrokerStatus.REJECTED,
    }
)


class BrokerOrder(Struct, frozen=True, kw_only=True):
    """One order row of the venue, from a hub event or a REST answer.

    ``trail_distance_ticks`` is signed on suspended bracket legs. ``raw`` is the JSON text as
    received, for the audit.
    """

    broker_order_id: int
    account_id: int
    contract_id: str
    status: BrokerStatus
    type: OrderType | None  # None: a type Backstop never sends (join, stop-limit, unknown)
    side: Side
    quantity: int
    filled_quantity: int = 0
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    filled_price: Decimal | None = None
    custom_tag: str | None = None
    parent_order_id: int | None = None
    linked_order_id: int | None = None
    trail_distance_ticks: int | None = None
    created_utc_us: int = 0
    updated_utc_us: int = 0
    raw: str = ""

    @property
    def is_leg(self) -> bool:
        """The venue made it for the bracket of another order."""
        return self.parent_order_id is not None or leg_of(self.custom_tag) is not None


class BrokerTrade(Struct, frozen=True, kw_only=True):
    """One half-turn trade (a fill) of the venue; ``profit_and_loss`` None on opening fills."""

    trade_id: int
    broker_order_id: int
    account_id: int
    contract_id: str
    side: Side
    quantity: int
    price: Decimal
    fees_micros: int  # fees of this trade, millionths of a dollar
    commissions_micros: int = 0
    profit_and_loss_micros: int | None = None
    voided: bool = False
    created_utc_us: int = 0
    raw: str = ""


class BrokerPosition(Struct, frozen=True, kw_only=True):
    """One position row of the venue; ``quantity`` signed, positive for long, 0 for closed."""

    position_id: int
    account_id: int
    contract_id: str
    quantity: int
    average_price: Decimal
    created_utc_us: int = 0
    raw: str = ""


class BrokerAccount(Struct, frozen=True, kw_only=True):
    """One account row of the venue; ``balance_micros`` is realised, without open profit."""

    account_id: int
    name: str
    balance_micros: int
    can_trade: bool
    simulated: bool
