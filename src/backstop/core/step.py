"""What one step of the engine brings forth, and the workbench on which it is put together."""

from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct

from backstop.core.alerts import REPEAT_NS
from backstop.core.book import Book, Wake
from backstop.core.guardrails import Assessment
from backstop.core.past import PastOrder
from backstop.core.tracked_order import TrackedOrder, final_quantity
from backstop.core.trading_state import TradingState
from backstop.domain.alert_code import AlertCode
from backstop.domain.audit import AuditRow, FillRow
from backstop.domain.broker import BrokerTrade
from backstop.domain.commands import RaiseAlert, Request, Severity
from backstop.domain.denial import Denial
from backstop.domain.order import TERMINAL_STATES


class Tag(StrEnum):
    """The specification's log tags; each log line carries one as its component."""

    CRITICAL_SYSTEM = "[CriticalSystem]"
    CORRELATION_REJECT = "[CORRELATION_REJECT]"
    CRITICAL = "[CRITICAL]"
    ORDER = "[ORDER]"
    TRADE = "[TRADE]"


class Note(Struct, frozen=True, kw_only=True):
    """One line for the log: the component, a fixed event name, and fields with units."""

    tag: Tag
    name: str
    fields: dict[str, str | int]
    severity: Severity = Severity.INFO


class DecisionKind(StrEnum):
    """What became of a wish."""

    ACCEPTED = "ACCEPTED"
    REFUSED = "REFUSED"
    REPEATED = "REPEATED"  # the same wish again: the same order
    CONFLICT = "CONFLICT"  # the same client order id with another body
    UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    UNKNOWN_ALERT = "UNKNOWN_ALERT"
    UNKNOWN_BOT = "UNKNOWN_BOT"
    NOT_POSSIBLE = "NOT_POSSIBLE"  # the order cannot be changed or cancelled in its state


class Decision(Struct, frozen=True, kw_only=True):
    """The answer to whoever asked for something."""

    kind: DecisionKind
    order: TrackedOrder | None = None
    assessment: Assessment | None = None
    denials: tuple[Denial, ...] = ()
    message: str = ""
    liquidation_id: str | None = None  # the run that does what was asked
    would_send: tuple[Request, ...] = ()  # what only the gate kept back
    trading_state: TradingState | None = None  # where an order was taken on that others send


class Step(Struct, frozen=True, kw_only=True):
    """Everything one event leads to; nothing of it leaves before the event is durable."""

    commands: tuple[Request, ...] = ()
    order_rows: tuple[AuditRow, ...] = ()
    fill_rows: tuple[FillRow, ...] = ()
    proofs_due: tuple[str, ...] = ()  # client ids of orders whose fills are now proven in full
    changed: tuple[TrackedOrder, ...] = ()  # orders of ours, as this step left them
    notes: tuple[Note, ...] = ()
    decision: Decision | None = None
    let_go: tuple[PastOrder, ...] = ()  # what left the book, for the archive

    @property
    def changed_orders(self) -> tuple[str, ...]:
        """Client ids of the orders that it changed."""
        return tuple(order.client_order_id for order in self.changed)


