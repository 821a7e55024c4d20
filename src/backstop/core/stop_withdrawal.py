"""Wishes that take protection away from a position: they do not cut risk, they take it on.

Cancelling a stop that the position needs, or making it smaller, is refused in every state. Where
positions may go without a stop (``STOP_REQUIRED`` off), and for a stop that is moved away from the
market, it is judged like a new entry: possible only while new exposure is.
"""

from collections.abc import Iterable

from backstop.core.book import STOP_TYPES, Book
from backstop.core.entry_gate import state_denials
from backstop.core.execution_verification import REPLY_LIMIT_NS
from backstop.core.fills_to_come import quantity_to_come
from backstop.core.order_moves import LATE_NS
from backstop.core.tracked_order import TrackedOrder, levels
from backstop.domain.broker import BrokerOrder
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.instrument import Instrument, Rounding
from backstop.domain.numbers import count_text
from backstop.domain.order import OrderState, OrderType, Side


def withdrawal_denials(
    book: Book, order: TrackedOrder, contracts: int, *, now_ns: int
) -> tuple[Denial, ...]:
    """Return why ``contracts`` of ``order`` cannot be taken back; nothing when no stop is missed.

    What others protect counts, and what a market exit closes already needs no stop.
    """
    if order.intent.type not in STOP_TYPES or contracts <= 0:
        return ()
    return stop_withdrawal_denials(
        book,
        order.intent.contract_id,
        order.intent.side,
        broker_order_id=order.broker_order_id,
        left_of_it=max(0, order.open_quantity - contracts),
        now_ns=now_ns,
    )


def stop_withdrawal_denials(
    book: Book,
    contract_id: str,
    side: Side,
    *,
    broker_order_id: int | None,
    left_of_it: int,
    now_ns: int,
) -> tuple[Denial, ...]:
    """Return why a stop, whoever placed it, cannot be cut to ``left_of_it`` contracts, or to none.

    ``side`` is the side of the stop.
    """
    held = _held_against(book, contract_id, side)
    if not held:
        return ()
    left = _left_working(book, contract_id, side, broker_order_id, left_of_it=left_of_it)
    closing = _closing(book, contract_id, side)
    if left + closing >= held:
        return _displacement_denials(
            book,
            contract_id,
            side,
            broker_order_id,
            left_of_it=left_of_it,
            held=held - closing,
            now_ns=now_ns,
        )
    if not book.policy.stop_required:
        return _exposure_denials(book, contract_id, now_ns=now_ns)
    return (
        Denial(
            code=DenialCode.PROTECTION_REQUIRED,
            message=(
                f"without it working stops cover {left} of the {count_text(held, 'contract')} of "
                f"{book.symbol_of(contract_id)}: place another stop first, or close the position"
            ),
            value=str(left),
            limit=str(held),
        ),
    )


def _displacement_denials(
    book: Book,
    contract_id: str,
    side: Side,
    broker_order_id: int | None,
    *,
    left_of_it: int,
    held: int,
    now_ns: int,
) -> tuple[Denial, ...]:
    """Return why a stop cannot make room for others that lose more: that is to move it away."""
    denials = _exposure_denials(book, contract_id, now_ns=now_ns)
    stops = book.working_stops(contract_id, -side.sign) if denials else ()
    stop = next((it for it in stops if it.broker_order_id == broker_order_id), None)
    if stop is None:
        return ()
    left = _left_working(
        book, contract_id, side, broker_order_id, left_of_it=left_of_it, as_near_as=stop
    )
    return () if left >= held else denials


def may_widen(book: Book, contract_id: str, *, now_ns: int) -> bool:
    """Say whether a stop of a contract may be moved away from the market now."""
    return not state_denials(book.trading_state(now_ns, contract_id), (), book.policy)


def is_missed(book: Book, order: TrackedOrder) -> bool:
    """Say whether a position would lack a stop without ``order``, whatever it was sent for."""
    intent = order.intent
    if intent.type not in STOP_TYPES:
        return False
    held = _held_against(book, intent.contract_id, intent.side)
    left = _left_working(book, intent.contract_id, intent.side, order.broker_order_id, left_of_it=0)
    return left < held


