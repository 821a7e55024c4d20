"""The exchange's own books: orders, trades, holdings, accounts, markets.

Prices are whole ticks of their contract, money is integer micros (millionths of a dollar), times
are microseconds since 1970 UTC. These records change in place and never leave the simulator; what
leaves are the rows made of them.
"""

from decimal import Decimal
from enum import Enum, auto

from msgspec import Struct

from backstop.adapters.projectx.wire import (
    PositionRow,
    WireOrderStatus,
    WireOrderType,
    WireSide,
)
from backstop.simulator.exchange_config import AccountSpec, BracketMode, ContractSpec

NANOTICKS = 1_000_000_000
"""Parts of one tick in which an average price is kept: nine decimals, as the gateway prints."""

MAX_PRICE = Decimal(1_000_000_000)
"""Points; beyond every future's price, and small enough for exact arithmetic on ticks."""

LIVE_STATUSES = frozenset(
    {
        WireOrderStatus.OPEN,
        WireOrderStatus.PENDING,
        WireOrderStatus.PENDING_CANCELLATION,
        WireOrderStatus.SUSPENDED,
    }
)


class Leg(Enum):
    """Which protective leg of an entry an order is."""

    STOP_LOSS = auto()
    TAKE_PROFIT = auto()


class Order(Struct, kw_only=True):
    """One order from its acceptance or rejection on; never deleted.

    Attributes:
        asked_limit_price: as sent, shown for rejected orders, whose price may lie off the tick;
            likewise ``asked_stop_price``.
        rest_updated_us: ``updateTimestamp`` of REST rows, which a fill does not move.
        fill_cost_ticks: sum of price times quantity over the fills.
        trail_ticks: distance of a trailing stop, positive.
        leg_offset_ticks: signed distance of a bracket leg from the fill of its entry.
        triggered: a stop whose level was reached; it trades like a market order now.
        covered: contracts of the entry's fill that a leg's size counts already.
        owed: contracts that the other leg filled while this one was still suspended.
        protection_ticks: the price in ticks beyond which a market order does not trade.
        closes: sent by a close call or by the firm.
        not_before_us: no further fill earlier than this (fills in slices).
        change_due_us: when the newest requested change takes effect.
        sign: +1 for a buy, -1 for a sell; follows from the side.
    """

    id: int
    account_id: int
    contract_id: str
    type: WireOrderType
    side: WireSide
    size: int
    status: WireOrderStatus
    created_us: int
    rest_updated_us: int
    hub_updated_us: int
    tag: str | None = None
    limit_ticks: int | None = None
    stop_ticks: int | None = None
    trail_ticks: int | None = None
    asked_limit_price: Decimal | None = None
    asked_stop_price: Decimal | None = None
    fill_volume: int = 0
    fill_cost_ticks: int = 0
    parent_id: int | None = None
    linked_id: int | None = None
    leg: Leg | None = None
    leg_offset_ticks: int = 0
    covered: int = 0
    owed: int = 0
    triggered: bool = False
    slippage_ticks: int = 0
    protection_ticks: int | None = None
    closes: bool = False
    cancel_requested: bool = False
    not_before_us: int = 0
    change_due_us: int = 0
    sign: int = 0

    def __post_init__(self) -> None:
        """Set the sign once: it is asked for on every quote."""
        self.sign = 1 if self.side is WireSide.BID else -1

    @property
    def remaining(self) -> int:
        """Contracts that have not filled."""
        return self.size - self.fill_volume

    @property
    def is_live(self) -> bool:
        """The order can still fill."""
        return self.status in LIVE_STATUSES

    @property
    def takes_market(self) -> bool:
        """The order trades at whatever the market offers."""
        return self.triggered or self.type is WireOrderType.MARKET


class Trade(Struct, kw_only=True):
    """One fill; ``pnl_micros`` is the gross result of the part that closed, None if none did.

    A fill that goes through flat stays one trade: its result is that of the closed part.
    """

    id: int
    order_id: int
    account_id: int
    contract_id: str
    created_us: int
    price_ticks: int
    sign: int
    size: int
    pnl_micros: int | None
    fees_micros: int
    commissions_micros: int
    voided: bool = False


class Holding(Struct, kw_only=True):
    """The net position of one account in one contract month; stays after it went flat.

    ``average_nanoticks`` is kept after a close, since the closing event still shows it.
    ``published`` is the row that REST shows: it lags the trade by the recorded delay, and
    ``shown_us`` is when the newest planned row shows, so that none overtakes another.
    """

    account_id: int
    contract_id: str
    quantity: int = 0  # signed: positive for long
    average_nanoticks: int = 0
    row_id: int = 0
    opened_us: int = 0
    shown_us: int = 0
    published: PositionRow | None = None


class Account(Struct, kw_only=True):
    """One account: its rules, its realised balance, and every tag it ever used."""

    spec: AccountSpec
    balance_micros: int
    can_trade: bool
    bracket_mode: BracketMode
    tags: set[str]
    order_ids: list[int]  # ascending
    trade_ids: list[int]  # ascending
    live_order_ids: dict[int, None]  # in order of acceptance


class Market(Struct, kw_only=True):
    """One contract month: its last quote and the orders that wait in it.

    The book is in order of arrival, which is the order of the queue at each price.
    The quote stays in price points until an order needs it, so that a replay without orders is
    cheap. ``ask_left``/``bid_left`` are what the touch still offers after our own fills, and
    ``ask_levels``/``bid_levels`` how many levels behind the touch they have eaten.
    """

    spec: ContractSpec
    tick_size: Decimal
    tick_value_micros: int
    fee_micros: int
    commission_micros: int
    is_open: bool
    is_active: bool
    bid: Decimal | None = None
    ask: Decimal | None = None
    bid_size: int = 0
    ask_size: int = 0
    last: Decimal | None = None
    last_size: int = 0
    last_side: int | None = None
    bid_left: int = 0
    ask_left: int = 0
    bid_levels: int = 0
    ask_levels: int = 0
    through_left: int = 0
    book: dict[int, Order]

    def ticks(self, price: Decimal) -> int:
        """Return ``price`` in whole ticks; what lies between two is cut off."""
        return int(price // self.tick_size)

    def on_tick(self, price: Decimal) -> bool:
        """Tell whether ``price`` is a whole number of ticks, and a price at all."""
        return price.is_finite() and abs(price) <= MAX_PRICE and not price % self.tick_size

    @property
    def bid_ticks(self) -> int | None:
        """The best bid in ticks."""
        return None if self.bid is None else self.ticks(self.bid)

    @property
    def ask_ticks(self) -> int | None:
        """The best offer in ticks."""
        return None if self.ask is None else self.ticks(self.ask)

    @property
    def last_ticks(self) -> int | None:
        """The last traded price in ticks."""
        return None if self.last is None else self.ticks(self.last)

    @property
    def is_quoted(self) -> bool:
        """Both sides of the market are known."""
        return self.bid is not None and self.ask is not None
