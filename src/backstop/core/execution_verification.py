"""Did what we sent really happen, once, at an acceptable price? One order, one fact, one step.

Every function is pure: it takes an order and a fact, and returns the order as the fact leaves it
together with what has to be asked next. Facts come in any order, more than once, or never; the
end is the same.
"""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.reference_levels import with_row
from backstop.core.tracked_order import TrackedOrder, moved, newer_row, settled
from backstop.domain.broker import BrokerOrder, BrokerStatus, BrokerTrade
from backstop.domain.events import Answer, OrderLookedUp, PlaceAnswered
from backstop.domain.order import OrderState, OrderType

PENDING_POLL_NS = 500 * MILLISECOND_NS
"""A request without an answer, or a market order without proof, is asked about after this long."""

REPLY_LIMIT_NS = 15 * SECOND_NS
"""The adapter answers every request within its own deadline; this is the belt behind it."""

LOOK_UP_PAUSES_NS = (
    500 * MILLISECOND_NS,
    SECOND_NS,
    2 * SECOND_NS,
    5 * SECOND_NS,
)
"""Growing pauses between looks for an order of unknown fate; the last one repeats."""

RESTART_GRACE_NS = SECOND_NS
"""After a restart the gateway has to be reached first."""

ABSENCE_MIN_AGE_NS = 30 * SECOND_NS
"""Only a read this long after the request's deadline can speak for absence."""

ABSENCE_MIN_GAP_NS = 5 * SECOND_NS
"""Two complete reads that prove absence lie at least this far apart."""

ABSENT_READS_NEEDED = 2

POLL_DOUBLINGS_MAX = 8
"""Keeps the growing pause a small number; the timeout bounds it long before."""

TWINS_KEPT = 16
"""Refused twins remembered per order; a request leaves once, so one is already unusual."""

_LOSABLE = frozenset(
    {
        OrderState.INTENDED,
        OrderState.SENT,
        OrderState.WORKING,
        OrderState.REJECTED,
        OrderState.NOT_SUBMITTED,
    }
)
"""States from which an order without a broker id can turn out to be of unknown fate."""


class Ask(StrEnum):
    """What an order wants to know next."""

    NOTHING = "NOTHING"
    LOOK_UP = "LOOK_UP"  # by its tag, in everything the venue shows
    AUDIT = "AUDIT"  # trades of it are missing: read the account


class OrderStep(Struct, frozen=True, kw_only=True):
    """An order after a fact, and what to ask because of it."""

    order: TrackedOrder
    ask: Ask = Ask.NOTHING


def dispatched(order: TrackedOrder, *, utc_us: int, now_ns: int) -> OrderStep:
    """Return the order after its durable request was handed to the network."""
    if order.state is not OrderState.INTENDED:
        return OrderStep(order=order)
    sent = moved(order, OrderState.SENT, cause="dispatched", utc_us=utc_us)
    return OrderStep(order=replace(sent, sent_ns=now_ns, due_ns=now_ns + PENDING_POLL_NS))


def registered(order: TrackedOrder, *, utc_us: int, now_ns: int) -> OrderStep:
    """Return a registered order as it begins: its sender sends it now, or has sent it already."""
    sent = moved(order, OrderState.SENT, cause="registered", utc_us=utc_us)
    return OrderStep(order=replace(sent, sent_ns=now_ns, due_ns=now_ns + PENDING_POLL_NS))


def numbered(order: TrackedOrder, *, broker_order_id: int, utc_us: int, now_ns: int) -> OrderStep:
    """Return a registered order after its sender told the number that the venue gave it."""
    named = replace(order, broker_order_id=broker_order_id)
    if order.state is OrderState.NOT_SUBMITTED:
        # Whoever was given a number was heard: it is looked up again, by that number.
        return _unknown(named, "number told", utc_us, now_ns=now_ns)
    return OrderStep(order=replace(named, due_ns=now_ns + PENDING_POLL_NS))


