"""Where a position is about to be: with the fills that rows tell of and no trade has shown yet."""

from typing import TYPE_CHECKING

from backstop.core.exits_in_question import held_at_most
from backstop.core.positions import PositionView

if TYPE_CHECKING:
    from backstop.core.book import Book


def quantity_to_come(book: "Book", view: PositionView) -> int:
    """Return what the trades of a contract add up to once all of them are here, signed.

    What reads have moved the ledger by, because no trade explained it, are such fills: they count
    there and not once more.
    """
    bought, sold = uncounted(book, view)
    return view.ledger + bought - sold


def uncounted(book: "Book", view: PositionView) -> tuple[int, int]:
    """Return how many contracts rows say were bought, and sold, that the ledger has not in it."""
    missing = {1: 0, -1: 0}
    unexplained = {sign: view.adjusted_towards(sign) for sign in missing}
    for fill in book.protection.awaited.values():
        if fill.contract_id != view.contract_id:
            continue
        number, sign = abs(fill.quantity), 1 if fill.quantity > 0 else -1
        if fill.told_utc_us <= view.adjusted_utc_us:
            counted = min(number, unexplained[sign])
            number -= counted
            unexplained[sign] -= counted
        missing[sign] += number
    return missing[1], missing[-1]


def held_by_any_word(book: "Book", view: PositionView) -> int:
    """Return the most that any witness says is held on the side of the position, signed.

    Whoever asks for a close may ask for so much: the venue closes what is there and never more.
    """
    held, to_come = held_at_most(view), quantity_to_come(book, view)
    return to_come if held * to_come >= 0 and abs(to_come) > abs(held) else held


def closes_to_come(book: "Book", view: PositionView) -> int:
    """Return how many contracts of a position rows say are closed, and no trade has shown yet.

    Those that an exit of ours closes are left out: it counts as open until its trades are here.
    """
    held = view.quantity
    if not any(
        fill.contract_id == view.contract_id and fill.quantity * held < 0
        for fill in book.protection.awaited.values()
    ):
        return 0
    to_come = quantity_to_come(book, view)
    left = abs(to_come) if to_come * held > 0 else 0
    ours = sum(
        fill_to_come(book, order.broker_order_id) for order in book.exits_of(view.contract_id, held)
    )
    return max(0, abs(held) - left - ours)


def contracts_to_come(book: "Book") -> dict[str, None]:
    """Return the contracts in which a row tells of a fill that no trade has shown all of yet."""
    return {fill.contract_id: None for fill in book.protection.awaited.values()}


def fill_to_come(book: "Book", broker_order_id: int | None) -> int:
    """Return how many contracts of an order its row says are filled and no trade has shown yet."""
    fill = book.protection.awaited.get(broker_order_id or 0)
    return 0 if fill is None else abs(fill.quantity)
