"""Protective orders that no position stands behind: they leave, for they would open a new one.

A leg outlives its position when that is closed some other way, and so does a stop of our own or of
somebody else. While one works, no new entry is let into its contract: it would take it for cover.
"""

from collections.abc import Iterator

from msgspec import Struct

from backstop.core.book import Book, VenueOrder, Wake
from backstop.core.evidence import ask_for_audit
from backstop.core.fills_to_come import quantity_to_come
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.positions import Knowledge, PositionView
from backstop.core.step import Tag, Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.commands import CancelOrder
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.order import OrderState

ORPHAN_SETTLE_NS = 250 * MILLISECOND_NS
"""The venue cancels the sibling of a filled leg, and what it made for a position, by itself within
some 40 ms: let it. And a trade that enlarged the position may be told after the one that closed
it."""

ASK_AGAIN_NS = 2 * SECOND_NS
"""How long a request about a leg may take before it is made again."""


class Leftover(Struct, frozen=True, kw_only=True):
    """A working order that protects nothing; ``owner`` is the entry of a leg, None of others.

    ``is_bot_s``: a bot that trades by itself placed it, and is about to take it away as a rule.
    """

    row: BrokerOrder
    owner: str | None = None
    is_bot_s: bool = False


def leftovers(book: Book, contract_id: str) -> Iterator[Leftover]:
    """Yield the open protective orders of a contract that its position, or its absence, disowns."""
    view = book.positions.get(contract_id)
    if view is None:
        return
    untouched, to_come = book.policy.leaves_bot_alone, quantity_to_come(book, view)
    for held in book.live_legs(contract_id):
        if held.owner is not None and _protects_nothing(held.row, view, to_come):
            yield Leftover(row=held.row, owner=held.owner)
        elif _is_leg_of_bot(book, held) and _protects_nothing(held.row, view, to_come):
            yield Leftover(row=held.row, is_bot_s=True)
    if not book.policy.protects:
        return
    for order in book.live_orders(contract_id):
        row = order.venue
        if order.role is None or row is None or row.contract_id != contract_id:
            continue
        if _protects_nothing(row, view, to_come):
            yield Leftover(row=row)
    for number in () if untouched else book.protection.record(contract_id).leftovers:
        row = _live_row(book, number)
        if row is not None and _protects_nothing(row, view, to_come):
            yield Leftover(row=row, is_bot_s=book.policy.is_drop_copy)


def _is_leg_of_bot(book: Book, held: VenueOrder) -> bool:
    """Say whether an order is a leg of a bot that trades by itself, to be swept where it is not."""
    policy = book.policy
    swept = policy.is_drop_copy and not policy.leaves_bot_alone
    return swept and held.owner is None and held.row.is_leg


def _protects_nothing(row: BrokerOrder, view: PositionView, to_come: int) -> bool:
    """Say whether an open order would open or enlarge a position if it filled.

    No witness may speak of a position that it would close: neither one late row of the position nor
    reads that nothing else explains may take the only stop away, nor may a trade that is late.

    Args:
        row: of the order.
        view: what is believed of the position.
        to_come: what its trades add up to once all of them are here, signed.
    """
    if row.status is not BrokerStatus.OPEN or view.in_question * row.side.sign < 0:
        return False
    sign = row.side.sign
    if any(held * sign < 0 for held in (view.ledger, view.differing or 0, to_come)):
        return False
    if view.quantity == 0:
        return view.ledger == 0  # trades and rows agree
    return view.quantity * sign > 0


def _live_row(book: Book, broker_order_id: int) -> BrokerOrder | None:
    held = book.venue_orders.get(broker_order_id)
    if held is not None:
        return held.row if held.row.status.is_live else None
    name = book.client_of_broker_id.get(broker_order_id)
    return None if name is None else book.orders[name].venue


def watch_leftovers(work: Workbench, contract_id: str) -> None:
    """Have the leftovers of a contract swept, once the venue had the time to do it."""
    book = work.book
    if not book.policy.sends:
        return
    if next(leftovers(book, contract_id), None) is not None:
        book.wake(Wake.ORPHANS, work.now_ns + ORPHAN_SETTLE_NS)


