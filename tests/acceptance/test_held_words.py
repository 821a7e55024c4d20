"""What a person reads who stops a guard while something is held."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.acceptance.conftest import PATIENCE_S, Bench, RunningGuard, end_group
from tests.acceptance.test_stuck_output import ENTRY, SENDING, answering, free_port, protected


@asynccontextmanager
async def printing(bench: Bench, **settings: str) -> AsyncIterator[RunningGuard]:
    """Start a guard of which nobody reads what it prints before it has ended."""
    port = free_port()
    listening = f"127.0.0.1:{port}"
    process = await bench.start("run", **settings, BACKSTOP_LISTEN=listening)
    guard = RunningGuard(
        process=process, url=f"http://{listening}", banner="", session=bench.session
    )
    try:
        await answering(guard)
        await guard.active()
        yield guard
    finally:
        end_group(process.pid)
        await process.wait()


async def stopped(guard: RunningGuard) -> str:
    """Stop a guard and return what it has printed."""
    guard.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(PATIENCE_S):
        out, _ = await guard.process.communicate()
    assert guard.process.returncode == 0
    return out.decode()


@pytest.mark.parametrize("holds", [True, False], ids=["something", "nothing"])
async def test_who_stops_a_guard_is_told_what_it_leaves_open(bench: Bench, *, holds: bool) -> None:
    async with bench.venue(), printing(bench, **SENDING) as guard:
        if holds:
            status, said = await guard.ask("POST", "/v1/orders", ENTRY)
            assert status == 201, said
            await protected(guard)
        told = await stopped(guard)

    assert ("\nHELD   MES -2   stops 2 @ 7000\nStopped. No guard looks after it" in told) is holds
    assert ("HELD" in told) is holds
