"""What could fill of each contract at the worst: working, in-flight and UNKNOWN orders in full.

Protective legs up to the position they protect count zero; legs beyond it, and foreign orders,
could open a position and count like any order. Of a bot that trades by itself its stops and targets
are legs too, be they brackets or orders of their own.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from backstop.core.tracked_order import TrackedOrder
from backstop.domain.order import LegRole, OrderType, Side

if TYPE_CHECKING:
    from backstop.core.book import Book, VenueOrder


class Fillable(Struct, frozen=True, kw_only=True):
    """What is open of one order; ``role`` None: no leg."""

    contract_id: str
    side: Side
    quantity: int
    role: LegRole | None
    is_ours: bool  # of an entry that its legs belong to; not placed by the venue, nor by a stranger


def of_order(order: TrackedOrder) -> Fillable:
    """Return what could fill of an order of ours."""
    return Fillable(
        contract_id=order.intent.contract_id,
        side=order.intent.side,
        quantity=order.open_quantity,
        role=order.role,
        is_ours=True,
    )


def of_venue_order(venue_order: "VenueOrder") -> Fillable:
    """Return what could fill of a leg that the venue made, or of a foreign order."""
    row = venue_order.row
    is_leg = venue_order.owner is not None
    return Fillable(
        contract_id=row.contract_id,
        side=row.side,
        quantity=row.quantity - row.filled_quantity,
        role=(venue_order.role or LegRole.STOP_LOSS) if is_leg else None,
        is_ours=False,
    )


def of_bot_order(venue_order: "VenueOrder", position: int) -> Fillable:
    """Return what could fill of an order of a bot that trades by itself.

    Args:
        venue_order: of the bot.
        position: what is held of its contract, signed: what would close it counts as a leg.
    """
    row = venue_order.row
    closes = row.is_leg or position * row.side.sign < 0
    is_leg = closes and row.type is not OrderType.MARKET
    role = LegRole.TAKE_PROFIT if row.type is OrderType.LIMIT else LegRole.STOP_LOSS
    return Fillable(
        contract_id=row.contract_id,
        side=row.side,
        quantity=row.quantity - row.filled_quantity,
        role=role if is_leg else None,
        is_ours=not is_leg,
    )


def fillables_of(book: "Book", contract_id: str) -> tuple[Fillable, ...]:
    """Return what could fill of every order of one contract."""
    ours = map(of_order, book.live_orders(contract_id))
    if not book.policy.is_drop_copy:
        return (*ours, *map(of_venue_order, book.live_legs(contract_id)))
    position = book.position(contract_id).quantity
    others = (
        of_bot_order(it, position) if it.owner is None else of_venue_order(it)
        for it in book.live_legs(contract_id)
    )
    return (*ours, *others)


def reach(fillables: Iterable[Fillable], possible: Iterable[int]) -> tuple[int, int]:
    """Return what the position of one contract could become at the worst: least and most, signed.

    Args:
        fillables: of that contract.
        possible: what may be held of it, signed; more than one as long as nobody knows.
    """
    open_now = tuple(fillables)
    ends = [(held, _pending(open_now, held)) for held in possible]
    return (
        min(held - sides[Side.SELL] for held, sides in ends),
        max(held + sides[Side.BUY] for held, sides in ends),
    )


def _pending(fillables: Iterable[Fillable], position: int) -> dict[Side, int]:
    """Return how many contracts of one contract could be bought, and sold, at the worst.

    Args:
        fillables: of that contract.
        position: what is held of it, signed.
    """
    sides = {Side.BUY: 0, Side.SELL: 0}
    entries = {Side.BUY: 0, Side.SELL: 0}
    legs: dict[tuple[Side, LegRole], int] = {}
    for each in fillables:
        if each.role is not None:
            key = (each.side, each.role)
            legs[key] = legs.get(key, 0) + each.quantity
            continue
        sides[each.side] += each.quantity
        if each.is_ours:
            entries[each.side] += each.quantity
    if not legs:
        return sides
    for side in Side:
        # Stop and target of one entry exclude each other: the larger of the two can fill.
        largest = max((n for (of_side, _), n in legs.items() if of_side is side), default=0)
        protected = max(0, -position * side.sign) + entries[side.opposite]
        sides[side] += max(0, largest - protected)
    return sides