@dataclass(slots=True)
class Workbench:
    """What one event is doing to the book; turned into a Step at the end."""

    book: Book
    now_ns: int
    utc_us: int
    commands: list[Request] = field(default_factory=list)
    touched_orders: dict[str, None] = field(default_factory=dict)
    touched_venue_orders: dict[int, None] = field(default_factory=dict)
    touched_contracts: dict[str, None] = field(default_factory=dict)
    new_trades: dict[int, BrokerTrade] = field(default_factory=dict)
    trades_before: dict[int, BrokerTrade] = field(default_factory=dict)  # of them, as they were
    adjustments: dict[str, int] = field(default_factory=dict)  # contract -> signed contracts
    proofs_due: dict[str, None] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    decision: Decision | None = None
    recovering: bool = field(init=False)  # the account was not read yet when the step began

    def __post_init__(self) -> None:
        self.recovering = not self.book.recovered

    def note(self, tag: Tag, name: str, **fields: str | int) -> None:
        """Add one line for the log."""
        self.notes.append(Note(tag=tag, name=name, fields=fields))

    def warn(self, tag: Tag, name: str, **fields: str | int) -> None:
        """Add one line for the log that somebody who filters should still see."""
        self.notes.append(Note(tag=tag, name=name, fields=fields, severity=Severity.WARNING))

    def alert(self, severity: Severity, code: AlertCode, message: str) -> None:
        """Ask for a person's attention."""
        alert = self.book.alerts.post(severity, code, message, utc_us=self.utc_us)
        self.commands.append(
            RaiseAlert(alert_id=alert.alert_id, severity=severity, code=code, message=message)
        )
        if severity is Severity.CRITICAL:
            self.book.wake(Wake.ALERTS, self.now_ns + REPEAT_NS)
        tag = Tag.CRITICAL if severity is Severity.CRITICAL else Tag.CRITICAL_SYSTEM
        fields: dict[str, str | int] = {
            "alert_id": alert.alert_id,
            "code": code,
            "message": message,
        }
        self.notes.append(Note(tag=tag, name="alert", fields=fields, severity=severity))

    def count(self, trade: BrokerTrade) -> None:
        """Put ``trade`` into the book as it is told now, be it new or known."""
        held = self.book.trades.get(trade.trade_id)
        if held is not None:
            self.trades_before.setdefault(trade.trade_id, held)
        self.book.trades[trade.trade_id] = self.new_trades[trade.trade_id] = trade

    def keep(self, order: TrackedOrder) -> None:
        """Put ``order`` back into the book and note what changed about it."""
        book, name, contract_id = self.book, order.client_order_id, order.intent.contract_id
        before = book.orders.get(name)
        if before == order:
            return
        book.orders[name] = order
        numbers, held = book.client_of_broker_id, None if before is None else before.broker_order_id
        if held != order.broker_order_id and numbers.get(held or 0) == name:
            del numbers[held or 0]
        if order.broker_order_id is not None:
            # A number that the venue gave to another order since is that one's.
            numbers.setdefault(order.broker_order_id, name)
        if order.state in TERMINAL_STATES:
            book.live.pop(name, None)
            book.missing.pop(name, None)
            book.cancel_asked_ns.pop(order.broker_order_id or 0, None)
            book.cancel_unheld_ns.pop(order.broker_order_id or 0, None)
            book.asked_sizes.pop(order.broker_order_id or 0, None)
            book.unclear.pop(order.broker_order_id or 0, None)
        else:
            book.live[name] = contract_id
        self.touched_orders[name] = None
        self.touched_contracts[contract_id] = None
        book.changed.note(contract_id)  # also of what is no longer live
        if before is None or before.state is not order.state:
            self._note_state(before, order)
        if _is_proven(order) and (
            before is None or not _is_proven(before) or before.fills != order.fills
        ):
            # Also again, when a late or voided trade changes what was proven.
            self.proofs_due[name] = None

    def _note_state(self, before: TrackedOrder | None, order: TrackedOrder) -> None:
        fields: dict[str, str | int] = {
            "client_order_id": order.client_order_id,
            "state": str(order.state),
            "filled_quantity": order.filled_quantity,
            "quantity": final_quantity(order),
        }
        if before is not None:
            fields["from_state"] = str(before.state)
        if order.broker_order_id is not None:
            fields["broker_order_id"] = order.broker_order_id
        if order.venue_message:
            fields["venue_message"] = order.venue_message
        self.notes.append(Note(tag=Tag.ORDER, name="order_state", fields=fields))


def _is_proven(order: TrackedOrder) -> bool:
    """Nothing more is expected of the order, and trades account for all that was filled."""
    return order.is_terminal and bool(order.fills) and not order.lacks_trades
