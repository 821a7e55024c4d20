"""Wishes that take protection away from a position: they do not cut risk, they take it on.

Cancelling a stop that the position needs, or making it smaller, is refused in every state. Where
positions may go without a stop (``STOP_REQUIRED`` off), and for a stop that is moved away from the
market, it is judged like a new entry: possible only while new exposure is.
"""

from backstop.core.book import STOP_TYPES, Book
from backstop.core.guardrails import state_denials
from backstop.core.tracked_order import TrackedOrder, levels
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.instrument import Instrument
from backstop.domain.order import OrderState, OrderType, Side


def withdrawal_denials(
    book: Book, order: TrackedOrder, contracts: int, *, now_ns: int
) -> tuple[Denial, ...]:
    """Return why ``contracts`` of ``order`` cannot be taken back; nothing when no stop is missed.

    What others protect counts, and what a market exit closes already needs no stop.
    """
    contract_id, side = order.intent.contract_id, order.intent.side
    held = _held_against(book, contract_id, side)
    if order.intent.type not in STOP_TYPES or contracts <= 0 or not held:
        return ()
    left = 0
    for row in book.working_stops(contract_id, -side.sign):
        if row.broker_order_id == order.broker_order_id:
            left += max(0, order.open_quantity - contracts)
        elif row.broker_order_id not in book.asked:  # it may be gone before this one is
            left += row.quantity - row.filled_quantity
    if left + _closing(book, contract_id, side) >= held:
        return ()
    if not book.policy.stop_required:
        return _exposure_denials(book, contract_id, now_ns=now_ns)
    return (
        Denial(
            code=DenialCode.PROTECTION_REQUIRED,
            message=(
                f"without it working stops cover {left} of the {held} contracts of "
                f"{order.intent.symbol}: place another stop first, or close the position"
            ),
            value=str(left),
            limit=str(held),
        ),
    )


def widening_denials(
    book: Book,
    exit_: TrackedOrder,
    stop_ticks: int | None,
    instrument: Instrument,
    *,
    now_ns: int,
) -> tuple[Denial, ...]:
    """Return why a position's stop cannot be moved to ``stop_ticks`` now: away is more loss."""
    _, stands = levels(exit_, instrument)
    if stop_ticks is None or stands is None:
        return ()
    if (instrument.price(stop_ticks) - stands) * exit_.intent.side.sign <= 0:
        return ()
    return _exposure_denials(book, exit_.intent.contract_id, now_ns=now_ns)


def _held_against(book: Book, contract_id: str, side: Side) -> int:
    """Return the contracts that an order of ``side`` may be protecting: rows or trades say so."""
    view = book.position(contract_id)
    return max(0, -view.quantity * side.sign, -view.ledger * side.sign)


def _closing(book: Book, contract_id: str, side: Side) -> int:
    """Return the contracts that the venue is closing at the market just now."""
    close = book.closes.get(contract_id)
    asked = close.wanted if close is not None and close.may_be_filling else 0
    return asked + sum(
        exit_.open_quantity
        for exit_ in book.live_orders()
        if exit_.intent.contract_id == contract_id
        and exit_.intent.side is side
        and exit_.intent.type is OrderType.MARKET
        # Not what is UNKNOWN: it may never have arrived.
        and exit_.state in {OrderState.WORKING, OrderState.PARTIALLY_FILLED}
    )


def _exposure_denials(book: Book, contract_id: str, *, now_ns: int) -> tuple[Denial, ...]:
    return state_denials(
        book.trading_state(now_ns, contract_id),
        book.state_reasons(now_ns, contract_id),
        book.policy,
    )
