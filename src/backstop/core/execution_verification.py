"""Did what we sent really happen, once, at an acceptable price? One order, one fact, one step.

Every function is pure: it takes an order and a fact, and returns the order as the fact leaves it
together with what has to be asked next. Facts come in any order, more than once, or never; the
end is the same.
"""

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.tracked_order import TrackedOrder, moved, newer_row, settled
from backstop.domain.broker import BrokerOrder, BrokerTrade
from backstop.domain.events import Answer, OrderLookedUp, PlaceAnswered
from backstop.domain.instrument import Instrument
from backstop.domain.numbers import fraction_text
from backstop.domain.order import OrderState, OrderType

MARKET_POLL_NS = 500 * MILLISECOND_NS
"""A market order without proof after this long is asked about; it should be filled by then."""

REPLY_LIMIT_NS = 15 * SECOND_NS
"""The adapter answers every request within its own deadline; this is the belt behind it."""

LOOK_UP_PAUSES_NS = (
    0,
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
    return OrderStep(order=replace(sent, sent_ns=now_ns, due_ns=now_ns + REPLY_LIMIT_NS))


def answered(order: TrackedOrder, fact: PlaceAnswered, *, now_ns: int) -> OrderStep:
    """Return the order after what came back for its place request."""
    if fact.answer is Answer.NO and fact.tag_in_use:
        return _twin_refused(order, fact, now_ns=now_ns)
    order = replace(
        order,
        broker_order_id=order.broker_order_id or fact.broker_order_id,
        venue_message=fact.message or order.venue_message,
        venue_code=order.venue_code if fact.code is None else fact.code,
    )
    unproven = order.state in {OrderState.INTENDED, OrderState.SENT, OrderState.UNKNOWN}
    match fact.answer:
        case Answer.YES:
            due_ns = now_ns + MARKET_POLL_NS if order.intent.type is OrderType.MARKET else 0
            accepted = settled(order, cause="accepted", utc_us=fact.utc_us)
            return _asking(replace(accepted, due_ns=0 if accepted.is_terminal else due_ns))
        case Answer.NO if unproven:
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


def _twin_refused(order: TrackedOrder, fact: PlaceAnswered, *, now_ns: int) -> OrderStep:
    """Read "tag in use" as what it proves: an earlier request with this tag arrived.

    The id in the refusal belongs to the refused twin, never to the order that lives.
    """
    twin = fact.broker_order_id
    if twin is not None:
        order = replace(order, refused_twins=(*order.refused_twins, twin))
    if order.broker_order_id == twin:
        order = replace(order, broker_order_id=None, venue=None)
    return _unknown(order, "tag in use", fact.utc_us, now_ns=now_ns)


def reported(order: TrackedOrder, row: BrokerOrder, *, utc_us: int) -> OrderStep:
    """Return the order after a row of the venue about it, from whichever side it came."""
    believed = replace(
        order,
        broker_order_id=row.broker_order_id,
        venue=newer_row(order.venue, row),
        lookups=0,
        first_absent_ns=0,
    )
    return _asking(settled(believed, cause=f"venue {row.status}", utc_us=utc_us))


def traded(
    order: TrackedOrder, trades: Iterable[BrokerTrade], *, cause: str, utc_us: int
) -> OrderStep:
    """Return the order with exactly ``trades`` as its trades, voided ones included."""
    rows = sorted(trades, key=lambda trade: trade.trade_id)
    fills = tuple(trade for trade in rows if not trade.voided)
    voided_quantity = sum(trade.quantity for trade in rows if trade.voided)
    if fills == order.fills and voided_quantity == order.voided_quantity:
        return OrderStep(order=order)
    counted = replace(order, fills=fills, voided_quantity=voided_quantity)
    return _asking(settled(counted, cause=cause, utc_us=utc_us))


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
    if not fact.complete or not late_enough:
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
        case OrderState.SENT:
            return _unknown(order, "silence", utc_us, now_ns=now_ns)
        case OrderState.UNKNOWN:
            # The answer to the look-up sets the next time; this one holds should it never come.
            waiting = replace(order, due_ns=now_ns + REPLY_LIMIT_NS)
            return OrderStep(order=waiting, ask=Ask.LOOK_UP)
        case _:
            pause_ns = min(timeout_ns, MARKET_POLL_NS << min(order.attempts, 8))
            waiting = replace(order, due_ns=now_ns + pause_ns, attempts=order.attempts + 1)
            return OrderStep(order=waiting, ask=Ask.LOOK_UP)


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
    if order.state not in {OrderState.INTENDED, OrderState.SENT, OrderState.REJECTED}:
        return OrderStep(order=order)
    unknown = moved(order, OrderState.UNKNOWN, cause=cause, utc_us=utc_us)
    sent_ns = order.sent_ns or now_ns
    asked = replace(unknown, sent_ns=sent_ns, due_ns=now_ns + REPLY_LIMIT_NS)
    return OrderStep(order=asked, ask=Ask.LOOK_UP)


def _asking(order: TrackedOrder) -> OrderStep:
    if order.is_terminal:
        order = replace(order, due_ns=0)
    return OrderStep(order=order, ask=Ask.AUDIT if order.lacks_trades else Ask.NOTHING)


def _pause_ns(attempts: int) -> int:
    return LOOK_UP_PAUSES_NS[min(attempts + 1, len(LOOK_UP_PAUSES_NS) - 1)]


# -- the verdict ---------------------------------------------------------------------------------


class Verdict(StrEnum):
    """What the evidence says about an execution."""

    VERIFIED = "VERIFIED"
    BREACH = "BREACH"  # executed in full, at a price outside the tolerance
    REFUTED = "REFUTED"  # it did not happen as expected, and will not
    UNKNOWN = "UNKNOWN"  # the evidence is not complete


class Verification(Struct, frozen=True, kw_only=True):
    """A verdict with its reason; slippage in adverse ticks, exact, None without a reference."""

    verdict: Verdict
    reason: str
    filled_quantity: int
    expected_quantity: int
    slippage_ticks: Fraction | None
    max_slippage_ticks: Decimal


def slippage_ticks(order: TrackedOrder, instrument: Instrument) -> Fraction | None:
    """Return the adverse ticks between the reference and the average fill; negative is better."""
    average = order.average_price
    if average is None or order.reference_price is None:
        return None
    adverse = (average - Fraction(order.reference_price)) * order.intent.side.sign
    return adverse / Fraction(instrument.tick_size)


def verify(
    order: TrackedOrder,
    instrument: Instrument,
    *,
    expected_quantity: int,
    max_slippage_ticks: Decimal,
) -> Verification:
    """Judge ``order`` by its evidence; ``expected_quantity`` in contracts."""
    slippage = slippage_ticks(order, instrument)
    filled = order.filled_quantity

    def verdict(word: Verdict, reason: str) -> Verification:
        return Verification(
            verdict=word,
            reason=reason,
            filled_quantity=filled,
            expected_quantity=expected_quantity,
            slippage_ticks=slippage,
            max_slippage_ticks=max_slippage_ticks,
        )

    if filled > expected_quantity:
        return verdict(
            Verdict.REFUTED, f"{filled} contracts were filled, {expected_quantity} were expected"
        )
    if not order.is_terminal:
        return verdict(
            Verdict.UNKNOWN,
            f"the order is {order.state} with {filled} of {expected_quantity} contracts proven",
        )
    if filled < expected_quantity:
        told = f": {order.venue_message}" if order.venue_message else ""
        return verdict(
            Verdict.REFUTED,
            f"the order is {order.state} with {filled} of {expected_quantity} contracts{told}",
        )
    if slippage is None:
        return verdict(
            Verdict.VERIFIED, f"{filled} contracts proven by trades; no reference price was known"
        )
    adverse = fraction_text(slippage, places=4)
    if slippage > Fraction(max_slippage_ticks):
        return verdict(
            Verdict.BREACH,
            f"filled in full with {adverse} adverse ticks, {max_slippage_ticks} allowed",
        )
    return verdict(
        Verdict.VERIFIED,
        f"{filled} contracts proven by {len(order.fills)} trades, {adverse} adverse ticks",
    )
