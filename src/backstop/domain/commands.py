"""Requests, in the imperative: everything the core may ask the world to do.

Prices are Decimal points, exactly on the tick: what the wire needs, already decided.
"""

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from backstop.domain.order import OrderType, Side


class Severity(StrEnum):
    """How loudly an alert speaks."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


class Command(Struct, frozen=True, kw_only=True, tag_field="kind", tag=True):
    """Base of all commands; journaled before it is carried out."""


class PlaceOrder(Command, frozen=True, kw_only=True, tag=True):
    """Send one order. Bracket offsets are signed ticks from the fill price, as the wire wants.

    With ``stop_loss_trails`` the stop follows the market at its offset. ``reduces_risk`` orders may
    use the calls that are kept in reserve.
    """

    client_order_id: str
    custom_tag: str
    account_id: int
    contract_id: str
    type: OrderType
    side: Side
    quantity: int
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    stop_loss_offset_ticks: int | None = None
    take_profit_offset_ticks: int | None = None
    stop_loss_trails: bool = False
    reduces_risk: bool = False


class CancelOrder(Command, frozen=True, kw_only=True, tag=True):
    """Cancel one order at the venue.

    ``reduces_risk`` says that its position is being taken flat or is flat already: the cancel goes
    out although the order might have closed it. What ``repeats`` a request that got no clear
    answer leaves calls for the reads that may end it.
    """

    account_id: int
    broker_order_id: int
    reason: str
    reduces_risk: bool = False
    repeats: bool = False


class ModifyOrder(Command, frozen=True, kw_only=True, tag=True):
    """Change one order at the venue; None leaves a member as it is.

    What ``repeats`` a request that got no clear answer leaves calls for the reads that may end it.
    """

    account_id: int
    broker_order_id: int
    quantity: int | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    reason: str = ""
    repeats: bool = False


class ClosePosition(Command, frozen=True, kw_only=True, tag=True):
    """Have the venue close a position at the market; None closes all of it. It never opens one."""

    account_id: int
    contract_id: str
    quantity: int | None = None
    reason: str


class LookUpOrder(Command, frozen=True, kw_only=True, tag=True):
    """Search one order of ours by its tag in everything the venue shows; answers OrderLookedUp.

    With ``broker_order_id`` the venue is asked for that number too, however old the order is; an
    order that was registered by its number alone has an empty tag. What is ``urgent`` may use the
    calls that are kept in reserve; what ``repeats`` earlier searches leaves calls for the reads of
    the account, which show the order as well.
    """

    client_order_id: str
    custom_tag: str
    account_id: int
    since_utc_us: int
    broker_order_id: int | None = None
    urgent: bool = False
    repeats: bool = False


class AuditAccount(Command, frozen=True, kw_only=True, tag=True):
    """Read the account's orders and trades since the cursor, live orders and positions.

    What is ``urgent`` may use the calls that are kept in reserve.
    """

    reason: str
    account_id: int
    since_utc_us: int
    urgent: bool = False


class RaiseAlert(Command, frozen=True, kw_only=True, tag=True):
    """Tell a person. ``code`` names the situation and its page in the runbook.

    ``alert_id`` is the number under which it is acknowledged, 0 for what only concerns this
    process. ``repeat`` counts the reminders of one that nobody has acknowledged.
    """

    severity: Severity
    code: str
    message: str
    alert_id: int = 0
    repeat: int = 0


Change = PlaceOrder | CancelOrder | ModifyOrder | ClosePosition
"""What is meant to change something at the venue."""

Request = (
    PlaceOrder | CancelOrder | ModifyOrder | ClosePosition | LookUpOrder | AuditAccount | RaiseAlert
)
"""Every command there is."""
