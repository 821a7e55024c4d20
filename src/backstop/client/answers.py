"""What a guard answers, as values. Prices are exact; words are text, and new ones are kept as such.

Members that this version does not know are left out, so an older client reads a newer guard.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Raw, Struct

from backstop.client.errors import Denial


class Fill(Struct, frozen=True, kw_only=True):
    """One trade of an order; ``fill_id`` is the broker's trade id."""

    fill_id: int
    price: Decimal
    quantity: int
    time: datetime


class AskedCancel(Struct, frozen=True, kw_only=True):
    """The end of an order was asked for; ``asks_again``: the guard asks until it is over."""

    reason: str
    answer: str | None
    message: str
    asks_again: bool


class AskedChange(Struct, frozen=True, kw_only=True):
    """What an order was asked to become, and the venue does not show yet, or refused."""

    quantity: int | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    answer: str | None
    message: str


class Order(Struct, frozen=True, kw_only=True):
    """One order by its newest evidence; ``state`` as the reference of order states lists them."""

    client_order_id: str
    broker_order_id: int | None
    symbol: str
    side: str
    quantity: int
    type: str
    state: str
    filled_quantity: int
    average_price: Decimal | None
    fills: tuple[Fill, ...]
    strategy_id: str | None = None
    venue_message: str | None = None
    cancel: AskedCancel | None = None
    change: AskedChange | None = None


class ProtectiveOrder(Struct, frozen=True, kw_only=True):
    """A working stop or target."""

    broker_order_id: int
    price: Decimal | None
    quantity: int


class Position(Struct, frozen=True, kw_only=True):
    """One position; ``quantity`` is signed, ``knowledge`` is KNOWN, STALE or UNKNOWN."""

    symbol: str
    contract_id: str
    quantity: int
    average_price: Decimal | None
    stop: ProtectiveOrder | None
    target: ProtectiveOrder | None
    knowledge: str
    naked_ms: int


class Judgement(Struct, frozen=True, kw_only=True):
    """Whether an order would pass; ``decision`` is APPROVED or DENIED."""

    decision: str
    denials: tuple[Denial, ...]
    r_multiple: str | None

    @property
    def is_approved(self) -> bool:
        """It would pass every rule."""
        return self.decision == "APPROVED"


class Verification(Struct, frozen=True, kw_only=True):
    """VERIFIED, BREACH, REFUTED or UNKNOWN, and why."""

    verdict: str
    reason: str
    filled_quantity: int
    expected_quantity: int
    slippage_ticks: str | None


class BotSeen(Struct, frozen=True, kw_only=True):
    """A bot as the guard sees it: ALIVE, SILENT or GIVEN_UP."""

    bot_id: str
    state: str
    policy: str
    heartbeat_timeout_ms: int
    flatten_after_ms: int | None
    heartbeat_age_ms: int | None


class Heartbeat(Struct, frozen=True, kw_only=True):
    """What a bot learns from its heartbeat; ``reasons`` say why the state is not ACTIVE."""

    bot: BotSeen
    trading_state: str
    reasons: tuple[str, ...]


class TradingStateSeen(Struct, frozen=True, kw_only=True):
    """What is let through now, and why not more."""

    trading_state: str
    reasons: tuple[str, ...]


class Status(Struct, frozen=True, kw_only=True):
    """The guard at one moment; ``gates`` and the rest are as the HTTP reference shows them."""

    trading_state: str
    reasons: tuple[str, ...]
    account_id: int
    version: str
    positions: tuple[Position, ...]
    unknown_orders: tuple[Order, ...]
    gates: dict[str, Any]
    heartbeats: dict[str, Any]


class Liquidation(Struct, frozen=True, kw_only=True):
    """One liquidation or close; FLAT only after proof."""

    id: str
    state: str
    causes: tuple[str, ...]


class Closing(Struct, frozen=True, kw_only=True):
    """A position that is being closed; ``liquidation_id`` None: it is flat already."""

    symbol: str
    quantity: int
    liquidation_id: str | None


class LimitReading(Struct, frozen=True, kw_only=True):
    """One limit of correlation protection in risk dollars; ``headroom`` is what is left of it."""

    limit: str
    subject: str
    value: Decimal
    allowed: Decimal
    headroom: Decimal
    breached: bool


class Exposure(Struct, frozen=True, kw_only=True):
    """What is held and could fill, against every limit; none is ``enforced`` while it is off."""

    enforced: bool
    limits: tuple[LimitReading, ...]
    unpriced: tuple[str, ...]


class Account(Struct, frozen=True, kw_only=True):
    """The account against its own rules, in dollars; None for what is not limited or not known.

    ``day`` is realised, open and costs together; ``locked`` says why the day is over.
    """

    trade_date: str | None
    balance: Decimal | None
    equity: Decimal | None
    realised: Decimal
    open: Decimal
    day: Decimal
    daily_loss_limit: Decimal | None
    daily_loss_remaining: Decimal | None
    locked: str | None


class Alert(Struct, frozen=True, kw_only=True):
    """Something that a person was told; open while ``acknowledged_by`` is None."""

    id: int
    severity: str
    code: str
    message: str
    raised_at: datetime
    acknowledged_by: str | None

    @property
    def is_open(self) -> bool:
        """Nobody has said that it was read."""
        return self.acknowledged_by is None


class Recorded(Struct, frozen=True, kw_only=True):
    """One record of the journal; ``seq`` is where to resume, ``kind`` names fact or command."""

    seq: int
    record: str
    time: datetime
    payload: Raw
    kind: str = ""


class Orders(Struct, frozen=True, kw_only=True):
    """A page of orders, newest first, and how many there are."""

    orders: tuple[Order, ...]
    total: int


class Positions(Struct, frozen=True, kw_only=True):
    """Every position that is not known to be flat."""

    positions: tuple[Position, ...]


class Bots(Struct, frozen=True, kw_only=True):
    """Every registered bot."""

    bots: tuple[BotSeen, ...]


class Alerts(Struct, frozen=True, kw_only=True):
    """A page of alerts, newest first."""

    alerts: tuple[Alert, ...]
