"""The guard's end of the line: pulses that carry work, and a watchdog that is missed and replaced.

The other end is held by the test; the guard behind it is a real one at a real venue.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.app.desk import Desk, Guard, until

from backstop.adapters.clock import SystemClock, awake_ns
from backstop.adapters.process_line import ProcessLine
from backstop.app import watch_link
from backstop.app.watch_link import WatchLink
from backstop.core.trading_state import TradingState
from backstop.core.watch_facts import Moment
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

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = Hello(
    process_id=1,
    account_id=2,
    gateway_host="127.0.0.1",
    state_folder="state",
    liquidate_after_ns=3,
    holdings=Holdings.NONE,
)
ARMED = Armed(host="127.0.0.1", port=8720)
NO_PROCESS = 2**22 + 1
"""Larger than any process number of Linux: nobody is there to be killed."""


class Ended:
    """What was started and has ended."""

    def poll(self) -> int:
        return 0


@dataclass
class OtherSide:
    """The watchdog's end, in the test's hand."""

    line: ProcessLine
    heard: list[AnyMessage] = field(default_factory=list)

    def listen(self) -> list[AnyMessage]:
        self.heard += self.line.receive()
        return self.heard

    def pulses(self) -> list[Pulse]:
        return [it for it in self.listen() if isinstance(it, Pulse)]

    def beat(self) -> bool:
        self.line.send(Beat(process_id=NO_PROCESS, restarts=4))
        return True


@dataclass
class Watched:
    """A guard that is watched."""

    guard: Guard
    link: WatchLink
    other: OtherSide
    started: list[OtherSide] = field(default_factory=list)
    told_to_stop: bool = False
    ahead_s: float = 0
    looks: int = 0

    def moment(self) -> Moment:
        ahead_ns = round(self.ahead_s * 1e9)
        return Moment(
            elapsed_ns=SystemClock().monotonic_ns() + ahead_ns, awake_ns=awake_ns() + ahead_ns
        )

    async def let_pass(self, seconds: float) -> None:
        """Let time pass on the guard's clock, in steps that do not look like a standstill."""
        end_s = self.ahead_s + seconds
        while self.ahead_s < end_s:
            self.ahead_s += 0.5
            looks = self.looks
            await until(lambda looks=looks: self.looks > looks, "a look")  # type: ignore[misc]


@asynccontextmanager
async def watched(desk: Desk) -> AsyncIterator[Watched]:
    async with desk.guard() as guard:
        await guard.ready()
        line, theirs = ProcessLine.pair()
        other = OtherSide(ProcessLine(theirs))
        scene: Watched | None = None

        def start(end: socket.socket) -> Any:
            assert scene is not None
            scene.started.append(OtherSide(ProcessLine(end.dup())))
            return Ended()

        def look() -> None:
            assert scene is not None
            scene.looks += 1

        def stop() -> None:
            assert scene is not None
            scene.told_to_stop = True

        def moment() -> Moment:
            assert scene is not None
            return scene.moment()

        link = WatchLink(
            line,
            hello=HELLO,
            armed=ARMED,
            loop=guard.manager.decisions,
            clock=SystemClock(),
            moment=moment,
            start_watchdog=start,
            on_pulse=look,
            on_stop=stop,
        )
        scene = Watched(guard, link, other)
        guard.manager.watch_link = link
        running = asyncio.create_task(link.run())
        try:
            yield scene
        finally:
            running.cancel()
            await asyncio.wait({running})
            for side in (other, *scene.started):
                side.line.close()


async def test_each_pulse_carries_new_work_of_the_loop_and_what_the_account_holds(
    desk: Desk,
) -> None:
    async with watched(desk) as scene:
        scene.link.say_armed()
        await until(lambda: len(scene.other.pulses()) >= 4, "four pulses")
        turns = [it.turns for it in scene.other.pulses()]
        newest = scene.other.pulses()[-1]

        assert ARMED in scene.other.heard
        assert len(set(turns)) == len(turns)
        assert newest.holdings is Holdings.NONE
        assert newest.steps > 0
        assert newest.journal_seq > 0
        assert newest.audit_age_ms is not None


