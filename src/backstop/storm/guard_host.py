"""Where the guard runs: it is started, killed, frozen, and started again as a watchdog does."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from typing import Final, Protocol

from backstop.adapters.machine import running_on
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.notes import failure_text
from backstop.config.settings import Settings
from backstop.core.step import Note
from backstop.storm.machine import StormMachine
from backstop.storm.story import Story
from backstop.storm.virtual_loop import EPOCH_S, PROCESS, Process

RESTART_S: Final = 1.5
"""After it ended by itself; the real watchdog takes about as long."""


class Strategy(Protocol):
    """What trades through a guard."""

    async def run(self, guard: CriticalSystemManager) -> None:
        """Trade until cancelled."""


class GuardHost:
    """One guard after the other on one machine.

    Attributes:
        process: the newest one.
        started_s: when it was started, in seconds of the story.
        on_note: hears what the guard notes.
    """

    def __init__(
        self,
        machine: StormMachine,
        settings: Callable[[], Settings],
        strategies: Sequence[Strategy],
        story: Story,
    ) -> None:
        self.process: Process | None = None
        self.started_s = 0.0
        self.starts = 0
        self.on_note: Callable[[Note], None] = lambda _note: None
        self._machine = machine
        self._settings = settings
        self._strategies = strategies
        self._story = story
        self._guard: CriticalSystemManager | None = None
        self._dead: list[Process] = []
        self._task: asyncio.Task[None] | None = None
        self._wanted = True
        self._down_until_s = 0.0
        self._stopping: asyncio.Event | None = None

    @property
    def guard(self) -> CriticalSystemManager | None:
        """The guard while its process lives and it has started; None otherwise."""
        if self.process is None or not self.process.alive or self._guard is None:
            return None
        return self._guard if self._guard.is_running else None

    @property
    def is_frozen(self) -> bool:
        """Its process is stopped, and does not know."""
        return self.process is not None and self.process.frozen

    async def keep_running(self) -> None:
        """Start a guard whenever there is none, until cancelled; the world's own task."""
        while True:
            ended = self._task is None or self._task.done()
            dead = self.process is None or not self.process.alive
            if (ended or dead) and self._wanted and self._machine.loop.now_s >= self._down_until_s:
                self.start()
            await asyncio.sleep(0.1)

    def start(self) -> None:
        """Start a new process with a guard in it."""
        self.starts += 1
        self._machine.new_process()
        self.process = Process(f"guard-{self.starts}")
        self.started_s = self._machine.loop.now_s - EPOCH_S
        self._guard = None
        self._story.tell("world", "start", number=self.starts)
        self._task = self.inside(self.process, self._live)

    def inside(self, process: Process, work: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
        """Run ``work`` in ``process`` on this machine."""

        def begin() -> asyncio.Task[None]:
            PROCESS.set(process)
            with running_on(self._machine):
                return asyncio.ensure_future(work())

        return copy_context().run(begin)

    async def _live(self) -> None:
        """The life of one process."""
        guard = CriticalSystemManager.from_settings(
            self._settings(), clock=self._machine.clock, on_note=self._note
        )
        stopping = self._stopping = asyncio.Event()
        bots: list[asyncio.Task[None]] = []
        by_person = False
        try:
            await guard.initialize()
            self._guard = guard
            bots = [asyncio.create_task(it.run(guard)) for it in self._strategies]
            failing = asyncio.ensure_future(guard.failed())
            stop = asyncio.ensure_future(stopping.wait())
            await asyncio.wait((failing, stop, *bots), return_when=asyncio.FIRST_COMPLETED)
            by_person = stopping.is_set()
            stop.cancel()
            for task in (failing, *bots):
                if task.done() and not task.cancelled():
                    task.result()
            failing.cancel()
        except Exception as error:  # noqa: BLE001 - the process ends, and says why
            self._story.tell("guard", "ended", why=failure_text(error))
            self._down_until_s = self._machine.loop.now_s + RESTART_S
        finally:
            self._guard = None
            for bot in bots:
                bot.cancel()
            try:
                await guard.close(by_person=by_person)
            except Exception as error:  # noqa: BLE001 - likewise
                self._story.tell("guard", "closed_badly", why=failure_text(error))

    def _note(self, note: Note) -> None:
        self.on_note(note)

    # -- what the storm does -------------------------------------------------------------------

    def kill(self, *, down_s: float, runs: int = 0) -> None:
        """Kill the process, after ``runs`` more of its callbacks, and leave it down a while."""
        if self.process is None or not self.process.alive:
            return
        self._down_until_s = self._machine.loop.now_s + down_s
        self._dead.append(self.process)
        if runs:
            self.process.kill_after(runs)
        else:
            self.process.kill()

    def freeze(self) -> None:
        """Stop the process."""
        if self.process is not None and self.process.alive:
            self.process.freeze()

    def slept(self, seconds: float) -> None:
        """Count a suspend of the machine."""
        if self.process is not None:
            self.process.asleep_s += seconds

    def thaw(self) -> None:
        """Let it go on."""
        if self.process is not None and self.process.alive and self.process.frozen:
            self.process.thaw(self._machine.loop)

    def let_down(self) -> None:
        """Do not leave it down any longer than now."""
        self._down_until_s = 0.0

    async def stop(self) -> None:
        """Stop the guard as a person does, and start none."""
        self._wanted = False
        if self._stopping is None or self._task is None or self.process is None:
            return
        if self.process.alive:
            self._stopping.set()
            await asyncio.wait((self._task,), timeout=30.0)

    def bury(self) -> None:
        """Let go of dead processes, at the very end."""
        for process in self._dead:
            process.bury()
