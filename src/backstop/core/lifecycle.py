"""The life of the guard and of its links: starts, hubs, contracts, halts and resumes."""

from msgspec.structs import replace

from backstop.core import execution_verification as verification
from backstop.core.alerts import REPEAT_NS
from backstop.core.book import AUDIT_INTERVAL_NS, LATCHES_KEPT, Book, Wake
from backstop.core.evidence import apply_order_step
from backstop.core.liquidation_register import rehearsals_over
from backstop.core.liquidation_scope import unfinished
from backstop.core.policy import MILLISECOND_NS
from backstop.core.positions import distrusted
from backstop.core.record_soundness import record_refusal
from backstop.core.start_findings import tell_findings
from backstop.core.step import Decision, DecisionKind, Tag, Workbench
from backstop.core.trading_state import Latch, LatchKind
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import LookUpOrder, Severity
from backstop.domain.events import (
    EmergencyRunRecorded,
    GuardStarted,
    HaltRequested,
    Hub,
    HubConnected,
    HubLost,
    InstrumentsLoaded,
    ResumeRequested,
    SessionEvicted,
    TradingDayBegan,
)
from backstop.domain.hub_contest import REST_S, is_contested, lately
from backstop.domain.order import OrderState

MACHINE = "backstop"
"""Who put a latch on that no person asked for."""


def hub_changed(work: Workbench, event: HubConnected | HubLost | SessionEvicted) -> None:
    """Note that a link came or went; without the user hub what was known grows stale."""
    book, links = work.book, work.book.links
    up = isinstance(event, HubConnected)
    (work.note if up else work.warn)(
        Tag.CRITICAL_SYSTEM,
        "hub_connected" if up else "hub_lost",
        hub=str(event.hub),
        generation=event.generation,
        reason=_reason(event),
    )
    if event.hub is Hub.MARKET:
        if links.market_up and not up:
            links.market_lost_ns = work.now_ns
        links.market_up = up
    elif up:
        links.user_up, links.user_since_ns = True, work.now_ns
        links.user_lost_ns = 0
        # What happened before the subscription is only in the account's own records.
        book.audit.due_ns = work.now_ns
        book.audit.requested_ns = 0
    else:
        if links.user_up:
            links.user_lost_ns = work.now_ns
        links.user_up = False
        for contract_id, view in book.positions.items():
            book.positions[contract_id] = distrusted(view)
    if isinstance(event, SessionEvicted):
        work.alert(
            Severity.CRITICAL,
            AlertCode.SESSION_EVICTED,
            f"The gateway sent GatewayLogout on the {event.hub.lower()} hub: another login may "
            f"have taken this session. {_EVICTED[event.hub]}",
        )
        _count_eviction(work, event)


_EVICTED = {
    Hub.USER: "Entries wait until the account has been read again.",
    Hub.MARKET: "Entries wait until prices are heard again.",
}
"""What entries wait for after an eviction, by the hub that it came on."""


def _reason(event: HubConnected | HubLost | SessionEvicted) -> str:
    match event:
        case HubConnected():
            return ""
        case HubLost():
            return event.reason
        case SessionEvicted():
            return event.message


def _count_eviction(work: Workbench, event: SessionEvicted) -> None:
    """Tell a person when the user hub is left to the bot that takes it each time."""
    record = work.book.drop_copy
    if not work.book.policy.is_drop_copy or event.hub is not Hub.USER:
        return
    record.evictions_ns = lately(record.evictions_ns, work.now_ns)
    if is_contested(record.evictions_ns):
        work.alert(
            Severity.CRITICAL,
            AlertCode.SESSION_CONTESTED,
            f"The user hub was taken from this guard {len(record.evictions_ns)} times within an "
            f"hour, and whoever takes it loses it to the guard each time. So the guard leaves it "
            f"alone for {REST_S / 60:g} minutes and reads the account every "
            f"{AUDIT_INTERVAL_NS // 1_000_000_000} s instead: what happens is known that much "
            "later. Let both use one token: give the guard the bot's (TOPSTEPX_JWT).",
        )


