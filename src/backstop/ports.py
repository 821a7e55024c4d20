"""What the application needs of the world; adapters implement these, tests use the simulator."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from msgspec import Struct

from backstop.domain.audit import AuditRow, FillRow
from backstop.domain.commands import (
    AuditAccount,
    CancelOrder,
    ClosePosition,
    LookUpOrder,
    ModifyOrder,
    PlaceOrder,
)
from backstop.domain.events import (
    AccountAudited,
    CancelAnswered,
    Fact,
    ModifyAnswered,
    OrderLookedUp,
    PlaceAnswered,
    PositionCloseAnswered,
)
from backstop.domain.instrument import Instrument
from backstop.domain.quote import Quote
from backstop.errors import JournalError


class Clock(Protocol):
    """Two times: one for deadlines, one for people."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that only grow within one boot of the machine, suspend counted."""

    def utc_us(self) -> int:
        """Microseconds since 1970, UTC; may step."""


@runtime_checkable
class MachineClock(Clock, Protocol):
    """The clocks of the machine that we run on, which may be suspended."""

    def awake_ns(self) -> int:
        """Nanoseconds that stand still during a suspend, while ``monotonic_ns`` goes on."""


class Gateway(Protocol):
    """The broker, one account. What changes something never raises: its answer is a fact."""

    async def place_order(self, command: PlaceOrder) -> PlaceAnswered:
        """Send one order, once."""

    async def cancel_order(self, command: CancelOrder) -> CancelAnswered:
        """Cancel one order, once."""

    async def modify_order(self, command: ModifyOrder) -> ModifyAnswered:
        """Change one order, once."""

    async def close_position(self, command: ClosePosition) -> PositionCloseAnswered:
        """Close a position, or a part of it, at the market, once."""

    async def look_up_order(self, command: LookUpOrder) -> OrderLookedUp:
        """Search one order by tag in order search, every status and the trades."""

    async def audit_account(self, command: AuditAccount) -> AccountAudited:
        """Read orders, live orders, trades and positions; a part that failed is None."""

    async def instruments(self) -> tuple[Instrument, ...]:
        """Return every contract that the gateway offers; raises GatewayError."""


FactSink = Callable[[Fact], None]
"""Where hubs put the facts they hear; called on the event loop, never blocks."""

QuoteSink = Callable[[Quote, int], None]
"""Where the market hub puts merged quotes, with the monotonic time in ns at which they came."""


class JournalRecord(Struct, frozen=True, kw_only=True):
    """One record as stored: its place, its monotonic time, what it is, and its JSON bytes."""

    seq: int
    kind: str  # a RecordKind, or one that a later version knows
    monotonic_ns: int
    utc_us: int
    payload: bytes


class JournalBatch(Struct, frozen=True, kw_only=True):
    """What one decision makes durable together."""

    records: tuple[JournalRecord, ...]
    orders: tuple[AuditRow, ...] = ()
    fills: tuple[FillRow, ...] = ()


Told = Callable[[JournalError | None], None]
"""Hears what became of a batch: None when it is on disk, an error when it is not, now.

A batch that is not is kept, and a second call says None when it is on disk after all. Only after
JournalFullError, or when the process ends before, there is no second call.
"""


class WritableJournal(Protocol):
    """Where the decision loop writes."""

    @property
    def next_seq(self) -> int:
        """The sequence number that the next record handed in must have."""

    def submit(self, batch: JournalBatch, told: Told) -> None:
        """Take ``batch``; ``told`` is called on the event loop later, in the order of the calls."""

    def flush(self) -> None:
        """Have what was submitted written, as soon as the disk takes it."""

    def take_again(self) -> None:
        """Take batches again after JournalFullError, once nothing waits any more."""


class LiquidationOutcome(Struct, frozen=True, kw_only=True):
    """What became of an attempt to take the account flat; ``flat`` only after proof."""

    flat: bool
    message: str


class Liquidator(Protocol):
    """Takes the account flat when no guard can; knows how to become the one that may."""

    async def liquidate(self, reason: str) -> LiquidationOutcome:
        """Take the account flat and return once that is proven, or given up for now."""