def widening_denials(
    book: Book,
    contract_id: str,
    *,
    sign: int,
    stands: Iterable[int],
    asked: int,
    now_ns: int,
) -> tuple[Denial, ...]:
    """Return why stops of a position cannot be moved now; the one rule for every way to ask.

    Towards the market is allowed in every state. Away from it the loss grows, which is judged like
    an entry, also while other contracts of the position have no stop at all.

    Args:
        book: what is known.
        contract_id: of the position.
        sign: +1 for a long position, -1 for a short one.
        stands: levels in ticks of the stops that would be moved; none: nothing gets wider.
        asked: the level in ticks that they would be moved to.
        now_ns: monotonic.
    """
    if not any((level - asked) * sign > 0 for level in stands):
        return ()
    return _exposure_denials(book, contract_id, now_ns=now_ns)


def order_widening_denials(
    book: Book, exit_: TrackedOrder, asked: int | None, instrument: Instrument, *, now_ns: int
) -> tuple[Denial, ...]:
    """Return why one stop of ours cannot be moved to ``asked`` (ticks) now."""
    _, price = levels(exit_, instrument)
    if asked is None or price is None:
        return ()
    return widening_denials(
        book,
        exit_.intent.contract_id,
        sign=-exit_.intent.side.sign,
        stands=(instrument.rounded_ticks(price, Rounding.NEAREST),),
        asked=asked,
        now_ns=now_ns,
    )


def _left_working(
    book: Book,
    contract_id: str,
    side: Side,
    broker_order_id: int | None,
    *,
    left_of_it: int,
    as_near_as: BrokerOrder | None = None,
) -> int:
    """Return the contracts that stops cover when all that was asked about them has come.

    A stop that is being taken away may be gone before this one is, one that the newest list lacks
    may be gone already, and one that is being cut may be smaller, also while the venue has not
    shown it. With ``as_near_as`` only those count that are no farther from the market than that
    one, or of which nobody knows it.
    """
    left = 0
    for row in book.working_stops(contract_id, -side.sign):
        number = row.broker_order_id
        if as_near_as is not None and _is_farther(row, as_near_as):
            continue
        asked = book.asked_sizes.get(number)
        size = row.quantity if asked is None else asked.quantity
        change = book.protection.changes.get(number)
        if change is not None and change.quantity is not None:
            size = min(size, change.quantity)
        stays = max(0, min(size, row.quantity) - book.filled_of(row))
        if number == broker_order_id:
            stays = min(stays, left_of_it)
        elif _may_be_going(book, number) or book.is_missing(number):
            stays = 0
        left += stays
    return left


def _may_be_going(book: Book, broker_order_id: int) -> bool:
    """Say whether a stop may end by a cancel, told or not.

    What nobody asks for any more, as after the venue's no, had no effect once a read shows the
    order that was sent so late that none of the requests can still arrive. A no alone does not say
    so: the order may be over.
    """
    asked_ns = book.cancel_asked_ns.get(broker_order_id)
    if asked_ns is None:
        return False
    cancel = book.cancel_of(broker_order_id)
    if cancel is None or cancel.due_ns or cancel.answer is None:
        return True
    answered_ns = max(cancel.answered_ns, asked_ns + REPLY_LIMIT_NS)
    return book.audit.complete_sent_ns < answered_ns + LATE_NS


def _is_farther(stop: BrokerOrder, than: BrokerOrder) -> bool:
    """Say whether ``stop`` loses more; one of unknown level, which trails, may be the nearest."""
    if stop.stop_price is None:
        return False
    return than.stop_price is None or (than.stop_price - stop.stop_price) * stop.side.sign < 0


def _held_against(book: Book, contract_id: str, side: Side) -> int:
    """Return the contracts that an order of ``side`` may be protecting, by any witness."""
    view = book.position(contract_id)
    told = (*view.possible, view.ledger, quantity_to_come(book, view))
    return max(0, *(-held * side.sign for held in told))


def _closing(book: Book, contract_id: str, side: Side) -> int:
    """Return the contracts that the venue is closing at the market just now.

    What reads have moved the position by, because no trade explained it, may have been such an
    exit: then it is done, and closes nothing of what is left.
    """
    close = book.closes.get(contract_id)
    # Not what is on its way or UNKNOWN: it may never have arrived.
    asked = book.left_of(close) if close is not None and close.is_taken else 0
    asked += sum(
        exit_.open_quantity
        for exit_ in book.live_orders(contract_id)
        if exit_.intent.side is side
        and exit_.intent.type is OrderType.MARKET
        and exit_.state in {OrderState.WORKING, OrderState.PARTIALLY_FILLED}
    )
    return max(0, asked - book.position(contract_id).adjusted_towards(side.sign))


def _exposure_denials(book: Book, contract_id: str, *, now_ns: int) -> tuple[Denial, ...]:
    return state_denials(
        book.trading_state(now_ns, contract_id),
        book.state_reasons(now_ns, contract_id),
        book.policy,
    )
