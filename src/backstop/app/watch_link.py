"""The guard's end of the line to its watchdog: shows that the loop works, and watches back.

Everything here happens on the event loop, on purpose: a pulse that another thread could send would
say nothing about the loop. The work in it is that of the decision loop, which is nudged to go round
once between two pulses.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from socket import socket
from typing import Protocol

from msgspec import Struct

from backstop.adapters.machine import machine
from backstop.adapters.process_line import ProcessLine
from backstop.adapters.process_watch import WatchedProcess
from backstop.app.loop import DecisionLoop
from backstop.app.stall_meter import StallMeter
from backstop.core.standing_latches import standing_latches
from backstop.core.supervision import holdings
from backstop.core.watch_facts import Moment
from backstop.core.watchdog_presence import (
    Presence,
    PresenceStep,
    PresenceVerdict,
    ended,
    heard,
    looked,
)
from backstop.domain.events import WatchdogLost, WatchdogReturned
from backstop.domain.heartbeat import (
    AnyMessage,
    Armed,
    Beat,
    CleanStop,
    Dismissed,
    Hello,
    Holdings,
    Pulse,
    Stop,
)
from backstop.domain.standing_latch import StandingLatch
from backstop.ports import Clock

PULSE_INTERVAL_S = 0.25
"""Eight pulses fit into the time after which one is missed: a few late ones mean nothing."""

_NS_PER_MS = 1_000_000


class StartedProcess(Protocol):
    """A child that was started, to be reaped."""

    def poll(self) -> int | None:
        """Return its exit code once it has ended."""


class WatchReport(Struct, frozen=True, kw_only=True):
    """How the watch stands, for whoever asks.

    Attributes:
        pulse_age_ms: since the newest pulse of the guard; None before the first.
        stall_ms_max: longest time for which the event loop did not get round.
        watchdog_process_id: of the watchdog that beat last; None before the first beat.
        watchdog_age_ms: since its newest beat.
        guard_restarts: of the guard, by that watchdog.
        lost: why there is no watchdog to rely on; empty while there is.
    """

    pulse_age_ms: int | None
    stall_ms_max: int
    watchdog_process_id: int | None
    watchdog_age_ms: int | None
    guard_restarts: int
    lost: str


class WatchLink:
    """Sends pulses, hears beats, and starts another watchdog when there is none; ``run`` it."""

    def __init__(
        self,
        line: ProcessLine,
        *,
        hello: Hello,
        armed: Armed,
        loop: DecisionLoop,
        clock: Clock,
        moment: Callable[[], Moment],
        start_watchdog: Callable[[socket], StartedProcess],
        on_pulse: Callable[[], None],
        on_stop: Callable[[], None],
        stalls: StallMeter | None = None,
    ) -> None:
        """Bind the end of a line to the guard.

        Args:
            line: to the watchdog that started us.
            hello: who we are; a later watchdog is told the same.
            armed: where our API listens.
            loop: whose work the pulse carries.
            clock: for records.
            moment: reads both clocks.
            start_watchdog: starts another watchdog with the given end of a new line.
            on_pulse: is called with each pulse.
            on_stop: is called when the watchdog says that all is to end.
            stalls: of the event loop, where it is measured; else our own pulse tells the long ones.
        """
        self._line = line
        self._hello = hello
        self._armed = armed
        self._loop = loop
        self._clock = clock
        self._moment = moment
        self._start_watchdog = start_watchdog
        self._on_pulse = on_pulse
        self._on_stop = on_stop
        self._stalls = StallMeter() if stalls is None else stalls
        self._presence = Presence()
        self._pulse_ns: int | None = None
        self._told = Holdings.UNKNOWN  # what the newest pulse said that the account holds
        self._told_latches: tuple[StandingLatch, ...] = ()  # and what is latched
        self._late_ms_max = 0  # of our own pulse
        self._beat: Beat | None = None
        self._watchdog: WatchedProcess | None = None
        self._started: list[StartedProcess] = []

    async def run(self) -> None:
        """Pulse and listen until cancelled."""
        running = asyncio.get_running_loop()
        self._loop.on_step = self._stepped
        self._stalls.restart()
        try:
            while True:
                self._listen()
                self._pulse()
                due_s = running.time() + PULSE_INTERVAL_S
                await asyncio.sleep(PULSE_INTERVAL_S)
                late_ms = round((running.time() - due_s) * 1000)
                self._late_ms_max = max(self._late_ms_max, late_ms)
        finally:
            self._line.close()
            if self._watchdog is not None:
                self._watchdog.close()

    def say_armed(self) -> None:
        """Tell the watchdog that we look after the account."""
        self._line.send(self._armed)

    def say_stopping(self) -> None:
        """Tell the watchdog that a person ended us: nothing is to be started again."""
        self._line.send(CleanStop())

    def report(self) -> WatchReport:
        """Return how the watch stands now."""
        now_ns, presence = self._moment().awake_ns, self._presence
        beaten = self._beat is not None
        return WatchReport(
            pulse_age_ms=None
            if self._pulse_ns is None
            else (now_ns - self._pulse_ns) // _NS_PER_MS,
            stall_ms_max=self._stall_ms_max(),
            watchdog_process_id=None if self._beat is None else self._beat.process_id,
            watchdog_age_ms=(now_ns - presence.heard_ns) // _NS_PER_MS if beaten else None,
            guard_restarts=0 if self._beat is None else self._beat.restarts,
            lost=presence.why,
        )

    # -- in ------------------------------------------------------------------------------------

    def _listen(self) -> None:
        now = self._moment()
        for message in self._line.receive():
            self._heard(message, now)
        if self._line.ended:
            self._take(ended(self._presence, now))
        self._take(looked(self._presence, now))

    def _heard(self, message: AnyMessage, now: Moment) -> None:
        match message:
            case Beat():
                if self._beat is None or self._beat.process_id != message.process_id:
                    self._hold(message.process_id)
                self._beat = message
                self._take(heard(self._presence, now))
            case Stop():
                self._on_stop()
            case _:
                pass  # what is meant for the other side, or said once before we began

    def _take(self, stepped: PresenceStep) -> None:
        self._presence, verdict = stepped
        match verdict:
            case PresenceVerdict.LOST:
                self._put_lost()
            case PresenceVerdict.REPLACE:
                self._replace()
            case PresenceVerdict.RETURNED:
                process_id = 0 if self._beat is None else self._beat.process_id
                self._loop.put(WatchdogReturned(utc_us=self._clock.utc_us(), process_id=process_id))
            case PresenceVerdict.NOTHING:
                pass

    def _put_lost(self) -> None:
        self._loop.put(WatchdogLost(utc_us=self._clock.utc_us(), reason=self._presence.why))

    def _hold(self, process_id: int) -> None:
        """Hold on to the watchdog's process while it certainly lives: it has just spoken."""
        if self._watchdog is not None:
            self._watchdog.close()
            self._watchdog = None
        with suppress(OSError):
            self._watchdog = machine().watched(process_id)

    def _replace(self) -> None:
        """End what may be left of the old watchdog, and start another one."""
        self._line.send(Dismissed())
        if self._watchdog is not None:
            # It stood still: if it went on later, two would judge us.
            self._watchdog.kill()
        self._line.close()
        self._line, theirs = ProcessLine.pair()
        machine().at_death(self._line.close)
        # Before it lives: should we die while it is loaded, it must know what it takes over.
        self._line.send(self._hello)
        self.say_armed()
        try:
            self._started = [it for it in self._started if it.poll() is None]
            self._started.append(self._start_watchdog(theirs))
        except OSError:
            return  # tried again after a pause; entries stay refused
        finally:
            theirs.close()

    # -- out -----------------------------------------------------------------------------------

    def _stall_ms_max(self) -> int:
        return max(self._late_ms_max, self._stalls.longest_ms)

    def _stepped(self) -> None:
        """Say at once what must not be lost with us, before anything that follows from it leaves.

        That there is something to lose: else a guard that dies between its order and its next
        pulse would be taken for flat. And what is latched: the disk may take nothing of it, and
        whoever asked for it is answered next.
        """
        book = self._loop.book
        opened = self._told is not Holdings.OPEN and holdings(book) is Holdings.OPEN
        if opened or standing_latches(book) != self._told_latches:
            self._say_pulse()

    def _pulse(self) -> None:
        """Show the work done since the last pulse, and ask for more."""
        self._say_pulse()
        self._on_pulse()
        self._loop.nudge()

    def _say_pulse(self) -> None:
        loop, book = self._loop, self._loop.book
        self._told, self._told_latches = holdings(book), standing_latches(book)
        now_ns, audit_ns = self._clock.monotonic_ns(), book.audit.complete_ns
        self._line.send(
            Pulse(
                turns=loop.turns,
                steps=loop.steps,
                journal_seq=loop.journal_seq,
                audit_age_ms=(now_ns - audit_ns) // _NS_PER_MS if audit_ns else None,
                holdings=self._told,
                stall_ms_max=self._stall_ms_max(),
                latches=self._told_latches,
            )
        )
        self._pulse_ns = self._moment().awake_ns
