"""Exits of contracts of which only reads of one moment, or only a row, say that they are gone.

Two pictures are possible. If the reads are right, an order that was to close those contracts opens
the same number the other way, and the stop that is still there beside it as many again. If they are
wrong, the order is the exit that it was meant to be. The same where the row of a stop, or of
somebody's close, says that it has filled and its trade is late. The venue has no reduce-only order
that would be right in both; its close call is: it closes what is there and never more. So that one
passes, an order waits for the few seconds until it is known, and whoever sent it is told so.
"""

from backstop.core.policy import SECOND_NS
from backstop.core.positions import LATER_NS, Knowledge, PositionView
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.numbers import count_text
from backstop.domain.order import OrderIntent


def held_at_most(view: PositionView) -> int:
    """Return the signed contracts that are held if what is in question is there.

    A position the other way that a row or a read shows is there; no absence says so.
    """
    taken = view.in_question
    return view.quantity if view.quantity * taken < 0 else view.quantity + taken


def held_for_sure(view: PositionView) -> int:
    """Return the signed contracts that are held whether or not what is in question is there.

    A trade since those reads is of the one picture or of the other: until a row or a read tells,
    nothing is sure.
    """
    if view.in_question and view.knowledge is not Knowledge.KNOWN:
        return 0
    return view.quantity


def exit_denials(
    intent: OrderIntent, *, held: int, in_question: int, closable: int
) -> tuple[Denial, ...]:
    """Return why an order that may be an exit, and may open a position, is not sent now.

    Args:
        intent: the order; it does not fit into what is surely held.
        held: what is surely held, signed.
        in_question: what may be held besides, signed.
        closable: contracts that an order of its side surely closes.
    """
    at_most = held + in_question
    if not in_question or intent.quantity > -at_most * intent.side.sign:
        return ()
    sure = f"; an order of up to {closable}" if closable else ""
    return (
        Denial.of_quantity(
            DenialCode.POSITION_IN_QUESTION,
            f"{intent.side} {intent.quantity} may open a position the other way: {at_most:+d} "
            f"were held, and reads of one moment alone, without a trade, an order or an event, "
            f"say that {in_question:+d} of them are gone. Their stops stay. Allowed now: to "
            "close the position (POST /v1/positions/{symbol}/close, or the venue's own close "
            f"call), which never closes more than is there{sure}. A read "
            f"{count_text(LATER_NS // SECOND_NS, 'second')} after those decides, or a trade, "
            "an order or an event before it",
            quantity=intent.quantity,
            passes=closable,
        ),
    )


def told_closed_denials(
    intent: OrderIntent, *, held: int, exits: int, closes_to_come: int, closable: int
) -> tuple[Denial, ...]:
    """Return why an order is not sent now that may close what a row says is closed already.

    Args:
        intent: the order; it does not fit into what it surely closes.
        held: by trades and positions, signed.
        exits: contracts of it that unfinished exits close.
        closes_to_come: contracts of it that rows alone say other orders have closed.
        closable: contracts that an order of its side surely closes.
    """
    against = held * intent.side.sign < 0
    if not closes_to_come or not against or intent.quantity > abs(held) - exits:
        return ()
    sure = f"; an order of up to {closable}" if closable else ""
    return (
        Denial.of_quantity(
            DenialCode.POSITION_IN_QUESTION,
            f"{intent.side} {intent.quantity} may open a position the other way: {held:+d} are "
            f"held by trades and positions, and the row of an order says that {closes_to_come} "
            "of them are closed; its trade is not here yet. Allowed now: to close the position "
            "(POST /v1/positions/{symbol}/close, or the venue's own close call), which never "
            f"closes more than is there{sure}. The trade decides, or the reads of the next "
            "seconds",
            quantity=intent.quantity,
            passes=closable,
        ),
    )
