"""Each stall of the event loop is measured, however short, and whenever it comes."""

import asyncio
import sys
import threading
import time

from backstop.app.stall_meter import StallMeter

STALL_MS = 30


def _busy(ms: int) -> None:
    end_ns = time.monotonic_ns() + ms * 1_000_000
    while time.monotonic_ns() < end_ns:
        pass


def test_a_short_stall_between_two_pulses_is_measured() -> None:
    if sys.platform == "win32":
        return  # its loop has no selector: the pulse has to do
    meter = StallMeter()

    async def run() -> None:
        asyncio.get_running_loop().call_soon(_busy, STALL_MS)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=meter.new_loop) as runner:
        runner.run(run())

    assert meter.longest_ms >= STALL_MS


def test_to_wait_for_events_is_no_stall() -> None:
    """A wait of a second, ended by another thread, leaves less than that behind."""
    if sys.platform == "win32":
        return
    meter = StallMeter()
    waited_ms: list[float] = []

    async def run() -> None:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        meter.restart()
        threading.Timer(1.0, loop.call_soon_threadsafe, (woken.set,)).start()
        began_s = loop.time()
        await woken.wait()
        waited_ms.append((loop.time() - began_s) * 1000)

    with asyncio.Runner(loop_factory=meter.new_loop) as runner:
        runner.run(run())

    assert meter.longest_ms < waited_ms[0] - STALL_MS


def test_what_came_before_the_restart_is_forgotten() -> None:
    """Also in the round of the loop in which it is said."""
    meter = StallMeter()
    found_ms: list[int] = []

    async def run() -> None:
        _busy(STALL_MS * 100)
        meter.restart()
        await asyncio.sleep(0)
        found_ms.append(meter.longest_ms)

    with asyncio.Runner(loop_factory=meter.new_loop) as runner:
        runner.run(run())

    assert found_ms[0] < STALL_MS * 100
