"""A position that lost its stop while nobody guarded: the stop comes back, and a person is told.

Who took it away did so on purpose or by accident, and neither shows in a position that has its stop
again: for all that time it had none.
"""

from collections.abc import Iterator

from backstop.core.book import STOP_TYPES, Book, VenueOrder
from backstop.core.protection_levels import row_of
from backstop.core.protection_record import ProtectionRecord
from backstop.core.protection_situation import Situation, is_being_closed, situation
from backstop.core.step import Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.commands import Severity
from backstop.domain.numbers import count_text, plain
from backstop.domain.order import LegRole


def tell_bare_at_start(work: Workbench) -> None:
    """Tell of every position whose stops the first complete read of a process shows as ended."""
    book = work.book
    if not book.policy.protects:
        return
    for contract_id, record in book.protection.records.items():
        if not record.sign:
            continue
        now = situation(book, contract_id)
        ended = tuple(_ended(work, record)) if now.uncovered and now.view.quantity else ()
        if not ended:
            continue
        orders = ", ".join(f"{row.broker_order_id} ({row.status})" for row in ended)
        work.alert(
            Severity.WARNING,
            AlertCode.POSITION_NAKED,
            f"{now.uncovered} of {now.view.quantity:+d} {book.symbol_of(contract_id)} had no "
            f"working stop when this process began: the venue shows order {orders} as ended, and "
            f"Backstop did not ask for that. {_what_follows(book, now)}",
        )


def _ended(work: Workbench, record: ProtectionRecord) -> Iterator[BrokerOrder]:
    """Yield the stops of a position that this read was the first to show as ended unfilled."""
    book = work.book
    adopted = frozenset(record.adopted)
    for number in work.touched_venue_orders:
        held = book.venue_orders.get(number)
        if held is not None and (_is_stop_leg(held) or number in adopted):
            yield from _if_taken_away(held.row, record)
    for name in work.touched_orders:
        order = book.orders[name]
        if order.role is LegRole.STOP_LOSS or (order.broker_order_id or 0) in adopted:
            row = row_of(book, order.broker_order_id or 0)
            if row is not None:
                yield from _if_taken_away(row, record)


def _is_stop_leg(held: VenueOrder) -> bool:
    return held.owner is not None and held.row.type in STOP_TYPES


def _if_taken_away(row: BrokerOrder, record: ProtectionRecord) -> Iterator[BrokerOrder]:
    closes = row.contract_id == record.contract_id and row.side.sign == -record.sign
    if closes and not row.status.is_live and row.status is not BrokerStatus.FILLED:
        yield row


def _what_follows(book: Book, now: Situation) -> str:
    if book.left_alone_ms or is_being_closed(book, now.contract_id):
        return "The contract is taken flat."
    wanted = [(it.quantity, it.ticks) for it in now.missing]
    wanted += [(it.quantity, it.ticks) for it in now.coming]
    levels = ", ".join(
        f"{count_text(quantity, 'contract')} at {plain(now.instrument.price(ticks)):f}"
        for quantity, ticks in wanted
        if ticks is not None and now.instrument is not None
    )
    if not levels:
        return "Nothing on record says where it should be."
    if not book.policy.sends:
        return f"On record is {levels}, but nothing is sent: the gate is closed."
    return f"What is on record is put back: {levels}."
