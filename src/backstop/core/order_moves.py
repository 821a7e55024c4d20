"""Prices that a resting order was asked to move to, until it is proven where it stands.

Between the request and its proof the order may be at its old price or at any that was asked for,
so it counts at the worst of them. What ends that: the venue's no, a row that shows the one price
that was asked for, or a complete read that was sent after the last answer.
"""

from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from backstop.domain.events import Answer

LATE_NS = 30_000_000_000
"""A request without an answer may still be carried out for this long, as for new orders."""


class OrderMoves(Struct, frozen=True, kw_only=True):
    """The moves of one order of which nobody can say yet what came of them.

    Attributes:
        low: the lowest price, in points, that was asked for; None: nothing is under way.
        high: the highest; more than the two ends no limit asks for.
        unanswered: requests whose answer has not come.
        may_stand: one of those that were answered was not refused.
        known_after_ns: a read that was sent later shows what came of all that were answered;
            monotonic.
    """

    low: Decimal | None = None
    high: Decimal | None = None
    unanswered: int = 0
    may_stand: bool = False
    known_after_ns: int = 0

    @property
    def prices(self) -> tuple[Decimal, ...]:
        """The prices that may be in force, beside the one that the venue shows."""
        return tuple(dict.fromkeys(it for it in (self.low, self.high) if it is not None))


NONE = OrderMoves()


def asked(moves: OrderMoves, price: Decimal) -> OrderMoves:
    """Return the moves once another one, to ``price``, is asked for."""
    return replace(
        moves,
        low=price if moves.low is None else min(moves.low, price),
        high=price if moves.high is None else max(moves.high, price),
        unanswered=moves.unanswered + 1,
    )


def answered(moves: OrderMoves, answer: Answer, *, now_ns: int) -> OrderMoves:
    """Return the moves after the answer to one of them; which one, an answer does not say."""
    if moves.low is None:
        return moves
    refused = answer in {Answer.NO, Answer.NOT_SENT}
    left = max(0, moves.unanswered - 1)
    may_stand = moves.may_stand or not refused
    if not left and not may_stand:
        return NONE
    late_ns = LATE_NS if answer is Answer.UNKNOWN else 0
    return replace(
        moves,
        unanswered=left,
        may_stand=may_stand,
        known_after_ns=max(moves.known_after_ns, now_ns + late_ns),
    )


def shown(moves: OrderMoves, price: Decimal | None) -> OrderMoves:
    """Return the moves once the venue's row shows ``price``."""
    only = moves.low == moves.high
    return NONE if only and not moves.unanswered and moves.low == price else moves


def read(moves: OrderMoves, *, sent_ns: int) -> OrderMoves:
    """Return the moves after a complete read, sent at ``sent_ns``, in which the order stood."""
    settles = not moves.unanswered and sent_ns > moves.known_after_ns
    return NONE if settles else moves


def restarted(moves: OrderMoves, *, now_ns: int) -> OrderMoves:
    """Return the moves in another process: what was under way will never be answered."""
    if moves.low is None:
        return moves
    return replace(moves, unanswered=0, may_stand=True, known_after_ns=now_ns + LATE_NS)
