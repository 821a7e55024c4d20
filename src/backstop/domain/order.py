"""Orders: what was asked for, what is sent, and the table of order states."""

import hashlib
from base64 import b32encode
from decimal import Decimal
from enum import StrEnum

import msgspec
from msgspec import Struct


class Side(StrEnum):
    """Direction of an order or a trade."""

    BUY = "BUY"
    SELL = "SELL"

    sign: int
    """+1 for a buy, -1 for a sell."""

    def __init__(self, word: str) -> None:
        self.sign = 1 if word == "BUY" else -1

    @property
    def opposite(self) -> "Side":
        """The side that takes this one back."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """How an order meets the market."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"
    TRAILING_STOP = "TRAILING_STOP"

    has_limit: bool
    """A limit price belongs to it."""
    has_stop: bool
    """A stop price belongs to it: its level, or the first one of a trailing stop."""

    def __init__(self, word: str) -> None:
        self.has_limit = word == "LIMIT"
        self.has_stop = word in {"STOP", "TRAILING_STOP"}


class OrderState(StrEnum):
    """Where one order of ours stands, by evidence."""

    INTENDED = "INTENDED"
    """Accepted and in the journal; not known to have left."""
    SENT = "SENT"
    """The request left; the venue has not answered yet."""
    WORKING = "WORKING"
    """The venue shows it as open or pending."""
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    """The broker's trades fill a part of it."""
    FILLED = "FILLED"
    """The broker's trades, each with its own id, add up to the whole quantity."""
    CANCELLED = "CANCELLED"
    """The venue cancelled it; what was filled before stays filled."""
    REJECTED = "REJECTED"
    """The venue refused it."""
    EXPIRED = "EXPIRED"
    """The venue ended it by time."""
    UNKNOWN = "UNKNOWN"
    """No answer: it may be live. It is looked up by its tag and never sent again."""
    NOT_SUBMITTED = "NOT_SUBMITTED"
    """Proven never to have arrived at the venue."""


class Rejection(StrEnum):
    """What a rejected order's reason says about a next try; nothing is tried again by itself."""

    PERMANENT = "PERMANENT"
    """The same order would be refused again: it, or the account, has to change first."""
    TRANSIENT = "TRANSIENT"
    """It was refused for the moment: a new order of the bot may pass later."""
    UNSTATED = "UNSTATED"
    """The venue gave no reason: its stream and its lists have none, and no answer told one."""


_LIVE = frozenset(
    {
        OrderState.WORKING,
        OrderState.PARTIALLY_FILLED,
        OrderState.FILLED,
        OrderState.CANCELLED,
        OrderState.REJECTED,
        OrderState.EXPIRED,
    }
)

ORDER_TRANSITIONS: dict[OrderState, frozenset[OrderState]] = {
    # A crash can lose the note that the request left, so evidence may find an order INTENDED.
    OrderState.INTENDED: _LIVE | {OrderState.SENT, OrderState.UNKNOWN, OrderState.NOT_SUBMITTED},
    OrderState.SENT: _LIVE | {OrderState.UNKNOWN, OrderState.NOT_SUBMITTED},
    OrderState.UNKNOWN: _LIVE | {OrderState.NOT_SUBMITTED},
    # The row that showed it working may turn out to be that of a refused twin.
    OrderState.WORKING: (_LIVE - {OrderState.WORKING}) | {OrderState.UNKNOWN},
    # Voided trades take a fill back: the order stands again where the venue's row puts it.
    OrderState.PARTIALLY_FILLED: _LIVE - {OrderState.PARTIALLY_FILLED},
    OrderState.FILLED: _LIVE - {OrderState.FILLED},
    # A trade is the strongest evidence there is: a fill that raced the cancel counts.
    OrderState.CANCELLED: frozenset({OrderState.FILLED, OrderState.PARTIALLY_FILLED}),
    OrderState.EXPIRED: frozenset({OrderState.FILLED, OrderState.PARTIALLY_FILLED}),
    # "Tag in use" shows that a refusal was for a twin: the order itself is to be found. A row that
    # shows it open, and a trade, outweigh the refusal we read; what did not fill is then done.
    OrderState.REJECTED: frozenset(
        {
            OrderState.CANCELLED,
            OrderState.FILLED,
            OrderState.PARTIALLY_FILLED,
            OrderState.UNKNOWN,
            OrderState.WORKING,
        }
    ),
    # A tag that is seen later reopens the order.
    OrderState.NOT_SUBMITTED: _LIVE | {OrderState.UNKNOWN},
}
"""From each state, the states that may follow it. Everything else is refused and recorded."""

