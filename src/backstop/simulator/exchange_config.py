"""What the simulated exchange is made of: accounts, contracts, and a switch per open question.

Defaults follow recordings of live traffic where there is one, else the documentation, else the
more dangerous of the readings, so that a client that survives the simulator survives the venue.
"""

from decimal import Decimal
from enum import Enum, IntEnum, auto

from msgspec import Struct

from backstop.adapters.projectx.wire import ContractRow

LatencyRange = tuple[int, int]
"""Shortest and longest delay in microseconds, both included; one is drawn for each use."""


class BracketMode(Enum):
    """How an account protects positions; the API cannot read it."""

    AUTO_OCO = auto()  # brackets travel with each order
    POSITION = auto()  # the platform's own brackets: orders that carry brackets are rejected


class PartialFill(Enum):
    """How much of an order one look at the market fills."""

    NEVER = auto()  # all of it, whatever the displayed size
    BY_LIQUIDITY = auto()  # what the quoted size and the traded volume leave
    SLICES = auto()  # ``fill_slices`` parts, ``slice_gap_us`` apart


class MarketRemainder(Enum):
    """Where a market order goes when the touch is used up (PartialFill.BY_LIQUIDITY)."""

    NEXT_TICK = auto()  # the next level is one tick worse and as deep as the touch
    WAIT = auto()  # it waits for the next quote


class LegsOnFlat(Enum):
    """What becomes of bracket legs when their position is closed some other way."""

    KEEP = auto()  # recorded: they stay and can open a new position
    AUTO_CANCEL = auto()


class LegsOnPartialExit(Enum):
    """What becomes of bracket legs when another order closes a part of their position."""

    KEEP = auto()  # recorded in August 2026: they are untouched
    CANCEL = auto()  # noted in July 2026: the whole bracket group goes


class LegPastMarket(Enum):
    """What becomes of a stop leg whose level the market has passed when it would begin to work."""

    TRIGGER = auto()  # it works and fills at once
    REJECT = auto()  # it is refused, like a stop order that is sent with such a level


class SiblingOnCancel(Enum):
    """What becomes of the other leg when a client cancels one."""

    KEEP = auto()
    CANCEL = auto()


class LegsOnPartialEntry(Enum):
    """When the legs of a partly filled entry begin to work."""

    FILLED_QUANTITY = auto()  # at once, for what has filled; they grow with it
    WAIT_FOR_ALL = auto()  # when the entry has filled completely


class SiblingOnPartialLeg(Enum):
    """What becomes of the other leg when one leg fills in part."""

    REDUCE = auto()  # it shrinks by the same quantity
    KEEP = auto()  # it keeps its size until the leg is complete


class Reversal(Enum):
    """The position row after one fill that goes through flat."""

    NEW_ROW = auto()  # the old row closes, another id opens
    SAME_ROW = auto()


class DuplicateTag(Enum):
    """The stored row of an order that was rejected because its tag was already used."""

    WITHOUT_TAG = auto()  # a tag names one order for ever
    WITH_TAG = auto()


class ClosedMarketCode(IntEnum):
    """The code of an order refused because the market is closed."""

    ORDER_REJECTED = 2  # recorded
    OUTSIDE_TRADING_HOURS = 5  # documented


class AccountSpec(Struct, frozen=True, kw_only=True):
    """One account as it is at the start.

    ``max_position`` is the firm's limit in contracts per contract month, None for no enforcement.
    ``position_stop_ticks`` and ``position_target_ticks`` are the distances of the platform's own
    stop and target in BracketMode.POSITION, positive; None: the owner has set none.
    ``follower`` marks a copy-trading follower, which may not cancel or modify.
    """

    id: int
    name: str
    user: str
    starting_balance: Decimal
    can_trade: bool = True
    bracket_mode: BracketMode = BracketMode.AUTO_OCO
    simulated: bool = True
    follower: bool = False
    max_position: int | None = None
    position_stop_ticks: int | None = None
    position_target_ticks: int | None = None


class ContractSpec(Struct, frozen=True, kw_only=True):
    """One contract month with its costs.

    Attributes:
        row: identity, tick and tick value, as the gateway lists them.
        fee: dollars per contract and fill; recorded 0.36 for MNQ and MES, 0.51 for MCL, near
            1.40 for the minis.
        commission: dollars per contract and fill; shown on the hub only.
        expiry_us: when the month ends, microseconds since 1970 UTC; None: never.
    """

    row: ContractRow
    fee: Decimal = Decimal("0.36")
    commission: Decimal = Decimal("0.25")
    expiry_us: int | None = None


