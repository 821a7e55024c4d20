"""What the interface shows of orders, positions and decisions: pure functions from core types.

The structs are the published shapes. Prices and averages are exact decimal text, moments ISO-8601
text in UTC, quantities whole contracts.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from msgspec import Struct

from backstop.core.book import Book, VenueOrder
from backstop.core.execution_verdict import Verdict, Verification
from backstop.core.exits_in_question import held_at_most
from backstop.core.guardrails import Assessment
from backstop.core.past import PastOrder
from backstop.core.positions import Knowledge, PositionView
from backstop.core.protection_situation import Protection, protection_of
from backstop.core.tracked_order import TrackedOrder, final_quantity, levels
from backstop.domain.broker import BrokerOrder, BrokerStatus, BrokerTrade
from backstop.domain.denial import Denial
from backstop.domain.events import Answer
from backstop.domain.instrument import Instrument
from backstop.domain.numbers import decimal_text, fraction_text, plain
from backstop.domain.order import LegRole, OrderState, OrderType, Rejection, Side
from backstop.domain.utc import utc_text

NANOSECONDS_PER_MS = 1_000_000


class FillRecord(Struct, frozen=True, kw_only=True):
    """One trade of an order; ``fill_id`` is the broker's trade id."""

    fill_id: int
    price: str
    quantity: int
    time: str


class TransitionRecord(Struct, frozen=True, kw_only=True, rename={"from_state": "from"}):
    """One change of state and the fact that caused it."""

    from_state: OrderState
    to: OrderState
    cause: str
    time: str


class LegRecord(Struct, frozen=True, kw_only=True):
    """One protective order of an entry, as the venue shows it."""

    broker_order_id: int
    role: LegRole | None
    status: BrokerStatus
    quantity: int
    filled_quantity: int
    price: str | None


class CancelRecord(Struct, frozen=True, kw_only=True):
    """The end of an order was asked for ``times`` times, and why.

    ``answer`` is the newest of the venue, in its words ``message``; null: none yet. ``asks_again``:
    the guard asks until the order is over.
    """

    reason: str
    times: int
    answer: Answer | None
    message: str
    asks_again: bool


class ChangeRecord(Struct, frozen=True, kw_only=True):
    """What an order was asked to become and the venue does not show yet, or refused.

    Null members stay as they are. ``answer`` and ``message`` are as for a cancel.
    """

    reason: str
    quantity: int | None
    limit_price: str | None
    stop_price: str | None
    answer: Answer | None
    message: str


class OrderRecord(Struct, frozen=True, kw_only=True):
    """One order of ours; quantity and level prices are those it has now, on the tick.

    A change that the venue shows is in them, and one that it does not show yet is in ``change``.
    The trailing level and the bracket are as sent.
    ``rejection`` says what kind of no a REJECTED order got.
    """

    client_order_id: str
    broker_order_id: int | None
    symbol: str
    contract_id: str
    side: Side
    quantity: int
    type: OrderType
    limit_price: str | None
    stop_price: str | None
    stop_loss_price: str | None
    take_profit_price: str | None
    strategy_id: str | None
    state: OrderState
    filled_quantity: int
    average_price: str | None
    fills: tuple[FillRecord, ...]
    venue_message: str
    cancel: CancelRecord | None
    change: ChangeRecord | None
    rejection: Rejection | None
    transitions: tuple[TransitionRecord, ...]
    custom_tag: str
    requested_at: str
    legs: tuple[LegRecord, ...]


class OrderList(Struct, frozen=True, kw_only=True):
    """Orders, newest first; ``total`` counts those that match, shown or not."""

    orders: tuple[OrderRecord, ...]
    total: int


class ProtectiveOrder(Struct, frozen=True, kw_only=True):
    """A working stop or target of a position."""

    broker_order_id: int
    price: str | None
    quantity: int
    type: OrderType | None