TERMINAL_STATES = frozenset(
    {
        OrderState.FILLED,
        OrderState.CANCELLED,
        OrderState.REJECTED,
        OrderState.EXPIRED,
        OrderState.NOT_SUBMITTED,
    }
)


class OrderRequest(Struct, frozen=True, kw_only=True):
    """An order as a bot asks for it; prices in points, as asked, not yet on the tick.

    A leg is asked for by its price, or by its offset: signed ticks from the price at which the
    order fills, below it negative. The venue measures offsets itself, and the leg stays there; a
    stop with ``stop_loss_trails`` follows the market at that distance instead, as the venue moves
    it. An order that is ``exit_only`` is refused where it would do more than close a position.
    """

    client_order_id: str
    symbol: str
    side: Side
    quantity: int
    type: OrderType
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    stop_loss_price: Decimal | None = None
    take_profit_price: Decimal | None = None
    strategy_id: str | None = None
    stop_loss_offset_ticks: int | None = None
    take_profit_offset_ticks: int | None = None
    stop_loss_trails: bool = False
    exit_only: bool = False


class OrderIntent(Struct, frozen=True, kw_only=True):
    """An order that passed every check; prices are levels in whole ticks of its contract.

    ``stop_ticks`` is the first level of a trailing stop. ``stop_loss_ticks`` and
    ``take_profit_ticks`` are the levels of the protective legs.
    """

    client_order_id: str
    account_id: int
    contract_id: str
    symbol: str
    side: Side
    quantity: int
    type: OrderType
    limit_ticks: int | None = None
    stop_ticks: int | None = None
    stop_loss_ticks: int | None = None
    take_profit_ticks: int | None = None
    strategy_id: str | None = None


class LegRole(StrEnum):
    """What a protective order is for: a leg of a bracket, or an order of its own."""

    STOP_LOSS = "STOP_LOSS"
    TAKE_PROFIT = "TAKE_PROFIT"


LEG_SUFFIXES = {"-SL": LegRole.STOP_LOSS, "-TP": LegRole.TAKE_PROFIT}
"""The venue names bracket legs after the tag of their entry."""


def leg_of(tag: str | None) -> tuple[str, LegRole] | None:
    """Return the tag of the entry that ``tag`` names a leg of, and which leg; None for no leg."""
    for suffix, role in LEG_SUFFIXES.items():
        if tag and tag.endswith(suffix):
            return tag.removesuffix(suffix), role
    return None


TAG_PREFIX = "bs-"
"""Marks the orders that Backstop placed among those of others."""


def custom_tag(intent: OrderIntent) -> str:
    """Return the broker tag of ``intent``: a pure function of it, unique per account.

    A replay makes the same tag, so a second delivery is refused by the broker instead of being
    executed. The tag is ``bs-`` and 26 lower-case letters and digits (130 bits of SHA-256 over
    the canonical intent): short enough that ``-SL`` and ``-TP`` always fit behind it.
    """
    canonical = msgspec.json.encode(intent, order="deterministic")
    digest = hashlib.sha256(b"backstop order intent v1\0" + canonical).digest()
    # Five bytes make eight characters: more of them would be encoded for nothing.
    return TAG_PREFIX + b32encode(digest[:20]).decode("ascii").lower()[:26]
