"""What bots ask for: new orders, cancels and changes, each answered by a decision."""

from decimal import Decimal

from msgspec.structs import replace

from backstop.core.account_rules.denials import moved_denials
from backstop.core.bot_entries import bot_denials
from backstop.core.clock_readings import earliest_us
from backstop.core.entry_gate import state_denials
from backstop.core.freshness import stale_after_ns
from backstop.core.guardrails import Assessment
from backstop.core.market_hours import hours_denials, is_busy
from backstop.core.order_brackets import bracket_faults, reward_denials, risk_and_reward
from backstop.core.order_limits import level_of, moved_price_denials, size_denials
from backstop.core.order_numbers import level_faults
from backstop.core.own_orders import self_trade_denials
from backstop.core.pre_trade import judge, remember_entry
from backstop.core.same_wish import known_already
from backstop.core.step import Decision, DecisionKind, Tag, Workbench
from backstop.core.stop_withdrawal import order_widening_denials, withdrawal_denials
from backstop.core.tracked_order import TrackedOrder, final_quantity
from backstop.domain.commands import CancelOrder, ModifyOrder, PlaceOrder
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.events import CancelRequested, ModifyRequested, OrderRequested
from backstop.domain.instrument import Instrument
from backstop.domain.numbers import count_text
from backstop.domain.order import OrderIntent, OrderRequest, OrderType, custom_tag
from backstop.domain.quote import Quote


def order_requested(work: Workbench, event: OrderRequested) -> None:
    """Decide about a new order; once accepted it is INTENDED, and the request may leave."""
    book, request = work.book, event.request
    known = book.orders.get(request.client_order_id)
    if known is not None:
        work.decision = known_already(known, request)
        return
    assessment = judge(book, event, now_ns=work.now_ns)
    if assessment is None:
        work.decision = Decision(
            kind=DecisionKind.UNKNOWN_SYMBOL, message=f"no contract goes by {request.symbol}"
        )
        return
    denials = assessment.refusals
    if denials:
        _note_refusal(work, request, denials)
        work.decision = Decision(kind=DecisionKind.REFUSED, assessment=assessment, denials=denials)
        return
    _accept(work, request, assessment, event.reference)


_EXPOSURE_CODES = frozenset(
    {
        DenialCode.CORRELATION_EXPOSURE,
        DenialCode.ES_NQ_COMBINED_EXPOSURE,
        DenialCode.CONCENTRATION_DIRECTIONAL,
        DenialCode.GROSS_EXPOSURE,
    }
)


def _note_refusal(work: Workbench, request: OrderRequest, denials: tuple[Denial, ...]) -> None:
    exposure = [denial for denial in denials if denial.code in _EXPOSURE_CODES]
    work.warn(
        Tag.CORRELATION_REJECT if exposure else Tag.ORDER,
        "order_refused",
        client_order_id=request.client_order_id,
        symbol=request.symbol,
        side=str(request.side),
        quantity=request.quantity,
        codes=",".join(denial.code for denial in denials),
        message="; ".join(denial.message for denial in denials),
    )


def _accept(
    work: Workbench, request: OrderRequest, assessment: Assessment, reference: Quote | None
) -> None:
    book, intent = work.book, assessment.intent
    instrument = book.instruments[intent.contract_id]
    command = place_command(assessment, instrument)
    order = TrackedOrder(
        request=request,
        intent=intent,
        custom_tag=command.custom_tag,
        reduces_risk=assessment.reducing,
        reference_price=reference_price(intent, instrument, reference),
        requested_utc_us=work.utc_us,
        venue_from_us=earliest_us(work),
    )
    book.client_of_tag[order.custom_tag] = intent.client_order_id
    if not assessment.reducing:
        remember_entry(book, request, work.now_ns)
    work.keep(order)
    work.commands.append(command)
    work.decision = Decision(kind=DecisionKind.ACCEPTED, order=order, assessment=assessment)


