"""Cancels that somebody asked for, followed until the order is over or the venue clearly says no.

A cancel does no harm when it is made twice, and an order that its bot takes for gone may fill: what
the venue did not answer, and what it took without any effect, is asked for again, ever more slowly
(``repeated_requests``). A stop that its position has come to need meanwhile stays.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from backstop.core.asked_changes import AskedCancel
from backstop.core.book import CANCEL_AGAIN_NS, STOP_TYPES, Book, Wake
from backstop.core.policy import SECOND_NS
from backstop.core.repeated_requests import CANCEL_PAUSE_MAX_NS, TIMES_MAX, pause_ns
from backstop.core.step import Tag, Workbench
from backstop.core.stop_withdrawal import stop_withdrawal_denials
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerOrder
from backstop.domain.commands import CancelOrder, Severity
from backstop.domain.denial import Denial
from backstop.domain.events import Answer, CancelAnswered

UNTIL_TOLD_NS = 20 * SECOND_NS
"""Time without effect after which a person is told."""

NEW_WISH_NS = 60 * SECOND_NS
"""What was refused longer ago than this has nothing to do with what is asked now; above every
pause."""


def ask_cancel(work: Workbench, row: BrokerOrder | None, number: int, *, reason: str) -> None:
    """Ask the venue to end an order of ours or a leg, and again until it has.

    Args:
        work: of the step.
        row: the newest of the order; None: the venue has shown none.
        number: the venue's, of the order.
        reason: goes on record, and is shown with the order.
    """
    book = work.book
    held = _held(work, number)
    asked = AskedCancel(reason=reason, times=0, first_ns=work.now_ns) if held is None else held
    times = asked.times + 1
    due_ns = work.now_ns + cancel_pause_ns(times)
    if work.now_ns < asked.due_ns:
        due_ns = min(due_ns, asked.due_ns)  # a bot that asks once more puts nothing off
    asked = replace(asked, reason=reason, times=times, due_ns=due_ns)
    if not asked.told and work.now_ns >= asked.first_ns + UNTIL_TOLD_NS:
        _tell(work, number, asked)
        asked = replace(asked, told=True)
    _keep(work, number, asked)
    book.wake(Wake.CANCELS, due_ns)
    book.cancel_asked_ns[number] = work.now_ns
    work.commands.append(
        CancelOrder(
            account_id=book.policy.account_id if row is None else row.account_id,
            broker_order_id=number,
            reason=reason,
        )
    )


def cancel_pause_ns(times: int) -> int:
    """Return how long a cancel waits that was asked for so many times already."""
    return min(CANCEL_AGAIN_NS << min(max(0, times - 1), TIMES_MAX), CANCEL_PAUSE_MAX_NS)


def cancel_answered(work: Workbench, event: CancelAnswered) -> None:
    """Take the venue's words; only its clear no ends the asking, or the end of the order."""
    asked = work.book.cancel_of(event.broker_order_id)
    if asked is None:
        return
    due_ns = 0
    if event.answer is not Answer.NO and asked.due_ns:
        due_ns = work.now_ns + max(pause_ns(work.book, event), cancel_pause_ns(asked.times))
        work.book.wake(Wake.CANCELS, due_ns)
    _keep(
        work,
        event.broker_order_id,
        replace(
            asked,
            answer=event.answer,
            message=event.message,
            answered_ns=work.now_ns,
            due_ns=due_ns,
        ),
    )


def cancel_again(work: Workbench) -> None:
    """Ask again for what should be over and is not, when the time for it has come."""
    book = work.book
    if not book.woken(Wake.CANCELS, work.now_ns) or not book.policy.sends:
        return
    for number, row, asked in tuple(_standing(book)):
        if work.now_ns < asked.due_ns or not book.recovered:
            book.wake(Wake.CANCELS, max(asked.due_ns, work.now_ns + CANCEL_AGAIN_NS))
        elif row is not None and _denials(work, row):
            _give_up(work, number, asked)
        else:
            ask_cancel(work, row, number, reason=asked.reason)


def cancels_unheld(work: Workbench) -> None:
    """Have asked for now what did not leave: what kept it back is over."""
    book = work.book
    for number, _, asked in tuple(_standing(book)):
        is_answered = asked.answered_ns >= book.cancel_asked_ns.get(number, 0)
        if is_answered and asked.answer is Answer.NOT_SENT:
            _keep(work, number, replace(asked, due_ns=work.now_ns))
            book.wake(Wake.CANCELS, work.now_ns)


def cancels_restarted(work: Workbench) -> None:
    """Ask again for what an earlier process did not see through."""
    for number, _, asked in tuple(_standing(work.book)):
        due_ns = work.now_ns + CANCEL_AGAIN_NS
        anew = replace(asked, times=1, due_ns=due_ns, first_ns=work.now_ns, told=False)
        _keep(work, number, anew)
        work.book.wake(Wake.CANCELS, due_ns)


def _held(work: Workbench, number: int) -> AskedCancel | None:
    """Return what was asked for before; None: nothing, it was given up, or refused long ago."""
    held, asked_ns = work.book.cancel_of(number), work.book.cancel_asked_ns.get(number)
    if held is None or held.due_ns:
        return held
    if held.answer is not Answer.NO:
        return None
    return None if asked_ns is None or work.now_ns >= asked_ns + NEW_WISH_NS else held


def _standing(book: Book) -> Iterator[tuple[int, BrokerOrder | None, AskedCancel]]:
    """Yield what is to be over and is not: its number, its row and what was asked."""
    for order in book.live_orders():
        if order.cancel is not None and order.cancel.due_ns and order.broker_order_id is not None:
            yield order.broker_order_id, order.venue, order.cancel
    for leg in book.live_venue_orders():
        if leg.cancel is not None and leg.cancel.due_ns:
            yield leg.row.broker_order_id, leg.row, leg.cancel


def _denials(work: Workbench, row: BrokerOrder) -> tuple[Denial, ...]:
    """Return why an order may not be taken away now, although that was right when it was asked."""
    if row.type not in STOP_TYPES or not row.status.is_live:
        return ()
    return stop_withdrawal_denials(
        work.book,
        row.contract_id,
        row.side,
        broker_order_id=row.broker_order_id,
        left_of_it=0,
        now_ns=work.now_ns,
    )


def _give_up(work: Workbench, number: int, asked: AskedCancel) -> None:
    why = "its position needs it now: it is not asked for again"
    work.warn(Tag.ORDER, "cancel_given_up", broker_order_id=number, times=asked.times, cause=why)
    _keep(work, number, replace(asked, due_ns=0, message=why))


def _tell(work: Workbench, number: int, asked: AskedCancel) -> None:
    name = work.book.client_of_broker_id.get(number)
    which = f"Order {number}" if name is None else f"Order {name} ({number})"
    said = "nothing" if asked.answer is None else asked.message or f"{asked.answer}, and no more"
    work.alert(
        Severity.WARNING,
        AlertCode.ORDER_STAYS,
        f"{which} still works after {asked.times - 1} cancels ({asked.reason}); the venue's last "
        f"words are: {said}. It may fill, and is asked to end once more.",
    )


def _keep(work: Workbench, number: int, asked: AskedCancel) -> None:
    book = work.book
    order = book.orders.get(book.client_of_broker_id.get(number, ""))
    if order is not None:
        work.keep(replace(order, cancel=asked))
        return
    leg = book.venue_orders.get(number)
    if leg is not None:
        book.venue_orders[number] = replace(leg, cancel=asked)
