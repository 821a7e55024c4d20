"""How many of the gateway's calls are kept for what cuts risk, and who goes first.

The gateway takes 200 calls in 60 s. A flatten of everything needs a look or two, a close for each
position with its proofs, and a cancel for each order; those calls must be there when it begins.
What is only asked again must never spend the calls of the reads that would end it.
"""

from typing import assert_never

from backstop.core.book import Book
from backstop.core.closed_market import TRIES
from backstop.core.closing import is_executing, look_due_ns
from backstop.core.contract_end import is_given_up
from backstop.core.liquidation import CloseAttempt, Liquidation, LiquidationState
from backstop.core.liquidation_scope import open_quantity, unfinished, views
from backstop.domain.call_purpose import CallPurpose
from backstop.domain.events import Answer

BASE_RESERVE = 20
"""For logging in, looking and looking again until flat is proven."""

RESERVE_PER_POSITION = 3
"""A close, and two reads that prove it."""

RESERVE_MAX = 120
"""More is not kept: 48 calls a minute read the account, and without them nothing is known."""

RESERVE_WHILE_LIQUIDATING = 180
"""Everything else pauses; what stays free is for a login and for the contracts at a start. Not
while a liquidation only waits: over a weekend nobody could read the account for two days."""

ACTS_BASE = 10
ACTS_PER_POSITION = 2
ACTS_MAX = 40
"""Kept from urgent reads: a stop or a close for each position, the cancels that it takes, a login.
More is not, for what is closed has to be seen as well."""

READS_OF_CLOSE = 8
"""Of them, what reads may take once a close waits for what they say: two pictures of the account.
Nothing else ends that wait, and calls that lie idle close nothing."""

READS_KEPT = 24
"""Kept from what is asked again while its end must be read: six reads of the account."""

REPEATS_KEPT = 8
"""Kept from ordinary calls meanwhile, for what is asked again: two searches, or a few cancels."""


def calls_kept(book: Book, purpose: CallPurpose, *, now_ns: int) -> int:
    """Return the calls that one for ``purpose`` leaves now to those that come before it.

    At a start no act is found to be needed before the account has been read, and the process before
    may have left few calls: the way to that read leaves only those of a close for each position.
    """
    if not book.recovered and purpose in {CallPurpose.PROVE, CallPurpose.ORDINARY}:
        return min(ACTS_MAX, ACTS_PER_POSITION * len(book.positions.held))
    match purpose:
        case CallPurpose.CUT_RISK:
            return 0
        case CallPurpose.PROVE:
            return _acts(book) - READS_OF_CLOSE * _a_close_waits(book, now_ns)
        case CallPurpose.REPEAT:
            return min(_acts(book) + READS_KEPT, call_reserve(book) - 1)
        case CallPurpose.ORDINARY:
            return call_reserve(book)
        case _:
            assert_never(purpose)


def reads_are_urgent(book: Book) -> bool:
    """Say whether a read of the account may prove, or end, what cannot wait.

    A position may lack a stop, something is being taken flat, or a request about an order got no
    clear answer and is made again until a read shows what came of it.
    """
    return bool(book.liquidating or book.protection.is_urgent or book.unclear)


def call_reserve(book: Book) -> int:
    """Return the calls that entries and ordinary reads leave alone: 20 + 3 per position + orders.

    Orders are all that can still fill, protective ones and those of others included. While reads
    are urgent, theirs and those of what is asked again are kept as well; while an account or a
    contract is being liquidated, nearly all are kept for that, until all that is left is to wait
    for a market that is closed, for a venue that has refused a close a dozen times, for orders that
    it does not end, or for it to settle a month that has ended.
    """
    if pauses_for_liquidation(book):
        return RESERVE_WHILE_LIQUIDATING
    orders = len(book.live) + len(book.live_venue)
    kept = BASE_RESERVE + RESERVE_PER_POSITION * len(book.positions.held) + orders
    if reads_are_urgent(book):
        kept = max(kept, _acts(book) + READS_KEPT + REPEATS_KEPT)
    return min(RESERVE_MAX, kept)


def pauses_for_liquidation(book: Book) -> bool:
    """Say whether everything else pauses for a liquidation that can get on."""
    return bool(book.liquidating) and any(_needs_all(book, run) for run in unfinished(book))


def _needs_all(book: Book, run: Liquidation) -> bool:
    """Say whether a run can get on now, so that everything else pauses for it.

    One that only waits for orders to end has all calls until a person had to be told: over a
    weekend nobody can cancel what is pending in a closed market, also a close of somebody else.
    """
    if not run.latches:
        return False
    is_stuck = run.state is LiquidationState.ESCALATED
    held = [view.contract_id for view in views(book, run) if open_quantity(book, view)]
    if not held:
        return not is_stuck
    return not all(
        _waits(book, contract_id) or (is_stuck and _is_being_worked(book, contract_id))
        for contract_id in held
    )


def _waits(book: Book, contract_id: str) -> bool:
    """Say whether the close of a position has to wait for its market, or for the venue."""
    attempt = book.closes.get(contract_id)
    return attempt is not None and (
        attempt.waits_for_market or is_given_up(attempt) or _is_worn_out(attempt)
    )


def _is_being_worked(book: Book, contract_id: str) -> bool:
    """Say whether an order is there that no close may run into: it has to end first."""
    return any(is_executing(book, row) for row in book.working_rows(contract_id))


def _is_worn_out(attempt: CloseAttempt) -> bool:
    """Say whether a close was refused so often that more calls do not help it on."""
    return attempt.answer in {Answer.NO, None} and attempt.refusals >= TRIES


def _acts(book: Book) -> int:
    return min(ACTS_MAX, ACTS_BASE + ACTS_PER_POSITION * len(book.positions.held))


def _a_close_waits(book: Book, now_ns: int) -> bool:
    """Say whether a close has to wait for a read, and one that is made now would be that.

    The close of a part is not made again, whatever a read says.
    """
    runs = [run for run in unfinished(book) if not run.is_partial]
    return any(
        0 < look_due_ns(attempt) <= now_ns
        and open_quantity(book, book.position(contract_id))
        and any(run.covers(contract_id) for run in runs)
        for contract_id, attempt in book.closes.items()
    )
