"""What may leave although it cannot be recorded: only what cannot add risk.

A full disk must not hold a position open, and must not let a new one be opened.
"""

from decimal import Decimal
from typing import Final, NamedTuple

from backstop.core.book import STOP_TYPES, Book
from backstop.core.entry_gate import STATE_DENIALS
from backstop.core.step import Decision
from backstop.domain.broker import BrokerOrder, BrokerStatus
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
from backstop.domain.order import OrderType, Side

NO_STOPS: Final = frozenset({OrderType.MARKET, OrderType.LIMIT})
"""What closes without protecting; an order of a type that is not known may be a stop."""


class _Held(NamedTuple):
    """What matters of an order here."""

    contract_id: str
    side: Side
    type: OrderType | None
    quantity: int
    filled_quantity: int
    stop_price: Decimal | None


def may_leave_unrecorded(book: Book, command: Request) -> bool:
    """Say whether ``command`` may be carried out although its record is not on disk."""
    match command:
        case PlaceOrder():
            return command.reduces_risk
        case CancelOrder():
            return command.reduces_risk or _protects_no_longer(book, command.broker_order_id)
        case ModifyOrder():
            return _adds_no_risk(book, command)
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


def _protects_no_longer(book: Book, broker_order_id: int) -> bool:
    """Say whether nothing is left that the order would take off: its cancel cuts risk, or none.

    A stop may go as well when the others cover the whole position, and an exit or a target while
    together they close more than is held: what is too much of them would open another position.
    """
    held = _held(book, broker_order_id)
    if held is None:
        return False
    position = book.position(held.contract_id).quantity
    if position * held.side.sign >= 0:
        return True
    if held.type in NO_STOPS:
        return _closed_without_stops(book, held) > abs(position)
    without = book.stop_cover(held.contract_id, position) - held.quantity + held.filled_quantity
    return held.type in STOP_TYPES and without >= abs(position)


def _closed_without_stops(book: Book, like: _Held) -> int:
    """Return the contracts that working exits and targets on the side of ``like`` would close."""
    return sum(
        row.quantity - book.filled_of(row)
        for row in book.working_rows(like.contract_id)
        if row.side is like.side
        and row.status is BrokerStatus.OPEN
        and row.type in NO_STOPS
        and not book.is_unlisted(row.broker_order_id)
    )


def _adds_no_risk(book: Book, command: ModifyOrder) -> bool:
    """Say whether a change leaves the position at least as well protected, and no larger."""
    held = _held(book, command.broker_order_id)
    if held is None:
        return False
    position = book.position(held.contract_id).quantity
    more = 0 if command.quantity is None else command.quantity - held.quantity
    if position * held.side.sign >= 0:
        # An entry may become smaller; another price could make it fill.
        return more < 0 and command.limit_price is None and command.stop_price is None
    if held.type not in STOP_TYPES:
        return more <= 0  # a target takes off less, wherever it stands
    before = book.stop_cover(held.contract_id, position)
    covers = before + more >= min(before, abs(position))
    exceeds = more > 0 and before + more > abs(position)
    return covers and not exceeds and not _moves_away(held, command.stop_price)


def _moves_away(held: _Held, stop_price: Decimal | None) -> bool:
    """Say whether a stop at ``stop_price`` would let a loss grow larger than it does now."""
    if stop_price is None:
        return False
    return held.stop_price is None or (stop_price - held.stop_price) * held.side.sign > 0


def _held(book: Book, broker_order_id: int) -> _Held | None:
    """Return an order as the venue shows it, or as it was sent while it does not yet."""
    client_order_id = book.client_of_broker_id.get(broker_order_id)
    if client_order_id is None:
        venue_order = book.venue_orders.get(broker_order_id)
        return None if venue_order is None else _shown(venue_order.row)
    order = book.orders[client_order_id]
    if order.venue is not None:
        return _shown(order.venue)
    intent = order.intent
    return _Held(intent.contract_id, intent.side, intent.type, intent.quantity, 0, None)


def _shown(row: BrokerOrder) -> _Held:
    return _Held(
        row.contract_id, row.side, row.type, row.quantity, row.filled_quantity, row.stop_price
    )
