"""The guard put together: which adapter stands behind which port, in the order of start-up.

Lock, record, replay, then the ways to the broker. Nothing is sent here; what was opened is closed
again by the exit stack of whoever asked.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from backstop import __version__
from backstop.adapters.lock import AccountLock
from backstop.adapters.projectx.gateway import ProjectXGateway
from backstop.adapters.projectx.hubs import ProjectXHubs
from backstop.adapters.projectx.signalr import HubTimings
from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.app.audit_reading import AuditReading
from backstop.app.audit_trail import AuditTrail
from backstop.app.broker_link import BrokerLink
from backstop.app.contract_watch import is_wanted
from backstop.app.dispatch import Dispatcher
from backstop.app.emergency_import import take_over_emergency_run
from backstop.app.journal_fold import policy_batch
from backstop.app.kill_file import KillFile
from backstop.app.loop import DecisionLoop
from backstop.app.market_notes import MarketNotes
from backstop.app.market_risk import MarketRisk
from backstop.app.policy import policy_from_settings
from backstop.app.proofs import ProofMaker
from backstop.app.quote_board import QuoteBoard
from backstop.app.record_check import RecordCheck
from backstop.app.recovery_review import RecoveryReview
from backstop.app.state_alarm import StateAlarm
from backstop.app.state_opening import OpenedState
from backstop.app.state_persistence import STATE_FAULT, StatePersistence
from backstop.config.settings import Settings
from backstop.core.call_budget import calls_kept
from backstop.core.policy import Policy
from backstop.core.step import Note
from backstop.domain.commands import RaiseAlert
from backstop.domain.events import GuardStarted, RecordFoundSound, RecordFoundUnsound
from backstop.domain.hub_contest import REST_S
from backstop.ports import Clock, FactSink

RECORD_FAULT = "audit record"
FIRST_EPOCH = 1
"""The right to send does not change hands between machines yet: its number stands still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlets:
    """Where the parts speak: log lines, alerts, and faults by component."""

    note: Callable[[Note], None]
    alert: Callable[[RaiseAlert], None]
    fault: Callable[[str], Callable[[str], None]]
    say_fault: Callable[[str, str], None]
    strike: Callable[[bytes], bytes] = bytes  # takes secrets out of what the venue says


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a running guard is made of."""

    state: OpenedState
    review: RecoveryReview
    persistence: StatePersistence
    record_check: RecordCheck
    trail: AuditTrail
    reading: AuditReading
    loop: DecisionLoop
    gateway: ProjectXGateway
    link: BrokerLink
    risk: MarketRisk
    kill_file: KillFile


def wired(
    settings: Settings,
    *,
    clock: Clock,
    quotes: QuoteBoard,
    closing: AsyncExitStack,
    outlets: Outlets,
    comes_back: bool = False,
) -> Parts:
    """Take the right to send, replay the record, and connect every part with its neighbours.

    ``comes_back``: in place of a guard that ended a moment ago, not at a person's wish.

    Raises:
        SetupError: state folder, keys, or another guard on the account.
    """
    host = urlsplit(settings.api_url).netloc
    lock = AccountLock(gateway_host=host, account=str(settings.account_id))
    lock.acquire()
    closing.callback(lock.release)
    state = _opened(settings, clock=clock, outlets=outlets, closing=closing, comes_back=comes_back)
    policy = policy_from_settings(settings)
    gateway = _gateway(
        settings,
        clock=clock,
        strike=outlets.strike,
        sink=lambda fact: loop.put(fact),  # noqa: PLW0108 - the loop is made further down
    )
    closing.push_async_callback(gateway.close)
    kill_file = KillFile(settings.kill_file, clock=clock, on_fault=outlets.fault("kill file"))
    dispatcher = Dispatcher(
        gateway=gateway,
        clock=clock,
        policy=policy,
        holds_right_to_send=_right_to_send(lock, outlets.fault("right to send")),
        on_alert=outlets.alert,
        on_fault=outlets.fault("requests"),
        entry_stop=kill_file.look_again,
    )
    closing.push_async_callback(dispatcher.close)
    loop = DecisionLoop(
        book=state.new_book(policy),
        journal=state.trail,
        clock=clock,
        dispatcher=dispatcher,
        proofs=ProofMaker(state.trail.keys),
        on_note=outlets.note,
        past=state.past,
    )
    if policy.is_drop_copy:
        loop.before_fact = MarketNotes(quotes=quotes, clock=clock).before
    kill_file.bind(
        loop.put, halted_by=lambda who: any(it.operator == who for it in loop.book.latches)
    )
    gateway.budget.inherit(state.before.calls, until_ns=state.before.calls_ns)
    gateway.budget.kept = lambda purpose: calls_kept(
        loop.book, purpose, now_ns=clock.monotonic_ns()
    )
    state.replay_into(loop, policy)
    take_over_emergency_run(loop, settings.state_folder, lock.path, clock=clock)
    review = _review(loop, state, policy, clock=clock, outlets=outlets)
    dispatcher.bind(review.listening(loop.put))
    _begin(loop, state, policy, clock=clock, host=host)
    return Parts(
        kill_file=kill_file,
        state=state,
        review=review,
        persistence=state.keep(
            loop,
            interval_ns=settings.state_persistence_interval_ns,
            calls_made=gateway.budget.made,
            on_fault=StateAlarm(report=outlets.fault(STATE_FAULT), put=loop.put, clock=clock).hear,
        ),
        record_check=_record_check(settings, state.trail, loop, clock=clock, outlets=outlets),
        trail=state.trail,
        reading=_reading(settings, state.trail),
        loop=loop,
        gateway=gateway,
        link=_link(settings, policy, gateway, loop, clock=clock, quotes=quotes, outlets=outlets),
        risk=_risk(settings, gateway, loop, clock=clock, quotes=quotes, outlets=outlets),
    )


def _right_to_send(lock: AccountLock, tell: Callable[[str], None]) -> Callable[[], bool]:
    """Return what is asked before every request; that it was lost is told."""

    def holds() -> bool:
        held = lock.keeps()
        tell("" if held else f"another process took it: {lock.path}. Nothing of ours is sent.")
        return held

    return holds


def _opened(
    settings: Settings,
    *,
    clock: Clock,
    outlets: Outlets,
    closing: AsyncExitStack,
    comes_back: bool,
) -> OpenedState:
    state = OpenedState(
        settings.state_folder,
        account_id=settings.account_id,
        epoch=FIRST_EPOCH,
        clock=clock,
        mirror=settings.checkpoint_mirror,
        on_fault=outlets.say_fault,
        on_note=outlets.note,
        comes_back=comes_back,
    )
    # In reverse: the journal, the state that is about it, and last what may be slow and far away.
    closing.push_async_callback(state.close_outside)
    closing.push_async_callback(state.close)
    closing.push_async_callback(state.close_journal)
    return state


def _gateway(
    settings: Settings, *, clock: Clock, strike: Callable[[bytes], bytes], sink: FactSink
) -> ProjectXGateway:
    return ProjectXGateway(
        api_url=settings.api_url,
        user_name=settings.user_name,
        api_key=settings.api_key,
        token=settings.token,
        spare_key=settings.emergency_api_key,
        clock=clock,
        strike=strike,
        sink=sink,
    )


def _begin(
    loop: DecisionLoop, state: OpenedState, policy: Policy, *, clock: Clock, host: str
) -> None:
    """Write down under which rules this process goes on, and that it does."""
    trail, before = state.trail, state.before
    # First the rules of this process. A disk that fails shows at the first fact.
    trail.submit(
        policy_batch(
            policy, seq=trail.next_seq, monotonic_ns=clock.monotonic_ns(), utc_us=clock.utc_us()
        ),
        lambda _error: None,
    )
    loop.begin(
        GuardStarted(
            utc_us=clock.utc_us(),
            boot_id=state.boot_id,
            process_id=state.process_id,
            account_id=policy.account_id,
            gateway_host=host,
            version=__version__,
            stop=before.stop,
            downtime_ms=before.downtime_ms,
            wall_clock=before.wall_clock,
            record_unread=not trail.start.looked_through,
            records_lost=state.records_lost,
            record_kept=state.record_kept,
            past_unusable=state.past.unusable,
            folder_open=" ".join(f"{it.told}." for it in state.openings if it.matters),
            folder_changeable=any(it.can_be_changed for it in state.openings),
        )
    )


def _review(
    loop: DecisionLoop, state: OpenedState, policy: Policy, *, clock: Clock, outlets: Outlets
) -> RecoveryReview:
    return RecoveryReview(
        loop.book,
        before=state.before,
        source=state.source,
        liquidate_after_ms=policy.liquidate_after_ms,
        clock=clock,
        on_note=outlets.note,
        on_fault=outlets.fault("recovery report"),
    )


def _record_check(
    settings: Settings, trail: AuditTrail, loop: DecisionLoop, *, clock: Clock, outlets: Outlets
) -> RecordCheck:
    return RecordCheck(
        settings.state_folder,
        account=str(settings.account_id),
        start=trail.start,
        standing=loop.book.record_finding,
        on_structure=partial(_record_looked_through, loop, clock),
        on_finding=partial(_record_checked, loop, clock),
        on_fault=outlets.fault(RECORD_FAULT),
    )


def _record_looked_through(loop: DecisionLoop, clock: Clock) -> None:
    """Tell the core that the structure of the record is sound, if it waits for that."""
    if loop.book.record_unread:
        loop.put(RecordFoundSound(utc_us=clock.utc_us(), whole=False))


def _record_checked(loop: DecisionLoop, clock: Clock, finding: str) -> None:
    """Tell the core what a whole check of the record found, where that is news."""
    if finding:
        loop.put(RecordFoundUnsound(utc_us=clock.utc_us(), finding=finding))
    elif loop.book.record_finding:
        loop.put(RecordFoundSound(utc_us=clock.utc_us()))


def _reading(settings: Settings, trail: AuditTrail) -> AuditReading:
    return AuditReading(
        settings.state_folder / AUDIT_DATABASE,
        public_key=trail.keys.public_key().public_bytes_raw(),
        key_id=trail.keys.key_id,
    )


def _link(
    settings: Settings,
    policy: Policy,
    gateway: ProjectXGateway,
    loop: DecisionLoop,
    *,
    clock: Clock,
    quotes: QuoteBoard,
    outlets: Outlets,
) -> BrokerLink:
    return BrokerLink(
        gateway=gateway,
        hubs=ProjectXHubs(
            user_hub_url=settings.user_hub_url,
            market_hub_url=settings.market_hub_url,
            account_id=policy.account_id,
            contract_ids=(),
            is_wanted=partial(is_wanted, loop.book),
            tokens=gateway.session,
            clock=clock,
            sink=loop.put,
            quotes=quotes.put,
            strike=outlets.strike,
            # A bot that trades by itself needs its session more than who looks on needs a hub.
            timings=HubTimings(contest_rest_s=REST_S if policy.is_drop_copy else 0.0),
        ),
        clock=clock,
        account=policy.account_id,
        symbols=policy.symbols,
        sink=loop.put,
        on_fault=outlets.fault("gateway"),
    )


def _risk(
    settings: Settings,
    gateway: ProjectXGateway,
    loop: DecisionLoop,
    *,
    clock: Clock,
    quotes: QuoteBoard,
    outlets: Outlets,
) -> MarketRisk:
    return MarketRisk(
        clock=clock,
        read_bars=gateway.bars,
        sink=loop.put,
        on_fault=outlets.fault("market history"),
        update_interval_s=settings.correlation_update_s,
        marks=quotes.marks,
    )