class ExchangeConfig(Struct, frozen=True, kw_only=True):
    """Everything that decides how the exchange behaves; equal configs replay equally.

    Attributes:
        start_us: the first instant, microseconds since 1970 UTC.
        market_fill_us: from a market order to its fill.
        close_fill_us: from the close of a position to its fill.
        reject_us: from an order that is refused to its rejected row.
        resting_us: from a limit order, a stop order or a change until it stands in the book.
        cancel_us: from a cancel to the cancelled row.
        bracket_activation_us: from the creation of a market entry, or the fill of a resting one,
            to the legs' first working status.
        sibling_cancel_us: from the fill of one leg to the cancel of the other.
        position_row_us: from a trade to its position row and account row.
        legs_on_flat_us: from a flat position to the cancel of its legs, if they are cancelled.
        partial_fill: how much of an order one look at the market fills: all of it; what the
            quoted size and the traded volume leave; or ``fill_slices`` parts.
        fill_slices: parts of an order that fills in slices.
        slice_gap_us: time between two slices.
        market_remainder: where a market order goes when the touch is used up: to the next level,
            or it waits for the next quote.
        market_protection_ticks: how far from the touch a market order may trade while it fills by
            liquidity; what is left rests there as a limit order, as at CME. None: no such bound.
        stop_slippage_ticks: how much worse than its trigger a stop fills.
        legs_on_flat: whether bracket legs stay when their position is closed some other way.
        legs_on_partial_exit: whether bracket legs stay when another order closes a part of their
            position.
        leg_past_market: whether a stop leg that begins to work beyond its level fills at once or
            is refused.
        resize_leg: whether the size of a bracket leg can be changed.
        sibling_on_manual_cancel: whether a leg stays when a client cancels the other.
        legs_on_partial_entry: whether the legs of a partly filled entry work at once for what has
            filled, or when all of it has.
        sibling_on_partial_leg: whether a leg shrinks when the other fills in part.
        legs_keep_offset: hub events of a leg go on carrying ``trailDistance`` and ``trailPrice``
            after its activation, as recorded; REST rows of working and ended legs never do.
        modify_suspended_leg: whether a leg whose entry has not filled can be changed.
        reversal: whether a fill through flat opens another position row.
        duplicate_tag: whether an order that is rejected for a used tag keeps the tag.
        closed_market_code: error code of an order while the market is closed, 2 or 5.
        cancel_finished_code: the answer to the cancel of an order that already ended.
        show_pending_cancellation: whether an order that is being cancelled shows it first.
        price_collar_ticks: a limit or stop further than this from the market is refused; None
            for no collar.
        close_is_reduce_only: a close order never fills more than is open when it executes.
        query_ignores_contract: whether the order query overlooks its contract filter.
        trailing_move_events: whether each move of a trailing stop is told on the hub.
        settle_on_expiry: whether positions in a month that ends are closed at the last price.
        max_orders_per_account: orders of one account that the exchange keeps, all there ever
            were; months of trading. Beyond it place answers UnknownError and files nothing.
    """

    seed: int
    accounts: tuple[AccountSpec, ...]
    contracts: tuple[ContractSpec, ...]
    start_us: int = 0
    market_open: bool = True

    market_fill_us: LatencyRange = (6_000, 9_000)
    close_fill_us: LatencyRange = (3_000, 4_000)
    reject_us: LatencyRange = (2_000, 2_400)
    resting_us: LatencyRange = (1_000, 3_000)
    cancel_us: LatencyRange = (1_000, 3_000)
    bracket_activation_us: LatencyRange = (17_000, 32_000)
    sibling_cancel_us: LatencyRange = (11_000, 14_000)
    position_row_us: LatencyRange = (4_000, 4_000)
    legs_on_flat_us: LatencyRange = (20_000, 60_000)

    partial_fill: PartialFill = PartialFill.NEVER
    fill_slices: int = 2
    slice_gap_us: int = 5_000
    market_remainder: MarketRemainder = MarketRemainder.NEXT_TICK
    market_protection_ticks: int | None = None
    stop_slippage_ticks: tuple[int, int] = (0, 2)

    legs_on_flat: LegsOnFlat = LegsOnFlat.KEEP
    legs_on_partial_exit: LegsOnPartialExit = LegsOnPartialExit.KEEP
    leg_past_market: LegPastMarket = LegPastMarket.TRIGGER
    resize_leg: bool = True
    sibling_on_manual_cancel: SiblingOnCancel = SiblingOnCancel.KEEP
    legs_on_partial_entry: LegsOnPartialEntry = LegsOnPartialEntry.FILLED_QUANTITY
    sibling_on_partial_leg: SiblingOnPartialLeg = SiblingOnPartialLeg.REDUCE
    legs_keep_offset: bool = True
    modify_suspended_leg: bool = False
    reversal: Reversal = Reversal.NEW_ROW
    duplicate_tag: DuplicateTag = DuplicateTag.WITHOUT_TAG

    closed_market_code: ClosedMarketCode = ClosedMarketCode.ORDER_REJECTED
    cancel_finished_code: int = 5
    show_pending_cancellation: bool = False
    price_collar_ticks: int | None = None
    close_is_reduce_only: bool = False
    query_ignores_contract: bool = True
    trailing_move_events: bool = False
    settle_on_expiry: bool = True

    max_orders_per_account: int = 500_000
    first_order_id: int = 3_501_000_000
    first_trade_id: int = 3_090_000_000
    first_position_id: int = 840_000_000
