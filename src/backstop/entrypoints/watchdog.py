"""The watchdog process: starts the guard, watches it, starts it again, and acts when nobody can.

One thread, one wait, no library of others but the one for messages: it must be there when anything
else fails. What to do is decided in ``core.watchdog``; here it is done.
"""

import os
import selectors
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

import msgspec

from backstop.adapters.child_process import process_state, start_child
from backstop.adapters.clock import SystemClock, awake_ns
from backstop.adapters.plain_log import Level, log_line
from backstop.adapters.process_line import ProcessLine
from backstop.adapters.process_watch import WatchedProcess
from backstop.adapters.systemd_notify import ALIVE, READY, STOPPING, ServiceManager
from backstop.core.watch import Watch
from backstop.core.watch_facts import (
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
    limits_from_json,
)
from backstop.core.watchdog import step
from backstop.domain.alert_code import AlertCode
from backstop.domain.heartbeat import (
    AnyMessage,
    Armed,
    Beat,
    Begin,
    CleanStop,
    Dismissed,
    Hello,
    Pulse,
    Stop,
)
from backstop.domain.standing_latch import StandingLatch
from backstop.entrypoints.guard_process import SPARE_AFTER_NS, GuardProcess, SpareGuard
from backstop.entrypoints.process_words import ALERT, GUARD, REPORT, Words, read_words, words
from backstop.entrypoints.stop_signals import StopSignals
from backstop.entrypoints.watch_notes import AlertNote, CrashNote

if TYPE_CHECKING:
    from backstop.entrypoints.acting import Act

QUIET_NS = 60_000_000_000
"""After an alert, people do not hear of the same event for so long; the log has all of them."""

RECOVERY_IS_OFF = "DISASTER_RECOVERY_ENABLE=0: the guard is started again, nothing is liquidated"

LOOK_S = 0.25
"""Between two looks, and between two beats: a guard misses us after eight of them."""


def run(arguments: Sequence[str]) -> int:
    """Watch until the guard has ended as it was told to; ``arguments`` begin with the verb."""
    return Watchdog(read_words(arguments[1:])).run()


