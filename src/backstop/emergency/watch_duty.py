"""What a watchdog does, on whichever computer: hears its guard, has the core judge, and acts.

``core.watchdog`` decides; the system below starts, ends and waits for processes. What lies between
stands here once: the shipped watchdog has real processes for it, and the storm simulated ones.
"""

from collections.abc import Iterable
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import msgspec

from backstop.adapters.plain_log import Level
from backstop.adapters.process_line import ProcessLine
from backstop.core.watch import Watch
from backstop.core.watch_facts import (
    Began,
    Died,
    Greeted,
    GuardArmed,
    GuardStops,
    Limits,
    LiquidationEnded,
    Looked,
    Moment,
    Phase,
    Pulsed,
    StopAsked,
    Verdict,
    WatchFact,
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
from backstop.domain.watch_alert import WatchAlert

if TYPE_CHECKING:
    from backstop.ports import LiquidationOutcome  # its module loads more than a watchdog needs

ALERTS_KEPT = 32
"""Alerts that wait for a guard; of more the newest, and the log has all of them."""

ALERT_CHARACTERS_MAX = 1_000
"""Of the message of each; the log has the rest."""

ALERT_BYTES_MAX = 32_768
"""Of all that wait, as they are sent: half a row of the line to the guard, beside its latches."""

RECOVERY_IS_OFF = "DISASTER_RECOVERY_ENABLE=0: the guard is started again, nothing is liquidated"


class HeldGuard(Protocol):
    """A guard's process in the watchdog's hand.

    Attributes:
        line: to it.
        pulse: its newest one.
        killed: we have ended it.
    """

    line: ProcessLine
    pulse: Pulse | None
    killed: bool

    def stop(self) -> None:
        """Tell it to end by itself."""

    def kill(self) -> None:
        """End it at once, also when it stands still."""

    def ask_for_stacks(self) -> None:
        """Have it write down its stacks."""

    def exit_code(self) -> int | None:
        """Reap it once it has ended; None where only its parent could know how."""

    def close(self) -> None:
        """Let go of it and of its line."""


Guard = TypeVar("Guard", bound=HeldGuard)


class WatchSystem(Protocol[Guard]):
    """What a computer does for a watchdog."""

    @property
    def process_id(self) -> int:
        """The watchdog's own number."""

    def moment(self) -> Moment:
        """Return both clocks now."""

    def utc_us(self) -> int:
        """Return the time of day, for people."""

    def start_guard(self, begin: Begin) -> Guard:
        """Start a guard, or take one that is loaded, and tell it how to begin.

        Raises:
            OSError: the system starts no process.
        """

    def let_go(self, guard: Guard) -> None:
        """Wait no longer for a guard that has ended."""

    def liquidate(self, reason: str, *, guard_lives: bool) -> None:
        """Begin to take the account flat; ``WatchDuty.acted`` is told what became of it."""

    def give_up(self) -> None:
        """End what ``liquidate`` has begun, in an orderly way."""

    def call(self, level: Level, code: AlertCode, reason: str) -> None:
        """Log it, and have people told."""

    def report(self, guard: Guard, what: str, why: str) -> None:
        """Have a failed guard written down."""

    def log(self, level: Level, event: str, **fields: str | int) -> None:
        """Write one line to the log."""

    def armed(self) -> None:
        """Take note that there is a guard that guards."""


class WatchDuty(Generic[Guard]):
    """One watchdog, from its start to its end.

    Attributes:
        watch: what is known of the guard, as the core judges it.
        hello: what the newest guard said of itself; None: nothing so far.
        listens: where its interface was last.
        guard: the one that is watched; None: none lives.
    """

    def __init__(self, system: WatchSystem[Guard], limits: Limits) -> None:
        self.watch = Watch(limits=limits)
        self.hello: Hello | None = None
        self.listens: Armed | None = None
        self.guard: Guard | None = None
        self._system = system
        self._latches: tuple[StandingLatch, ...] = ()  # of the newest pulse
        self._untold: tuple[WatchAlert, ...] = ()  # alerts that no guard has on its board
        self._handed: tuple[WatchAlert, ...] = ()  # those of them that the newest guard was given
        self._acting = False
        self._dismissed = False

    @property
    def is_over(self) -> bool:
        """There is nothing more to watch."""
        return self._dismissed or self.watch.phase is Phase.ENDED

    @property
    def is_well(self) -> bool:
        """The guard guards, and nobody wants it to end."""
        watch = self.watch
        well = watch.phase is Phase.RUNNING and watch.outage_since_ns is None
        return well and watch.stopping_since_ns is None

    # -- begin and end -------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the first guard."""
        self._start_guard()

    def adopt(self, guard: Guard) -> None:
        """Watch over a guard that is at work; somebody else has started it."""
        self._tell(Began(adopted=True))
        self.guard = guard

    def came_late(self, last_words: Iterable[AnyMessage]) -> None:
        """Go on for a guard that has died before we held it; its last words are in its line."""
        self._tell(Began(adopted=True))
        for message in last_words:
            self._take(None, message)
        self._tell(Died(exit_code=None))

    def stop(self) -> None:
        """Have everything end, as a person wants it."""
        self._tell(StopAsked())
        if self.guard is not None:
            self.guard.line.send(Stop())
            self.guard.stop()
        self._system.give_up()

    # -- facts ---------------------------------------------------------------------------------

    def look(self) -> None:
        """Judge the time that has passed."""
        self._tell(Looked())

    def beat(self) -> None:
        """Show the guard that we are there."""
        if self.guard is not None:
            beat = Beat(process_id=self._system.process_id, restarts=self.watch.restarts)
            self.guard.line.send(beat)

    def hear(self, guard: Guard) -> None:
        """Read what the guard says."""
        for message in guard.line.receive():
            self._take(guard, message)

    def died(self, guard: Guard) -> None:
        """Take note that the guard's process has ended."""
        self.hear(guard)  # its last words
        self._system.let_go(guard)
        self.guard = None
        code = guard.exit_code()
        if not self._dismissed:
            self._tell(Died(exit_code=code))
        if not self.is_over:
            how = "nobody knows how" if code is None else f"exit code {code}"
            what = "FROZEN" if guard.killed else "DIED"
            self._system.report(guard, what, f"the guard's process ended: {how}")
        guard.close()

    def acted(self, outcome: "LiquidationOutcome") -> None:
        """Take note of what became of a liquidation."""
        self._acting = False
        if outcome.flat:
            self._call(Level.WARNING, AlertCode.LIQUIDATION_ENDED_FLAT, outcome.message)
        else:
            self._call(Level.CRITICAL, AlertCode.LIQUIDATION_NOT_FLAT, outcome.message)
        self._tell(LiquidationEnded(flat=outcome.flat))

    def _take(self, guard: Guard | None, message: AnyMessage) -> None:
        match message:
            case Hello():
                if message.liquidate_after_ns is None:
                    self._system.log(Level.WARNING, "never_liquidates", reason=RECOVERY_IS_OFF)
                self.hello = message
                self._tell(
                    Greeted(
                        liquidate_after_ns=message.liquidate_after_ns, holdings=message.holdings
                    )
                )
            case Armed():
                self.listens = message
                self._system.armed()
                self._untold = tuple(it for it in self._untold if it not in self._handed)
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

    def _tell(self, fact: WatchFact) -> None:
        """Let the core judge, and do what it says."""
        judged = step(self.watch, fact, self._system.moment())
        self.watch = judged.watch
        match judged.verdict:
            case Verdict.DUMP_STACKS:
                self._dump_stacks(judged.reason)
            case Verdict.KILL:
                self._kill(judged.reason)
            case Verdict.RESTART:
                # Before it begins, for it is told of this as well.
                self._keep(Level.WARNING, AlertCode.GUARD_RESTARTED, judged.reason)
                self._start_guard()
                self._system.call(Level.WARNING, AlertCode.GUARD_RESTARTED, judged.reason)
            case Verdict.GIVE_UP_RESTARTING:
                self._call(Level.CRITICAL, AlertCode.GUARD_CRASH_LOOP, judged.reason)
            case Verdict.LIQUIDATE:
                self._liquidate(judged.reason)
            case Verdict.WELL | Verdict.WAIT | Verdict.END:
                pass

    # -- acts ----------------------------------------------------------------------------------

    def _start_guard(self) -> None:
        """Start one; it goes on where the one before listened, and with what that had latched."""
        port = 0 if self.listens is None else self.listens.port
        self._handed = self._untold
        # The latches too: the disk of the one before may have taken nothing.
        begin = Begin(port=port, latches=self._latches, alerts=self._handed)
        try:
            self.guard = self._system.start_guard(begin)
        except OSError as error:
            self._system.log(Level.CRITICAL, "guard_not_started", reason=str(error))
            self._tell(Began())
            self._tell(Died(exit_code=None))
            return
        self._tell(Began())
        self.beat()

    def _dump_stacks(self, reason: str) -> None:
        self._system.log(Level.WARNING, "guard_stale", reason=reason)
        if self.guard is not None:
            self.guard.ask_for_stacks()
            self._system.report(self.guard, "STALE", reason)

    def _kill(self, reason: str) -> None:
        self._call(Level.CRITICAL, AlertCode.GUARD_KILLED, reason)
        if self.guard is not None:
            self.guard.killed = True
            self.guard.kill()

    def _liquidate(self, reason: str) -> None:
        self._call(Level.CRITICAL, AlertCode.LIQUIDATION_DUE, reason)
        if not self._acting:
            self._acting = True
            self._system.liquidate(reason, guard_lives=self.guard is not None)

    def _call(self, level: Level, code: AlertCode, reason: str) -> None:
        self._keep(level, code, reason)
        self._system.call(level, code, reason)

    def _keep(self, level: Level, code: AlertCode, reason: str) -> None:
        """Keep an alert for the board of the guard that comes next."""
        alert = WatchAlert(
            code=str(code),
            message=reason[:ALERT_CHARACTERS_MAX],
            critical=level is Level.CRITICAL,
            utc_us=self._system.utc_us(),
        )
        self._untold = newest_that_fit((*self._untold, alert))


def newest_that_fit(alerts: tuple[WatchAlert, ...]) -> tuple[WatchAlert, ...]:
    """Return the newest, as many as one message may carry; at least the last."""
    sizes = accumulate(len(msgspec.json.encode(it)) + 1 for it in reversed(alerts))
    fit = sum(1 for size in islice(sizes, ALERTS_KEPT) if size <= ALERT_BYTES_MAX)
    return alerts[-max(1, fit) :]