def misregistered(order: TrackedOrder, *, other_id: int, told: str, utc_us: int) -> OrderStep:
    """Return a registered order after the venue showed that its tag or number is another order.

    A tag stands for one order for ever and so does a number, so what was registered is not there.
    """
    known = _with_twin(order, other_id)
    if known.broker_order_id is not None or known.is_terminal:
        return OrderStep(order=known)
    cause = f"order {other_id} is another one"
    gone = moved(known, OrderState.NOT_SUBMITTED, cause=cause, utc_us=utc_us)
    return OrderStep(order=replace(gone, venue_message=told, due_ns=0))


def answered(order: TrackedOrder, fact: PlaceAnswered, *, now_ns: int) -> OrderStep:
    """Return the order after what came back for its place request."""
    if fact.answer is Answer.NO and fact.tag_in_use:
        return _twin_refused(order, fact, now_ns=now_ns)
    # An id in an answer that proves nothing names nothing: the tag finds the order if there is one.
    told_id = None if fact.answer is Answer.UNKNOWN else fact.broker_order_id
    order = replace(
        order,
        broker_order_id=order.broker_order_id or told_id,
        venue_message=fact.message or order.venue_message,
        venue_code=order.venue_code if fact.code is None else fact.code,
        # The row that says REJECTED may come first, and never says why.
        rejection=fact.rejection or order.rejection,
    )
    unproven = order.state in {OrderState.INTENDED, OrderState.SENT, OrderState.UNKNOWN}
    match fact.answer:
        case Answer.YES if order.broker_order_id is None:
            # A yes without an order id names nothing that could be working.
            return _unknown(order, "accepted without an order id", fact.utc_us, now_ns=now_ns)
        case Answer.YES:
            due_ns = now_ns + PENDING_POLL_NS if order.intent.type is OrderType.MARKET else 0
            accepted = settled(order, cause="accepted", utc_us=fact.utc_us)
            return _asking(replace(accepted, due_ns=0 if accepted.is_terminal else due_ns))
        case Answer.NO if unproven or _only_pending(order):
            rejected = moved(order, OrderState.REJECTED, cause="rejected", utc_us=fact.utc_us)
            return OrderStep(order=replace(rejected, due_ns=0))
        case Answer.NOT_SENT if unproven:
            gone = moved(order, OrderState.NOT_SUBMITTED, cause="not sent", utc_us=fact.utc_us)
            return OrderStep(order=replace(gone, due_ns=0))
        case Answer.UNKNOWN if unproven:
            return _unknown(order, "unanswered", fact.utc_us, now_ns=now_ns)
        case _:
            # The hubs were faster and told more than this answer does.
            return OrderStep(order=order)


def _only_pending(order: TrackedOrder) -> bool:
    """Say whether all that was heard of the order is that the venue is still thinking."""
    return (
        order.state is OrderState.WORKING
        and not order.fills
        and order.venue is not None
        and order.venue.status in {BrokerStatus.NONE, BrokerStatus.PENDING}
    )


def _twin_refused(order: TrackedOrder, fact: PlaceAnswered, *, now_ns: int) -> OrderStep:
    """Read "tag in use" as what it proves: an earlier request with this tag arrived.

    The id in the refusal belongs to the refused twin, never to the order that lives.
    """
    if fact.broker_order_id is not None:
        order = _with_twin(order, fact.broker_order_id)
    return _unknown(order, "tag in use", fact.utc_us, now_ns=now_ns)


def _with_twin(order: TrackedOrder, twin: int) -> TrackedOrder:
    """Return the order with ``twin`` known as refused, and no longer mistaken for the order."""
    if twin not in order.refused_twins:
        order = replace(order, refused_twins=(*order.refused_twins, twin)[-TWINS_KEPT:])
    if order.broker_order_id == twin and not order.fills:
        order = replace(order, broker_order_id=None, venue=None)
    return order


def doubled(order: TrackedOrder, row: BrokerOrder, *, utc_us: int, now_ns: int) -> OrderStep | None:
    """Return the order after a row of another venue order with its tag; None: both are live.

    A request that arrives twice is refused the second time, so of two orders with one tag the
    refused one is the twin, whichever is heard of first.
    """
    if row.status is BrokerStatus.REJECTED:
        return OrderStep(order=_with_twin(order, row.broker_order_id))
    held = order.broker_order_id
    if held is None or order.state is not OrderState.REJECTED:
        return None
    found = _unknown(_with_twin(order, held), "tag on another order", utc_us, now_ns=now_ns).order
    return reported(found, row, utc_us=utc_us)