class PositionRow(Struct, frozen=True, kw_only=True):
    """One position. ``stop`` is the working stop that would be hit first, ``stops`` are all.

    ``quantity`` is signed; ``naked_ms`` says for how long the stops have not covered it, 0 while
    they do, and ``naked_ms_max`` for how long they did not at most, since it was opened. Of
    ``in_question`` contracts, which are in ``quantity``, only reads of one moment say that they are
    gone; while there are any, ``knowledge`` is UNKNOWN. It is STALE while the user hub is not
    trusted or the account could not be read (``ACCOUNT_STALE``).
    """

    symbol: str
    contract_id: str
    quantity: int
    in_question: int
    average_price: str | None
    stop: ProtectiveOrder | None
    target: ProtectiveOrder | None
    knowledge: Knowledge
    naked_ms: int
    naked_ms_max: int
    protection: Protection
    stops: tuple[ProtectiveOrder, ...]
    targets: tuple[ProtectiveOrder, ...]


class PositionList(Struct, frozen=True, kw_only=True):
    """Every position that is not known to be flat."""

    positions: tuple[PositionRow, ...]


class RoundedPrices(Struct, frozen=True, kw_only=True):
    """The prices of an order on the tick; null where it has none."""

    limit_price: str | None
    stop_price: str | None
    stop_loss_price: str | None
    take_profit_price: str | None


class ValidationView(Struct, frozen=True, kw_only=True):
    """What would become of an order. ``gate`` is what would keep an approved one from leaving."""

    decision: str
    denials: tuple[Denial, ...]
    rounded: RoundedPrices
    r_multiple: str | None
    reducing: bool
    gate: Denial | None


class VerificationView(Struct, frozen=True, kw_only=True):
    """The verdict about an execution, with its reason and the numbers behind it."""

    verdict: Verdict
    reason: str
    filled_quantity: int
    expected_quantity: int
    slippage_ticks: str | None
    max_slippage_ticks: str


# -- numbers -------------------------------------------------------------------------------------


def level_text(instrument: Instrument | None, ticks: int | None) -> str | None:
    """Return a level in ticks as a price in points."""
    return None if instrument is None or ticks is None else decimal_text(instrument.price(ticks))


# -- orders --------------------------------------------------------------------------------------


def order_record(book: Book, order: TrackedOrder) -> OrderRecord:
    """Return the published record of ``order``."""
    return order_records(book, [order])[0]


def order_records(book: Book, orders: Sequence[TrackedOrder]) -> tuple[OrderRecord, ...]:
    """Return the published records of ``orders``, looking through all legs only once."""
    legs: dict[str, list[LegRecord]] = {order.client_order_id: [] for order in orders}
    for leg in book.venue_orders.values():
        if leg.owner in legs:
            legs[leg.owner].append(_leg(leg))
    return tuple(_order_record(book, order, legs[order.client_order_id]) for order in orders)


def _order_record(book: Book, order: TrackedOrder, legs: Iterable[LegRecord]) -> OrderRecord:
    intent, average = order.intent, order.average_price
    instrument = book.instruments.get(intent.contract_id)
    limit, stop = (None, None) if instrument is None else levels(order, instrument)
    return OrderRecord(
        client_order_id=order.client_order_id,
        broker_order_id=order.broker_order_id,
        symbol=intent.symbol,
        contract_id=intent.contract_id,
        side=intent.side,
        quantity=final_quantity(order),
        type=intent.type,
        limit_price=None if limit is None else decimal_text(limit),
        stop_price=None if stop is None else decimal_text(stop),
        stop_loss_price=level_text(instrument, intent.stop_loss_ticks),
        take_profit_price=level_text(instrument, intent.take_profit_ticks),
        strategy_id=intent.strategy_id,
        state=order.state,
        filled_quantity=order.filled_quantity,
        average_price=None if average is None else fraction_text(average),
        fills=tuple(_fill(trade) for trade in order.fills),
        venue_message=order.venue_message,
        cancel=_cancel(order),
        change=_change(order, instrument),
        rejection=order.rejection if order.state is OrderState.REJECTED else None,
        transitions=tuple(
            TransitionRecord(
                from_state=step.from_state,
                to=step.to_state,
                cause=step.cause,
                time=utc_text(step.utc_us),
            )
            for step in order.transitions
        ),
        custom_tag=order.custom_tag,
        requested_at=utc_text(order.requested_utc_us),
        legs=tuple(legs),
    )


