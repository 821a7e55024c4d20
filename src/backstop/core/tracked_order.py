"""One order of ours and the evidence about it: a value that only the transitions below change."""

from decimal import Decimal
from fractions import Fraction
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.asked_changes import AskedCancel, AskedChange, AskedCut
from backstop.core.order_moves import OrderMoves
from backstop.core.reference_levels import LevelHistory
from backstop.domain.broker import BrokerOrder, BrokerStatus, BrokerTrade
from backstop.domain.instrument import Instrument, Rounding
from backstop.domain.numbers import average
from backstop.domain.order import (
    ORDER_TRANSITIONS,
    TERMINAL_STATES,
    LegRole,
    OrderIntent,
    OrderRequest,
    OrderState,
    OrderType,
    Rejection,
    Side,
)
from backstop.errors import InvalidTransitionError

TRANSITIONS_KEPT = 64
"""History kept per order in memory; the journal keeps all of it."""


class Transition(Struct, frozen=True, kw_only=True):
    """One change of state: what it was, what it became, the fact that did it."""

    from_state: OrderState
    to_state: OrderState
    cause: str
    utc_us: int


class TrackedOrder(Struct, frozen=True, kw_only=True, dict=True):
    """An order of ours.

    Attributes:
        request: as the bot asked; a repeat is compared with it.
        intent: as it passed the checks, in ticks.
        custom_tag: the broker tag, a pure function of ``intent``; of a registered order the tag
            that its sender gave it, empty when it has none.
        registered: somebody else sends it: it is verified like ours, and never placed by us.
        role: of a protective order that the guard placed by itself; None: somebody asked for it.
        reduces_risk: it was let through as an exit: it was to close contracts and to open none.
        reference_price: what a fill is measured from, in points: the level it was sent with, for a
            market order the touch at that time; None when nothing was known.
        levels_seen: where it stood since; a fill is measured from what was in force.
        moves: prices that it was asked to move to, of which nobody can say yet what came.
        requested_utc_us: when the intent became durable.
        venue_from_us: the venue's time then, at the earliest; None: nobody knew it.
        venue: the newest order row of the venue.
        rejection: what kind of no the venue gave, while the order is REJECTED.
        fills: trades of this order that were not voided, in the order of their ids.
        voided_quantity: contracts of its trades that the venue took back.
        due_ns: monotonic time of the next look at this order; 0 for none.
        lookups: complete look-ups that did not find the tag, since the last sign of it.
        first_absent_ns: when the first of those was sent.
        sent_ns: when the request left, monotonic; a look-up proves absence only long after it.
        refused_twins: broker ids that carry this order's tag and are not it: refused requests, and
            an order that is not what was registered.
        attempts: looks taken in the present state, for growing pauses.
        told_as: side, size and contract of a row that names it and cannot be of it; empty: none.
        cancel: its end was asked for; None: it was not.
        change: another size or level was asked for, and is not shown yet or was refused.
    """

    request: OrderRequest
    intent: OrderIntent
    custom_tag: str
    role: LegRole | None = None
    reduces_risk: bool = False
    registered: bool = False
    state: OrderState = OrderState.INTENDED
    reference_price: Decimal | None = None
    levels_seen: LevelHistory = LevelHistory()
    moves: OrderMoves = OrderMoves()
    requested_utc_us: int = 0
    venue_from_us: int | None = None
    broker_order_id: int | None = None
    venue: BrokerOrder | None = None
    venue_message: str = ""
    venue_code: int | None = None
    rejection: Rejection | None = None
    fills: tuple[BrokerTrade, ...] = ()
    voided_quantity: int = 0
    transitions: tuple[Transition, ...] = ()
    sent_ns: int = 0
    due_ns: int = 0
    attempts: int = 0
    refused_twins: tuple[int, ...] = ()
    lookups: int = 0
    first_absent_ns: int = 0
    told_as: str = ""
    cancel: AskedCancel | None = None
    change: AskedChange | None = None
    cut: AskedCut | None = None

    @property
    def client_order_id(self) -> str:
        """The bot's own name for the order."""
        return self.intent.client_order_id

    @property
    def is_terminal(self) -> bool:
        """No further fill is expected; evidence can still reopen it."""
        return self.state in TERMINAL_STATES

    @property
    def is_shown(self) -> bool:
        """The venue itself named it; the number of a registered order is only what was said."""
        if self.registered:
            return self.venue is not None or bool(self.fills) or self.voided_quantity > 0
        return self.broker_order_id is not None

    @cached_property
    def filled_quantity(self) -> int:
        """Contracts proven by trades with their own ids; asked for many times in every step."""
        return sum(fill.quantity for fill in self.fills)

    @cached_property
    def open_quantity(self) -> int:
        """Contracts that could still fill, worst case: UNKNOWN counts in full."""
        if self.is_terminal:
            return 0
        return max(0, final_quantity(self) - self.filled_quantity)

    @property
    def average_price(self) -> Fraction | None:
        """Volume-weighted fill price in points, exact; None without a fill."""
        if not self.fills:
            return None
        return average([(fill.price, fill.quantity) for fill in self.fills])

    @property
    def lacks_trades(self) -> bool:
        """The venue says more was filled than its trades have shown us so far."""
        return told_quantity(self) > self.filled_quantity + self.voided_quantity