def place_command(assessment: Assessment, instrument: Instrument) -> PlaceOrder:
    """Return the wire-ready request for an assessed order; bracket offsets are signed ticks."""
    intent, entry_ticks = assessment.intent, assessment.entry_ticks

    def price(ticks: int | None) -> Decimal | None:
        return None if ticks is None else instrument.price(ticks)

    def offset(level: int | None) -> int | None:
        return None if level is None or entry_ticks is None else level - entry_ticks

    trailing = intent.type is OrderType.TRAILING_STOP
    return PlaceOrder(
        client_order_id=intent.client_order_id,
        custom_tag=custom_tag(intent),
        account_id=intent.account_id,
        contract_id=intent.contract_id,
        type=intent.type,
        side=intent.side,
        quantity=intent.quantity,
        limit_price=price(intent.limit_ticks),
        stop_price=None if trailing else price(intent.stop_ticks),
        trail_price=price(intent.stop_ticks) if trailing else None,
        stop_loss_offset_ticks=offset(intent.stop_loss_ticks),
        take_profit_offset_ticks=offset(intent.take_profit_ticks),
        reduces_risk=assessment.reducing,
    )


def reference_price(
    intent: OrderIntent, instrument: Instrument, reference: Quote | None
) -> Decimal | None:
    """Return what a fill is measured against: limit, stop, or the touch at submission."""
    if intent.type is OrderType.LIMIT and intent.limit_ticks is not None:
        return instrument.price(intent.limit_ticks)
    if intent.type is OrderType.STOP and intent.stop_ticks is not None:
        return instrument.price(intent.stop_ticks)
    if intent.type is OrderType.MARKET and reference is not None:
        return reference.touch(intent.side)
    return None


def cancel_requested(work: Workbench, event: CancelRequested) -> None:
    """Ask the venue to cancel an order of ours; what it answers is another fact."""
    order = work.book.orders.get(event.client_order_id)
    refused = _unchangeable(work, order, event.client_order_id)
    if refused is not None or order is None or order.broker_order_id is None:
        work.decision = refused
        return
    denials = withdrawal_denials(work.book, order, order.open_quantity, now_ns=work.now_ns)
    if denials:
        work.decision = Decision(kind=DecisionKind.REFUSED, order=order, denials=denials)
        return
    work.book.asked[order.broker_order_id] = work.now_ns
    work.commands.append(
        CancelOrder(
            account_id=order.intent.account_id,
            broker_order_id=order.broker_order_id,
            reason=event.reason,
        )
    )
    work.decision = Decision(kind=DecisionKind.ACCEPTED, order=order)


def modify_requested(work: Workbench, event: ModifyRequested) -> None:
    """Ask the venue to change an order of ours."""
    order = work.book.orders.get(event.client_order_id)
    refused = _unchangeable(work, order, event.client_order_id)
    if refused is not None or order is None or order.broker_order_id is None:
        work.decision = refused
        return
    fault = _change_fault(order, event)
    if fault:
        work.decision = Decision(kind=DecisionKind.NOT_POSSIBLE, order=order, message=fault)
        return
    instrument = work.book.instruments[order.intent.contract_id]
    limit, stop = event.limit_ticks, event.stop_ticks
    less = 0 if event.quantity is None else final_quantity(order) - event.quantity
    denials = (
        *withdrawal_denials(work.book, order, less, now_ns=work.now_ns),
        *_exposure_moved(work, order, event, instrument),
        *_level_denials(order, stop if limit is None else limit, instrument),
    )
    if denials:
        work.decision = Decision(kind=DecisionKind.REFUSED, order=order, denials=denials)
        return
    work.commands.append(
        ModifyOrder(
            account_id=order.intent.account_id,
            broker_order_id=order.broker_order_id,
            quantity=event.quantity,
            limit_price=None if limit is None else instrument.price(limit),
            stop_price=None if stop is None else instrument.price(stop),
            reason="asked for",
        )
    )
    work.decision = Decision(kind=DecisionKind.ACCEPTED, order=order)


