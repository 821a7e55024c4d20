"""What a liquidation asks of the venue, in its order: entries, positions, and then all the rest."""

from backstop.core.book import CANCEL_AGAIN_NS, STOP_TYPES
from backstop.core.closing import close_contract, is_executing, resting_remainders
from backstop.core.liquidation import DOUBLINGS_MAX, Liquidation
from backstop.core.liquidation_scope import (
    is_proven_flat,
    open_quantity,
    rows,
    views,
)
from backstop.core.policy import SECOND_NS
from backstop.core.repeated_requests import unheard_doublings
from backstop.core.step import Workbench
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.commands import CancelOrder, Request
from backstop.domain.events import Answer

CANCEL_AGAIN_MAX_NS = 20 * SECOND_NS
"""Pauses between two cancels of one order, growing: each costs a call, and there may be many."""


def act(work: Workbench, run: Liquidation) -> None:
    """Ask for everything that can be asked for now; what was asked already is not repeated yet."""
    leftovers: list[BrokerOrder] = []
    for row in tuple(rows(work.book, run)):
        if is_executing(work.book, row) or _may_protect(work, row):
            continue
        if is_proven_flat(work.book, row.contract_id) and _is_guard(work, row):
            leftovers.append(row)
        else:
            _cancel(work, run, row)
    _cancel_remainders(work, run)
    for view in tuple(views(work.book, run)):
        close_contract(work, run, view.contract_id)
    for row in leftovers:
        _cancel(work, run, row)


def act_once(work: Workbench, run: Liquidation) -> None:
    """Close the part that was asked for; what may have been closed is not asked for again."""
    attempt = work.book.closes.get(run.contract_id or "")
    if attempt is None or attempt.answer is Answer.NOT_SENT or attempt.is_refused_for_now:
        close_contract(work, run, run.contract_id or "")
    _cancel_remainders(work, run)


def _cancel_remainders(work: Workbench, run: Liquidation) -> None:
    for row in tuple(resting_remainders(work, run)):
        _cancel(work, run, row)


def _may_protect(work: Workbench, row: BrokerOrder) -> bool:
    """Say whether an order must stay as long as its contract is not proven flat.

    Stops and targets do, also those of others: to cancel one of a pair may cancel both. An exit of
    ours that rests at a limit does not: the close takes its place, and both together could flip.
    """
    book = work.book
    if is_proven_flat(book, row.contract_id):
        return False
    if row.status is BrokerStatus.SUSPENDED:
        return True  # it begins to work with its entry, and that one is being cancelled
    attempt = book.closes.get(row.contract_id)
    held = open_quantity(book, book.position(row.contract_id))
    held = held or (attempt.quantity if attempt is not None else 0)
    if held * row.side.sign > 0 or (not held and not _is_guard(work, row)):
        return False
    return _is_guard(work, row) or row.broker_order_id not in book.client_of_broker_id


def _is_guard(work: Workbench, row: BrokerOrder) -> bool:
    """Say whether an order is a bracket leg or a stop."""
    leg = work.book.venue_orders.get(row.broker_order_id)
    return row.type in STOP_TYPES or (leg is not None and leg.owner is not None)


def _cancel(work: Workbench, run: Liquidation, row: BrokerOrder) -> None:
    number = row.broker_order_id
    asked_ns = work.book.cancel_unheld_ns.get(number)
    if asked_ns is not None and work.now_ns < asked_ns + _pause_ns(work, run, row):
        return
    work.book.cancel_asked_ns[number] = work.book.cancel_unheld_ns[number] = work.now_ns
    # It takes the place of one that leaves with it, and may have to leave calls to reads.
    work.commands[:] = [it for it in work.commands if not _is_cancel_of(it, number)]
    work.commands.append(
        CancelOrder(
            account_id=row.account_id,
            broker_order_id=number,
            reason=f"{run.liquidation_id}: {run.causes[0].text}",
            reduces_risk=True,
        )
    )


def _is_cancel_of(command: Request, number: int) -> bool:
    return isinstance(command, CancelOrder) and command.broker_order_id == number


def _pause_ns(work: Workbench, run: Liquidation, row: BrokerOrder) -> int:
    """Return how long the next cancel of an order waits after the last.

    It grows with the reads that change nothing, and while none says what came of the cancels: those
    go before every read, and of an order that is gone they would take each call that comes free.
    """
    times = max(run.looks // 2, unheard_doublings(work.book, row.broker_order_id))
    return min(CANCEL_AGAIN_NS << min(times, DOUBLINGS_MAX), CANCEL_AGAIN_MAX_NS)
