"""Targets: put back where the venue dropped a bracket, placed where somebody asked for one.

A missing target is no danger, so only what was lost with its stop comes back: a target that its
owner took away stays away. Our own targets are not linked to the stops at the venue; when one
fills, the stops shrink, and the other way round.
"""

from msgspec.structs import replace

from backstop.core.book import Wake
from backstop.core.evidence import ask_for_audit
from backstop.core.leftovers import ASK_AGAIN_NS
from backstop.core.policy import SECOND_NS
from backstop.core.protection_plan import Origin, Share, total
from backstop.core.protection_record import ProtectionRecord
from backstop.core.protection_situation import Situation, is_settled
from backstop.core.protective_orders import coming, place_protective, working_targets
from backstop.core.repeated_requests import TRY_AGAIN_NS
from backstop.core.step import Tag, Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import Severity
from backstop.domain.order import LegRole, OrderState

QUIET_NS = SECOND_NS
"""Between the newest fill and a target: where one fills, others may have filled unheard."""

_ENDED = frozenset({OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REJECTED})


def restore_targets(work: Workbench, now: Situation) -> None:
    """Place the targets that lack, once the stops are complete."""
    book, record = work.book, now.record
    if now.instrument is None or now.uncovered or now.coming:
        return
    shares = _lacking(work, now)
    if not shares:
        return
    if work.now_ns < record.episode.try_again_ns:
        book.wake(Wake.PROTECTION, record.episode.try_again_ns)
        return
    # A target too many opens the opposite at once, and to be without one is no danger.
    if not is_settled(book, now):
        ask_for_audit(work)
        book.wake(Wake.PROTECTION, work.now_ns + ASK_AGAIN_NS)
        return
    if work.now_ns < now.view.evidence_ns + QUIET_NS:
        book.wake(Wake.PROTECTION, now.view.evidence_ns + QUIET_NS)
        return
    for share in shares:
        order = place_protective(
            work,
            now.instrument,
            role=LegRole.TAKE_PROFIT,
            sign=record.sign,
            quantity=share.quantity,
            ticks=share.ticks or 0,
        )
        work.note(
            Tag.CRITICAL_SYSTEM,
            "target_placed",
            client_order_id=order.client_order_id,
            contract_id=now.contract_id,
            quantity=share.quantity,
            limit_price=str(order.request.limit_price),
        )
    book.protection.records[now.contract_id] = replace(
        record,
        repairs=record.repairs + len(shares),
        episode=replace(record.episode, try_again_ns=work.now_ns + TRY_AGAIN_NS),
    )


def _lacking(work: Workbench, now: Situation) -> list[Share]:
    record = now.record
    working = working_targets(work.book, record)
    on_their_way = coming(work.book, record, LegRole.TAKE_PROFIT)
    free = now.quantity - total(working) - total(on_their_way) - _waking(record)
    if free <= 0:
        return []
    if record.target_ticks is not None:
        return [Share(quantity=free, ticks=record.target_ticks)]
    held = total(it for it in (*working, *on_their_way) if it.origin is Origin.OWN)
    found: dict[int, int] = {}
    for lot in reversed(record.active_lots):
        if lot.target_ticks is None or not lot.lost_its_target(record.replacing):
            continue
        stands_in = min(held, lot.quantity)
        held -= stands_in
        number = min(free, lot.quantity - stands_in)
        if number:
            found[lot.target_ticks] = found.get(lot.target_ticks, 0) + number
            free -= number
    return [Share(quantity=number, ticks=ticks) for ticks, number in found.items()]


def _waking(record: ProtectionRecord) -> int:
    """Return the contracts whose own target the venue has shown and has not woken yet."""
    legs = ((lot, lot.leg(LegRole.TAKE_PROFIT)) for lot in record.active_lots)
    return sum(
        lot.quantity
        for lot, leg in legs
        if leg is not None and leg.status.is_live and leg.status is not BrokerStatus.OPEN
    )


def targets_given_up(work: Workbench, contract_id: str) -> None:
    """Forget the level of a target of our own that was refused, or that its owner took away."""
    book = work.book
    for name in work.touched_orders:
        order = book.orders[name]
        if order.role is not LegRole.TAKE_PROFIT or order.intent.contract_id != contract_id:
            continue
        change = book.protection.changes.get(order.broker_order_id or 0)
        ended_by_us = change is not None and change.quantity == 0
        if order.state not in _ENDED or ended_by_us:
            continue
        record = book.protection.record(contract_id)
        given_up = _without_targets(record)
        if given_up == record:
            continue  # said when its row came; the answer to the request comes as well
        book.protection.records[contract_id] = given_up
        if order.state is OrderState.REJECTED:
            work.alert(
                Severity.WARNING,
                AlertCode.TARGET_REJECTED,
                f"The venue refused the target {name} of {contract_id}: "
                f"{order.venue_message or 'no reason given'}. The position keeps its stops.",
            )


def _without_targets(record: ProtectionRecord) -> ProtectionRecord:
    lots = tuple(
        replace(lot, target_ticks=None) if lot.lost_its_target(record.replacing) else lot
        for lot in record.lots
    )
    return replace(record, target_ticks=None, lots=lots)