def _cancel(order: TrackedOrder) -> CancelRecord | None:
    asked = order.cancel
    if asked is None:
        return None
    return CancelRecord(
        reason=asked.reason,
        times=asked.times,
        answer=asked.answer,
        message=asked.message,
        asks_again=bool(asked.due_ns) and not order.is_terminal,
    )


def _change(order: TrackedOrder, instrument: Instrument | None) -> ChangeRecord | None:
    asked = order.change
    if asked is None:
        return None
    return ChangeRecord(
        reason=asked.reason,
        quantity=asked.quantity,
        limit_price=level_text(instrument, asked.limit_ticks),
        stop_price=level_text(instrument, asked.stop_ticks),
        answer=asked.answer,
        message=asked.message,
    )


def past_record(book: Book, past: PastOrder) -> OrderRecord | None:
    """Return the published record of an order that the book has let go of; None: not ours."""
    if past.order is None:
        return None
    return _order_record(book, past.order, [_leg(leg) for leg in past.venue_orders])


def order_list(
    book: Book,
    *,
    state: OrderState | None,
    limit: int,
    past: tuple[Sequence[PastOrder], int],
) -> OrderList:
    """Return the newest ``limit`` orders, of one state if it is given.

    ``past`` has the newest of those that the book has let go of, and how many there are.
    """
    matching = [order for order in book.orders.values() if state in {None, order.state}]
    shown = list(order_records(book, matching[-limit:][::-1]))
    # One that was called back is in both.
    older, total = past
    records = [past_record(book, it) for it in older]
    twice = {it.client_order_id for it in records if it} & book.orders.keys()
    shown += [it for it in records if it is not None and it.client_order_id not in twice]
    return OrderList(orders=tuple(shown[:limit]), total=len(matching) + total - len(twice))


def _fill(trade: BrokerTrade) -> FillRecord:
    return FillRecord(
        fill_id=trade.trade_id,
        price=f"{plain(trade.price):f}",
        quantity=trade.quantity,
        time=utc_text(trade.created_utc_us),
    )


def _leg(leg: VenueOrder) -> LegRecord:
    row = leg.row
    return LegRecord(
        broker_order_id=row.broker_order_id,
        role=leg.role,
        status=row.status,
        quantity=row.quantity,
        filled_quantity=row.filled_quantity,
        price=decimal_text(row.stop_price if row.limit_price is None else row.limit_price),
    )


# -- positions -----------------------------------------------------------------------------------


def position_rows(book: Book, *, now_ns: int) -> tuple[PositionRow, ...]:
    """Return every position that is not known to be flat: what is not known may be one."""
    return tuple(
        position_row(book, view, now_ns=now_ns)
        for view in book.positions.values()
        if view.quantity or view.ledger or view.in_question or not _is_known(view)
    )


def position_row(book: Book, view: PositionView, *, now_ns: int) -> PositionRow:
    """Return one position with the orders that protect it, also a flat one."""
    held = held_at_most(view)
    stops = tuple(_protective(row) for row in _working_stops(book, view.contract_id, held))
    targets = tuple(_protective(row) for row in _working_targets(book, view.contract_id, held))
    naked_ns = now_ns - view.naked_since_ns if view.naked_since_ns else 0
    naked_max_ns = max(naked_ns, book.protection.record(view.contract_id).naked_max_ns)
    return PositionRow(
        symbol=book.symbol_of(view.contract_id),
        contract_id=view.contract_id,
        quantity=held,
        in_question=view.in_question,
        average_price=decimal_text(view.average_price) if view.quantity else None,
        stop=stops[0] if stops else None,
        target=targets[0] if targets else None,
        knowledge=_knowledge(book, view, now_ns=now_ns),
        naked_ms=naked_ns // NANOSECONDS_PER_MS,
        naked_ms_max=naked_max_ns // NANOSECONDS_PER_MS,
        protection=_protection(book, view, stops),
        stops=stops,
        targets=targets,
    )


def _knowledge(book: Book, view: PositionView, *, now_ns: int) -> Knowledge:
    """Return how far it can be trusted; a hub that keeps silent shows in reads that fail alone."""
    if view.in_question:
        return Knowledge.UNKNOWN
    if _is_known(view) and book.account_stale_ns(now_ns) is not None:
        return Knowledge.STALE
    return view.knowledge


