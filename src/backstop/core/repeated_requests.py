"""Requests to change or cancel one order that got no clear answer, and so are made again.

The venue has no clear no for an order that is gone, and a line that is down answers nothing: what
ends such a request is a read that shows the order as it is. So each next one waits longer, and
leaves calls for the reads (``core.call_budget``), until one of those shows the order as it was: a
leg that nothing stands behind must not work for a minute because one cancel was lost on its way.
The count begins anew with a clear answer, with the effect at the venue, with the end of the order,
and when a late read shows that it goes on.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from backstop.core.book import Book, Unclear
from backstop.core.leftovers import ASK_AGAIN_NS
from backstop.core.order_moves import LATE_NS
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.positions import SNAPSHOT_LAG_NS
from backstop.core.protection_levels import row_of
from backstop.core.step import Workbench
from backstop.domain.commands import CancelOrder, ModifyOrder, Request
from backstop.domain.events import Answer, CancelAnswered, ModifyAnswered

TRY_AGAIN_NS = 100 * MILLISECOND_NS
"""First pause before something is asked again that did no harm, and may have been lost on its
way; doubled with each one up to ``ASK_AGAIN_NS``."""

CANCEL_PAUSE_MAX_NS = 8 * SECOND_NS
"""A cancel begins with ``ASK_AGAIN_NS`` and is doubled up to this: of an order that is gone the
venue says nothing clearer, however often it is asked."""

TIMES_MAX = 8
"""Keeps the growing pauses small numbers; their limits bound them before."""


def note_answer(work: Workbench, event: CancelAnswered | ModifyAnswered) -> None:
    """Count a request without a clear answer; forget those before it when there was one."""
    book, number = work.book, event.broker_order_id
    clear = event.answer in {Answer.YES, Answer.NO}
    if clear or not _may_work(book, number):
        book.unclear.pop(number, None)
        return
    held = book.unclear.get(number, Unclear())
    times = min(held.times + 1, TIMES_MAX)
    if held.left and event.answer is Answer.NOT_SENT:
        book.unclear[number] = replace(held, times=times)
        return
    left = 0 if event.answer is Answer.NOT_SENT else min(held.left + 1, TIMES_MAX)
    book.unclear[number] = Unclear(times=times, left=left, last_ns=work.now_ns)


def _may_work(book: Book, number: int) -> bool:
    """Say whether an order may still work; of one of ours perhaps the answer alone is known."""
    row = row_of(book, number)
    if row is None:
        return book.client_of_broker_id.get(number) in book.live
    return row.status.is_live


def unclear_read(work: Workbench, listed: AbstractSet[int], *, sent_ns: int) -> None:
    """Hold requests about orders that still are ``listed`` against a read sent at ``sent_ns``.

    ``listed`` are all live orders. What can have no effect any more is forgotten: nobody need ask
    again for what a bot wanted once, and without an end its answer would keep every read urgent all
    day. Of what can, the read has ended nothing: the next request need not wait behind more reads.
    """
    unclear = work.book.unclear
    for number in [it for it in unclear if it in listed]:
        held = unclear[number]
        if sent_ns >= held.last_ns + LATE_NS:
            del unclear[number]
        elif sent_ns >= held.last_ns + SNAPSHOT_LAG_NS:
            unclear[number] = replace(held, is_shown=True)


def pause_ns(book: Book, event: CancelAnswered | ModifyAnswered) -> int:
    """Return how long the next request about an order waits after ``event``."""
    doublings = max(0, book.unclear.get(event.broker_order_id, Unclear()).times - 1)
    if isinstance(event, CancelAnswered) and event.answer is Answer.UNKNOWN:
        return min(ASK_AGAIN_NS << doublings, CANCEL_PAUSE_MAX_NS)
    return min(TRY_AGAIN_NS << doublings, ASK_AGAIN_NS)


def unheard_doublings(book: Book, broker_order_id: int) -> int:
    """Return how often a pause doubles by requests of which no answer and no read says anything."""
    held = book.unclear.get(broker_order_id)
    if held is None or not held.is_in_doubt:
        return 0
    return held.left - 1  # what never left says nothing of what will


def marked(book: Book, commands: Sequence[Request]) -> tuple[Request, ...]:
    """Return ``commands``, with those marked that ask again for what may have arrived before.

    A liquidation is exempt: it may use every call, and asks ever more slowly by itself.
    """
    if not book.unclear:
        return tuple(commands)
    return tuple(
        replace(it, repeats=True)
        if isinstance(it, CancelOrder | ModifyOrder) and _repeats(book, it)
        else it
        for it in commands
    )


def note_cancels(book: Book, commands: Iterable[Request], *, now_ns: int) -> None:
    """Note when each order was asked to end by what may use every call.

    What leaves calls to others may not leave at all: it puts nothing off that may use them.
    """
    for command in commands:
        if isinstance(command, CancelOrder) and not command.repeats:
            book.cancel_unheld_ns[command.broker_order_id] = now_ns


def _repeats(book: Book, command: CancelOrder | ModifyOrder) -> bool:
    if isinstance(command, CancelOrder) and command.reduces_risk:
        return False
    held = book.unclear.get(command.broker_order_id)
    return held is not None and held.is_in_doubt