def is_of(order: TrackedOrder, contract_id: str, side: Side) -> bool:
    """Say whether what names ``order`` was meant by whoever registered it.

    A bot may tell us a wrong number or tag; what we placed ourselves goes by our own.
    """
    return not order.registered or fits(order, contract_id, side)


def fits(order: TrackedOrder, contract_id: str, side: Side) -> bool:
    """Say whether a row or a trade is of the contract and the side of ``order``."""
    intent = order.intent
    return (intent.contract_id, intent.side) == (contract_id, side)


def moved(order: TrackedOrder, to_state: OrderState, *, cause: str, utc_us: int) -> TrackedOrder:
    """Return ``order`` in ``to_state``, or raise InvalidTransitionError; no-op when it is there."""
    if order.state is to_state:
        return order
    if to_state not in ORDER_TRANSITIONS[order.state]:
        raise InvalidTransitionError(order.client_order_id, order.state, to_state, cause)
    step = Transition(from_state=order.state, to_state=to_state, cause=cause, utc_us=utc_us)
    rejected = to_state is OrderState.REJECTED
    return replace(
        order,
        state=to_state,
        rejection=(order.rejection or Rejection.UNSTATED) if rejected else None,
        transitions=(*order.transitions, step)[-TRANSITIONS_KEPT:],
        attempts=0,
    )


def newer_row(held: BrokerOrder | None, row: BrokerOrder) -> BrokerOrder:
    """Return what to believe after ``row`` arrived while ``held`` was known.

    Rows come late, doubled and out of order. A finished order does not come back to life, the
    filled quantity never falls, and of two living rows the later update wins. REST rows of a
    filled order keep an old update time, so time alone never decides.
    """
    if held is None:
        return row
    return _completed(held, by=row) if _is_older(row, held) else _completed(row, by=held)


_PROGRESS = {
    # What the venue says while an order begins; all that follows counts as further on.
    BrokerStatus.NONE: 0,
    BrokerStatus.SUSPENDED: 1,
    BrokerStatus.PENDING: 2,
}


def _is_older(row: BrokerOrder, held: BrokerOrder) -> bool:
    if not row.status.is_live:
        return False
    if not held.status.is_live:
        return True
    if row.updated_utc_us != held.updated_utc_us:
        return row.updated_utc_us < held.updated_utc_us
    if row.filled_quantity != held.filled_quantity:
        return row.filled_quantity < held.filled_quantity
    return _PROGRESS.get(row.status, 3) < _PROGRESS.get(held.status, 3)


def _completed(newer: BrokerOrder, *, by: BrokerOrder) -> BrokerOrder:
    """Return ``newer`` with what only the other row states: hub and REST rows differ in members."""
    return replace(
        newer,
        type=newer.type if newer.type is not None else by.type,
        limit_price=newer.limit_price if newer.limit_price is not None else by.limit_price,
        stop_price=newer.stop_price if newer.stop_price is not None else by.stop_price,
        filled_price=newer.filled_price if newer.filled_price is not None else by.filled_price,
        custom_tag=newer.custom_tag or by.custom_tag,
        parent_order_id=newer.parent_order_id or by.parent_order_id,
        linked_order_id=newer.linked_order_id or by.linked_order_id,
        filled_quantity=max(newer.filled_quantity, by.filled_quantity),
        raw=newer.raw or by.raw,
    )