def reported(order: TrackedOrder, row: BrokerOrder, *, utc_us: int) -> OrderStep:
    """Return the order after a row of the venue about it, from whichever side it came."""
    venue = newer_row(order.venue, row)
    believed = replace(
        order,
        broker_order_id=row.broker_order_id,
        venue=venue,
        levels_seen=with_row(order.levels_seen, row, order.intent.type, order.intent.side),
        lookups=0,
        first_absent_ns=0,
    )
    return _asking(settled(believed, cause=f"venue {row.status}", utc_us=utc_us))


def traded(
    order: TrackedOrder, trades: Iterable[BrokerTrade], *, cause: str, utc_us: int
) -> OrderStep:
    """Return the order with exactly ``trades`` as its trades, voided ones included."""
    counted = with_trades(order, trades)
    if counted == order:
        return OrderStep(order=order)
    return _asking(settled(counted, cause=cause, utc_us=utc_us))


def with_trades(order: TrackedOrder, trades: Iterable[BrokerTrade]) -> TrackedOrder:
    """Return the order with exactly ``trades`` as its trades and in the state that it had."""
    rows = sorted(trades, key=lambda trade: trade.trade_id)
    return replace(
        order,
        fills=tuple(trade for trade in rows if not trade.voided),
        voided_quantity=sum(trade.quantity for trade in rows if trade.voided),
    )


def looked_up(order: TrackedOrder, fact: OrderLookedUp, *, now_ns: int) -> OrderStep:
    """Return the order after a search for its tag that did not show it.

    Rows that a search did show go through ``reported`` first; this is about their absence, which
    proves nothing until two complete reads agree, long after the request could still arrive.
    """
    if order.state is not OrderState.UNKNOWN:
        return OrderStep(order=order)
    due_ns = now_ns + _pause_ns(order.attempts)
    waiting = replace(order, due_ns=due_ns, attempts=order.attempts + 1)
    late_enough = fact.sent_ns >= order.sent_ns + REPLY_LIMIT_NS + ABSENCE_MIN_AGE_NS
    # Also a leg of it shows that it arrived.
    shown = any(row.broker_order_id not in order.refused_twins for row in fact.orders)
    if not fact.complete or not late_enough or shown:
        return OrderStep(order=waiting)
    if order.lookups == 0:
        return OrderStep(order=replace(waiting, lookups=1, first_absent_ns=fact.sent_ns))
    if fact.sent_ns < order.first_absent_ns + ABSENCE_MIN_GAP_NS:
        return OrderStep(order=waiting)
    gone = moved(
        replace(waiting, lookups=order.lookups + 1),
        OrderState.NOT_SUBMITTED,
        cause=f"absent from {ABSENT_READS_NEEDED} complete reads",
        utc_us=fact.utc_us,
    )
    return OrderStep(order=replace(gone, due_ns=0))


def on_time(order: TrackedOrder, *, utc_us: int, now_ns: int, timeout_ns: int) -> OrderStep:
    """Return the order after its deadline: silence proves nothing, so we ask and never resend."""
    if not order.due_ns or now_ns < order.due_ns or order.is_terminal:
        return OrderStep(order=order)
    match order.state:
        case OrderState.SENT if now_ns >= order.sent_ns + REPLY_LIMIT_NS:
            return _unknown(order, "silence", utc_us, now_ns=now_ns)
        case OrderState.UNKNOWN:
            # The answer to the look-up sets the next time; this one holds should it never come.
            waiting = replace(order, due_ns=now_ns + REPLY_LIMIT_NS)
            return OrderStep(order=waiting, ask=Ask.LOOK_UP)
        case OrderState.SENT:
            waiting = _polled(order, now_ns=now_ns, pause_max_ns=timeout_ns)
            limit_ns = order.sent_ns + REPLY_LIMIT_NS
            return OrderStep(
                order=replace(waiting, due_ns=min(waiting.due_ns, limit_ns)), ask=Ask.LOOK_UP
            )
        case _ if _awaits_trades(order):
            waiting = _polled(order, now_ns=now_ns, pause_max_ns=timeout_ns)
            return OrderStep(order=waiting, ask=Ask.LOOK_UP)
        case _:
            # A resting order may rest: the account audits watch it.
            return OrderStep(order=replace(order, due_ns=0))


