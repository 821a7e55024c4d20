"""The JSON shapes of the ProjectX Gateway API, each written once for client and server.

Names on the wire are camelCase; a member that is None is left out by the hubs and written as null
by REST for the old columns. Prices decode to Decimal. Source: the gateway's published OpenAPI
document and recordings of live traffic; where they disagree the recordings win.
"""

from decimal import Decimal
from enum import IntEnum

import msgspec
from msgspec import UNSET, Struct, UnsetType

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoding JSON from the other side may raise: wrong shape, not UTF-8, nested without end."""

TAG_IN_USE = "Specified custom tag is already in use: custom tag should be unique per account"
"""The message of a refused place call whose tag an earlier order has; in these very words."""


class WireOrderType(IntEnum):
    """``type`` of an order row."""

    UNKNOWN = 0
    LIMIT = 1
    MARKET = 2
    STOP_LIMIT = 3
    STOP = 4
    TRAILING_STOP = 5
    JOIN_BID = 6
    JOIN_ASK = 7


class WireSide(IntEnum):
    """``side`` of an order or trade row."""

    BID = 0
    ASK = 1


class WireOrderStatus(IntEnum):
    """``status`` of an order row; 7 and 8 are missing from the documentation and exist."""

    NONE = 0
    OPEN = 1
    FILLED = 2
    CANCELLED = 3
    EXPIRED = 4
    REJECTED = 5
    PENDING = 6
    PENDING_CANCELLATION = 7
    SUSPENDED = 8


class WirePositionType(IntEnum):
    """``type`` of a position row."""

    UNDEFINED = 0
    LONG = 1
    SHORT = 2


class AccountRow(Struct, kw_only=True, rename="camel"):
    """One trading account; balance is realised, without open profit."""

    id: int
    name: str
    balance: Decimal
    can_trade: bool
    is_visible: bool = True
    simulated: bool = True


class ContractRow(Struct, kw_only=True, rename="camel"):
    """One contract month."""

    id: str
    name: str
    description: str
    tick_size: Decimal
    tick_value: Decimal
    active_contract: bool
    symbol_id: str


class OrderRow(Struct, kw_only=True, rename="camel"):
    """One order. Enum members are plain ints: an unknown number must not break the decode.

    The first nullable columns are written as null by REST; the newer ones (UNSET by default) are
    left out when absent.
    """

    id: int
    account_id: int
    contract_id: str
    symbol_id: str = ""
    creation_timestamp: str
    update_timestamp: str | None = None
    status: int
    type: int
    side: int
    size: int
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    fill_volume: int = 0
    filled_price: Decimal | None = None
    custom_tag: str | None = None
    trail_distance: int | UnsetType | None = UNSET
    trail_price: Decimal | UnsetType | None = UNSET
    parent_order_id: int | UnsetType | None = UNSET
    linked_order_id: int | UnsetType | None = UNSET


class TradeRow(Struct, kw_only=True, rename="camel"):
    """One half-turn trade; ``profit_and_loss`` is gross and null on opening fills."""

    id: int
    account_id: int
    contract_id: str
    creation_timestamp: str
    price: Decimal
    profit_and_loss: Decimal | None = None
    fees: Decimal = Decimal(0)
    commissions: Decimal | UnsetType | None = UNSET
    side: int
    size: int
    voided: bool = False
    order_id: int


class PositionRow(Struct, kw_only=True, rename="camel"):
    """One net position; ``size`` is never negative, ``type`` carries the direction."""

    id: int
    account_id: int
    contract_id: str
    contract_display_name: str | UnsetType | None = UNSET
    creation_timestamp: str
    type: int
    size: int
    average_price: Decimal


class BarRow(Struct, kw_only=True):
    """One bar: open time, open, high, low, close, volume."""

    t: str
    o: Decimal
    h: Decimal
    l: Decimal  # noqa: E741 - the wire's name
    c: Decimal
    v: int


class Bracket(Struct, kw_only=True):
    """One protective leg of a place request; ``ticks`` is signed."""

    ticks: int
    type: int


class PlaceBody(Struct, kw_only=True, rename="camel"):
    """Body of ``POST /api/Order/place``."""

    account_id: int
    contract_id: str
    type: int
    side: int
    size: int
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    custom_tag: str | None = None
    stop_loss_bracket: Bracket | None = None
    take_profit_bracket: Bracket | None = None


class ModifyBody(Struct, kw_only=True, rename="camel"):
    """Body of ``POST /api/Order/modify``; null leaves a member as it is."""

    account_id: int
    order_id: int
    size: int | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None


class QueryFilter(Struct, kw_only=True, rename="camel"):
    """``filter`` of ``POST /api/Order/v2/query``."""

    account_id: int
    statuses: list[int] | None = None
    contract_id: str | None = None
    created_after: str | None = None
    created_before: str | None = None


class QueryBody(Struct, kw_only=True, rename="camel"):
    """Body of ``POST /api/Order/v2/query``; ``page_offset`` counts rows, not pages."""

    filter: QueryFilter
    page_size: int = 100
    page_offset: int = 0
    sort_by: int = 1
    sort_direction: int = 0
    include_total_count: bool = True


class BarsBody(Struct, kw_only=True, rename="camel"):
    """Body of ``POST /api/History/retrieveBars``."""

    contract_id: str
    live: bool
    start_time: str
    end_time: str
    unit: int
    unit_number: int
    limit: int
    include_partial_bar: bool