class Watchdog:
    """The process: its one wait, and what it does at each verdict."""

    def __init__(self, given: Words) -> None:
        """Watch over the guard that ``given`` describes.

        Args:
            given: after ``--`` what the user wrote after ``backstop run``. Options of ours:
                ``--guard`` and ``--line`` adopt a guard that is at work; ``--limits`` (JSON) and
                ``--spare`` (nanoseconds, or ``no``) are for tests and measurements.
        """
        self._given = given
        self._watch = Watch(limits=limits_from_json(given.options.get("--limits", "{}")))
        self._clock = SystemClock()
        self._selector = selectors.DefaultSelector()
        self._services = ServiceManager()
        spare = given.options.get("--spare", str(SPARE_AFTER_NS))
        self._spare = SpareGuard(
            self._selector, given.run, after_ns=None if spare == "no" else int(spare)
        )
        self._guard: GuardProcess | None = None
        self._hello: Hello | None = None
        self._listens: Armed | None = None
        self._latches: tuple[StandingLatch, ...] = ()  # of the newest pulse
        self._act: Act | None = None
        self._helpers: list[subprocess.Popen[bytes]] = []
        self._quiet: dict[AlertCode, int] = {}  # those of which people hear no more before a moment
        self._dismissed = False
        self._beat_ns = 0

    def run(self) -> int:
        """Watch to the end; return the exit code."""
        with StopSignals(self._selector, self._stop):
            self._begin()
            while not self._is_over:
                wait_ns = LOOK_S * 1e9 - (awake_ns() - self._beat_ns)
                for key, _ in self._selector.select(max(0, wait_ns) / 1e9):
                    key.data()
                if not self._is_over:
                    self._look()
            self._end()
        self._selector.close()
        return self._watch.exit_code

    @property
    def _is_over(self) -> bool:
        return self._dismissed or self._watch.phase is Phase.ENDED

    # -- begin and end -------------------------------------------------------------------------

    def _begin(self) -> None:
        adopted = self._given.options.get("--guard")
        if adopted is None:
            self._start_guard()
            return
        line = ProcessLine.inherited(int(self._given.option("--line")))
        self._log(Level.WARNING, "watchdog_took_over", guard_process_id=int(adopted))
        self._tell(Began(adopted=True))
        guard: GuardProcess | None = None
        with suppress(OSError):
            guard = GuardProcess(int(adopted), line)
        # Asked once we hold on to it: one that is our parent now is not another of its number.
        if guard is not None and os.getppid() == int(adopted):
            self._take_on(guard)
            return
        # It died while we were loaded. What it said before stands in the line: where it listened.
        for message in line.receive():
            self._take(guard, message)
        if guard is None:
            line.close()
        else:
            guard.close()
        self._tell(Died(exit_code=None))

    def _stop(self) -> None:
        """Have everything end, as a person wants it."""
        self._services.tell(STOPPING)
        self._tell(StopAsked())
        if self._guard is not None:
            self._guard.line.send(Stop())
            self._guard.process.stop()
        if self._act is not None:
            self._act.cancel()

    def _end(self) -> None:
        """Leave nothing behind: neither a spare nor a half-written report."""
        self._services.tell(STOPPING)
        self._spare.close()
        if self._act is not None:
            self._act.cancel()
            self._act.close()
        for helper in self._helpers:
            helper.kill()
            helper.wait()
        if self._guard is not None:
            self._guard.close()
        self._services.close()

    # -- facts ---------------------------------------------------------------------------------

    def _look(self) -> None:
        """Judge the time that has passed, show that we are there, and keep a spare."""
        self._tell(Looked())
        now_ns = awake_ns()
        if now_ns - self._beat_ns >= LOOK_S * 1e9:
            self._beat_ns = now_ns
            self._services.tell(ALIVE)
            self._beat()
        watch = self._watch
        stopping = watch.stopping_since_ns is not None
        well = watch.phase is Phase.RUNNING and watch.outage_since_ns is None
        self._spare.keep(well=well and not stopping)

    def _tell(self, fact: WatchFact) -> None:
        """Let the core judge, and do what it says."""
        now = Moment(elapsed_ns=self._clock.monotonic_ns(), awake_ns=awake_ns())
        judged = step(self._watch, fact, now)
        self._watch = judged.watch
        match judged.verdict:
            case Verdict.DUMP_STACKS:
                self._dump_stacks(judged.reason)
            case Verdict.KILL:
                self._kill(judged.reason)
            case Verdict.RESTART:
                self._start_guard()
                self._call(Level.WARNING, AlertCode.GUARD_RESTARTED, judged.reason)
            case Verdict.GIVE_UP_RESTARTING:
                self._call(Level.CRITICAL, AlertCode.GUARD_CRASH_LOOP, judged.reason)
            case Verdict.LIQUIDATE:
                self._liquidate(judged.reason)
            case Verdict.WELL | Verdict.WAIT | Verdict.END:
                pass

    def _heard(self, guard: GuardProcess) -> None:
        """Read what the guard says."""
        for message in guard.line.receive():
            self._take(guard, message)
        if guard.line.ended:
            self._forget(guard.line)

    def _take(self, guard: GuardProcess | None, message: AnyMessage) -> None:
        match message:
            case Hello():
                if message.liquidate_after_ns is None:
                    self._log(Level.WARNING, "never_liquidates", reason=RECOVERY_IS_OFF)
                self._hello = message
                self._tell(
                    Greeted(
                        liquidate_after_ns=message.liquidate_after_ns, holdings=message.holdings
                    )
                )
            case Armed():
                self._listens = message
                self._services.tell(READY)
                self._tell(GuardArmed())
            case Pulse():
                if guard is not None:
                    guard.pulse = message
                self._latches = message.latches
                self._tell(Pulsed(turns=message.turns, holdings=message.holdings))
            case CleanStop():
                self._tell(GuardStops())
            case Dismissed():
                self._dismissed = True
            case _:
                pass  # meant for the other side

    def _died(self, guard: GuardProcess) -> None:
        self._heard(guard)  # its last words
        self._forget(guard.line)
        self._forget(guard.process)
        self._guard = None
        code = guard.exit_code()
        if not self._dismissed:
            self._tell(Died(exit_code=code))
        if not self._is_over:
            how = "nobody knows how" if code is None else f"exit code {code}"
            what = "FROZEN" if guard.killed else "DIED"
            self._report(guard, what, f"the guard's process ended: {how}")
        guard.close()

    # -- acts ----------------------------------------------------------------------------------

    def _start_guard(self) -> None:
        """Make the spare the guard, or start one; it goes on where the one before listened."""
        try:
            guard = self._spare.take() or GuardProcess.started(GUARD, self._given.run)
        except OSError as error:
            self._log(Level.CRITICAL, "guard_not_started", reason=str(error))
            self._tell(Began())
            self._tell(Died(exit_code=None))
            return
        port = 0 if self._listens is None else self._listens.port
        # The latches too: the disk of the one before may have taken nothing.
        guard.line.send(Begin(port=port, options=dict(self._given.options), latches=self._latches))
        self._take_on(guard)
        self._tell(Began())
        self._beat()

    def _take_on(self, guard: GuardProcess) -> None:
        self._guard = guard
        self._selector.register(guard.line, selectors.EVENT_READ, lambda: self._heard(guard))
        self._selector.register(guard.process, selectors.EVENT_READ, lambda: self._died(guard))

    def _forget(self, what: ProcessLine | WatchedProcess) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(what)

    def _beat(self) -> None:
        if self._guard is not None:
            self._guard.line.send(Beat(process_id=os.getpid(), restarts=self._watch.restarts))

    def _dump_stacks(self, reason: str) -> None:
        self._log(Level.WARNING, "guard_stale", reason=reason)
        if self._guard is not None:
            self._guard.process.ask_for_stacks()
            self._report(self._guard, "STALE", reason)

    def _kill(self, reason: str) -> None:
        self._call(Level.CRITICAL, AlertCode.GUARD_KILLED, reason)
        if self._guard is not None:
            self._guard.killed = True
            self._guard.process.kill()

    def _liquidate(self, reason: str) -> None:
        """Begin to take the account flat; what was not needed before is loaded now."""
        self._call(Level.CRITICAL, AlertCode.LIQUIDATION_DUE, reason)
        if self._act is not None:
            return
        act = import_module("backstop.entrypoints.acting").Act(
            import_module("backstop.entrypoints.liquidation_act").liquidator(
                self._hello, self._listens, self._given.run, guard_lives=self._guard is not None
            ),
            reason,
        )
        self._act = act
        self._selector.register(act, selectors.EVENT_READ, self._acted)

    def _acted(self) -> None:
        act, self._act = self._act, None
        if act is None:
            return
        self._selector.unregister(act)
        outcome = act.close()
        if outcome.flat:
            self._call(Level.WARNING, AlertCode.LIQUIDATION_ENDED_FLAT, outcome.message)
        else:
            self._call(Level.CRITICAL, AlertCode.LIQUIDATION_NOT_FLAT, outcome.message)
        self._tell(LiquidationEnded(flat=outcome.flat))

    # -- words ---------------------------------------------------------------------------------

    def _report(self, guard: GuardProcess, what: str, why: str) -> None:
        """Have it written down by another process: the watch must not wait for a disk."""
        if self._hello is None:
            return  # it failed before it knew its folder; its words on stderr are all there is
        note = CrashNote(
            what=what,
            why=why,
            process_id=guard.process_id,
            state_folder=self._hello.state_folder,
            state=self._state_of(guard),
        )
        self._hand_over(REPORT, note)

    def _call(self, level: Level, code: AlertCode, reason: str) -> None:
        """Log it, and have people told, in case the guard cannot; not all of a flood."""
        self._log(level, code.lower(), reason=reason)
        now_ns = awake_ns()
        if self._hello is None or not self._hello.alerts or now_ns < self._quiet.get(code, 0):
            return
        self._quiet[code] = now_ns + QUIET_NS
        note = AlertNote(critical=level is Level.CRITICAL, code=code, message=reason)
        self._hand_over(ALERT, note)

    def _hand_over(self, verb: str, note: CrashNote | AlertNote) -> None:
        """Start a process that does what may take long."""
        self._helpers = [it for it in self._helpers if it.poll() is None]
        text = msgspec.json.encode(note).decode()
        try:
            self._helpers.append(start_child(words(verb, {"--note": text}, self._given.run)))
        except OSError as error:
            self._log(Level.WARNING, "not_told", what=verb, reason=str(error))

    def _state_of(self, guard: GuardProcess) -> dict[str, str]:
        watch = self._watch
        state = {
            "process": process_state(guard.process_id),
            "restarts": str(watch.restarts),
            "freezes": str(watch.freezes),
            "suspends": str(watch.suspends),
            "holdings": str(watch.holdings),
        }
        if guard.pulse is None:
            return state
        pulse = msgspec.to_builtins(guard.pulse)
        return state | {f"pulse.{name}": str(value) for name, value in pulse.items()}

    def _log(self, level: Level, event: str, **fields: str | int) -> None:
        log_line(level, event, session_id=f"watchdog-{os.getpid()}", **fields)
