"""A watchdog of the simulation: it hears its guard, the core judges, and here it is done.

What ``core.watchdog`` decides and what the guard's end of the line does are the shipped code; the
line is a pair of real sockets. Only what a system does for the shipped watchdog, which starts,
reaps and waits for processes, stands here anew: that lives from real processes and has tests with
real ones.
"""

import asyncio
from collections.abc import Callable
from socket import socket
from typing import Final, Protocol

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
    CleanStop,
    Dismissed,
    Hello,
    Pulse,
    Stop,
)
from backstop.ports import LiquidationOutcome
from backstop.storm.machine import NumberedProcess

LOOK_S: Final = 0.25
"""Between two looks, and between two beats, as the shipped one has it."""


class Programs(Protocol):
    """The processes of the computer, as far as a watchdog starts and ends them."""

    def moment(self) -> Moment:
        """Return both clocks now."""

    def start_guard(self, end: socket) -> NumberedProcess:
        """Start a guard that has ``end`` of a line."""

    def liquidate(
        self, reason: str, ended: Callable[[LiquidationOutcome], None], *, guard_lives: bool
    ) -> None:
        """Start a process that takes the account flat."""

    def tell(self, what: str, **details: object) -> None:
        """Put a line into the story."""

    def alert(self, code: AlertCode, reason: str) -> None:
        """Tell people."""


class StormWatchdog:
    """One watchdog, from its start to its end."""

    def __init__(
        self,
        programs: Programs,
        process: NumberedProcess,
        *,
        adopts: tuple[NumberedProcess, ProcessLine] | None,
    ) -> None:
        """Prepare; ``adopts`` is a guard that is at work, with our end of the line to it."""
        self._programs = programs
        self._process = process
        self._adopts = adopts
        self._watch = Watch(limits=Limits())
        self._guard: NumberedProcess | None = None
        self._line: ProcessLine | None = None
        self._outcome: LiquidationOutcome | None = None
        self._acting = False
        self._dismissed = False
        process.on_stop = self._stop
        process.at_death.append(self._let_go)

    async def run(self) -> None:
        """Watch until the guard has ended as it was told to."""
        if self._adopts is None:
            self._start_guard()
        else:
            self._guard, self._line = self._adopts
            self._tell(Began(adopted=True))
        while not self._is_over:
            await asyncio.sleep(LOOK_S)
            self._hear()
            self._reap()
            self._hear_of_the_act()
            if not self._is_over:
                self._tell(Looked())
                self._beat()

    @property
    def _is_over(self) -> bool:
        return self._dismissed or self._watch.phase is Phase.ENDED

    # -- facts -----------------------------------------------------------------------------------

    def _hear(self) -> None:
        if self._line is not None:
            for message in self._line.receive():
                self._take(message)

    def _take(self, message: AnyMessage) -> None:
        match message:
            case Hello():
                self._tell(
                    Greeted(
                        liquidate_after_ns=message.liquidate_after_ns, holdings=message.holdings
                    )
                )
            case Armed():
                self._tell(GuardArmed())
            case Pulse():
                self._tell(Pulsed(turns=message.turns, holdings=message.holdings))
            case CleanStop():
                self._tell(GuardStops())
            case Dismissed():
                self._dismissed = True
            case _:
                pass  # meant for the other side

    def _reap(self) -> None:
        guard = self._guard
        if guard is None or guard.alive:
            return
        self._hear()  # its last words
        self._guard = None
        if self._line is not None:
            self._line.close()
        if not self._dismissed:
            # How one ended that somebody else has started, only its parent could know.
            self._tell(Died(exit_code=None if self._adopts is not None else guard.exit_code))
        self._adopts = None

    def _hear_of_the_act(self) -> None:
        outcome, self._outcome = self._outcome, None
        if outcome is None:
            return
        self._acting = False
        code = AlertCode.LIQUIDATION_ENDED_FLAT if outcome.flat else AlertCode.LIQUIDATION_NOT_FLAT
        self._programs.alert(code, outcome.message)
        self._tell(LiquidationEnded(flat=outcome.flat))

    def _tell(self, fact: WatchFact) -> None:
        """Let the core judge, and do what it says."""
        judged = step(self._watch, fact, self._programs.moment())
        self._watch = judged.watch
        match judged.verdict:
            case Verdict.KILL:
                self._programs.alert(AlertCode.GUARD_KILLED, judged.reason)
                if self._guard is not None:
                    self._guard.kill()
            case Verdict.RESTART:
                self._start_guard()
                self._programs.alert(AlertCode.GUARD_RESTARTED, judged.reason)
            case Verdict.GIVE_UP_RESTARTING:
                self._programs.alert(AlertCode.GUARD_CRASH_LOOP, judged.reason)
            case Verdict.LIQUIDATE:
                self._liquidate(judged.reason)
            case Verdict.DUMP_STACKS | Verdict.END:
                self._programs.tell(judged.verdict.lower(), why=judged.reason)
            case Verdict.WELL | Verdict.WAIT:
                pass

    # -- acts ------------------------------------------------------------------------------------

    def _start_guard(self) -> None:
        self._line, theirs = ProcessLine.pair()
        self._guard = self._programs.start_guard(theirs)
        self._tell(Began())
        self._beat()

    def _beat(self) -> None:
        if self._line is not None:
            self._line.send(Beat(process_id=self._process.number, restarts=self._watch.restarts))

    def _liquidate(self, reason: str) -> None:
        self._programs.alert(AlertCode.LIQUIDATION_DUE, reason)
        if not self._acting:
            self._acting = True
            self._programs.liquidate(reason, self._acted, guard_lives=self._guard is not None)

    def _acted(self, outcome: LiquidationOutcome) -> None:
        self._outcome = outcome

    def _stop(self) -> None:
        """Have everything end, as a person wants it."""
        self._tell(StopAsked())
        if self._line is not None:
            self._line.send(Stop())
        if self._guard is not None:
            self._guard.on_stop()

    def _let_go(self) -> None:
        if self._line is not None:
            self._line.close()
