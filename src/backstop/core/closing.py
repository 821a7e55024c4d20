"""One close of one contract at a time: when the venue may be asked, and when asked again.

The venue closes a position with a market order that it names nowhere. Two of them under way at once
close the position twice and so open the opposite one. The next request therefore waits until the
one before is answered, or can have no effect any more, and until a read that was sent afterwards
still shows something to close and no order that is closing it.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from backstop.core.book import STOP_TYPES, Book
from backstop.core.closed_market import waits_until_ns
from backstop.core.contract_end import rests_until_ns, tell_ended
from backstop.core.execution_verification import REPLY_LIMIT_NS
from backstop.core.expected_closes import close_expected, close_not_expected
from backstop.core.liquidation import CloseAttempt, Liquidation, pause_ns
from backstop.core.liquidation_scope import (
    is_in_scope,
    is_of_close,
    open_quantity,
)
from backstop.core.policy import SECOND_NS
from backstop.core.positions import SETTLE_NS, SNAPSHOT_LAG_NS
from backstop.core.step import Tag, Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerOrder
from backstop.domain.commands import ClosePosition, Severity
from backstop.domain.events import AccountAudited, Answer, PositionCloseAnswered
from backstop.domain.order import OrderState, OrderType

EXIT_WAIT_NS = 5 * SECOND_NS
"""How long a close waits to hear what became of an exit of ours: both together could flip."""

REMAINDER_NS = SECOND_NS
"""A market order that is not done by then rests: what is left of it is cancelled."""

_UNRESOLVED = frozenset({OrderState.INTENDED, OrderState.SENT, OrderState.UNKNOWN})


def close_contract(work: Workbench, run: Liquidation, contract_id: str) -> None:
    """Have the venue close what is open of one contract, if nothing else may be closing it."""
    book = work.book
    position = open_quantity(book, book.position(contract_id))
    _tell_flipped(work, run, contract_id, position)
    attempt = tell_ended(work, run, contract_id, position)
    wanted = min(abs(position) - run.keep, run.quantity or abs(position))
    if wanted <= 0 or not _may_close(work, run, contract_id, position):
        return
    times, refusals, refusal, told_ended = 1, 0, None, False
    taken = attempt is not None and _may_have_closed_rest(book, attempt, position)
    if attempt is not None and attempt.quantity == position:
        times += attempt.times
        refusals = attempt.refusals + attempt.is_refused_for_now
        refusal = attempt.refusal
        told_ended = attempt.told_ended
    quantity = wanted if run.is_partial else None
    expected = close_expected(work, contract_id, quantity)
    book.closes[contract_id] = CloseAttempt(
        contract_id=contract_id,
        quantity=position,
        wanted=wanted,
        sent_ns=expected.asked_ns,
        newest_order_id=expected.newest_order_id,
        times=times,
        refusals=refusals,
        refusal=refusal,
        follows_taken=taken,
        told_ended=told_ended,
    )
    work.commands.append(
        ClosePosition(
            account_id=book.policy.account_id,
            contract_id=contract_id,
            quantity=quantity,
            reason=run.causes[0].text,
        )
    )
    work.note(
        Tag.CRITICAL_SYSTEM,
        "position_close_asked",
        liquidation_id=run.liquidation_id,
        contract_id=contract_id,
        position=position,
        quantity=wanted,
        times=times,
    )


def _may_have_closed_rest(book: Book, attempt: CloseAttempt, position: int) -> bool:
    """Say whether a request may have closed what is left of the position that it was sent for.

    What is gone may be the work of another one, and the read that showed it a picture from before
    this one; what its own trades show is done.
    """
    if attempt.quantity * position <= 0 or not attempt.may_have_closed:
        return False
    gone = abs(attempt.quantity) - abs(position)
    return not gone or (0 < gone < attempt.wanted and book.left_of(attempt) > 0)


def close_answered(work: Workbench, event: PositionCloseAnswered) -> None:
    """Note what came back; a yes only means that the venue took the request."""
    work.note(
        Tag.CRITICAL_SYSTEM,
        "position_close_answered",
        contract_id=event.contract_id,
        answer=str(event.answer),
        message=event.message,
    )
    if event.answer in {Answer.NO, Answer.NOT_SENT}:
        close_not_expected(work, event.contract_id)
    attempt = work.book.closes.get(event.contract_id)
    if attempt is None or attempt.answer not in {None, Answer.UNKNOWN}:
        return
    work.book.closes[event.contract_id] = replace(
        attempt, answer=event.answer, refusal=event.refusal, answered_ns=work.now_ns
    )


def closes_looked_at(work: Workbench, event: AccountAudited) -> None:
    """Count the read for every request that it can say something about.

    One that may be older than the answer shows what was there before the request, and not that
    something is left after it. One that shows less than is believed shows that something is gone.
    """
    if event.positions is None or event.live_orders is None:
        return
    for contract_id, attempt in work.book.closes.items():
        if attempt.answer is None or event.sent_ns < work.book.position(contract_id).evidence_ns:
            continue
        due_ns = look_due_ns(attempt)
        is_due = bool(due_ns) and event.sent_ns >= due_ns
        is_late = event.sent_ns >= attempt.answered_ns + SNAPSHOT_LAG_NS
        if not (is_due or is_late):
            continue
        held = abs(work.book.position(contract_id).quantity)
        is_listed = any(
            row.contract_id == contract_id
            and row.quantity * attempt.quantity > 0
            and abs(row.quantity) >= held
            for row in event.positions
        )
        work.book.closes[contract_id] = replace(
            attempt,
            looks=attempt.looks + is_due,
            looked_ns=event.sent_ns if is_due else attempt.looked_ns,
            stands=is_late and is_listed,
        )


def look_due_ns(attempt: CloseAttempt) -> int:
    """Return from when on a read says something about a request; 0: none is needed, or not yet."""
    if attempt.answer is None or not attempt.needs_look:
        return 0
    lag_ns = SNAPSHOT_LAG_NS if attempt.answer is Answer.UNKNOWN else SETTLE_NS
    return max(attempt.answered_ns + lag_ns, attempt.looked_ns + SETTLE_NS)


def closes_after_restart(work: Workbench) -> None:
    """Take every request of the process before for one whose answer was lost just now."""
    for contract_id, attempt in work.book.closes.items():
        work.book.closes[contract_id] = replace(
            attempt,
            sent_ns=work.now_ns,
            answer=Answer.UNKNOWN,
            answered_ns=work.now_ns,
            looks=0,
            looked_ns=0,
            times=1,
            refusals=0,
            refusal=None,
        )


def resting_remainders(work: Workbench, run: Liquidation) -> Iterator[BrokerOrder]:
    """Yield market orders in the contracts of ``run`` that should be done long since."""
    for row in work.book.working_rows(run.contract_id):
        if not is_executing(work.book, row) or not is_in_scope(work.book, run, row):
            continue
        attempt = work.book.closes.get(row.contract_id)
        since_ns = run.begun_ns if attempt is None else attempt.sent_ns
        if work.now_ns >= since_ns + REMAINDER_NS:
            yield row


def is_executing(book: Book, row: BrokerOrder) -> bool:
    """Say whether a live order trades as soon as it can: a market order, or what a close left."""
    if book.is_unlisted(row.broker_order_id):
        return False
    return row.type is OrderType.MARKET or is_of_close(book, row)


def _may_close(work: Workbench, run: Liquidation, contract_id: str, position: int) -> bool:
    book = work.book
    attempt = book.closes.get(contract_id)
    if attempt is not None:
        if attempt.answer is None and work.now_ns >= attempt.sent_ns + REPLY_LIMIT_NS:
            # The adapter answers within its own deadline; this is the belt behind it.
            attempt = replace(attempt, answer=Answer.UNKNOWN, answered_ns=work.now_ns)
            book.closes[contract_id] = attempt
        moved = attempt.quantity != position
        due_ns = attempt.sent_ns + pause_ns(0 if moved else attempt.times - 1)
        if attempt.needs_look or work.now_ns < due_ns:
            return False
        rests_ns = max(rests_until_ns(attempt), waits_until_ns(work, attempt))
        if not moved and work.now_ns < rests_ns:
            return False
    others = (
        row
        for row in book.working_rows(contract_id)
        if is_executing(book, row)
        # What somebody else sent is waited for, but a close that may not cancel it waits no longer.
        and (is_in_scope(book, run, row) or work.now_ns < run.begun_ns + EXIT_WAIT_NS)
    )
    if next(others, None) is not None:
        return False
    return not any(
        work.now_ns < max(run.begun_ns, order.sent_ns) + EXIT_WAIT_NS
        for order in _exits_in_doubt(book, contract_id, position)
    )


def _exits_in_doubt(book: Book, contract_id: str, position: int) -> Iterator[TrackedOrder]:
    for order in book.live_orders():
        intent = order.intent
        if (
            intent.contract_id == contract_id
            and order.state in _UNRESOLVED
            and intent.side.sign * position < 0
            and intent.type not in STOP_TYPES
        ):
            yield order


def _tell_flipped(work: Workbench, run: Liquidation, contract_id: str, position: int) -> None:
    """Tell a person, once, when the position of the newest request came out reversed."""
    attempt = work.book.closes.get(contract_id)
    if attempt is None or attempt.told_flipped or attempt.quantity * position >= 0:
        return
    attempt = replace(attempt, told_flipped=True)
    work.book.closes[contract_id] = attempt
    work.alert(
        Severity.CRITICAL,
        AlertCode.LIQUIDATION_FLIPPED,
        f"{contract_id} was {attempt.quantity:+d} when its close was sent and is {position:+d} "
        f"now: something else closed it as well. {run.liquidation_id} closes that too.",
    )
