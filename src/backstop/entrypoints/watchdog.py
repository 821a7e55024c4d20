"""The watchdog process: starts the guard, watches it, starts it again, and acts when nobody can.

One thread, one wait, no library of others but the one for messages: it must be there when anything
else fails. What to do is decided in ``core.watchdog``, and what that takes is
``emergency.watch_duty``; here are the processes, clocks and descriptors of a real computer for it.
"""

import os
import selectors
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from backstop.adapters.child_process import process_state, start_child
from backstop.adapters.clock import SystemClock, awake_ns
from backstop.adapters.plain_log import Level, log_line
from backstop.adapters.process_line import ProcessLine
from backstop.adapters.process_watch import WatchedProcess
from backstop.adapters.systemd_notify import ALIVE, READY, STOPPING, ServiceManager
from backstop.core.watch_facts import Moment, limits_from_json
from backstop.domain.alert_code import AlertCode
from backstop.domain.heartbeat import Begin
from backstop.emergency.watch_duty import WatchDuty
from backstop.entrypoints.guard_process import SPARE_AFTER_NS, GuardProcess, SpareGuard
from backstop.entrypoints.process_words import ALERT, GUARD, REPORT, Words, read_words, words
from backstop.entrypoints.stop_signals import StopSignals
from backstop.entrypoints.watch_notes import AlertNote, CrashNote

if TYPE_CHECKING:
    from backstop.entrypoints.acting import Act

QUIET_NS = 60_000_000_000
"""After an alert, people do not hear of the same event for so long; the log has all of them."""

LOOK_S = 0.25
"""Between two looks, and between two beats: a guard misses us after eight of them."""


def run(arguments: Sequence[str]) -> int:
    """Watch until the guard has ended as it was told to; ``arguments`` begin with the verb."""
    return Watchdog(read_words(arguments[1:])).run()