def settled(order: TrackedOrder, *, cause: str, utc_us: int) -> TrackedOrder:
    """Return ``order`` in the state that its venue row and its trades prove together.

    The one place where evidence becomes a state. FILLED needs trades whose quantities add up;
    CANCELLED, EXPIRED and REJECTED need every trade that the venue says there was. A finished
    order stays finished while trades that the venue counted are still being fetched.
    """
    target = _proven_state(order)
    if target is None or (target is OrderState.WORKING and not _may_work(order)):
        return order
    return moved(order, target, cause=cause, utc_us=utc_us)


def _may_work(order: TrackedOrder) -> bool:
    """Say whether an order without fills may (again) count as working."""
    match order.state:
        case OrderState.REJECTED:
            # A late "pending" row changes nothing; one that is open contradicts the refusal.
            return order.venue is not None and order.venue.status is BrokerStatus.OPEN
        case OrderState.CANCELLED | OrderState.EXPIRED:
            return False
        case _:
            return True


def _proven_state(order: TrackedOrder) -> OrderState | None:
    venue = order.venue
    if order.filled_quantity >= final_quantity(order):
        return OrderState.FILLED
    if venue is not None and not venue.status.is_live and not order.lacks_trades:
        if venue.status is BrokerStatus.REJECTED and not order.fills:
            return OrderState.REJECTED
        if venue.status is BrokerStatus.EXPIRED:
            return OrderState.EXPIRED
        # Also a filled order of which a trade was voided: what is left is all it got.
        return OrderState.CANCELLED
    if order.fills:
        return OrderState.PARTIALLY_FILLED
    if venue is not None or order.broker_order_id is not None:
        return OrderState.WORKING
    return None


def told_quantity(order: TrackedOrder) -> int:
    """Return the contracts that the venue's row says were filled; 0 while there is no row."""
    if order.venue is None:
        return 0
    if order.venue.status is BrokerStatus.FILLED:
        # Rows of old samples lack the filled quantity: the status says all of it.
        return max(order.venue.filled_quantity, final_quantity(order))
    return order.venue.filled_quantity


def final_quantity(order: TrackedOrder) -> int:
    """Return the contracts that make the order complete: the venue's size once it is known.

    A row of size 0 states no size; to believe it would make an order FILLED without a trade.
    """
    stated = 0 if order.venue is None else order.venue.quantity
    return stated or order.intent.quantity


def levels(order: TrackedOrder, instrument: Instrument) -> tuple[Decimal | None, Decimal | None]:
    """Return (limit, stop) in points as they stand at the venue, or as sent while it shows none.

    A trailing stop's level is the first one: the venue moves it without telling.
    """
    intent, venue = order.intent, order.venue
    limit = None if intent.limit_ticks is None else instrument.price(intent.limit_ticks)
    stop = None if intent.stop_ticks is None else instrument.price(intent.stop_ticks)
    if venue is None:
        return limit, stop
    if intent.type is OrderType.LIMIT and venue.limit_price is not None:
        limit = venue.limit_price
    if intent.type is OrderType.STOP and venue.stop_price is not None:
        stop = venue.stop_price
    return limit, stop


def possible_ticks(order: TrackedOrder, instrument: Instrument) -> tuple[int, ...]:
    """Return every level, in ticks, at which a resting order of ours may stand; none: nowhere."""
    intent, row = order.intent, order.venue
    level = None if row is None else row.limit_price or row.stop_price
    sent = intent.limit_ticks if intent.limit_ticks is not None else intent.stop_ticks
    as_sent = level is None or (sent is not None and level == instrument.price(sent))
    if as_sent and order.moves.low is None and order.moves.high is None:
        return () if sent is None else (sent,)  # as nearly all, and a book may hold hundreds
    stands = sent if level is None else instrument.rounded_ticks(level, Rounding.NEAREST)
    moved = (instrument.rounded_ticks(it, Rounding.NEAREST) for it in order.moves.prices)
    return tuple(dict.fromkeys(it for it in (stands, *moved) if it is not None))
