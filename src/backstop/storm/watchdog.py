"""A watchdog of the simulation: the shipped duty, on a computer whose processes are simulated.

What ``core.watchdog`` decides, what ``emergency.watch_duty`` makes of it and what the guard's end
of the line does are the shipped code; the line is a pair of real sockets. Only what a system does
for the shipped watchdog, which starts, ends, reaps and waits for processes, stands here anew.
"""

import asyncio
from collections.abc import Callable
from socket import socket
from typing import Final, Protocol

from backstop.adapters.plain_log import Level
from backstop.adapters.process_line import ProcessLine
from backstop.core.watch_facts import Limits, Moment
from backstop.domain.alert_code import AlertCode
from backstop.domain.heartbeat import Begin, Pulse
from backstop.emergency.watch_duty import WatchDuty
from backstop.ports import LiquidationOutcome
from backstop.storm.machine import NumberedProcess

LOOK_S: Final = 0.25
"""Between two looks, and between two beats, as the shipped one has it."""


class Programs(Protocol):
    """The processes of the computer, as far as a watchdog starts and ends them."""

    def moment(self) -> Moment:
        """Return both clocks now."""

    def utc_us(self) -> int:
        """Return the time of day."""

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


class SimulatedGuard:
    """A guard's process in the watchdog's hand; implements ``HeldGuard``."""

    def __init__(self, process: NumberedProcess, line: ProcessLine, *, adopted: bool) -> None:
        self.process = process
        self.line = line
        self.pulse: Pulse | None = None
        self.killed = False
        self._adopted = adopted

    def stop(self) -> None:
        """Tell it to end by itself."""
        self.process.on_stop()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

    def ask_for_stacks(self) -> None:
        """Ask for nothing: stacks are words for people."""

    def exit_code(self) -> int | None:
        """Return what it ended with; of one that somebody else started only its parent knows."""
        return None if self._adopted else self.process.exit_code

    def close(self) -> None:
        """Let go of its line."""
        self.line.close()


class StormWatchdog:
    """One watchdog, from its start to its end; implements ``WatchSystem``."""

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
        self._duty: WatchDuty[SimulatedGuard] = WatchDuty(self, Limits())
        self._outcome: LiquidationOutcome | None = None
        process.on_stop = self._duty.stop
        process.at_death.append(self._let_go)

    async def run(self) -> None:
        """Watch until the guard has ended as it was told to."""
        duty = self._duty
        if self._adopts is None:
            duty.begin()
        else:
            process, line = self._adopts
            duty.adopt(SimulatedGuard(process, line, adopted=True))
        while not duty.is_over:
            await asyncio.sleep(LOOK_S)
            self._wait_is_over()
            if not duty.is_over:
                duty.look()
                duty.beat()

    def _wait_is_over(self) -> None:
        """Tell what happened since the last look, as the descriptors of a system would."""
        guard = self._duty.guard
        if guard is not None:
            self._duty.hear(guard)
            if not guard.process.alive:
                self._duty.died(guard)
        outcome, self._outcome = self._outcome, None
        if outcome is not None:
            self._duty.acted(outcome)

    def _let_go(self) -> None:
        """Our end of the line closes with our process."""
        if self._duty.guard is not None:
            self._duty.guard.close()

    def _ended(self, outcome: LiquidationOutcome) -> None:
        self._outcome = outcome

    # -- what the duty asks of the computer ----------------------------------------------------

    @property
    def process_id(self) -> int:
        """Our own number."""
        return self._process.number

    def moment(self) -> Moment:
        """Return both clocks now."""
        return self._programs.moment()

    def utc_us(self) -> int:
        """Return the time of day."""
        return self._programs.utc_us()

    def start_guard(self, begin: Begin) -> SimulatedGuard:
        """Start a guard, and tell it how to begin."""
        line, theirs = ProcessLine.pair()
        guard = SimulatedGuard(self._programs.start_guard(theirs), line, adopted=False)
        line.send(begin)
        return guard

    def let_go(self, guard: SimulatedGuard) -> None:
        """Wait no longer for it: there is nothing that waits."""

    def liquidate(self, reason: str, *, guard_lives: bool) -> None:
        """Start a process that takes the account flat."""
        self._programs.liquidate(reason, self._ended, guard_lives=guard_lives)

    def give_up(self) -> None:
        """Leave it to end by itself: nobody is asked to stop a process that takes it flat."""

    def call(self, level: Level, code: AlertCode, reason: str) -> None:  # noqa: ARG002 - all are told
        """Tell people."""
        self._programs.alert(code, reason)

    def report(self, guard: SimulatedGuard, what: str, why: str) -> None:
        """Write nothing down: reports are words for people."""

    def log(self, level: Level, event: str, **fields: str | int) -> None:  # noqa: ARG002 - one story
        """Put it into the story."""
        self._programs.tell(event, **fields)

    def armed(self) -> None:
        """Tell nobody: no service manager has started us."""
