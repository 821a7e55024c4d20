"""A simulated computer: clocks, disk, processes, threads and dice; what a power cut does to them.

Its files are real ones in a temporary folder, because SQLite needs them; what is not on the disk
when the power goes is taken out of them again.
"""

import asyncio
import errno
import os
import socket
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, copy_context
from pathlib import Path
from random import Random
from typing import Any, Final

from backstop.adapters.machine import Machine, running_on
from backstop.adapters.work_line import Work
from backstop.core.watch_facts import Moment
from backstop.storm.simulated_disk import SimulatedDisk
from backstop.storm.virtual_loop import EPOCH_S, PROCESS, Process, VirtualLoop

MICROS: Final = 1_000_000

FIRST_PROCESS_ID: Final = 4_001

KILLED: Final = -9

PROCESSES_KEPT: Final = 64
"""Dead ones of which the number is still known; whoever asks does so at once."""


class StormClock:
    """Implements ``ports.MachineClock`` on the loop's time."""

    def __init__(self, loop: VirtualLoop, start_utc_us: int) -> None:
        self._loop = loop
        self._start_utc_us = start_utc_us
        self._booted_s = 0.0
        self._asleep_s = 0.0
        self.ahead_us = 0  # of the true time; the time of day may be wrong, and may step

    def monotonic_ns(self) -> int:
        """Return nanoseconds since the boot."""
        return round((self._loop.now_s - self._booted_s) * 1e6) * 1000

    def awake_ns(self) -> int:
        """Return the same without what was slept."""
        return self.monotonic_ns() - round(self._asleep_s * 1e6) * 1000

    def moment(self) -> Moment:
        """Return both."""
        return Moment(elapsed_ns=self.monotonic_ns(), awake_ns=self.awake_ns())

    def utc_us(self) -> int:
        """Return the time of day as this computer believes it is."""
        return true_utc_us(self._loop, self._start_utc_us) + self.ahead_us

    def slept(self, seconds: float) -> None:
        """Count a suspend."""
        self._asleep_s += seconds

    def boot(self) -> None:
        """Begin again near zero."""
        self._booted_s, self._asleep_s = self._loop.now_s - 20.0, 0.0


def true_utc_us(loop: VirtualLoop, start_utc_us: int) -> int:
    """Return the true time, which is the venue's."""
    return start_utc_us + round((loop.now_s - EPOCH_S) * MICROS)


class NumberedProcess(Process):
    """A process as the system knows it.

    Attributes:
        number: by which others ask for it.
        exit_code: what it ended with; that of a killed one unless it ended by itself.
        on_stop: does what a signal to end does; the process ends by itself then, or never.
    """

    def __init__(self, name: str, number: int) -> None:
        super().__init__(name)
        self.number = number
        self.exit_code = KILLED
        self.on_stop: Callable[[], None] = lambda: None


class _Hold:
    """Implements ``WatchedProcess`` on a simulated one; readable once that has ended."""

    def __init__(self, process: NumberedProcess, loop: VirtualLoop) -> None:
        self.process_id = process.number
        self._process = process
        self._loop = loop
        self._told, self._tells = socket.socketpair()
        process.at_death.append(self._end)

    def fileno(self) -> int:
        """Return a descriptor that can be read once the process has ended."""
        return self._told.fileno()

    def stop(self) -> None:
        """Tell it to end by itself; one that stands still goes on for that."""
        if self._process.frozen:
            self._process.thaw(self._loop)
        if self._process.alive:
            self._process.on_stop()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def ask_for_stacks(self) -> None:
        """Ask for nothing: stacks are words for people."""

    def close(self) -> None:
        """Let go of it."""
        self._told.close()
        self._tells.close()

    def _end(self) -> None:
        if self._tells.fileno() >= 0:
            self._tells.send(b".")