def instruments_loaded(work: Workbench, event: InstrumentsLoaded) -> None:
    """Know the gateway's contracts, and which month each root stands for."""
    book = work.book
    for instrument in event.instruments:
        if instrument.contract_id in book.positions:
            # What could not be given a stop for want of a tick size can be given one now.
            work.touched_contracts[instrument.contract_id] = None
        book.instruments[instrument.contract_id] = instrument
        if instrument.active and event.listed:
            book.contract_of[instrument.symbol] = instrument.contract_id
    book.hours.changes_utc_us = 0


def guard_started(work: Workbench, event: GuardStarted) -> None:
    """Begin anew: monotonic times of an earlier process mean nothing, links are down."""
    book = work.book
    book.links.user_up = book.links.market_up = False
    book.links.market_lost_ns = work.now_ns
    book.links.user_since_ns = work.now_ns
    book.links.user_lost_ns = 0
    book.links.watchdog_lost = False
    book.links.journal_failed = False
    book.record_unread = event.record_unread
    book.links.login_refused = False  # this process logs in anew, and hears for itself
    book.recovered = False
    book.standstills = 0
    book.audit.requested_ns = book.audit.due_ns = 0
    book.audit.hurries = book.audit.paced_ns = book.audit.read_ns = 0
    book.audit.complete_ns = book.audit.complete_sent_ns = 0
    book.wakes.clear()
    book.wake(Wake.ALERTS, work.now_ns + REPEAT_NS)
    book.cancel_asked_ns.clear()
    book.cancel_unheld_ns.clear()
    book.asked_sizes.clear()
    book.unclear.clear()
    book.missing.clear()
    book.changed.note_all()
    book.entries.clear()
    book.executions.clear()
    book.hours.changes_utc_us = 0
    book.venue_clock.restart()
    book.external.begin(
        utc_us=event.utc_us, now_ns=work.now_ns, measures_clock=book.policy.measures_clock
    )
    book.drop_copy.begin(now_ns=work.now_ns)
    if book.drop_copy.waiting:
        book.wake(Wake.DROP_COPY, work.now_ns)
    # Reads of right after the newest trade may lack it, whichever process heard of that. A computer
    # that was off, of which nobody knows how long, was off for longer.
    away_ms = event.downtime_ms
    heard_ns = 0 if away_ms is None else max(0, work.now_ns - away_ms * MILLISECOND_NS)
    for contract_id, view in book.positions.items():
        book.positions[contract_id] = replace(
            distrusted(view),
            evidence_ns=heard_ns,
            differing_ns=0,
            agreed_ns=0,
            naked_since_ns=0,
            exited_ns=0,
            late_until_ns=0,
            taken_ns=work.now_ns if view.in_question else 0,
        )
        if view.quantity:
            # How long it is naked counts anew, from now.
            work.touched_contracts[contract_id] = None
    for order in list(book.live_orders()):
        apply_order_step(
            work,
            verification.after_restart(order, utc_us=event.utc_us, now_ns=work.now_ns),
        )
    # Look-ups need the gateway; the orders' own deadlines ask for them once it is there.
    work.commands = [command for command in work.commands if not isinstance(command, LookUpOrder)]
    work.note(
        Tag.CRITICAL_SYSTEM,
        "guard_started",
        account_id=event.account_id,
        gateway_host=event.gateway_host,
        version=event.version,
        boot_id=event.boot_id,
        live_orders=len(book.live),
        stop=str(event.stop),
        downtime_ms=-1 if event.downtime_ms is None else event.downtime_ms,
    )
    tell_findings(work, event)


def emergency_run_recorded(work: Workbench, event: EmergencyRunRecorded) -> None:
    """Know which file is in the record by now; what of it nobody can read, a person looks at."""
    work.book.emergency_digest = event.digest
    work.warn(
        Tag.CRITICAL_SYSTEM,
        "emergency_run_recorded",
        facts=event.facts,
        unreadable=event.unreadable,
        digest=event.digest,
    )
    if not event.unreadable:
        return
    cause = (
        "a liquidation ran with no guard at work, and what it wrote cannot be read in full: look "
        "at the account before anything is sent"
    )
    latched(work, Latch(cause=cause, operator=MACHINE, utc_us=event.utc_us))


