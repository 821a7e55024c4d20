"""The processes of `backstop run`: a watchdog, its guard, and who takes the account flat for it.

The world starts the program as a person does; the watchdog starts guards, and a guard that misses
its watchdog starts another one. All of them are killed, frozen and suspended by the storm.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from functools import partial
from socket import socket
from typing import Final

from backstop.adapters.process_line import ProcessLine
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.notes import failure_text
from backstop.config.settings import Settings
from backstop.core.step import Note
from backstop.core.watch_facts import Moment
from backstop.domain.alert_code import AlertCode
from backstop.ports import LiquidationOutcome
from backstop.storm.guard_life import CLEAN_EXIT, GuardLife, Strategy
from backstop.storm.machine import NumberedProcess, StormMachine
from backstop.storm.stand_alone import AskedGuard, StandAlone
from backstop.storm.story import Story
from backstop.storm.virtual_loop import EPOCH_S
from backstop.storm.watchdog import StormWatchdog

RESTART_S: Final = 1.5
"""Somebody starts the program again, after it ended by itself."""

QUICK_S: Final = 2.0
"""A guard that stays away for longer was killed together with its watchdog."""

LOAD_S: Final = (0.03, 0.6)
"""From a start until the program runs: a spare one is there at once."""

AFTER_ACTS_S: Final = 5.0
"""Requests of a stand-alone liquidation may still be on their way."""

STOP_S: Final = 30.0
"""At the end everything has stopped by then."""


class GuardHost:
    """The program on one machine; implements ``Programs`` for its watchdogs.

    Attributes:
        process: the newest guard.
        watchdog: the newest watchdog.
        started_s: when that guard was started, in seconds of the story.
        starts: guards so far.
        on_note: hears what the guard notes.
        on_fall: hears why a guard ended that nothing from outside has ended.
        on_alert: hears what the watchdog, and who acts for it, have to say.
        serves_bots: a gateway for bots is in front of each guard.
        neighbours: returns the other processes of the computer.
    """

    def __init__(
        self,
        machine: StormMachine,
        settings: Callable[[], Settings],
        strategies: Sequence[Strategy],
        story: Story,
    ) -> None:
        self.process: NumberedProcess | None = None
        self.watchdog: NumberedProcess | None = None
        self.started_s = 0.0
        self.starts = 0
        self.on_note: Callable[[Note], None] = lambda _note: None
        self.on_alert: Callable[[AlertCode], None] = lambda _code: None
        self.on_fall: Callable[[str], None] = lambda _why: None
        self.serves_bots = False
        self.neighbours: Callable[[], list[NumberedProcess]] = list
        self._standstills = 0
        self._machine = machine
        self._settings = settings
        self._strategies = strategies
        self._story = story
        self._life: GuardLife | None = None
        self._gone: list[NumberedProcess] = []
        self._acting: list[tuple[NumberedProcess, StandAlone]] = []
        self._acted_s = -AFTER_ACTS_S
        self._tasks: dict[NumberedProcess, asyncio.Task[None]] = {}
        self._wanted = True
        self._died = asyncio.Event()
        self._down_until_s = 0.0

    # -- what others see -------------------------------------------------------------------------

    @property
    def guard(self) -> CriticalSystemManager | None:
        """The guard while its process lives and it has started; None otherwise."""
        guard = self._started_guard()
        return guard if _lives(self.process) and guard is not None and guard.is_running else None

    @property
    def is_frozen(self) -> bool:
        """Its process is stopped, and does not know."""
        return self.process is not None and self.process.frozen

    def serving(self) -> tuple[int, int] | None:
        """Return which guard serves bots now, and after how many standstills; None: none does."""
        life = self._life
        if life is None or not life.serves or not life.process.alive or life.process.frozen:
            return None
        return life.process.number, self._standstills

    @property
    def acts_alone(self) -> bool:
        """A process other than the guard sends, or did a moment ago."""
        if any(process.alive and it.acts for process, it in self._acting):
            self._acted_s = self._machine.loop.now_s
        return self._machine.loop.now_s - self._acted_s < AFTER_ACTS_S

    async def keep_running(self) -> None:
        """Start the program whenever nothing of it is left, until cancelled; the world's task."""
        while True:
            if _lives(self.process) or _lives(self.watchdog):
                self._died.clear()
                await self._died.wait()
                continue
            if self._wanted and self._machine.loop.now_s >= self._down_until_s:
                self._start_watchdog(None)
            await asyncio.sleep(0.1)

    # -- processes -------------------------------------------------------------------------------

    def _start_watchdog(self, adopts: tuple[NumberedProcess, ProcessLine] | None) -> None:
        self._bury_gone(self.watchdog)
        process = self.watchdog = self._machine.new_process("watchdog")
        watchdog = StormWatchdog(self, process, adopts=adopts)
        self.tell("watchdog", number=process.number, adopts=adopts is not None)

        async def live() -> None:
            if adopts is not None:
                await asyncio.sleep(self._loading_s())
            await watchdog.run()

        self._begin(process, live, CLEAN_EXIT)

    def start_guard(self, end: socket) -> NumberedProcess:
        """Start a guard that has ``end`` of a line to its watchdog."""
        self._bury_gone(self.process)
        self.starts += 1
        process = self.process = self._machine.new_process(f"guard-{self.starts}")
        self.started_s = self._machine.loop.now_s - EPOCH_S
        self.tell("start", number=self.starts)
        line = ProcessLine(end)
        process.at_death.append(line.close)
        life = self._life = GuardLife(
            process,
            line,
            clock=self._machine.clock,
            settings=self._settings(),
            strategies=self._strategies,
            serves_bots=self.serves_bots,
            story=self._story,
            on_note=self.on_note,
            on_fall=self.on_fall,
            start_watchdog=partial(self._watchdog_for, process),
        )

        async def live() -> None:
            await asyncio.sleep(self._loading_s())
            await life.run()

        self._begin(process, live, None)
        return process

    def liquidate(
        self, reason: str, ended: Callable[[LiquidationOutcome], None], *, guard_lives: bool
    ) -> None:
        """Start a process that takes the account flat; ``ended`` hears what became of it."""
        process = self._machine.new_process("liquidation")
        asked, guard = None, self._started_guard()
        if guard_lives and self.process is not None and guard is not None:
            asked = AskedGuard(self._machine, self.process, guard)
        act = StandAlone(
            self._settings(), self._machine.clock, on_alert=self.alert, say=self._said_alone
        )
        # The dead ones are kept until all is over: collected now, their ``finally`` would run.
        self._gone += [it for it, _act in self._acting if not it.alive]
        self._acting = [it for it in self._acting if it[0].alive]
        self._acting.append((process, act))

        async def live() -> None:
            await asyncio.sleep(self._loading_s())
            outcome = await act.run(reason, asked)
            self.tell("liquidated", flat=outcome.flat, why=outcome.message)
            ended(outcome)

        self._begin(process, live, CLEAN_EXIT)

    def _begin(
        self, process: NumberedProcess, live: Callable[[], Awaitable[None]], code: int | None
    ) -> None:
        """Run a process; it ends with ``code``, or with what it sets itself."""
        process.at_death.append(self._died.set)
        task = self._machine.inside(process, live)
        self._tasks = {process: task, **{it: t for it, t in self._tasks.items() if it.alive}}
        # The system hears of it, not the process that started it: that may be dead by then.
        task.add_done_callback(partial(self._ended, process, code), context=Context())

    def moment(self) -> Moment:
        """Return both clocks of the machine."""
        return self._machine.clock.moment()

    def utc_us(self) -> int:
        """Return the time of day."""
        return self._machine.clock.utc_us()

    def tell(self, what: str, **details: object) -> None:
        """Put a line into the story."""
        self._story.tell("world", what, **details)

    def alert(self, code: AlertCode, reason: str) -> None:
        """Take note of what a process beside the guard says."""
        self._story.tell("alone", code, why=reason)
        self.on_alert(code)

    def _said_alone(self, text: str) -> None:
        self._story.tell("alone", "says", text=text)

    def _loading_s(self) -> float:
        return self._machine.dice.uniform(*LOAD_S)

    def _ended(
        self, process: NumberedProcess, code: int | None, task: "asyncio.Task[None]"
    ) -> None:
        """Let the system take back what a process held that ended by itself."""
        if not process.alive or task.cancelled():
            return
        if code is not None:
            process.exit_code = code
        failure = task.exception()
        if failure is not None:
            self._story.tell("world", "broken", process=process.name, why=failure_text(failure))
            self._machine.loop.failures.append({"message": process.name, "exception": failure})
        process.kill()
        if process is self.watchdog or process is self.process:
            self._down_until_s = max(self._down_until_s, self._machine.loop.now_s + RESTART_S)

    def _started_guard(self) -> CriticalSystemManager | None:
        """Return the newest guard once it has started; its process may be dead."""
        return None if self._life is None else self._life.guard

    def _watchdog_for(self, guard: NumberedProcess, end: socket) -> "_Child":
        """Start the watchdog that a guard asks for; it inherits its end of the line."""
        if not self._wanted:
            raise OSError("nothing is started any more")
        self._start_watchdog((guard, ProcessLine(end.dup())))
        assert self.watchdog is not None  # noqa: S101 - started above
        return _Child(self.watchdog)

    def _bury_gone(self, process: NumberedProcess | None) -> None:
        if process is not None:
            self._gone.append(process)

    # -- what the storm does -------------------------------------------------------------------

    def kill(self, *, down_s: float, runs: int = 0) -> None:
        """Kill the guard, after ``runs`` more of its callbacks.

        Its watchdog starts another one; where it stays away for longer, both are killed, and
        somebody starts the program again.
        """
        if not _lives(self.process) or self.process is None:
            return
        self._down_until_s = self._machine.loop.now_s + down_s
        if down_s > QUICK_S:
            self.kill_watchdog()
        if runs:
            self.process.kill_after(runs)
        else:
            self.process.kill()

    def kill_watchdog(self) -> None:
        """Kill the watchdog alone; its guard starts another one."""
        if self.watchdog is not None:
            self.watchdog.kill()

    def kill_all(self, *, down_s: float) -> None:
        """Kill everything at once, as a power cut does, and start nothing for ``down_s``."""
        self._down_until_s = self._machine.loop.now_s + down_s
        for process in self._living():
            process.kill()

    def freeze(self) -> None:
        """Stop the guard's process."""
        if self.process is not None and self.process.alive:
            self._standstills += 1
            self.process.freeze()

    def freeze_watchdog(self) -> None:
        """Stop the watchdog's process."""
        if self.watchdog is not None and self.watchdog.alive:
            self.watchdog.freeze()

    def freeze_all(self) -> None:
        """Stop every process, as a suspend does."""
        self._standstills += 1
        for process in self._living():
            process.freeze()

    def slept(self, seconds: float) -> None:
        """Count a suspend of the machine."""
        for process in self._living():
            process.asleep_s += seconds

    def thaw(self) -> None:
        """Let all of them go on."""
        for process in self._living():
            if process.frozen:
                process.thaw(self._machine.loop)

    def let_down(self) -> None:
        """Do not leave it down any longer than now."""
        self._down_until_s = 0.0

    async def stop(self) -> None:
        """Stop the program as a person does, and start none."""
        self._wanted = False
        for process in (self.watchdog, self.process):
            if process is not None and process.alive:
                process.on_stop()
        tasks = [task for it, task in self._tasks.items() if it.alive and not task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_S)

    def start_again(self) -> None:
        """Have the program started once more after a stop."""
        self._wanted = True

    def bury(self) -> None:
        """Let go of everything, at the very end."""
        self.kill_all(down_s=math.inf)
        for process in (*self._gone, self.process, self.watchdog, *(it[0] for it in self._acting)):
            if process is not None:
                process.bury()
        self._life = None
        self._gone.clear()
        self._acting.clear()
        self._tasks.clear()

    def _living(self) -> list[NumberedProcess]:
        ours = (self.watchdog, self.process, *(it[0] for it in self._acting))
        return [it for it in (*ours, *self.neighbours()) if it is not None and it.alive]


class _Child:
    """Implements ``StartedProcess``."""

    def __init__(self, process: NumberedProcess) -> None:
        self._process = process

    def poll(self) -> int | None:
        """Return its exit code once it has ended."""
        return None if self._process.alive else self._process.exit_code


def _lives(process: NumberedProcess | None) -> bool:
    return process is not None and process.alive
