"""Is the guard alive, and if not, what now? Pulses and deaths in, one verdict out.

The guard is well while its pulses carry new work. Without one it is first asked for its stacks,
then killed; what died is started again, with pauses once it dies too often. What stays away for
longer than the account may be left alone is replaced by a liquidation, if there could be anything
to liquidate.

Two clocks come with every fact: the elapsed one goes on while the machine is suspended, the other
stands still, so that their distance shows a suspend. Downtime counts on the elapsed one: positions
are open while the laptop sleeps.
"""

from msgspec.structs import replace

from backstop.core.watch import CLEAN_EXIT, UNUSABLE_EXIT, Judgement, Watch
from backstop.core.watch_facts import (
    SECOND_NS,
    Began,
    Died,
    Greeted,
    GuardArmed,
    GuardStops,
    LiquidationEnded,
    Looked,
    Moment,
    Phase,
    Pulsed,
    StopAsked,
    Verdict,
    WatchFact,
)
from backstop.domain.heartbeat import Holdings

SLEPT_NS = SECOND_NS // 2
"""The two clocks do not drift this far apart by themselves between two looks."""

UNWATCHED_NS = SECOND_NS
"""A look this late says that the watchdog itself stood still; it looks four times a second."""

ATTEMPTS_COUNTED = 16
"""Keeps the growing pause between liquidations a small number; a limit bounds it before."""

TOLD_ALONE = (
    "the guard was told to stop and its watchdog was not, with positions that may be open; to end "
    "both, stop the process that was started"
)
"""A signal to the guard alone: a person means the program that was started, and a system that is
short of memory means nobody in particular."""


def step(watch: Watch, fact: WatchFact, now: Moment) -> Judgement:
    """Judge one fact at ``now``."""
    watch = _awake(watch, now)
    now_ns = now.elapsed_ns
    match fact:
        case Began():
            return _began(watch, now_ns, adopted=fact.adopted)
        case Greeted():
            limits = replace(watch.limits, liquidate_after_ns=fact.liquidate_after_ns)
            # A later one knows less than what was heard since the first.
            holdings = watch.holdings if watch.greeted else fact.holdings
            return _waiting(
                replace(watch, limits=limits, holdings=holdings, greeted=True, answers=True)
            )
        case GuardArmed():
            return _waiting(replace(watch, armed_once=True))
        case Pulsed():
            return _pulsed(watch, fact, now_ns)
        case Died():
            return _died(watch, fact, now_ns)
        case LiquidationEnded():
            return _liquidation_ended(watch, now_ns, flat=fact.flat)
        case StopAsked():
            return _stop_asked(watch, now_ns)
        case GuardStops():
            return _guard_stops(watch, now_ns)
        case Looked():
            return _looked(watch, now_ns)


def _awake(watch: Watch, now: Moment) -> Watch:
    """Notice that the machine was suspended, or that we ourselves stood still.

    Silence of that time proves nothing about the guard: it stood still too, or its pulses wait to
    be read. But a suspend is downtime, however well everything is afterwards.
    """
    seen, now_ns = watch.seen, now.elapsed_ns
    watch = replace(watch, seen=now)
    if seen is None:
        return watch
    unwatched_ns = now.awake_ns - seen.awake_ns
    slept_ns = now_ns - seen.elapsed_ns - unwatched_ns
    slept = slept_ns >= SLEPT_NS
    if not slept and unwatched_ns < UNWATCHED_NS:
        return watch
    patient = replace(
        watch, worked_ns=now_ns, patient_until_ns=now_ns + watch.limits.probation_ns, dumped=False
    )
    if not slept:
        return patient
    return replace(
        patient,
        suspends=watch.suspends + 1,
        steady_since_ns=None,
        outage_since_ns=_outage_since(watch, seen.elapsed_ns),
    )


def _began(watch: Watch, now_ns: int, *, adopted: bool) -> Judgement:
    first = watch.outage_since_ns is None
    began = replace(
        watch,
        phase=Phase.RUNNING if adopted else Phase.STARTING,
        greeted=watch.greeted or adopted,
        answers=adopted,
        armed_once=watch.armed_once or adopted,
        holdings=Holdings.UNKNOWN if adopted else watch.holdings,
        turns=None,
        worked_ns=now_ns,
        steady_since_ns=None,
        # One that was at work before us had no outage that we know of.
        outage_since_ns=None if adopted else (now_ns if first else watch.outage_since_ns),
        dumped=False,
        killed=False,
    )
    return _waiting(began)


