"""The watchdog process: starts the guard, watches it, starts it again, and acts when nobody can.

One thread, one wait, no library of others but the one for messages: it must be there when anything
else fails. What to do is decided in ``core.watchdog``; here it is done.
"""

import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

import msgspec

from backstop.adapters.child_process import process_state, start_child
from backstop.adapters.clock import SystemClock, awake_ns
from backstop.adapters.plain_log import log_line
from backstop.adapters.process_line import ProcessLine
from backstop.adapters.process_watch import WatchedProcess, watched_process
from backstop.adapters.systemd_notify import ALIVE, READY, STOPPING, ServiceManager
from backstop.core.watch_facts import (
    Began,
    Died,
    Greeted,
    GuardArmed,
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
from backstop.core.watchdog import Watch, step
from backstop.domain.commands import Severity
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
from backstop.entrypoints.crash_note import CrashNote
from backstop.entrypoints.process_words import (
    GUARD,
    REPORT,
    SPARE,
    Words,
    read_words,
    words,
)

if TYPE_CHECKING:
    import subprocess

    from backstop.entrypoints.acting import Act

LOOK_S = 0.25
"""Between two looks, and between two beats: a guard misses us after eight of them."""

SPARE_AFTER_S = 5.0
"""How long the guard must have been well before a spare one is loaded beside it."""

SPARE_AGAIN_S = 60.0
"""Pause before another spare, when one ended by itself."""

YES = "yes"

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
)


class _Guarding:
    """One process that is the guard, or could be it at once."""

    def __init__(
        self,
        process_id: int,
        line: ProcessLine,
        child: "subprocess.Popen[bytes] | None",
    ) -> None:
        self.process: WatchedProcess = watched_process(process_id)
        self.line = line
        self.child = child
        self.hello: Hello | None = None
        self.pulse: Pulse | None = None
        self.gone = False

    @classmethod
    def started(cls, verb: str, run: Sequence[str]) -> "_Guarding":
        line, theirs = ProcessLine.pair()
        with theirs:
            child = start_child(words(verb, {"--line": "{line}"}, run), line=theirs)
        return cls(child.pid, line, child)

    def exit_code(self) -> int | None:
        """Reap it; None where only its parent could know how it ended."""
        return None if self.child is None else self.child.wait()

    def close(self) -> None:
        self.process.close()
        self.line.close()


def run(arguments: Sequence[str]) -> int:
    """Watch until the guard has ended as it was told to; ``arguments`` begin with the verb."""
    given = read_words(arguments[1:])
    return _Watchdog(given).run()