def _is_known(view: PositionView) -> bool:
    return view.knowledge is Knowledge.KNOWN


def _protection(book: Book, view: PositionView, stops: Iterable[ProtectiveOrder]) -> Protection:
    """Return how a position stands; what is in question is not repaired, but it may lack a stop."""
    found = protection_of(book, view.contract_id)
    covered = sum(stop.quantity for stop in stops)
    if view.in_question and found is Protection.PROTECTED and covered < abs(held_at_most(view)):
        return Protection.UNPROTECTED
    return found


def _working_stops(book: Book, contract_id: str, held: int) -> list[BrokerOrder]:
    """Return the stops that would close ``held``, the one that is hit first in front."""
    side = Side.SELL if held > 0 else Side.BUY
    rows = [
        row
        for row in book.working_rows(contract_id)
        if held
        and row.side is side
        and row.status is BrokerStatus.OPEN
        and row.type in {OrderType.STOP, OrderType.TRAILING_STOP}
    ]
    return sorted(rows, key=lambda row: side.sign * (row.stop_price or Decimal(0)))


def _working_targets(book: Book, contract_id: str, held: int) -> list[BrokerOrder]:
    """Return the targets of ``held``, the one that is hit first in front."""
    side = Side.SELL if held > 0 else Side.BUY
    legs = book.live_legs(contract_id)
    live = book.live_orders(contract_id)
    ours = (order for order in live if order.role is LegRole.TAKE_PROFIT)
    rows = [
        row
        for row in (
            *(leg.row for leg in legs if leg.role is LegRole.TAKE_PROFIT),
            *(order.venue for order in ours if order.venue is not None),
        )
        if held and row.side is side and row.status is BrokerStatus.OPEN
    ]
    return sorted(rows, key=lambda row: -side.sign * (row.limit_price or Decimal(0)))


def _protective(row: BrokerOrder) -> ProtectiveOrder:
    return ProtectiveOrder(
        broker_order_id=row.broker_order_id,
        price=decimal_text(row.stop_price if row.limit_price is None else row.limit_price),
        quantity=row.quantity - row.filled_quantity,
        type=row.type,
    )


# -- decisions -----------------------------------------------------------------------------------


def validation_view(book: Book, assessment: Assessment) -> ValidationView:
    """Return the answer to a what-if; the gate does not deny one, it is shown beside."""
    return ValidationView(
        decision="DENIED" if assessment.denials else "APPROVED",
        denials=assessment.denials,
        rounded=rounded_prices(book, assessment),
        r_multiple=assessment.r_multiple,
        reducing=assessment.reducing,
        gate=assessment.gate,
    )


def refused_validation(denials: Iterable[Denial]) -> ValidationView:
    """Return the answer to a what-if that cannot be judged yet: nothing is known to round to."""
    nothing = RoundedPrices(
        limit_price=None, stop_price=None, stop_loss_price=None, take_profit_price=None
    )
    return ValidationView(
        decision="DENIED",
        denials=tuple(denials),
        rounded=nothing,
        r_multiple=None,
        reducing=False,
        gate=None,
    )


def rounded_prices(book: Book, assessment: Assessment) -> RoundedPrices:
    """Return the prices of the judged order as they would be sent."""
    intent = assessment.intent
    instrument = book.instruments.get(intent.contract_id)
    return RoundedPrices(
        limit_price=level_text(instrument, intent.limit_ticks),
        stop_price=level_text(instrument, intent.stop_ticks),
        stop_loss_price=level_text(instrument, intent.stop_loss_ticks),
        take_profit_price=level_text(instrument, intent.take_profit_ticks),
    )


def verification_view(verification: Verification) -> VerificationView:
    """Return the published verdict; slippage is cut after nine decimals if it never ends."""
    slippage = verification.slippage_ticks
    return VerificationView(
        verdict=verification.verdict,
        reason=verification.reason,
        filled_quantity=verification.filled_quantity,
        expected_quantity=verification.expected_quantity,
        slippage_ticks=None if slippage is None else fraction_text(slippage),
        max_slippage_ticks=f"{plain(verification.max_slippage_ticks):f}",
    )