def along(order: TrackedOrder, *, utc_us: int, now_ns: int, timeout_ns: int) -> OrderStep:
    """Return the order when another one is searched: one search shows both.

    It is asked about now if that is soon due anyhow, so that both are due together from then on;
    but never before half of its pause, nor before a search could speak for its absence again.
    """
    is_searched = _is_unproven(order) or _awaits_trades(order)
    if not order.due_ns or order.is_terminal or not is_searched:
        return OrderStep(order=order)
    is_soon = order.due_ns - now_ns <= _last_pause_ns(order, pause_max_ns=timeout_ns) // 2
    if not is_soon or (order.lookups and now_ns < order.first_absent_ns + ABSENCE_MIN_GAP_NS):
        return OrderStep(order=order)
    return on_time(
        replace(order, due_ns=now_ns), utc_us=utc_us, now_ns=now_ns, timeout_ns=timeout_ns
    )


def _is_unproven(order: TrackedOrder) -> bool:
    return order.state in {OrderState.SENT, OrderState.UNKNOWN}


def _awaits_trades(order: TrackedOrder) -> bool:
    return order.intent.type is OrderType.MARKET or order.lacks_trades


def _last_pause_ns(order: TrackedOrder, *, pause_max_ns: int) -> int:
    """Return how long after its last look an order was to be looked at again."""
    attempts = max(order.attempts - 1, 0)
    if order.state is OrderState.UNKNOWN:
        return _pause_ns(attempts)
    return _poll_pause_ns(attempts, pause_max_ns=pause_max_ns)


def _polled(order: TrackedOrder, *, now_ns: int, pause_max_ns: int) -> TrackedOrder:
    pause_ns = _poll_pause_ns(order.attempts, pause_max_ns=pause_max_ns)
    return replace(order, due_ns=now_ns + pause_ns, attempts=order.attempts + 1)


def _poll_pause_ns(attempts: int, *, pause_max_ns: int) -> int:
    return min(pause_max_ns, PENDING_POLL_NS << min(attempts, POLL_DOUBLINGS_MAX))


def after_restart(order: TrackedOrder, *, utc_us: int, now_ns: int) -> OrderStep:
    """Return the order as a new process must see it: what was under way is of unknown fate."""
    order = replace(order, due_ns=0, sent_ns=now_ns, lookups=0, first_absent_ns=0, attempts=0)
    if order.state in {OrderState.INTENDED, OrderState.SENT}:
        order = _unknown(order, "restart", utc_us, now_ns=now_ns).order
    if order.state is OrderState.UNKNOWN:
        # The first audit usually shows it; the search by tag follows soon after.
        order = replace(order, due_ns=now_ns + RESTART_GRACE_NS)
    return OrderStep(order=order)


def _unknown(order: TrackedOrder, cause: str, utc_us: int, *, now_ns: int) -> OrderStep:
    if order.state is OrderState.UNKNOWN:
        return OrderStep(order=order)
    if order.is_shown or order.state not in _LOSABLE:
        return OrderStep(order=order)
    unknown = moved(order, OrderState.UNKNOWN, cause=cause, utc_us=utc_us)
    # Only the time of a request that is under way in this process means anything.
    sent_ns = order.sent_ns if order.state is OrderState.SENT else now_ns
    asked = replace(unknown, sent_ns=sent_ns, due_ns=now_ns + REPLY_LIMIT_NS)
    return OrderStep(order=asked, ask=Ask.LOOK_UP)


def _asking(order: TrackedOrder) -> OrderStep:
    if order.is_terminal:
        order = replace(order, due_ns=0)
    return OrderStep(order=order, ask=Ask.AUDIT if order.lacks_trades else Ask.NOTHING)


def _pause_ns(attempts: int) -> int:
    return LOOK_UP_PAUSES_NS[min(attempts, len(LOOK_UP_PAUSES_NS) - 1)]