class StormMachine(Machine):
    """One computer of the simulation.

    Attributes:
        clock: its clocks.
        disk_state: what its disk does now.
    """

    def __init__(
        self, loop: VirtualLoop, chance: Random, folder: Path, *, start_utc_us: int
    ) -> None:
        self.loop = loop
        self.clock = StormClock(loop, start_utc_us)
        self.dice = chance
        self.simulated_disk = SimulatedDisk(chance, lambda: loop.now_s)
        self._folder = folder
        self._boots = 1
        self._next_id = FIRST_PROCESS_ID
        self._processes: dict[int, NumberedProcess] = {}

    @property
    def name(self) -> str:
        """The host's name."""
        return "storm"

    @property
    def process_id(self) -> int:
        """The number of the process that asks."""
        process = PROCESS.get()
        return process.number if isinstance(process, NumberedProcess) else 1

    def boot_id(self) -> str:
        """Return a name of the present boot."""
        return f"boot-{self._boots}"

    def runtime_folder(self) -> Path:
        """Return the folder for locks."""
        return self._folder / "run"

    def at_death(self, take_back: Callable[[], None]) -> None:
        """Take back what a killed process held, as a system does."""
        process = PROCESS.get()
        if process is not None:
            process.at_death.append(take_back)

    def watched(self, process_id: int) -> _Hold:
        """Return a hold on a living process."""
        process = self._processes.get(process_id)
        if process is None or not process.alive:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        hold = _Hold(process, self.loop)
        self.at_death(hold.close)
        return hold

    def disk(self) -> SimulatedDisk:
        """Return the calls by which files become durable."""
        return self.simulated_disk

    def database(self, path: Path, *, timeout_s: float) -> sqlite3.Connection:
        """Connect to a database whose transactions meet the faults of this disk."""
        disk = self.simulated_disk

        class OnThisDisk(_Database):
            on_disk = disk
            decided_s = staticmethod(self._loop_s)

        return sqlite3.connect(path, timeout=timeout_s, isolation_level=None, factory=OnThisDisk)

    def _loop_s(self, monotonic_ns: int) -> float:
        """Return a time of this computer's clock on the loop's."""
        return self.loop.now_s - (self.clock.monotonic_ns() - monotonic_ns) / 1e9

    def line(self, name: str) -> "StormLine":
        """Return a line of work that takes as long as this disk does."""
        return StormLine(self, name)

    def start_thread(self, work: Callable[[], None], *, name: str) -> None:  # noqa: ARG002 - the same for all
        """Do ``work`` as one callback, as long after this as the disk takes."""
        self.loop.call_later(self.simulated_disk.delay_s(), work)

    # -- what the storm does -------------------------------------------------------------------

    def new_process(self, name: str) -> NumberedProcess:
        """Return a process in which nothing runs yet."""
        process = self._processes[self._next_id] = NumberedProcess(name, self._next_id)
        self._next_id += 1
        self._processes.pop(self._next_id - PROCESSES_KEPT, None)
        return process

    def inside(self, process: Process, work: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
        """Run ``work`` in ``process`` on this machine."""

        def begin() -> asyncio.Task[None]:
            PROCESS.set(process)
            with running_on(self):
                return asyncio.ensure_future(work())

        return copy_context().run(begin)

    def power_cut(self) -> None:
        """Lose what is not on the disk; the next start is in another boot."""
        self.simulated_disk.lose_what_is_not_synced()
        self._boots += 1
        self.clock.boot()


class StormLine:
    """A ``WorkLine`` on the event loop: each piece of work is one callback.

    When its process is killed, the piece that was being done may have been done: nobody hears.
    """

    def __init__(self, machine: StormMachine, name: str) -> None:
        self._machine = machine
        self._name = name
        self._work: deque[Work] = deque()
        self._busy = False
        self._stopping = False
        self._ended = asyncio.Event()
        self._at_the_end: Callable[[], None] | None = None
        self._context: Context = copy_context()
        process = PROCESS.get()
        if process is not None:
            process.at_death.append(self._die)

    @property
    def is_stopping(self) -> bool:
        """Nothing more comes."""
        return self._stopping

    def put(self, work: Work) -> None:
        """Take ``work`` after all that was taken before."""
        self._work.append(work)
        self._go_on()

    def stop(self, at_the_end: Callable[[], None] = lambda: None) -> None:
        """Do what was taken, then ``at_the_end``."""
        self._stopping = True
        self._at_the_end = at_the_end
        self._go_on()

    def join(self, limit_s: float) -> bool:  # noqa: ARG002 - nobody can wait here
        """Do the rest at once: who joins stands still."""
        while self._work:
            self._work.popleft()()
        self._end()
        return True

    async def ended(self, limit_s: float) -> bool:
        """Wait on the event loop until it has ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._ended.wait()
        return self._ended.is_set()

    def _go_on(self, after_s: float | None = None) -> None:
        if self._busy:
            return
        if not self._work:
            if self._stopping:
                self._end()
            return
        self._busy = True
        delay_s = self._machine.simulated_disk.delay_s() if after_s is None else after_s
        self._machine.loop.call_later(delay_s, self._do, context=self._context)

    def _do(self) -> None:
        self._busy = False
        pause_s = self._work[0]()
        if pause_s is None:
            self._work.popleft()
        self._go_on(0.0 if pause_s is not None and self._stopping else pause_s)

    def _end(self) -> None:
        if not self._ended.is_set():
            self._ended.set()
            if self._at_the_end is not None:
                self._at_the_end()

    def _die(self) -> None:
        if self._busy and self._work and self._machine.dice.random() < 0.5:  # noqa: PLR2004 - a coin
            self._context.run(self._work[0])


class _Database(sqlite3.Connection):
    """A connection whose transactions fail when the disk does, and wait for no real disk."""

    on_disk: SimulatedDisk
    decided_s: Callable[[int], float]
    _commands: list[tuple[bytes, int]] = []  # noqa: RUF012 - replaced, never changed

    def executemany(self, statement: str, rows: Any) -> sqlite3.Cursor:
        """Run ``statement`` for each of ``rows``; remember which commands are on their way."""
        if "INTO Journal" in statement:
            self._commands = [(row[6], row[4]) for row in rows if row[1] == "command"]
        return super().executemany(statement, rows)

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        """Run ``statement``, or fail as the disk does."""
        if statement.startswith("PRAGMA synchronous"):
            statement = "PRAGMA synchronous = OFF"  # the simulated disk says what is lost
        elif statement.startswith("BEGIN"):
            self.on_disk.check_write()
        elif statement == "COMMIT" and self.on_disk.loses_commit():
            arrives = self.on_disk.coin()
            super().execute("COMMIT" if arrives else "ROLLBACK")
            if arrives:
                self._note_commands()
            self._commands = []
            raise sqlite3.OperationalError("disk I/O error")
        cursor = super().execute(statement, *arguments)
        if statement == "COMMIT":
            self._note_commands()
        return cursor

    def _note_commands(self) -> None:
        for payload, monotonic_ns in self._commands:
            self.on_disk.committed(payload, decided_s=self.decided_s(monotonic_ns))
        self._commands = []