class Watchdog:
    """The process: its one wait, and what a real computer does for a watchdog.

    Implements ``WatchSystem``.
    """

    def __init__(self, given: Words) -> None:
        """Watch over the guard that ``given`` describes.

        Args:
            given: after ``--`` what the user wrote after ``backstop run``. Options of ours:
                ``--guard`` and ``--line`` adopt a guard that is at work; ``--limits`` (JSON) and
                ``--spare`` (nanoseconds, or ``no``) are for tests and measurements.
        """
        self._given = given
        self._duty = WatchDuty(self, limits_from_json(given.options.get("--limits", "{}")))
        self._clock = SystemClock()
        self._selector = selectors.DefaultSelector()
        self._services = ServiceManager()
        spare = given.options.get("--spare", str(SPARE_AFTER_NS))
        self._spare = SpareGuard(
            self._selector, given.run, after_ns=None if spare == "no" else int(spare)
        )
        self._act: Act | None = None
        self._helpers: list[subprocess.Popen[bytes]] = []
        self._quiet: dict[AlertCode, int] = {}  # those of which people hear no more before a moment
        self._beat_ns = 0

    def run(self) -> int:
        """Watch to the end; return the exit code."""
        with StopSignals(self._selector, self._stop):
            self._begin()
            while not self._duty.is_over:
                wait_ns = LOOK_S * 1e9 - (awake_ns() - self._beat_ns)
                for key, _ in self._selector.select(max(0, wait_ns) / 1e9):
                    key.data()
                if not self._duty.is_over:
                    self._look()
            self._end()
        self._selector.close()
        return self._duty.watch.exit_code

    # -- begin and end -------------------------------------------------------------------------

    def _begin(self) -> None:
        adopted = self._given.options.get("--guard")
        if adopted is None:
            self._duty.begin()
            return
        line = ProcessLine.inherited(int(self._given.option("--line")))
        self.log(Level.WARNING, "watchdog_took_over", guard_process_id=int(adopted))
        guard: GuardProcess | None = None
        with suppress(OSError):
            guard = GuardProcess(int(adopted), line)
        # Asked once we hold on to it: one that is our parent now is not another of its number.
        if guard is not None and os.getppid() == int(adopted):
            self._wait_for(guard)
            self._duty.adopt(guard)
            return
        # It died while we were loaded. What it said before stands in the line: where it listened.
        last_words = line.receive()
        if guard is None:
            line.close()
        else:
            guard.close()
        self._duty.came_late(last_words)

    def _stop(self) -> None:
        """Have everything end, as a person wants it."""
        self._services.tell(STOPPING)
        self._duty.stop()

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
        if self._duty.guard is not None:
            self._duty.guard.close()
        self._services.close()

    def _look(self) -> None:
        """Judge the time that has passed, show that we are there, and keep a spare."""
        self._duty.look()
        now_ns = awake_ns()
        if now_ns - self._beat_ns >= LOOK_S * 1e9:
            self._beat_ns = now_ns
            self._services.tell(ALIVE)
            self._duty.beat()
        self._spare.keep(well=self._duty.is_well)

    # -- what the duty asks of the computer ----------------------------------------------------

    @property
    def process_id(self) -> int:
        """Our own number."""
        return os.getpid()

    def moment(self) -> Moment:
        """Return both clocks now."""
        return Moment(elapsed_ns=self._clock.monotonic_ns(), awake_ns=awake_ns())

    def utc_us(self) -> int:
        """Return the time of day."""
        return self._clock.utc_us()

    def start_guard(self, begin: Begin) -> GuardProcess:
        """Make the spare the guard, or start one.

        Raises:
            OSError: the system starts no process.
        """
        guard = self._spare.take() or GuardProcess.started(GUARD, self._given.run)
        guard.line.send(replace(begin, options=dict(self._given.options)))
        self._wait_for(guard)
        return guard

    def let_go(self, guard: GuardProcess) -> None:
        """Wait no longer for a guard that has ended."""
        self._forget(guard.line)
        self._forget(guard.process)

    def armed(self) -> None:
        """Tell whoever started us that there is a guard that guards."""
        self._services.tell(READY)

    def liquidate(self, reason: str, *, guard_lives: bool) -> None:
        """Begin to take the account flat; what was not needed before is loaded now."""
        duty = self._duty
        act = import_module("backstop.entrypoints.acting").Act(
            import_module("backstop.entrypoints.liquidation_act").liquidator(
                duty.hello, duty.listens, self._given.run, guard_lives=guard_lives
            ),
            reason,
        )
        self._act = act
        self._selector.register(act, selectors.EVENT_READ, self._acted)

    def give_up(self) -> None:
        """End a liquidation that is under way, in an orderly way."""
        if self._act is not None:
            self._act.cancel()

    def report(self, guard: GuardProcess, what: str, why: str) -> None:
        """Have it written down by another process: the watch must not wait for a disk."""
        hello = self._duty.hello
        if hello is None:
            return  # it failed before it knew its folder; its words on stderr are all there is
        note = CrashNote(
            what=what,
            why=why,
            process_id=guard.process_id,
            state_folder=hello.state_folder,
            state=self._state_of(guard),
        )
        self._hand_over(REPORT, note)

    def call(self, level: Level, code: AlertCode, reason: str) -> None:
        """Log it, and have people told, in case the guard cannot; not all of a flood."""
        self.log(level, code.lower(), reason=reason)
        hello, now_ns = self._duty.hello, awake_ns()
        if hello is None or not hello.alerts or now_ns < self._quiet.get(code, 0):
            return
        self._quiet[code] = now_ns + QUIET_NS
        note = AlertNote(critical=level is Level.CRITICAL, code=code, message=reason)
        self._hand_over(ALERT, note)

    def log(self, level: Level, event: str, **fields: str | int) -> None:
        """Write one line to the log."""
        log_line(level, event, session_id=f"watchdog-{os.getpid()}", **fields)

    # -- processes -----------------------------------------------------------------------------

    def _wait_for(self, guard: GuardProcess) -> None:
        duty = self._duty
        self._selector.register(guard.line, selectors.EVENT_READ, lambda: self._heard(guard))
        self._selector.register(guard.process, selectors.EVENT_READ, lambda: duty.died(guard))

    def _heard(self, guard: GuardProcess) -> None:
        self._duty.hear(guard)
        if guard.line.ended:
            self._forget(guard.line)

    def _forget(self, what: ProcessLine | WatchedProcess) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(what)

    def _acted(self) -> None:
        act, self._act = self._act, None
        if act is not None:
            self._selector.unregister(act)
            self._duty.acted(act.close())

    def _hand_over(self, verb: str, note: CrashNote | AlertNote) -> None:
        """Start a process that does what may take long."""
        self._helpers = [it for it in self._helpers if it.poll() is None]
        text = msgspec.json.encode(note).decode()
        try:
            self._helpers.append(start_child(words(verb, {"--note": text}, self._given.run)))
        except OSError as error:
            self.log(Level.WARNING, "not_told", what=verb, reason=str(error))

    def _state_of(self, guard: GuardProcess) -> dict[str, str]:
        watch = self._duty.watch
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