def sweep_leftovers(work: Workbench) -> None:
    """Cancel the leftovers of every contract, when the time for it has come."""
    book = work.book
    if not book.woken(Wake.ORPHANS, work.now_ns):
        return
    for contract_id, view in book.positions.items():
        for leftover in leftovers(book, contract_id):
            book.wake(Wake.ORPHANS, work.now_ns + ASK_AGAIN_NS)
            if not _is_certain(book, leftover, view, now_ns=work.now_ns):
                # Its entry may have filled while the trade is on the way: read, and look again.
                ask_for_audit(work)
            elif _may_ask(work, leftover.row.broker_order_id):
                _cancel(work, leftover)


def _cancel(work: Workbench, leftover: Leftover) -> None:
    row = leftover.row
    work.note(
        Tag.ORDER,
        "orphaned_leg_cancelled",
        broker_order_id=row.broker_order_id,
        owner=leftover.owner or "",
    )
    work.commands.append(
        CancelOrder(
            account_id=row.account_id,
            broker_order_id=row.broker_order_id,
            reason="its position is closed",
        )
    )


def _is_certain(book: Book, leftover: Leftover, view: PositionView, *, now_ns: int) -> bool:
    """Say whether an order has nothing left to protect; ``view`` says what its contract holds.

    What was known before the entry of a leg filled proves nothing: either the trades of the entry
    are complete and closed again, or reads agree that were sent so long after the last event that
    they cannot show what was before it. A stop that is not a leg was there because a position was:
    that this one is gone is evidence enough.
    """
    if view.knowledge is not Knowledge.KNOWN:
        return False
    if leftover.is_bot_s:
        return view.is_proven and now_ns >= view.evidence_ns + book.policy.bot_grace_ns
    if leftover.owner is None:
        return True
    entry = book.orders.get(leftover.owner)
    return view.is_proven_late or (entry is not None and _is_counted(book, entry))


def _is_counted(book: Book, entry: TrackedOrder) -> bool:
    """Say whether the trades of an entry are complete, and its position closed by no other's.

    An entry of the other side may seem to have closed a position, and its leg to protect nothing.
    While one more order of its side may have filled unheard, the two are more than there was.
    """
    if not entry.is_terminal or not entry.fills or entry.lacks_trades:
        return False
    return not any(
        order.intent.side is entry.intent.side and order.role is None
        for order in book.live_orders(entry.intent.contract_id)
    )


def _may_ask(work: Workbench, broker_order_id: int) -> bool:
    asked = work.book.cancel_asked_ns
    last_ns = asked.get(broker_order_id)
    if last_ns is not None and work.now_ns - last_ns < ASK_AGAIN_NS:
        return False
    asked[broker_order_id] = work.now_ns
    return True


def leftover_denials(book: Book, contract_id: str) -> tuple[Denial, ...]:
    """Return why no entry may go into a contract while a stop of an earlier position works."""
    if not book.policy.protects:
        return ()
    numbers = [str(leftover.row.broker_order_id) for leftover in leftovers(book, contract_id)]
    in_doubt = _in_doubt(book, contract_id)
    in_question = book.position(contract_id).in_question
    if not numbers and not in_doubt and not in_question:
        return ()
    works = f"orders {', '.join(numbers)} protected an earlier position and still work; they are "
    doubtful = f"{', '.join(in_doubt)}, sent for an earlier position, may still work: its fate is "
    said = (
        works + "being cancelled" if numbers else "",
        doubtful + "UNKNOWN and it is being looked up" if in_doubt else "",
        f"reads alone say that {in_question:+d} are gone: what protected them works until a later "
        "read says so too"
        if in_question
        else "",
    )
    return (
        Denial(
            code=DenialCode.PROTECTION_LEFTOVER,
            message="; ".join(text for text in said if text),
            value=str(len(numbers) + len(in_doubt) + bool(in_question)),
            limit="0",
        ),
    )


def _in_doubt(book: Book, contract_id: str) -> list[str]:
    """Return our protective orders of unknown fate that protect nothing that is held now."""
    sign = book.protection.record(contract_id).sign
    return [
        order.client_order_id
        for order in book.live_orders(contract_id)
        if order.role is not None
        and order.state is OrderState.UNKNOWN
        and order.intent.side.sign * sign >= 0
    ]
