"""What bots ask for first: new orders, each answered by a decision."""

from decimal import Decimal

from backstop.core.clock_readings import earliest_us
from backstop.core.guardrails import Assessment
from backstop.core.pre_trade import judge, remember_entry
from backstop.core.same_wish import known_already
from backstop.core.step import Decision, DecisionKind, Tag, Workbench
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.commands import PlaceOrder
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.events import OrderRequested
from backstop.domain.instrument import Instrument
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
        _note_refusal(work, event, denials)
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


def _note_refusal(work: Workbench, event: OrderRequested, denials: tuple[Denial, ...]) -> None:
    request = event.request
    exposure = [denial for denial in denials if denial.code in _EXPOSURE_CODES]
    work.warn(
        Tag.CORRELATION_REJECT if exposure else Tag.ORDER,
        "order_refused",
        bot=request.strategy_id or "",
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
    command = place_command(assessment, instrument, stop_trails=request.stop_loss_trails)
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


def place_command(
    assessment: Assessment, instrument: Instrument, *, stop_trails: bool = False
) -> PlaceOrder:
    """Return the wire-ready request for an assessed order; bracket offsets are signed ticks.

    ``stop_trails``: its protective stop is to follow the market.
    """
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
        stop_loss_trails=stop_trails and intent.stop_loss_ticks is not None,
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