async def test_what_could_be_lost_is_told_before_its_order_leaves(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with the next pulse: a guard that died before that would be taken for flat."""
    async with watched(desk) as scene:
        await scene.guard.ready("MES")
        monkeypatch.setattr(watch_link, "PULSE_INTERVAL_S", 600)
        looks = scene.looks
        await until(lambda: scene.looks > looks, "the last pulse for a long time")
        before = len(scene.other.pulses())
        await scene.guard.enter()
        (told,) = scene.other.pulses()[before:]

        assert scene.other.pulses()[before - 1].holdings is Holdings.NONE
        assert told.holdings is Holdings.OPEN


async def test_what_is_latched_is_told_before_whoever_asked_for_it_is_answered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk may take nothing of it, and this process die: then the watchdog knows."""
    async with watched(desk) as scene:
        monkeypatch.setattr(watch_link, "PULSE_INTERVAL_S", 600)
        looks = scene.looks
        await until(lambda: scene.looks > looks, "the last pulse for a long time")
        before = len(scene.other.pulses())
        await scene.guard.manager.halt(reason="the news", operator="eve")
        (told,) = scene.other.pulses()[before:]
        await scene.guard.manager.resume(reason="they are out", operator="eve")
        (lifted,) = scene.other.pulses()[before + 1 :]

        assert [(it.kind, it.cause, it.operator) for it in told.latches] == [
            ("HALT", "the news", "eve")
        ]
        assert lifted.latches == ()


async def test_a_decision_loop_that_has_ended_leaves_pulses_without_work(desk: Desk) -> None:
    """The event loop goes round, and a pulse says nothing by itself."""
    async with watched(desk) as scene:
        scene.guard.manager.decisions._end()
        turns = scene.guard.manager.decisions.turns
        seen = len(scene.other.pulses())
        await until(lambda: len(scene.other.pulses()) >= seen + 4, "more pulses")

        assert {it.turns for it in scene.other.pulses()[seen + 1 :]} == {turns}


async def test_beats_of_the_watchdog_show_in_the_report(desk: Desk) -> None:
    async with watched(desk) as scene:
        assert scene.link.report().watchdog_process_id is None
        scene.other.beat()
        await until(lambda: scene.link.report().watchdog_process_id is not None, "a beat")
        report = scene.link.report()

        assert report.watchdog_process_id == NO_PROCESS
        assert report.guard_restarts == 4
        assert report.lost == ""
        assert report.pulse_age_ms is not None
        assert report.watchdog_age_ms is not None


async def test_a_dead_watchdog_is_missed_replaced_and_told_everything_anew(desk: Desk) -> None:
    async with watched(desk) as scene:
        state = scene.guard.book.trading_state
        now_ns = scene.guard.manager.now_ns
        scene.other.line.close()
        await until(lambda: state(now_ns()) is TradingState.REDUCING, "no entries")
        await until(lambda: bool(scene.started), "another watchdog")
        new = scene.other = scene.started[0]
        await until(lambda: len(new.pulses()) > 0, "a pulse for the new one")
        assert new.heard[:2] == [HELLO, ARMED]
        assert scene.link.report().lost == "its process died"

        await until(lambda: new.beat() and state(now_ns()) is TradingState.ACTIVE, "entries again")
        assert scene.link.report().lost == ""
        assert len(scene.started) == 1


async def test_a_silent_watchdog_is_dismissed_before_another_one_begins(desk: Desk) -> None:
    async with watched(desk) as scene:
        old = scene.other
        old.beat()
        await until(lambda: scene.link.report().watchdog_process_id is not None, "a beat")
        await scene.let_pass(10)
        await until(lambda: bool(scene.started), "another watchdog")

        assert isinstance(old.listen()[-1], Dismissed)
        assert old.line.ended


async def test_a_watchdog_that_cannot_be_started_is_tried_again(desk: Desk) -> None:
    async with watched(desk) as scene:
        tried = 0

        def refuse(_: socket.socket) -> Any:
            nonlocal tried
            tried += 1
            raise OSError("no more processes")

        scene.link._start_watchdog = refuse
        scene.other.line.close()
        await until(lambda: tried == 1, "a try")
        await scene.let_pass(10)
        await until(lambda: tried == 2, "another try")


async def test_the_word_to_stop_is_passed_on_and_the_own_end_is_told(desk: Desk) -> None:
    async with watched(desk) as scene:
        scene.other.line.send(Stop())
        await until(lambda: scene.told_to_stop, "the word to stop")
        scene.link.say_stopping()
        await until(lambda: CleanStop() in scene.other.listen(), "the last word")
