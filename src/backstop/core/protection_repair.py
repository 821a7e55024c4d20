"""Too few stops: what lacks is placed at its recorded level, beside what works.

The venue makes stops by itself, for the brackets of entries and on some accounts for positions. So
a gap that it may be about to close is looked at for a moment, and read, before we place our own.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from backstop.core.book import Wake
from backstop.core.bot_stops import tell_no_stop_in_time
from backstop.core.closing import is_executing
from backstop.core.liquidation import DOUBLINGS_MAX
from backstop.core.naked_time import give_up
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.protection_plan import Origin, Share, total
from backstop.core.protection_situation import Situation
from backstop.core.protective_orders import place_protective
from backstop.core.repeated_requests import TRY_AGAIN_NS
from backstop.core.step import Tag, Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerStatus
from backstop.domain.order import LegRole, OrderState

SETTLE_NS = 150 * MILLISECOND_NS
"""The venue's own stops for a fill work 17 to 32 ms after it, and its size changes follow as fast:
what has not been heard of by then is read."""

ACTIVATION_NS = 50 * MILLISECOND_NS
"""A read that was sent this long after a fill shows the stops that the venue made for it."""

READ_WAIT_NS = 350 * MILLISECOND_NS
"""How long such a read may take; then a stop is placed unseen, and a surplus is cut afterwards."""

READ_AGAIN_NS = 50 * MILLISECOND_NS
"""Between two such reads, where one did not come back whole: the venue counts our calls, and what
it refuses it refuses for longer than a moment."""

CLOSING_PAUSE_NS = SECOND_NS
CLOSING_PAUSE_MAX_NS = 60 * SECOND_NS
"""Between two stops for a position that the venue does not close; doubled with each request: what
refuses the one may refuse the other for as long as a market is closed."""

REPAIRS_MAX = 50
"""Protective orders placed for one position: somebody takes them away faster than is sane."""

REPAIRS_MESSAGE = f"{REPAIRS_MAX} protective orders were placed for it, and still it lacks one"


def repair(work: Workbench, now: Situation) -> None:
    """Place what lacks, beside what works."""
    book = work.book
    if now.coming and now.uncovered:
        _read_soon(work, work.now_ns + SETTLE_NS)  # the hub may be silent: see it there
    missing = [share for share in now.missing if share.ticks is not None]
    if not missing or now.instrument is None or not book.protection.known_ns:
        return
    due_ns = max(_due_ns(work, now), _after_the_bot_ns(work, now))
    due_ns = max(due_ns, now.record.episode.try_again_ns)
    if work.now_ns < due_ns:
        book.wake(Wake.PROTECTION, due_ns)
        return
    if now.record.repairs >= REPAIRS_MAX:
        give_up(work, now, code=AlertCode.POSITION_NAKED, why=REPAIRS_MESSAGE)
        return
    tell_no_stop_in_time(work, now)
    _place_all(work, now, missing, again_ns=work.now_ns + TRY_AGAIN_NS)


def stay_covered_while_closing(work: Workbench, now: Situation) -> None:
    """Put the stop of a position back that the venue does not close.

    While a request to close it may be filling nothing is placed beside it. One that was refused, or
    that reads show to have done nothing, leaves the position where it was: until the next one works
    its stop does. Each request brings at most one try, and the tries get rarer.
    """
    book = work.book
    missing = [share for share in now.missing if share.ticks is not None]
    if not missing or now.instrument is None or not book.protection.known_ns:
        return
    attempt = book.closes.get(now.contract_id)
    if attempt is None or attempt.answer is None or attempt.may_be_filling:
        return
    if attempt.is_refused_for_good:
        return  # a month for which no orders are taken takes no stop either
    if any(is_executing(book, row) for row in book.working_rows(now.contract_id)):
        return
    if work.now_ns < now.record.episode.try_again_ns:
        book.wake(Wake.PROTECTION, now.record.episode.try_again_ns)
        return
    pause_ns = min(CLOSING_PAUSE_NS << min(attempt.times, DOUBLINGS_MAX), CLOSING_PAUSE_MAX_NS)
    _place_all(work, now, missing, again_ns=work.now_ns + pause_ns)


def _place_all(work: Workbench, now: Situation, missing: Sequence[Share], *, again_ns: int) -> None:
    for share in missing:
        _place(work, now, share)
    protection = work.book.protection
    record = protection.record(now.contract_id)
    protection.records[now.contract_id] = replace(
        record,
        episode=replace(record.episode, try_again_ns=again_ns),
        repairs=record.repairs + len(missing),
    )


def _place(work: Workbench, now: Situation, share: Share) -> None:
    if now.instrument is None or share.ticks is None:
        return
    order = place_protective(
        work,
        now.instrument,
        role=LegRole.STOP_LOSS,
        sign=now.record.sign,
        quantity=share.quantity,
        ticks=share.ticks,
    )
    work.warn(
        Tag.CRITICAL_SYSTEM,
        "stop_placed",
        client_order_id=order.client_order_id,
        contract_id=now.contract_id,
        quantity=share.quantity,
        stop_price=str(order.request.stop_price),
        position=now.view.quantity,
        working=total(now.stops),
    )
    _read_soon(work, work.now_ns + SETTLE_NS)


def _due_ns(work: Workbench, now: Situation) -> int:
    """Return when a stop of our own is placed: at once, unless one of the venue may be coming."""
    clock, since_ns = work.book.audit, now.view.naked_since_ns
    if not now.uncovered or not _may_be_coming(now):
        return work.now_ns
    if work.now_ns < since_ns + SETTLE_NS:
        return since_ns + SETTLE_NS
    if clock.complete_sent_ns >= since_ns + ACTIVATION_NS:
        return work.now_ns
    _look(work, now)
    return since_ns + SETTLE_NS + READ_WAIT_NS


def _look(work: Workbench, now: Situation) -> None:
    """Have the account read at once, and again after a pause where that comes back in parts."""
    protection, looked_ns = work.book.protection, now.record.episode.looked_ns
    if looked_ns <= work.now_ns:
        is_of_now = looked_ns >= now.view.naked_since_ns  # and not of a gap before this one
        if is_of_now and work.book.audit.requested_ns:
            return  # it is under way
        looked_ns = max(looked_ns + READ_AGAIN_NS, work.now_ns + MILLISECOND_NS)
        record = protection.record(now.contract_id)
        episode = replace(record.episode, looked_ns=looked_ns)
        protection.records[now.contract_id] = replace(record, episode=episode)
    _read_soon(work, looked_ns)


def _after_the_bot_ns(work: Workbench, now: Situation) -> int:
    """Return from when on a bot that trades by itself has had its time to place a stop."""
    policy, since_ns = work.book.policy, now.view.naked_since_ns
    if not policy.is_drop_copy or not now.uncovered or not since_ns:
        return work.now_ns
    return since_ns + policy.bot_grace_ns


def _may_be_coming(now: Situation) -> bool:
    """Say whether the venue may be about to place, to enlarge or to replace a stop by itself."""
    lots = now.record.active_lots
    if any(stop.origin is not Origin.OWN for stop in now.stops) or now.record.adopted:
        return True
    explained = sum(lot.quantity for lot in lots)
    return explained < now.quantity or any(lot.stop_ticks is not None for lot in lots)


def _read_soon(work: Workbench, due_ns: int) -> None:
    """Have the account read by ``due_ns``; a read that is under way is awaited first."""
    clock = work.book.audit
    clock.due_ns = min(clock.due_ns or due_ns, due_ns)


def is_refused(work: Workbench, now: Situation) -> bool:
    """Say whether the venue has just refused a stop that the position needs."""
    if not now.uncovered:
        return False
    book = work.book
    ours = (book.orders[name] for name in work.touched_orders)
    if any(
        order.role is LegRole.STOP_LOSS
        and order.state is OrderState.REJECTED
        and order.intent.contract_id == now.contract_id
        and order.intent.side.sign == -now.record.sign
        for order in ours
    ):
        return True
    touched = {
        leg.broker_order_id
        for lot in now.record.active_lots
        for leg in lot.legs
        if leg.role is LegRole.STOP_LOSS and leg.status is BrokerStatus.REJECTED
    }
    return any(number in touched for number in work.touched_venue_orders)
