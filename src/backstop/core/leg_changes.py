"""Changes of the legs of brackets that their bots ask for: a leg is moved, or taken away.

The one rule for stops holds here as everywhere: towards the market in every state, away from it
only while new exposure is possible, and never away from a position that needs it.
"""

from msgspec.structs import replace

from backstop.core.book import STOP_TYPES, Book, VenueOrder
from backstop.core.cancels_followed import ask_cancel
from backstop.core.entry_gate import gate_denial
from backstop.core.order_numbers import level_faults
from backstop.core.protection_levels import level_ticks
from backstop.core.protective_orders import move_order
from backstop.core.step import Decision, DecisionKind, Workbench
from backstop.core.stop_withdrawal import stop_withdrawal_denials, widening_denials
from backstop.domain.broker import BrokerStatus
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.events import LegChangeRequested
from backstop.domain.instrument import Instrument
from backstop.domain.order import LegRole, OrderType


def leg_change_requested(work: Workbench, event: LegChangeRequested) -> None:
    """Ask the venue to move or to cancel a leg; what it answers is another fact."""
    book = work.book
    leg = book.venue_orders.get(event.broker_order_id)
    instrument = None if leg is None else book.instruments.get(leg.row.contract_id)
    if leg is None or leg.owner is None or instrument is None:
        message = f"{event.broker_order_id} is no leg of a bracket"
        work.decision = Decision(kind=DecisionKind.UNKNOWN_ORDER, message=message)
        return
    if not leg.row.status.is_live:
        message = f"the leg is {leg.row.status}"
        work.decision = Decision(kind=DecisionKind.NOT_POSSIBLE, message=message)
        return
    gate = gate_denial(book.policy)
    denials = (
        *(() if gate is None else (gate,)),
        *_denials(book, leg, event, instrument, now_ns=work.now_ns),
    )
    if denials:
        work.decision = Decision(kind=DecisionKind.REFUSED, denials=denials)
        return
    if event.ticks is None:
        ask_cancel(work, leg.row, event.broker_order_id, reason="asked for")
    else:
        # The leg is its owner's from now on, wherever the venue first put it.
        book.aligned.setdefault(event.broker_order_id)
        _note_level(book, leg, event.broker_order_id, event.ticks)
        move_order(
            work,
            event.broker_order_id,
            instrument,
            role=_role(leg),
            ticks=event.ticks,
            reason="asked for",
        )
    work.decision = Decision(kind=DecisionKind.ACCEPTED)


def _note_level(book: Book, leg: VenueOrder, number: int, ticks: int) -> None:
    """Put the new level on record: there the leg is wanted from now on, if the venue takes it."""
    record = book.protection.records.get(leg.row.contract_id)
    if record is None:
        return
    stop = _role(leg) is LegRole.STOP_LOSS
    changed = {"stop_ticks" if stop else "target_ticks": ticks}
    lots = tuple(
        replace(lot, **changed) if number in {it.broker_order_id for it in lot.legs} else lot
        for lot in record.lots
    )
    book.protection.records[leg.row.contract_id] = replace(record, lots=lots)


def _role(leg: VenueOrder) -> LegRole:
    return LegRole.STOP_LOSS if leg.row.type in STOP_TYPES else LegRole.TAKE_PROFIT


def _denials(
    book: Book, leg: VenueOrder, event: LegChangeRequested, instrument: Instrument, *, now_ns: int
) -> tuple[Denial, ...]:
    row, stop = leg.row, _role(leg) is LegRole.STOP_LOSS
    if row.status is not BrokerStatus.OPEN:
        # It waits for its entry: the level is measured from a fill that there is not yet.
        return (_sleeps(row.status),) if stop or event.ticks is not None else ()
    if event.ticks is None:
        if not stop:
            return ()
        return stop_withdrawal_denials(
            book,
            row.contract_id,
            row.side,
            broker_order_id=row.broker_order_id,
            left_of_it=0,
            now_ns=now_ns,
        )
    if row.type is OrderType.TRAILING_STOP:
        return (_trails(),)
    faults = level_faults(event.ticks, instrument)
    stands = level_ticks(row.stop_price, instrument) if stop else None
    if faults or stands is None:
        return faults
    return widening_denials(
        book,
        row.contract_id,
        sign=-row.side.sign,
        stands=(stands,),
        asked=event.ticks,
        now_ns=now_ns,
    )


def _trails() -> Denial:
    return Denial(
        code=DenialCode.ORDER_NOT_SUPPORTED,
        message="the venue alone moves a trailing stop: place another stop, and the guard takes "
        "this one away as soon as that one works",
    )


def _sleeps(status: BrokerStatus) -> Denial:
    return Denial(
        code=DenialCode.PROTECTION_REQUIRED,
        message=f"the leg is {status} and protects what its entry fills: cancel the entry instead",
        value=str(status),
    )