class _Watchdog:
    """The process: its one wait, and what it does at each verdict."""

    def __init__(self, given: Words) -> None:
        self._given = given
        self._watch = Watch(limits=limits_from_json(given.options.get("--limits", "{}")))
        self._keeps_spare = given.options.get("--spare", YES) == YES
        self._clock = SystemClock()
        self._selector = selectors.DefaultSelector()
        self._manager = ServiceManager()
        self._name = f"watchdog-{os.getpid()}"
        self._guard: _Guarding | None = None
        self._spare: _Guarding | None = None
        self._spare_due_ns: int | None = None
        self._hello: Hello | None = None
        self._listen: Armed | None = None
        self._act: Act | None = None
        self._reports: list[subprocess.Popen[bytes]] = []
        self._dismissed = False
        self._beat_ns = 0

    def run(self) -> int:
        with self._signals():
            self._begin()
            while not self._is_over:
                for key, _ in self._selector.select(self._wait_s()):
                    key.data()
                if not self._is_over:
                    self._tell(Looked())
                    self._beat()
                    self._keep_a_spare()
            self._end()
        return self._watch.exit_code

    @property
    def _is_over(self) -> bool:
        return self._dismissed or self._watch.phase is Phase.ENDED

    def _wait_s(self) -> float:
        return max(0.0, LOOK_S - (awake_ns() - self._beat_ns) / 1e9)

    # -- begin and end -------------------------------------------------------------------------

    def _begin(self) -> None:
        adopted = self._given.options.get("--guard")
        if adopted is None:
            self._start_guard()
            return
        line = ProcessLine.inherited(int(self._given.option("--line")))
        self._log(Severity.WARNING, "watchdog_took_over", guard_process_id=int(adopted))
        self._tell(Began(adopted=True))
        if os.getppid() == int(adopted):
            self._take_on(_Guarding(int(adopted), line, None))
        else:
            # It died while we were loaded; its number may stand for another process by now.
            line.close()
            self._tell(Died(exit_code=None))

    def _end(self) -> None:
        """Leave nothing behind: neither a spare nor a half-written report."""
        self._manager.tell(STOPPING)
        if self._spare is not None:
            self._spare.process.kill()
            self._spare.exit_code()
            self._spare.close()
        if self._act is not None:
            self._act.cancel()
            self._act.close()
        for report in self._reports:
            report.kill()
            report.wait()
        if self._guard is not None:
            self._guard.close()
        self._manager.close()
        self._selector.close()

    def _signals(self) -> "_Signals":
        return _Signals(self._selector, self._on_signal)

    def _on_signal(self) -> None:
        self._stop()

    def _stop(self) -> None:
        self._manager.tell(STOPPING)
        self._tell(StopAsked())
        if self._guard is not None and not self._guard.gone:
            self._guard.line.send(Stop())
            self._guard.process.stop()
        if self._act is not None:
            self._act.cancel()

    # -- facts ---------------------------------------------------------------------------------

    def _moment(self) -> Moment:
        return Moment(elapsed_ns=self._clock.monotonic_ns(), awake_ns=awake_ns())

    def _tell(self, fact: WatchFact) -> None:
        """Let the core judge, and do what it says."""
        judged = step(self._watch, fact, self._moment())
        self._watch = judged.watch
        match judged.verdict:
            case Verdict.DUMP_STACKS:
                self._dump_stacks(judged.reason)
            case Verdict.KILL:
                self._kill(judged.reason)
            case Verdict.RESTART:
                self._log(Severity.CRITICAL, "guard_restarted", reason=judged.reason)
                self._start_guard()
            case Verdict.GIVE_UP_RESTARTING:
                self._log(Severity.CRITICAL, "guard_crash_loop", reason=judged.reason)
            case Verdict.LIQUIDATE:
                self._liquidate(judged.reason)
            case Verdict.END:
                self._log(Severity.INFO, "watch_ended", reason=judged.reason)
            case Verdict.WELL | Verdict.WAIT:
                pass

    def _heard(self, guard: _Guarding) -> None:
        """Read what the guard says."""
        for message in guard.line.receive():
            self._take(guard, message)
        if guard.line.ended:
            self._forget(guard.line)

    def _take(self, guard: _Guarding, message: AnyMessage) -> None:
        match message:
            case Hello():
                guard.hello = self._hello = message
                self._tell(
                    Greeted(
                        liquidate_after_ns=message.liquidate_after_ns, holdings=message.holdings
                    )
                )
            case Armed():
                self._listen = message
                self._manager.tell(READY)
                self._tell(GuardArmed())
            case Pulse():
                guard.pulse = message
                self._tell(Pulsed(turns=message.turns, holdings=message.holdings))
            case CleanStop():
                self._tell(StopAsked())
            case Dismissed():
                self._dismissed = True
            case _:
                pass  # meant for the other side

    def _died(self, guard: _Guarding) -> None:
        self._heard(guard)  # its last words
        guard.gone = True
        self._forget(guard.process)
        code = guard.exit_code()
        self._guard = None
        if self._dismissed:
            return
        self._tell(Died(exit_code=code))
        if self._watch.phase is not Phase.ENDED:
            how = "its parent is gone" if code is None else f"exit code {code}"
            what = "FROZEN" if self._was_killed else "DIED"
            self._was_killed = False
            self._report(guard, what, f"the guard's process ended: {how}")
        guard.close()

    _was_killed = False

    # -- acts ----------------------------------------------------------------------------------

    def _start_guard(self) -> None:
        guard, self._spare = self._spare, None
        if guard is not None:
            self._forget(guard.process)
        else:
            try:
                guard = _Guarding.started(GUARD, self._given.run)
            except OSError as error:
                self._log(Severity.CRITICAL, "guard_not_started", reason=str(error))
                self._tell(Began())
                self._tell(Died(exit_code=None))
                return
        port = 0 if self._listen is None else self._listen.port
        guard.line.send(Begin(port=port, options=dict(self._given.options)))
        self._take_on(guard)
        self._spare_due_ns = None
        self._tell(Began())
        self._beat(now=True)

    def _take_on(self, guard: _Guarding) -> None:
        self._guard = guard
        self._selector.register(guard.line, selectors.EVENT_READ, lambda: self._heard(guard))
        self._selector.register(guard.process, selectors.EVENT_READ, lambda: self._died(guard))

    def _forget(self, what: ProcessLine | WatchedProcess) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(what)

    def _dump_stacks(self, reason: str) -> None:
        self._log(Severity.WARNING, "guard_stale", reason=reason)
        if self._guard is not None:
            self._guard.process.ask_for_stacks()
            self._report(self._guard, "STALE", reason)

    def _kill(self, reason: str) -> None:
        self._log(Severity.CRITICAL, "guard_killed", reason=reason)
        if self._guard is not None:
            self._was_killed = True
            self._guard.process.kill()

    def _liquidate(self, reason: str) -> None:
        self._log(Severity.CRITICAL, "liquidation_due", reason=reason)
        if self._act is not None:
            return
        acting = import_module("backstop.entrypoints.acting")
        command = import_module("backstop.entrypoints.liquidation_act")
        liquidator = command.liquidator(
            self._hello,
            self._listen,
            self._given.run,
            guard_lives=self._watch.phase is Phase.RUNNING,
        )
        act: Act = acting.Act(liquidator, reason)
        self._act = act
        self._selector.register(act, selectors.EVENT_READ, self._acted)

    def _acted(self) -> None:
        act, self._act = self._act, None
        if act is None or act.outcome is None:
            return
        self._selector.unregister(act)
        act.close()
        flat = act.outcome.flat
        severity = Severity.WARNING if flat else Severity.CRITICAL
        self._log(severity, "liquidation_ended", flat=str(flat), message=act.outcome.message)
        self._tell(LiquidationEnded(flat=flat))

    def _report(self, guard: _Guarding, what: str, why: str) -> None:
        """Have it written down by another process: the watch must not wait for a disk."""
        self._reports = [it for it in self._reports if it.poll() is None]
        if self._hello is None:
            return
        note = CrashNote(
            what=what,
            why=why,
            process_id=guard.process.process_id,
            state_folder=self._hello.state_folder,
            state=self._state_of(guard),
        )
        text = msgspec.json.encode(note).decode()
        try:
            self._reports.append(start_child(words(REPORT, {"--note": text}, self._given.run)))
        except OSError as error:
            self._log(Severity.WARNING, "crash_not_reported", reason=str(error))

    def _state_of(self, guard: _Guarding) -> dict[str, str]:
        state = {
            "process": process_state(guard.process.process_id),
            "restarts": str(self._watch.restarts),
            "freezes": str(self._watch.freezes),
            "suspends": str(self._watch.suspends),
            "holdings": str(self._watch.holdings),
        }
        if guard.pulse is not None:
            pulse = msgspec.to_builtins(guard.pulse)
            state |= {f"pulse.{name}": str(value) for name, value in pulse.items()}
        return state

    # -- from look to look ---------------------------------------------------------------------

    def _beat(self, *, now: bool = False) -> None:
        """Show the guard, and systemd, that we are there."""
        now_ns = awake_ns()
        if not now and now_ns - self._beat_ns < LOOK_S * 1e9:
            return
        self._beat_ns = now_ns
        self._manager.tell(ALIVE)
        if self._guard is not None and not self._guard.gone:
            self._guard.line.send(Beat(process_id=os.getpid(), restarts=self._watch.restarts))

    def _keep_a_spare(self) -> None:
        """Have a guard loaded that only waits for its word, once the other one is well."""
        stopping = self._watch.stopping_since_ns is not None
        if self._spare is not None or stopping or not self._keeps_spare:
            return
        now_ns = awake_ns()
        well = self._watch.phase is Phase.RUNNING and self._watch.outage_since_ns is None
        if not well:
            self._spare_due_ns = None
        elif self._spare_due_ns is None:
            self._spare_due_ns = now_ns + round(SPARE_AFTER_S * 1e9)
        elif now_ns >= self._spare_due_ns:
            try:
                spare = _Guarding.started(SPARE, self._given.run)
            except OSError:
                self._spare_due_ns = now_ns + round(SPARE_AGAIN_S * 1e9)
                return
            self._spare = spare
            self._selector.register(
                spare.process, selectors.EVENT_READ, lambda: self._spare_died(spare)
            )

    def _spare_died(self, spare: _Guarding) -> None:
        self._forget(spare.process)
        spare.exit_code()
        spare.close()
        if self._spare is spare:
            self._spare = None
            self._spare_due_ns = awake_ns() + round(SPARE_AGAIN_S * 1e9)

    def _log(self, severity: Severity, event: str, **fields: str | int) -> None:
        log_line(severity, event, session_id=self._name, **fields)


class _Signals:
    """Turns the signals to stop into something that can be waited for together with the rest."""

    def __init__(self, selector: selectors.BaseSelector, on_signal: Callable[[], None]) -> None:
        self._selector = selector
        self._on_signal = on_signal

    def __enter__(self) -> None:
        self._told, tells = socket.socketpair()
        self._tells = tells
        self._told.setblocking(False)
        tells.setblocking(False)
        signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: None)
        if sys.platform != "win32":
            # They were kept back while this process changed from the one that was started.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        self._selector.register(self._told, selectors.EVENT_READ, self._read)

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self._told.close()
        self._tells.close()

    def _read(self) -> None:
        with suppress(BlockingIOError):
            self._told.recv(4096)
        self._on_signal()
