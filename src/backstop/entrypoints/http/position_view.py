"""What the interface shows of positions and of what protects them; numbers as in ``order_view``."""

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from backstop.core.book import Book
from backstop.core.exits_in_question import held_at_most
from backstop.core.positions import Knowledge, PositionView
from backstop.core.protection_situation import Protection, protection_of
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.numbers import decimal_text
from backstop.domain.order import LegRole, OrderType, Side

NANOSECONDS_PER_MS = 1_000_000


class ProtectiveOrder(Struct, frozen=True, kw_only=True):
    """A working stop or target of a position."""

    broker_order_id: int
    price: str | None
    quantity: int
    type: OrderType | None


class PositionRow(Struct, frozen=True, kw_only=True):
    """One position. ``stop`` is the working stop that would be hit first, ``stops`` are all.

    ``quantity`` is signed; ``naked_ms`` says for how long the stops have not covered it, 0 while
    they do, and ``naked_ms_max`` for how long they did not at most, since it was opened. Of
    ``in_question`` contracts, which are in ``quantity``, only reads of one moment say that they are
    gone; while there are any, ``knowledge`` is UNKNOWN. It is STALE while the user hub is not
    trusted or the account could not be read (``ACCOUNT_STALE``).
    """

    symbol: str
    contract_id: str
    quantity: int
    in_question: int
    average_price: str | None
    stop: ProtectiveOrder | None
    target: ProtectiveOrder | None
    knowledge: Knowledge
    naked_ms: int
    naked_ms_max: int
    protection: Protection
    stops: tuple[ProtectiveOrder, ...]
    targets: tuple[ProtectiveOrder, ...]


class PositionList(Struct, frozen=True, kw_only=True):
    """Every position that is not known to be flat."""

    positions: tuple[PositionRow, ...]


def position_rows(book: Book, *, now_ns: int) -> tuple[PositionRow, ...]:
    """Return every position that is not known to be flat: what is not known may be one."""
    return tuple(
        position_row(book, view, now_ns=now_ns)
        for view in book.positions.values()
        if view.quantity or view.ledger or view.in_question or not _is_known(view)
    )


def position_row(book: Book, view: PositionView, *, now_ns: int) -> PositionRow:
    """Return one position with the orders that protect it, also a flat one."""
    held = held_at_most(view)
    stops = tuple(_protective(row) for row in _working_stops(book, view.contract_id, held))
    targets = tuple(_protective(row) for row in _working_targets(book, view.contract_id, held))
    naked_ns = now_ns - view.naked_since_ns if view.naked_since_ns else 0
    naked_max_ns = max(naked_ns, book.protection.record(view.contract_id).naked_max_ns)
    return PositionRow(
        symbol=book.symbol_of(view.contract_id),
        contract_id=view.contract_id,
        quantity=held,
        in_question=view.in_question,
        average_price=decimal_text(view.average_price) if view.quantity else None,
        stop=stops[0] if stops else None,
        target=targets[0] if targets else None,
        knowledge=_knowledge(book, view, now_ns=now_ns),
        naked_ms=naked_ns // NANOSECONDS_PER_MS,
        naked_ms_max=naked_max_ns // NANOSECONDS_PER_MS,
        protection=_protection(book, view, stops),
        stops=stops,
        targets=targets,
    )


def _knowledge(book: Book, view: PositionView, *, now_ns: int) -> Knowledge:
    """Return how far it can be trusted; a hub that keeps silent shows in reads that fail alone."""
    if view.in_question:
        return Knowledge.UNKNOWN
    if _is_known(view) and book.account_stale_ns(now_ns) is not None:
        return Knowledge.STALE
    return view.knowledge


def _is_known(view: PositionView) -> bool:
    return view.knowledge is Knowledge.KNOWN


def _protection(book: Book, view: PositionView, stops: Iterable[ProtectiveOrder]) -> Protection:
    """Return how a position stands; what is in question is not repaired, but it may lack a stop."""
    found = protection_of(book, view.contract_id)
    covered = sum(stop.quantity for stop in stops)
    if view.in_question and found is Protection.PROTECTED and covered < abs(held_at_most(view)):
        return Protection.UNPROTECTED
    return found


def _working_stops(book: Book, contract_id: str, held: int) -> list[BrokerOrder]:
    """Return the stops that would close ``held``, the one that is hit first in front."""
    side = Side.SELL if held > 0 else Side.BUY
    rows = [
        row
        for row in book.working_rows(contract_id)
        if held
        and row.side is side
        and row.status is BrokerStatus.OPEN
        and row.type in {OrderType.STOP, OrderType.TRAILING_STOP}
    ]
    return sorted(rows, key=lambda row: side.sign * (row.stop_price or Decimal(0)))


def _working_targets(book: Book, contract_id: str, held: int) -> list[BrokerOrder]:
    """Return the targets of ``held``, the one that is hit first in front."""
    side = Side.SELL if held > 0 else Side.BUY
    legs = book.live_legs(contract_id)
    live = book.live_orders(contract_id)
    ours = (order for order in live if order.role is LegRole.TAKE_PROFIT)
    rows = [
        row
        for row in (
            *(leg.row for leg in legs if leg.role is LegRole.TAKE_PROFIT),
            *(order.venue for order in ours if order.venue is not None),
        )
        if held and row.side is side and row.status is BrokerStatus.OPEN
    ]
    return sorted(rows, key=lambda row: -side.sign * (row.limit_price or Decimal(0)))


def _protective(row: BrokerOrder) -> ProtectiveOrder:
    return ProtectiveOrder(
        broker_order_id=row.broker_order_id,
        price=decimal_text(row.stop_price if row.limit_price is None else row.limit_price),
        quantity=row.quantity - row.filled_quantity,
        type=row.type,
    )
