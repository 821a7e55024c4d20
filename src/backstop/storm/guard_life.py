"""The life of one guard in its process, from its start to its exit code, as `backstop run` has it.

The guard, its gateway for bots and its end of the line to the watchdog are the shipped ones; the
strategies beside it are the storm's.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from socket import socket
from typing import Final, Protocol
from urllib.parse import urlsplit

from backstop.adapters.process_line import ProcessLine
from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.notes import failure_text
from backstop.app.policy import liquidate_after_ns
from backstop.app.watch_link import StartedProcess, WatchLink
from backstop.config.settings import Settings
from backstop.core.step import Note
from backstop.domain.heartbeat import Armed, Begin, CleanStop, Hello, Holdings
from backstop.entrypoints.gateway_door import GatewayDoor
from backstop.errors import BackstopError, GatewayError, JournalError, SetupError
from backstop.storm.machine import NumberedProcess, StormClock
from backstop.storm.network import BOTS_PORT, BoundSocket
from backstop.storm.story import Story

CLEAN_EXIT, FAILED_EXIT, UNUSABLE_EXIT = 0, 1, 2

CANCEL_S: Final = 2.0
"""A start that was given up has ended by then."""


class Strategy(Protocol):
    """What trades through a guard."""

    async def run(self, guard: CriticalSystemManager) -> None:
        """Trade until cancelled."""


class GuardLife:
    """One guard.

    Attributes:
        process: it runs in.
        guard: itself, once it has started and until it ends.
        serves: its gateway takes bots.
    """

    def __init__(
        self,
        process: NumberedProcess,
        line: ProcessLine,
        *,
        clock: StormClock,
        settings: Settings,
        strategies: Sequence[Strategy],
        serves_bots: bool,
        story: Story,
        on_note: Callable[[Note], None],
        on_fall: Callable[[str], None],
        start_watchdog: Callable[[socket], StartedProcess],
    ) -> None:
        """Prepare.

        Args:
            process: it runs in.
            line: to its watchdog.
            clock: of the machine.
            settings: of the guard.
            strategies: what trades through it.
            serves_bots: it has a gateway for bots.
            story: hears why it ended.
            on_note: hears what it notes.
            on_fall: hears why it ended when nothing from outside has ended it.
            start_watchdog: starts the watchdog that it misses, at the other end of a line.
        """
        self.process = process
        self.guard: CriticalSystemManager | None = None
        self.serves = False
        self._line = line
        self._clock = clock
        self._settings = settings
        self._strategies = strategies
        self._serves_bots = serves_bots
        self._story = story
        self._on_note = on_note
        self._on_fall = on_fall
        self._start_watchdog = start_watchdog

    async def run(self) -> None:
        """Live; sets what the process ends with."""
        self.process.exit_code = FAILED_EXIT
        begin = next((it for it in self._line.receive() if isinstance(it, Begin)), Begin())
        guard = CriticalSystemManager.from_settings(
            self._settings, clock=self._clock, on_note=self._on_note
        )
        guard.latches_before = begin.latches
        guard.alerts_before = begin.alerts
        stopping = asyncio.Event()
        self.process.on_stop = stopping.set
        hello = _hello(self.process, self._settings)
        self._line.send(hello)
        working: list[asyncio.Task[None]] = []
        door = GatewayDoor(guard, BoundSocket(BOTS_PORT)) if self._serves_bots else None
        try:
            if await _comes_before(stopping, guard.initialize()):
                self.guard = guard
                if door is not None:
                    await door.open()
                    self.serves = True
                link = self._link(hello, guard, stopping)
                working.append(asyncio.create_task(link.run()))
                working += [asyncio.create_task(it.run(guard)) for it in self._strategies]
                working.append(asyncio.ensure_future(guard.failed()))
                stop = asyncio.ensure_future(stopping.wait())
                await asyncio.wait((stop, *working), return_when=asyncio.FIRST_COMPLETED)
                stop.cancel()
                for task in working:
                    if task.done() and not task.cancelled():
                        task.result()
                link.say_stopping()
            else:
                self._line.send(CleanStop())
            self.process.exit_code = CLEAN_EXIT
        except Exception as error:  # noqa: BLE001 - the process ends, and says why
            self._ends_by("ended", error)
            if isinstance(error, BackstopError):
                self.process.exit_code = UNUSABLE_EXIT
        finally:
            self.guard, self.serves = None, False
            for task in working:
                task.cancel()
            if door is not None:
                await door.close()
            try:
                await guard.close(by_person=stopping.is_set())
            except Exception as error:  # noqa: BLE001 - likewise
                self._ends_by("closed_badly", error)

    def _ends_by(self, what: str, error: Exception) -> None:
        """What a disk, a lock or a gateway does may end a guard; its own mistakes may not.

        A dead process makes none, and has no more to say: Python unwinds what is left of it when
        it is buried, in an order that no seed decides.
        """
        if not self.process.alive:
            return
        self._story.tell("guard", what, why=failure_text(error))
        if not isinstance(error, SetupError | GatewayError | JournalError):
            self._on_fall(failure_text(error))

    def _link(
        self, hello: Hello, guard: CriticalSystemManager, stopping: asyncio.Event
    ) -> WatchLink:
        link = WatchLink(
            self._line,
            hello=hello,
            armed=Armed(host="127.0.0.1", port=1),
            loop=guard.decisions,
            clock=self._clock,
            moment=self._clock.moment,
            start_watchdog=self._start_watchdog,
            on_pulse=lambda: None,
            on_stop=stopping.set,
        )
        guard.watch_link = link
        link.say_armed()
        return link


def _hello(process: NumberedProcess, settings: Settings) -> Hello:
    before = (settings.state_folder / AUDIT_DATABASE).exists()
    return Hello(
        process_id=process.number,
        account_id=settings.account_id,
        gateway_host=urlsplit(settings.api_url).netloc,
        state_folder=str(settings.state_folder),
        liquidate_after_ns=liquidate_after_ns(settings),
        holdings=Holdings.UNKNOWN if before else Holdings.NONE,
    )


async def _comes_before(stopping: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Wait for ``work``; False when it was told to stop first, and then it is cancelled."""
    working = asyncio.ensure_future(work)
    stop = asyncio.ensure_future(stopping.wait())
    await asyncio.wait((working, stop), return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait((working,), timeout=CANCEL_S)
        return False
    await working
    return True
