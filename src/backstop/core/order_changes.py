"""Cancels and changes of orders of ours, each answered by a decision.

A change that takes on more risk is judged by the whole pipeline, as a new order at its new price
would be; one that takes risk away goes the short way of everything that does: numbers and legs.
"""

from msgspec.structs import replace

from backstop.core.asked_changes import AskedChange
from backstop.core.book import Book
from backstop.core.cancels_followed import ask_cancel
from backstop.core.changes_followed import change_asked
from backstop.core.moves_followed import move_asked
from backstop.core.order_brackets import bracket_faults
from backstop.core.order_numbers import level_faults
from backstop.core.pre_trade import judge, remember_entry
from backstop.core.step import Decision, DecisionKind, Workbench
from backstop.core.stop_withdrawal import order_widening_denials, withdrawal_denials
from backstop.core.tracked_order import TrackedOrder, final_quantity, possible_ticks
from backstop.domain.commands import ModifyOrder
from backstop.domain.denial import Denial
from backstop.domain.events import CancelRequested, ModifyRequested, OrderRequested
from backstop.domain.instrument import Instrument
from backstop.domain.numbers import count_text
from backstop.domain.order import OrderIntent, OrderRequest, OrderType


def cancel_requested(work: Workbench, event: CancelRequested) -> None:
    """Ask the venue to cancel an order of ours, and again until it is over or the venue says no."""
    order = work.book.orders.get(event.client_order_id)
    refused = _unchangeable(work, order, event.client_order_id)
    if refused is not None or order is None or order.broker_order_id is None:
        work.decision = refused
        return
    denials = withdrawal_denials(work.book, order, order.open_quantity, now_ns=work.now_ns)
    if denials:
        work.decision = Decision(kind=DecisionKind.REFUSED, order=order, denials=denials)
        return
    ask_cancel(work, order.venue, order.broker_order_id, reason=event.reason)
    kept = work.book.orders[order.client_order_id]
    work.decision = Decision(kind=DecisionKind.ACCEPTED, order=kept)


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
    level = stop if limit is None else limit
    denials = withdrawal_denials(work.book, order, less, now_ns=work.now_ns)
    if level is not None:
        denials += _move_denials(work, order, event, level)
    if denials:
        work.decision = Decision(kind=DecisionKind.REFUSED, order=order, denials=denials)
        return
    if level is not None:
        if _is_new_risk(work.book, order, level):
            remember_entry(work.book, _moved(order, event, instrument), work.now_ns, moved=True)
        move_asked(work, order, instrument.price(level))
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
    change = AskedChange(
        reason="asked for", quantity=event.quantity, limit_ticks=limit, stop_ticks=stop
    )
    change_asked(work, order.client_order_id, change)
    kept = work.book.orders[order.client_order_id]
    work.decision = Decision(kind=DecisionKind.ACCEPTED, order=kept)


def _move_denials(
    work: Workbench, order: TrackedOrder, event: ModifyRequested, level: int
) -> tuple[Denial, ...]:
    """Return why an order cannot be moved to ``level`` (ticks) now."""
    book, instrument = work.book, work.book.instruments[order.intent.contract_id]
    shapes = level_faults(level, instrument) or bracket_faults(_with_fixed_legs(order), level)
    if book.is_exit(order):
        widened = order_widening_denials(
            book, order, event.stop_ticks, instrument, now_ns=work.now_ns
        )
        return (*widened, *shapes)
    if not _is_new_risk(book, order, level):
        return shapes
    return _entry_denials(book, order, event, now_ns=work.now_ns)


def _with_fixed_legs(order: TrackedOrder) -> OrderIntent:
    """Return the intent with the legs that stay where they are when its price is moved.

    Those that are measured from the fill move along.
    """
    request, intent = order.request, order.intent
    return replace(
        intent,
        stop_loss_ticks=intent.stop_loss_ticks if request.stop_loss_offset_ticks is None else None,
        take_profit_ticks=(
            intent.take_profit_ticks if request.take_profit_offset_ticks is None else None
        ),
    )


def _is_new_risk(book: Book, order: TrackedOrder, level: int) -> bool:
    """Say whether a move to ``level`` (ticks) could bring more risk than there is."""
    instrument = book.instruments[order.intent.contract_id]
    return not (book.is_exit(order) or _takes_risk_away(order, level, instrument))


def _takes_risk_away(order: TrackedOrder, level: int, instrument: Instrument) -> bool:
    """Say whether an entry is moved to where it fills later and loses less, wherever it stands now.

    That is a limit that moves away from the market: its stop stays, so it comes nearer. A stop
    that moves away loses more once it fills.
    """
    sign = order.intent.side.sign
    stands = possible_ticks(order, instrument)
    return order.intent.type is OrderType.LIMIT and all((it - level) * sign >= 0 for it in stands)


def _entry_denials(
    book: Book, order: TrackedOrder, event: ModifyRequested, *, now_ns: int
) -> tuple[Denial, ...]:
    """Return why what is open of an entry could not be sent anew at its new price."""
    instrument = book.instruments[order.intent.contract_id]
    wish = OrderRequested(
        utc_us=event.utc_us,
        request=_moved(order, event, instrument),
        reference=event.reference,
        marks=event.marks,
        spare_calls=event.spare_calls,
        bot_limits=event.bot_limits,
    )
    assessment = judge(book, wish, now_ns=now_ns, instead_of=order)
    return () if assessment is None else assessment.refusals


def _moved(order: TrackedOrder, event: ModifyRequested, instrument: Instrument) -> OrderRequest:
    """Return what is open of an order as a request, at its new price; its legs stay."""
    left = final_quantity(order) if event.quantity is None else event.quantity
    limit, stop, intent = event.limit_ticks, event.stop_ticks, _with_fixed_legs(order)
    target, protection = intent.take_profit_ticks, intent.stop_loss_ticks
    return replace(
        order.request,
        # The contract and not its root, which may stand for the next month by now.
        symbol=intent.contract_id,
        quantity=max(0, left - order.filled_quantity),
        limit_price=None if limit is None else instrument.price(limit),
        stop_price=None if stop is None else instrument.price(stop),
        stop_loss_price=None if protection is None else instrument.price(protection),
        take_profit_price=None if target is None else instrument.price(target),
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
