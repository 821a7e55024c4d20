"""What people and bots say about protection: levels they ask for, stops they take away themselves.

A stop may be moved towards the market in every trading state; away from it is more loss, and so as
good as new exposure. On the wrong side of the market it is refused: it would close the position.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal

from msgspec.structs import replace

from backstop.core.entry_gate import gate_denial
from backstop.core.order_numbers import level_faults, tickless_faults
from backstop.core.protection_plan import Cover
from backstop.core.protection_record import ProtectionRecord, adopted_owner
from backstop.core.protection_situation import situation
from backstop.core.protective_orders import move_order, working_targets
from backstop.core.step import Decision, DecisionKind, Workbench
from backstop.core.stop_withdrawal import widening_denials
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.events import Answer, CancelRequested, PlaceAnswered, ProtectionRequested
from backstop.domain.instrument import Instrument, Rounding
from backstop.domain.order import LegRole, Side
from backstop.domain.quote import Quote

POSITION_BRACKETS_WORDS = "position brackets"
"""In the gateway's refusal of an entry with brackets, lower case: the account's bracket mode."""


def levels_in_ticks(
    instrument: Instrument,
    position: int,
    stop_price: Decimal | None,
    take_profit_price: Decimal | None,
) -> tuple[int | None, int | None] | Decision:
    """Return the levels of a ``position`` (signed contracts) on the tick, or why they are none.

    Both are rounded up for a long position and down for a short one: the stop towards the market,
    so that the loss is never larger than asked for, the target to no worse price than asked.
    """
    rounding = Rounding.UP if position > 0 else Rounding.DOWN
    asked = {"stop_price": stop_price, "take_profit_price": take_profit_price}
    if faults := tickless_faults(asked, instrument):
        return Decision(kind=DecisionKind.REFUSED, denials=faults)
    return (
        None if stop_price is None else instrument.rounded_ticks(stop_price, rounding),
        None
        if take_profit_price is None
        else instrument.rounded_ticks(take_profit_price, rounding),
    )


def protection_requested(work: Workbench, event: ProtectionRequested) -> None:
    """Give a position the levels that somebody asked for; a level that is None stays as it is."""
    book = work.book
    instrument = book.instruments.get(event.contract_id)
    if instrument is None:
        work.decision = Decision(
            kind=DecisionKind.UNKNOWN_SYMBOL, message=f"no contract goes by {event.contract_id}"
        )
        return
    record = book.protection.record(event.contract_id)
    if not book.position(event.contract_id).quantity or not record.sign:
        work.decision = Decision(
            kind=DecisionKind.NOT_POSSIBLE,
            message=f"{event.contract_id} is flat: a stop without a position would open one",
        )
        return
    gate = gate_denial(book.policy)
    denials = (
        *(() if gate is None else (gate,)),
        *_level_denials(event, record, instrument),
        *_widening_denials(work, event),
    )
    if denials:
        work.decision = Decision(kind=DecisionKind.REFUSED, denials=denials)
        return
    book.protection.refusals.pop(event.contract_id, None)
    book.protection.records[event.contract_id] = _asked(record, event)
    _move_what_works(work, event, instrument)
    work.touched_contracts[event.contract_id] = None
    work.decision = Decision(kind=DecisionKind.ACCEPTED)


def _asked(record: ProtectionRecord, event: ProtectionRequested) -> ProtectionRecord:
    stop, target = event.stop_ticks, event.take_profit_ticks
    lots = record.lots
    if stop is not None:
        lots = tuple(replace(lot, stop_ticks=stop) for lot in lots)
    if target is not None:
        lots = tuple(replace(lot, target_ticks=target) for lot in lots)
    return replace(
        record,
        lots=lots,
        stop_ticks=record.stop_ticks if stop is None else stop,
        target_ticks=record.target_ticks if target is None else target,
    )


def _move_what_works(work: Workbench, event: ProtectionRequested, instrument: Instrument) -> None:
    """Move working orders in place; a trailing stop has no level to move, so one replaces it."""
    book = work.book
    now = situation(book, event.contract_id)
    if event.stop_ticks is not None:
        trailing = tuple(stop.broker_order_id for stop in now.stops if stop.trails)
        replacing = tuple(dict.fromkeys((*now.record.replacing, *trailing)))
        book.protection.records[event.contract_id] = replace(now.record, replacing=replacing)
        still = (stop for stop in now.stops if not stop.trails)
        _move(work, still, instrument, role=LegRole.STOP_LOSS, ticks=event.stop_ticks)
    if event.take_profit_ticks is not None:
        targets = working_targets(book, now.record)
        ticks = event.take_profit_ticks
        _move(work, targets, instrument, role=LegRole.TAKE_PROFIT, ticks=ticks)


def _move(
    work: Workbench, covers: Iterable[Cover], instrument: Instrument, *, role: LegRole, ticks: int
) -> None:
    for cover in covers:
        # A leg that stands is the trader's from now on, wherever the venue first put it.
        work.book.aligned.setdefault(cover.broker_order_id)
        if cover.ticks != ticks:
            move_order(
                work,
                cover.broker_order_id,
                instrument,
                role=role,
                ticks=ticks,
                reason="asked for",
            )


def _level_denials(
    event: ProtectionRequested, record: ProtectionRecord, instrument: Instrument
) -> tuple[Denial, ...]:
    """Return what is wrong with the levels: no price, or on the wrong side of the market."""
    found: list[Denial] = []
    for name, ticks, code, direction in (
        ("stop_price", event.stop_ticks, DenialCode.BRACKET_STOP_SIDE, -1),
        ("take_profit_price", event.take_profit_ticks, DenialCode.BRACKET_TARGET_SIDE, 1),
    ):
        if ticks is None:
            continue
        found.extend(level_faults(ticks, instrument))
        for market in _market(event.reference, record.sign):
            beyond = (instrument.price(ticks) - market) * direction * record.sign
            if beyond <= 0:
                held = "long" if record.sign > 0 else "short"
                where = "above" if direction * record.sign > 0 else "below"
                found.append(
                    Denial(
                        code=code,
                        message=f"the {name} of a {held} position must lie {where} the market, "
                        f"which is at {market}",
                        value=str(instrument.price(ticks)),
                        limit=str(market),
                    )
                )
                break
    return tuple(found)


def _widening_denials(work: Workbench, event: ProtectionRequested) -> tuple[Denial, ...]:
    """Return why the stops that work, or will, may not be moved away from the market now."""
    if event.stop_ticks is None:
        return ()
    now = situation(work.book, event.contract_id)
    return widening_denials(
        work.book,
        event.contract_id,
        sign=now.record.sign,
        stands=(stop.ticks for stop in (*now.stops, *now.coming) if stop.ticks is not None),
        asked=event.stop_ticks,
        now_ns=work.now_ns,
    )


def _market(reference: Quote | None, sign: int) -> Iterator[Decimal]:
    """Yield the prices that an exit meets: the venue judges by the last trade, else by the touch.

    Without a market price nothing is refused here: the venue does, and what works stays.
    """
    if reference is None:
        return
    side = Side.SELL if sign > 0 else Side.BUY
    touch = reference.bid if side is Side.SELL else reference.ask
    for price in (reference.last, touch):
        if price is not None:
            yield price


def stop_given_up(work: Workbench, event: CancelRequested) -> None:
    """Forget the level of a bot's own stop that it cancels, where positions may go without."""
    book = work.book
    order = book.orders.get(event.client_order_id)
    accepted = work.decision is not None and work.decision.kind is DecisionKind.ACCEPTED
    if order is None or order.broker_order_id is None or book.policy.stop_required or not accepted:
        return
    record = book.protection.records.get(order.intent.contract_id)
    if record is None or order.broker_order_id not in record.adopted:
        return
    owner = adopted_owner(order.broker_order_id)
    book.protection.records[record.contract_id] = replace(
        record,
        lots=tuple(lot for lot in record.lots if lot.owner != owner),
        adopted=tuple(it for it in record.adopted if it != order.broker_order_id),
    )


def brackets_answered(work: Workbench, event: PlaceAnswered) -> None:
    """Tell a person when the account's bracket mode refuses entries that carry their stop."""
    protection = work.book.protection
    order = work.book.orders.get(event.client_order_id)
    if order is None or order.intent.stop_loss_ticks is None:
        return
    if event.answer is Answer.YES:
        protection.brackets_refused = False
    refused = event.answer is Answer.NO and POSITION_BRACKETS_WORDS in event.message.casefold()
    if not refused or protection.brackets_refused:
        return
    protection.brackets_refused = True
    work.alert(
        Severity.WARNING,
        AlertCode.BRACKETS_REFUSED,
        f"The venue refused {event.client_order_id} because the account uses Position Brackets: "
        "entries cannot carry their stop there. Nothing was sent without protection. Switch the "
        "account to Auto OCO Brackets on the platform, while it has no position and no order.",
    )
