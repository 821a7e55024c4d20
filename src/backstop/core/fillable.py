"""What could fill of each contract at the worst: working, in-flight and UNKNOWN orders in full.

Protective legs up to the position they protect count zero; legs beyond it, and foreign orders,
could open a position and count like any order. Of a bot that trades by itself its stops and targets
are legs too, be they brackets or orders of their own.

A fill that only a row tells of has happened, or it has not: until its trade is here both count. A
stop of a position that such a fill has closed could open one.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.fills_to_come import contracts_to_come, fill_to_come, quantity_to_come
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


def contracts_in_reach(book: "Book") -> dict[str, None]:
    """Return every contract that is held, or could be."""
    return dict.fromkeys(
        (
            *(view.contract_id for view in book.positions.values() if any(view.possible)),
            *book.live.contracts(),
            *book.live_venue.contracts(),
            *contracts_to_come(book),
        )
    )


def is_in_reach(book: "Book", contract_id: str) -> bool:
    """Say whether something is held in a contract, or could be."""
    return (
        contract_id in book.live.contracts()
        or contract_id in book.live_venue.contracts()
        or any(book.position(contract_id).possible)
        or contract_id in contracts_to_come(book)
    )


def reach_of(book: "Book", contract_id: str) -> tuple[int, int]:
    """Return what one contract's position could become at the worst: least and most, signed."""
    view = book.position(contract_id)
    ends = reach(fillables_of(book, contract_id), view.possible)
    if contract_id not in contracts_to_come(book):
        return ends
    held = quantity_to_come(book, view)
    least, most = reach(_fillables(book, contract_id, held, filled_as_told=True), (held,))
    return min(least, ends[0]), max(most, ends[1])


def fillables_of(book: "Book", contract_id: str) -> tuple[Fillable, ...]:
    """Return what could fill of every order of one contract."""
    return _fillables(book, contract_id, book.position(contract_id).quantity, filled_as_told=False)


def _fillables(
    book: "Book", contract_id: str, position: int, *, filled_as_told: bool
) -> tuple[Fillable, ...]:
    """Return it at a position; ``filled_as_told``: of ours, only what their rows leave open."""
    ours = [of_order(order) for order in book.live_orders(contract_id)]
    if filled_as_told:
        ours = [_as_told(book, order) for order in book.live_orders(contract_id)]
    if not book.policy.is_drop_copy:
        return (*ours, *map(of_venue_order, book.live_legs(contract_id)))
    others = (
        of_bot_order(it, position) if it.owner is None else of_venue_order(it)
        for it in book.live_legs(contract_id)
    )
    return (*ours, *others)


def _as_told(book: "Book", order: TrackedOrder) -> Fillable:
    """Return what could fill of an order of ours after all that its row says has filled."""
    fillable = of_order(order)
    left = fillable.quantity - fill_to_come(book, order.broker_order_id)
    return replace(fillable, quantity=max(0, left))


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
    own_legs: dict[tuple[Side, LegRole], int] = {}
    for each in fillables:
        if each.role is not None:
            of_kind = own_legs if each.is_ours else legs
            key = (each.side, each.role)
            of_kind[key] = of_kind.get(key, 0) + each.quantity
            continue
        sides[each.side] += each.quantity
        if each.is_ours:
            entries[each.side] += each.quantity
    # Stop and target of one entry exclude each other: the larger of the two can fill.
    most = {Side.BUY: 0, Side.SELL: 0}
    for key in {**legs, **own_legs}:
        side, of_entries = key[0], legs.get(key, 0)
        # The venue's legs wait for their entry. Ours protect what was held: no entry explains them.
        waiting = min(of_entries, entries[side.opposite])
        most[side] = max(most[side], of_entries - waiting + own_legs.get(key, 0))
    for side, contracts in most.items():
        sides[side] += max(0, contracts - max(0, -position * side.sign))
    return sides