def _exposure_moved(
    work: Workbench, order: TrackedOrder, event: ModifyRequested, instrument: Instrument
) -> tuple[Denial, ...]:
    """Return why a price may not be moved now: an entry's, or a stop's away from the market."""
    book = work.book
    if event.limit_ticks is None and event.stop_ticks is None:
        return ()
    if book.is_exit(order):
        return order_widening_denials(book, order, event.stop_ticks, instrument, now_ns=work.now_ns)
    contract_id = order.intent.contract_id
    return (
        *state_denials(
            book.trading_state(work.now_ns, contract_id),
            book.state_reasons(work.now_ns, contract_id),
            book.policy,
        ),
        *bot_denials(book, order.request.strategy_id),
        *hours_denials(book.hours, instrument, book.policy, work.utc_us),
        *_price_moved(work, order, event, instrument),
    )


def _price_moved(
    work: Workbench, order: TrackedOrder, event: ModifyRequested, instrument: Instrument
) -> tuple[Denial, ...]:
    """Return why an entry may not rest at its new price: what holds for a new order holds here."""
    book = work.book
    left = final_quantity(order) if event.quantity is None else event.quantity
    moved = replace(
        order.intent,
        limit_ticks=event.limit_ticks,
        stop_ticks=event.stop_ticks,
        quantity=max(0, left - order.filled_quantity),
    )
    level_ticks = level_of(moved)
    busy = is_busy(book.hours, instrument.symbol, work.utc_us)
    return (
        *reward_denials(*risk_and_reward(moved, level_ticks), book.policy),
        *size_denials(moved, level_ticks, instrument, book.policy),
        *moved_price_denials(
            moved,
            instrument,
            event.reference,
            book.policy,
            stale_after_ns=stale_after_ns(book.policy, busy=busy),
        ),
        *self_trade_denials(
            book,
            type_=moved.type,
            side=moved.side,
            level_ticks=moved.limit_ticks,
            instrument=instrument,
        ),
        *moved_denials(book, order, moved, level_ticks, event.marks, utc_us=work.utc_us),
    )


def _change_fault(order: TrackedOrder, event: ModifyRequested) -> str:
    """Return why an order of ours cannot be changed as asked; empty when it can."""
    quantity, type_ = event.quantity, order.intent.type
    if quantity is None and event.limit_ticks is None and event.stop_ticks is None:
        return "nothing to change: give a quantity or a price"
    if quantity is not None and quantity > final_quantity(order):
        return (
            f"the quantity can be lowered from {final_quantity(order)}, not raised: "
            "more is a new order and goes through every check"
        )
    if quantity is not None and quantity <= order.filled_quantity:
        return (
            f"the quantity must stay above the {count_text(order.filled_quantity, 'contract')} "
            "filled so far: cancel the order to end it"
        )
    if event.limit_ticks is not None and type_ is not OrderType.LIMIT:
        return f"a {type_} order has no limit price"
    if event.stop_ticks is not None and type_ is not OrderType.STOP:
        return f"the stop price of a {type_} order cannot be moved"
    return ""


def _level_denials(
    order: TrackedOrder, level: int | None, instrument: Instrument
) -> tuple[Denial, ...]:
    """Return why an order cannot be moved to ``level``, in ticks: the rules of a new order hold.

    Its legs stay where they were asked for, so an entry must not be moved up to them or past them.
    """
    if level is None:
        return ()
    return level_faults(level, instrument) or bracket_faults(order.intent, level)


def _unchangeable(
    work: Workbench, order: TrackedOrder | None, client_order_id: str
) -> Decision | None:
    if order is None:
        return Decision(
            kind=DecisionKind.UNKNOWN_ORDER, message=f"no order goes by {client_order_id}"
        )
    if order.is_terminal:
        return Decision(
            kind=DecisionKind.NOT_POSSIBLE, order=order, message=f"the order is {order.state}"
        )
    if order.broker_order_id is None:
        return Decision(
            kind=DecisionKind.NOT_POSSIBLE,
            order=order,
            message=f"the order is {order.state} and the broker's id is not known yet",
        )
    if not work.book.policy.sends:
        return Decision(
            kind=DecisionKind.NOT_POSSIBLE, order=order, message="the gate is closed (dry run)"
        )
    return None
