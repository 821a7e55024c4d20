"""What the HTTP interface needs of a guard; ``CriticalSystemManager`` is one."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from backstop.adapters.alert_courier import Delivery
from backstop.app.audit_reading import AuditReading
from backstop.app.bot_desk import BotDesk
from backstop.app.bot_hubs import BotHub
from backstop.app.commit_waits import CommitWaits
from backstop.app.order_records import OrderRecords
from backstop.app.recovery_review import RecoveryReport
from backstop.app.watch_link import WatchReport
from backstop.core.book import Book
from backstop.core.execution_verdict import Verification
from backstop.core.exposure_snapshot import ExposureSnapshot
from backstop.core.guardrails import Assessment
from backstop.core.step import Decision
from backstop.domain.order import OrderRequest
from backstop.domain.set_up import SetUp


class Guard(Protocol):
    """A guard that is initialised; its book is only read here."""

    @property
    def book(self) -> Book:
        """Everything the guard knows."""

    @property
    def recovery(self) -> RecoveryReport | None:
        """What was different when the guard began; None before the account was read."""

    @property
    def gateway_host(self) -> str:
        """The host of the gateway that it trades at, with the port where one is given."""

    @property
    def settings_warnings(self) -> tuple[str, ...]:
        """What of its settings a person should hear of, in sentences."""

    @property
    def bot_hubs(self) -> Sequence[BotHub]:
        """The hubs that bots listen to; none without a gateway."""

    @property
    def components(self) -> dict[str, str]:
        """What is not well, by component; empty when everything is."""

    @property
    def watch(self) -> WatchReport | None:
        """How the watch over its process stands; None when nobody was to watch it."""

    @property
    def journal_seq(self) -> int:
        """Number of the newest record, which may not be on disk yet."""

    @property
    def commit_waits(self) -> CommitWaits:
        """How long records waited for the disk."""

    @property
    def bots(self) -> BotDesk:
        """Where bots register, say that they live, and sign off."""

    @property
    def audit(self) -> AuditReading:
        """Answers about the audit log."""

    @property
    def order_records(self) -> OrderRecords:
        """Orders by their names, also finished ones that the book has let go of."""

    def deliveries(self, alert_id: int) -> tuple[Delivery, ...]:
        """Return what became of an alert on each channel that was tried."""

    async def acknowledge_alert(self, alert_id: int, *, operator: str) -> Decision:
        """Note that a person has read an alert."""

    def exposure(self) -> ExposureSnapshot:
        """Return everything that is held and could fill, in risk dollars, with its limits."""

    def set_up(self) -> SetUp:
        """Return what the guard knows of its clock, disk, login, hubs, data and gates."""

    def now_ns(self) -> int:
        """Return monotonic time as the book counts it."""

    async def what_if(self, request: OrderRequest) -> Assessment | None:
        """Judge an order as if it were submitted now; None when no contract goes by its symbol."""

    async def submit_order(self, request: OrderRequest) -> Decision:
        """Ask for an order; raises JournalError when the wish could not be made durable."""

    async def cancel_order(self, client_order_id: str, *, reason: str) -> Decision:
        """Ask the venue to cancel an order."""

    async def halt(self, *, reason: str, operator: str) -> Decision:
        """Block new exposure until a person resumes."""

    async def resume(self, *, reason: str, operator: str) -> Decision:
        """Lift every latch, or say why not."""

    async def change_limits(
        self,
        *,
        daily_loss: Decimal | int | None = None,
        trailing_loss: Decimal | int | None = None,
        max_position: Decimal | int | None = None,
        reason: str = "",
        operator: str = "",
    ) -> Decision:
        """Change limits of the account, in dollars and minis; to loosen one takes a person."""

    async def liquidate(self, *, reason: str, operator: str, symbol: str | None = None) -> Decision:
        """Take the account flat, or the contract that ``symbol`` stands for."""

    async def close_position(
        self,
        symbol: str,
        *,
        quantity: int | None = None,
        reason: str = "asked for",
        operator: str = "bot",
    ) -> Decision:
        """Close a position, or ``quantity`` contracts of it."""

    async def protect_position(
        self,
        symbol: str,
        *,
        stop_price: Decimal | int | None = None,
        take_profit_price: Decimal | int | None = None,
    ) -> Decision:
        """Give a position a stop and a target; a level that is None stays as it is."""

    async def modify_order(
        self,
        client_order_id: str,
        *,
        quantity: int | None,
        limit_price: Decimal | int | None,
        stop_price: Decimal | int | None,
    ) -> Decision:
        """Ask the venue to change an order."""

    async def verify_execution(
        self,
        client_order_id: str,
        *,
        expected_quantity: int | None = None,
        max_slippage_ticks: Decimal | None = None,
        timeout_s: float | None = None,
    ) -> Verification | None:
        """Wait for the evidence about an order and judge it; None for an unknown order."""