def _pulsed(watch: Watch, pulse: Pulsed, now_ns: int) -> Judgement:
    if pulse.turns == watch.turns or watch.phase in {Phase.DOWN, Phase.LIQUIDATING, Phase.ENDED}:
        # Somebody else sends in its name, or its last words come after its death.
        return _looked(watch, now_ns)
    limits = watch.limits
    gap_ns = now_ns - watch.worked_ns
    silent = watch.phase is Phase.RUNNING and gap_ns >= limits.stale_ns
    counts = watch.phase is Phase.RUNNING and not silent and now_ns >= watch.patient_until_ns
    steady_since_ns = now_ns if silent else _known(watch.steady_since_ns, now_ns)
    watch = replace(
        watch,
        phase=Phase.RUNNING,
        turns=pulse.turns,
        holdings=pulse.holdings,
        worked_ns=now_ns,
        steady_since_ns=steady_since_ns,
        dumped=False,
        gap_ns_max=max(watch.gap_ns_max, gap_ns) if counts else watch.gap_ns_max,
    )
    if watch.outage_since_ns is None:
        return _well_or_not(watch)
    if silent and _is_left_alone(watch, now_ns):
        # It comes round and falls silent again and again: alive, and nobody to rely on.
        return Judgement(
            watch=replace(watch, attempt_ns=now_ns + limits.liquidate_again_ns),
            verdict=Verdict.LIQUIDATE,
            reason=_left_alone(watch, now_ns - _known(watch.outage_since_ns, now_ns)),
        )
    if now_ns - steady_since_ns < limits.probation_ns:
        return _waiting(watch)
    downtime_ns = steady_since_ns - watch.outage_since_ns
    watch = replace(watch, outage_since_ns=None)
    if _is_too_long(watch, downtime_ns):
        return Judgement(
            watch=watch, verdict=Verdict.LIQUIDATE, reason=_left_alone(watch, downtime_ns)
        )
    return _well_or_not(watch)


def _died(watch: Watch, death: Died, now_ns: int) -> Judgement:
    limits = watch.limits
    told = watch.stopping_since_ns is not None
    alone = watch.guard_alone or (not told and death.exit_code == CLEAN_EXIT)
    if alone and watch.holdings is Holdings.NONE:
        return _ended(watch, CLEAN_EXIT, "the guard ended as it was told to, with nothing to guard")
    if told and not alone:
        return _ended(watch, CLEAN_EXIT, "the guard ended as it was told to")
    if death.exit_code == UNUSABLE_EXIT and not watch.armed_once:
        return _ended(watch, UNUSABLE_EXIT, "the guard cannot begin with these settings")
    recent = tuple(it for it in watch.deaths if now_ns - it < limits.crash_window_ns)
    sound_for_ns = now_ns - _known(watch.steady_since_ns, now_ns)
    watch = replace(
        watch,
        phase=Phase.DOWN,
        turns=None,
        steady_since_ns=None,
        outage_since_ns=_outage_since(watch, watch.worked_ns),
        deaths=(*recent, now_ns)[-limits.crashes_max :],
        pauses=0 if sound_for_ns >= limits.crash_window_ns else watch.pauses,
        restart_ns=now_ns,
        stopping_since_ns=None,
        guard_alone=False,
    )
    how = TOLD_ALONE if alone else _how(death, killed=watch.killed)
    if _is_left_alone(watch, now_ns):
        return _liquidation(watch, now_ns)
    if len(watch.deaths) < limits.crashes_max and not watch.pauses:
        return _restart(watch, how)
    pause_ns = limits.pauses_ns[min(watch.pauses, len(limits.pauses_ns) - 1)]
    watch = replace(watch, pauses=watch.pauses + 1, restart_ns=now_ns + pause_ns)
    return Judgement(
        watch=watch,
        verdict=Verdict.GIVE_UP_RESTARTING,
        reason=f"{how}; it dies again and again, the next one starts in {_seconds(pause_ns)}",
    )


def _looked(watch: Watch, now_ns: int) -> Judgement:
    match watch.phase:
        case Phase.STARTING | Phase.RUNNING:
            return _judged_silence(watch, now_ns)
        case Phase.DOWN if watch.restart_ns is not None:
            if _is_left_alone(watch, now_ns):
                return _liquidation(watch, now_ns)
            if now_ns >= watch.restart_ns:
                return _restart(watch, "the pause is over")
        case Phase.DOWN | Phase.LIQUIDATING | Phase.ENDED:
            pass
    return _waiting(watch)


def _judged_silence(watch: Watch, now_ns: int) -> Judgement:
    """Say what the time since the last sign of work demands."""
    limits = watch.limits
    silent_ns = now_ns - watch.worked_ns
    if watch.stopping_since_ns is not None:
        # One that closes has no pulse any more; it has a limit of its own.
        stopping_ns = now_ns - watch.stopping_since_ns
        if stopping_ns < limits.stop_ns or watch.killed:
            return _waiting(watch)
        return Judgement(
            watch=replace(watch, killed=True),
            verdict=Verdict.KILL,
            reason=f"it did not stop within {_seconds(stopping_ns)}",
        )
    if now_ns < watch.patient_until_ns:
        return _well_or_not(watch)
    if watch.phase is Phase.STARTING:
        # A start that comes too late anyway does not get the long patience of a first one.
        overdue = _is_left_alone(watch, now_ns)
        ask_ns, kill_ns = limits.frozen_ns // 2, limits.frozen_ns if overdue else limits.start_ns
    else:
        ask_ns, kill_ns = limits.stale_ns, limits.frozen_ns
    if silent_ns >= kill_ns and not watch.killed:
        return Judgement(
            watch=replace(
                watch,
                killed=True,
                freezes=watch.freezes + 1,
                steady_since_ns=None,
                outage_since_ns=_outage_since(watch, watch.worked_ns),
            ),
            verdict=Verdict.KILL,
            reason=f"FROZEN: no pulse for {_seconds(silent_ns)}",
        )
    if silent_ns >= ask_ns and watch.answers and not watch.dumped:
        return Judgement(
            watch=replace(
                watch,
                dumped=True,
                steady_since_ns=None,
                outage_since_ns=_outage_since(watch, watch.worked_ns),
            ),
            verdict=Verdict.DUMP_STACKS,
            reason=f"no pulse for {_seconds(silent_ns)}",
        )
    return _well_or_not(watch)


