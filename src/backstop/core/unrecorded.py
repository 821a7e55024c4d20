"""What may leave although it cannot be recorded: only what cannot add risk.

A full disk must not hold a position open, and must not let a new one be opened.
"""

from backstop.core.book import Book
from backstop.core.guardrails import STATE_DENIALS
from backstop.core.step import Decision
from backstop.domain.broker import BrokerOrder
from backstop.domain.commands import (
    AuditAccount,
    CancelOrder,
    ClosePosition,
    LookUpOrder,
    ModifyOrder,
    PlaceOrder,
    RaiseAlert,
    Request,
)
from backstop.domain.events import Fact, OrderRegistered
from backstop.domain.order import Side


def may_leave_unrecorded(book: Book, command: Request) -> bool:
    """Say whether ``command`` may be carried out although its record is not on disk."""
    match command:
        case PlaceOrder():
            return command.reduces_risk
        case CancelOrder():
            return command.reduces_risk or not _could_protect(book, command.broker_order_id)
        case ModifyOrder():
            # A change that keeps a stop or moves it away from the market looks the same from here.
            return False
        case ClosePosition():
            return True  # the venue's own close never opens or enlarges a position
        case LookUpOrder() | AuditAccount() | RaiseAlert():
            return True  # reads and alerts change nothing at the venue


def needs_record(fact: Fact, decision: Decision | None) -> bool:
    """Say whether nobody may hear ``decision`` about ``fact`` while it is not on disk.

    Whoever registers an order sends it next, and relies on being found after a crash. A refusal of
    new exposure because nothing can be recorded is no word about the order: it may be asked for
    again.
    """
    denials = () if decision is None else decision.denials
    return isinstance(fact, OrderRegistered) or any(it.code in STATE_DENIALS for it in denials)


def _could_protect(book: Book, broker_order_id: int) -> bool:
    """Say whether the order would take off a position: its cancel would not cut risk."""
    found = _contract_and_side(book, broker_order_id)
    if found is None:
        return True
    contract_id, side = found
    return book.position(contract_id).quantity * side.sign < 0


def _contract_and_side(book: Book, broker_order_id: int) -> tuple[str, Side] | None:
    client_order_id = book.client_of_broker_id.get(broker_order_id)
    if client_order_id is not None:
        intent = book.orders[client_order_id].intent
        return intent.contract_id, intent.side
    venue_order = book.venue_orders.get(broker_order_id)
    if venue_order is None:
        return None
    row: BrokerOrder = venue_order.row
    return row.contract_id, row.side
