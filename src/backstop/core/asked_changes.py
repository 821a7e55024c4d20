"""What was asked of the venue about one resting order, and its last words on that.

Kept with the order, so that whoever asked can read what became of it. A change ends when the venue
shows it; a no stays to be read until the next change. A cancel ends with its order.
"""

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.order_moves import LATE_NS
from backstop.domain.events import Answer


class AskedCancel(Struct, frozen=True, kw_only=True):
    """The end of an order was asked for.

    Attributes:
        reason: who or what wants it.
        times: how often the venue was asked.
        answer: to the newest of those that were answered; None: none yet.
        message: the venue's words with it.
        answered_ns: when that came, monotonic.
        due_ns: when it is asked for again, monotonic; 0: not any more.
        first_ns: when it was asked for first, monotonic.
        told: a person knows that it has no effect.
    """

    reason: str
    times: int = 1
    answer: Answer | None = None
    message: str = ""
    answered_ns: int = 0
    due_ns: int = 0
    first_ns: int = 0
    told: bool = False


class AskedCut(Struct, frozen=True, kw_only=True):
    """An exit was to become as small as its position.

    Attributes:
        quantity: the size, filled contracts included.
        times: how often it was asked for in a row.
        asked_ns: the newest time, monotonic.
    """

    quantity: int
    times: int = 1
    asked_ns: int = 0


class AskedChange(Struct, frozen=True, kw_only=True):
    """Another size, or another level, of an order was asked for; None leaves it as it is.

    Attributes:
        reason: who or what wants it.
        quantity: the size, filled contracts included.
        limit_ticks: likewise the limit.
        stop_ticks: likewise the trigger.
        asked_ns: when, monotonic.
        unanswered: requests whose answer has not come; which one an answer is to, it does not say.
        answer: to the newest of those that were answered; None: none yet.
        message: the venue's words with it.
        known_after_ns: a read that was sent later shows what came of it; monotonic.
    """

    reason: str
    quantity: int | None = None
    limit_ticks: int | None = None
    stop_ticks: int | None = None
    asked_ns: int = 0
    unanswered: int = 1
    answer: Answer | None = None
    message: str = ""
    known_after_ns: int = 0

    @property
    def is_refused(self) -> bool:
        """It will have no effect: the venue said no, or nothing left."""
        return not self.unanswered and self.answer in {Answer.NO, Answer.NOT_SENT}


def answered(change: AskedChange, answer: Answer, message: str, *, now_ns: int) -> AskedChange:
    """Return the change after an answer to a request about its order."""
    late_ns = LATE_NS if answer is Answer.UNKNOWN else 0
    return replace(
        change,
        unanswered=max(0, change.unanswered - 1),
        answer=answer,
        message=message,
        known_after_ns=max(change.known_after_ns, now_ns + late_ns),
    )


def is_known_by(change: AskedChange, *, sent_ns: int) -> bool:
    """Say whether a complete read that was sent at ``sent_ns`` shows what came of a change."""
    return not (change.unanswered or change.is_refused) and sent_ns > change.known_after_ns


def restarted(change: AskedChange, *, now_ns: int) -> AskedChange:
    """Return the change in another process: what was under way will never be answered."""
    if not change.unanswered:
        return replace(change, asked_ns=now_ns)
    return replace(
        change,
        asked_ns=now_ns,
        unanswered=0,
        answer=Answer.UNKNOWN,
        known_after_ns=now_ns + LATE_NS,
    )