def _liquidation_ended(watch: Watch, now_ns: int, *, flat: bool) -> Judgement:
    limits = watch.limits
    pause_ns = limits.liquidate_again_ns << min(watch.attempts, ATTEMPTS_COUNTED)
    watch = replace(
        watch,
        attempt_ns=now_ns + min(pause_ns, limits.liquidate_again_max_ns),
        attempts=0 if flat else watch.attempts + 1,
        holdings=Holdings.NONE if flat else watch.holdings,
        outage_since_ns=None if flat else watch.outage_since_ns,
    )
    if watch.phase is not Phase.LIQUIDATING:
        return _waiting(watch)
    watch = replace(watch, phase=Phase.DOWN)
    if watch.stopping_since_ns is not None:
        return _ended(watch, CLEAN_EXIT, "everything was told to end")
    return _restart(watch, "the liquidation is over")


def _guard_stops(watch: Watch, now_ns: int) -> Judgement:
    """Let it close in peace; what follows is judged when it has ended, by what is open then."""
    if watch.stopping_since_ns is None and watch.phase in {Phase.STARTING, Phase.RUNNING}:
        watch = replace(watch, stopping_since_ns=now_ns, guard_alone=True)
    return _waiting(watch)


def _stop_asked(watch: Watch, now_ns: int) -> Judgement:
    watch = replace(
        watch, stopping_since_ns=_known(watch.stopping_since_ns, now_ns), guard_alone=False
    )
    if watch.phase is Phase.DOWN:
        return _ended(watch, CLEAN_EXIT, "everything was told to end")
    return _waiting(watch)


# -- verdicts ------------------------------------------------------------------------------------


def _well_or_not(watch: Watch) -> Judgement:
    well = watch.phase is Phase.RUNNING and watch.outage_since_ns is None
    return Judgement(watch=watch, verdict=Verdict.WELL if well else Verdict.WAIT)


def _waiting(watch: Watch) -> Judgement:
    return Judgement(watch=watch, verdict=Verdict.WAIT)


def _restart(watch: Watch, reason: str) -> Judgement:
    # STARTING from here, although the process comes with ``Began``: it is asked for once.
    restarted = replace(watch, phase=Phase.STARTING, restarts=watch.restarts + 1, restart_ns=None)
    return Judgement(watch=restarted, verdict=Verdict.RESTART, reason=reason)


def _liquidation(watch: Watch, now_ns: int) -> Judgement:
    downtime_ns = now_ns - _known(watch.outage_since_ns, now_ns)
    return Judgement(
        watch=replace(watch, phase=Phase.LIQUIDATING),
        verdict=Verdict.LIQUIDATE,
        reason=_left_alone(watch, downtime_ns),
    )


def _ended(watch: Watch, exit_code: int, reason: str) -> Judgement:
    return Judgement(
        watch=replace(watch, phase=Phase.ENDED, exit_code=exit_code),
        verdict=Verdict.END,
        reason=reason,
    )


# -- words and small sums ------------------------------------------------------------------------


def _is_left_alone(watch: Watch, now_ns: int) -> bool:
    """Say whether what the account holds was unguarded for too long, and it is time to act."""
    since_ns = watch.outage_since_ns
    return (
        since_ns is not None
        and _is_too_long(watch, now_ns - since_ns)
        and now_ns >= watch.attempt_ns
    )


def _is_too_long(watch: Watch, downtime_ns: int) -> bool:
    """Say whether what the account may hold must not be left alone for so long."""
    after_ns = watch.limits.liquidate_after_ns
    return after_ns is not None and downtime_ns >= after_ns and watch.holdings is not Holdings.NONE


def _outage_since(watch: Watch, sound_ns: int) -> int:
    return _known(watch.outage_since_ns, sound_ns)


def _known(moment_ns: int | None, otherwise_ns: int) -> int:
    return otherwise_ns if moment_ns is None else moment_ns


def _left_alone(watch: Watch, downtime_ns: int) -> str:
    holds = "open positions" if watch.holdings is Holdings.OPEN else "perhaps open positions"
    return f"no sound guard for {_seconds(downtime_ns)}, with {holds}"


def _how(death: Died, *, killed: bool) -> str:
    if killed:
        return "the frozen guard was killed"
    match death.exit_code:
        case None:
            return "the guard died"
        case code if code < 0:
            return f"the guard died of signal {-code}"
        case code:
            return f"the guard ended with exit code {code}"


def _seconds(span_ns: int) -> str:
    return f"{span_ns / SECOND_NS:.1f} s"