def trading_day_began(work: Workbench, event: TradingDayBegan) -> None:
    """Count anew what is counted within a trading day; a start within one tells it again."""
    book = work.book
    if event.trade_date != book.trade_date:
        book.trade_date = event.trade_date
        _consume_breaches(book)
        work.note(Tag.CRITICAL_SYSTEM, "trading_day_began", trade_date=event.trade_date)


def _consume_breaches(book: Book) -> None:
    """Have no execution up to now count as a breach of slippage that is new."""
    newest = max(book.trades, default=0)
    book.breaches_seen_to = max(book.breaches_seen_to, newest, book.forgotten_trade_id or 0)


def halt_requested(work: Workbench, event: HaltRequested) -> None:
    """Latch for a person: no new exposure until somebody resumes."""
    work.decision = Decision(kind=DecisionKind.ACCEPTED)
    latch = Latch(cause=event.reason, operator=event.operator, utc_us=event.utc_us)
    if latched(work, latch):
        work.alert(
            Severity.CRITICAL, AlertCode.HALTED, f"Halted by {event.operator}: {event.reason}."
        )


def latched(work: Workbench, latch: Latch) -> bool:
    """Put ``latch`` on; False when one of the same cause holds already, or enough graver ones."""
    book = work.book
    held = any(
        (it.kind, it.contract_id, it.cause, it.operator)
        == (latch.kind, latch.contract_id, latch.cause, latch.operator)
        for it in book.latches
    )
    if held:
        return False
    kept = list(book.latches)
    if len(kept) >= LATCHES_KEPT:
        mildest = min(kept, key=_gravity)
        if _gravity(mildest) >= _gravity(latch):
            return False
        kept.remove(mildest)
    book.latches = (*kept, latch)
    return True


def _gravity(latch: Latch) -> tuple[bool, bool]:
    """Return what orders latches: those that halt before others, the account before a contract."""
    return latch.kind.halts, latch.contract_id is None


def resume_requested(work: Workbench, event: ResumeRequested) -> None:
    """Lift the latches for a person with a name and a reason, while nothing is in doubt."""
    book = work.book
    refusal = _resume_refusal(book, event)
    if refusal:
        work.decision = Decision(kind=DecisionKind.NOT_POSSIBLE, message=refusal)
        return
    if any(latch.kind is LatchKind.SLIPPAGE for latch in book.latches):
        # Whoever resumes has seen these breaches: it takes as many new ones to reduce again.
        book.breaches = dict.fromkeys(book.breaches)
        _consume_breaches(book)
    if any(latch.kind is LatchKind.EXTERNAL for latch in book.latches):
        book.external.acknowledge()
    rehearsals_over(work)
    lifted = ", ".join(dict.fromkeys(str(latch.kind) for latch in book.latches))
    book.latches = ()
    work.decision = Decision(kind=DecisionKind.ACCEPTED)
    work.note(
        Tag.CRITICAL_SYSTEM,
        "resumed",
        operator=event.operator,
        reason=event.reason,
        lifted=lifted,
    )


def _resume_refusal(book: Book, event: ResumeRequested) -> str:
    """Return why nothing can be resumed now, and what to do; empty when it can be."""
    if not event.operator.strip() or not event.reason.strip():
        return "to resume takes a person with a name and a reason"
    unknown = [it.client_order_id for it in book.live_orders() if it.state is OrderState.UNKNOWN]
    if unknown:
        return (
            f"the fate of {', '.join(unknown[:3])} is UNKNOWN ({len(unknown)} in all): it may be "
            "live, and is looked up by its tag until that is known"
        )
    running = [it for it in unfinished(book) if it.latches and it.sends]
    if running:
        first = running[0]
        of_what = first.contract_id or "the account"
        return (
            f"{first.liquidation_id} of {of_what} is {first.state}, not FLAT: it has to end first"
        )
    return record_refusal(book)
