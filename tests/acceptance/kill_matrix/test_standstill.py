"""Guard and watchdog stand still together, the machine sleeps, or somebody sets the clock.

All of it with a position that has its stop, and with real processes: nobody is blamed for time in
which nobody could do anything, and time without a guard is time without a guard.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import PATIENCE_S, Bench, RunningGuard, Venue

from backstop.core.watch_facts import SECOND_NS

CLOCKS = Path(__file__).with_name("clocks")
SENDING = {"DRY_RUN": "0", "EXECUTE": "1"}
IMPATIENT = ["--limits", json.dumps({"frozen_ns": 3 * SECOND_NS}), "--spare", "no"]
LONGER_S = 5
"""Longer than an impatient watchdog waits for a guard that does not move."""

ENTRY = {
    "client_order_id": "entry",
    "symbol": "MES",
    "side": "BUY",
    "quantity": 2,
    "type": "MARKET",
    "stop_loss_price": "5000",
}


@pytest.fixture
async def venue(bench: Bench) -> AsyncIterator[Venue]:
    async with bench.venue() as venue:
        yield venue


@pytest.fixture
def clocks(bench: Bench) -> Callable[..., None]:
    """Return what sets the clocks of every process of the run."""
    path = bench.folder / "clocks"
    bench.settings |= {"PYTHONPATH": str(CLOCKS), "TEST_CLOCKS": str(path)}

    def set_to(*, set_by_s: int = 0, suspended_s: int = 0) -> None:
        new = path.with_suffix(".new")
        new.write_text(f"{set_by_s} {suspended_s}", encoding="ascii")
        new.replace(path)

    return set_to


async def holds(guard: RunningGuard) -> None:
    """Have the guard buy, and wait until its stop works and its watchdog knows."""
    await guard.active()
    status, said = await guard.ask("POST", "/v1/orders", ENTRY)
    assert status == 201, said
    await guard.until(
        "/v1/positions", lambda said: said["positions"] and said["positions"][0]["stop"]
    )
    await guard.until("/v1/status", lambda said: said["heartbeats"]["watchdog"] is not None)


def everybody(guard: RunningGuard) -> list[int]:
    return guard.processes("guard") + guard.processes("watchdog")


def send(guard: RunningGuard, number: signal.Signals) -> None:
    for process_id in everybody(guard):
        os.kill(process_id, number)


async def time_passes(venue: Venue, seconds: float) -> None:
    """Wait until the venue has seen so much time pass."""
    ends_us = (await venue.truth())["nowUs"] + seconds * 1_000_000
    async with asyncio.timeout(PATIENCE_S):
        while (await venue.truth())["nowUs"] < ends_us:  # noqa: ASYNC110 - another process's time
            await asyncio.sleep(0.05)


def held(truth: Any) -> int:
    return sum(row["quantity"] for row in truth["positions"])


def stops(truth: Any) -> int:
    return sum(
        row["size"] - row["fillVolume"]
        for row in truth["orders"]
        if row["type"] == "STOP" and row["status"] == "OPEN"
    )


async def test_both_stood_still_and_nobody_is_killed_for_it(bench: Bench, venue: Venue) -> None:
    async with bench.guard(hastily=IMPATIENT, **SENDING) as guard:
        await holds(guard)
        before = everybody(guard)
        send(guard, signal.SIGSTOP)
        await time_passes(venue, LONGER_S)
        send(guard, signal.SIGCONT)
        await time_passes(venue, LONGER_S)
        said = await guard.until("/v1/status", lambda said: said["trading_state"] == "ACTIVE")
        truth = await venue.truth()

        assert everybody(guard) == before
        assert said["heartbeats"]["watchdog"]["guard_restarts"] == 0
        assert (held(truth), stops(truth)) == (2, 2)
        assert await guard.stop() == 0


async def test_a_nap_of_the_machine_is_no_freeze_and_no_reason_to_sell(
    bench: Bench, venue: Venue, clocks: Callable[..., None]
) -> None:
    async with bench.guard(hastily=IMPATIENT, **SENDING) as guard:
        await holds(guard)
        before = everybody(guard)
        send(guard, signal.SIGSTOP)
        clocks(suspended_s=20)
        send(guard, signal.SIGCONT)
        await time_passes(venue, LONGER_S)
        # The venue slept as little as its clock tells; ours is ahead of it now.
        clocks(suspended_s=20, set_by_s=-20)
        said = await guard.until("/v1/status", lambda said: said["trading_state"] == "ACTIVE")
        truth = await venue.truth()

        assert everybody(guard) == before
        assert said["heartbeats"]["watchdog"]["guard_restarts"] == 0
        assert (held(truth), stops(truth)) == (2, 2)


async def test_an_account_that_was_left_alone_while_the_machine_slept_is_taken_flat(
    bench: Bench, venue: Venue, clocks: Callable[..., None]
) -> None:
    async with bench.guard(hastily=IMPATIENT, **SENDING) as guard:
        await holds(guard)
        before = everybody(guard)
        send(guard, signal.SIGSTOP)
        clocks(suspended_s=600)  # ten times the threshold
        send(guard, signal.SIGCONT)
        await guard.until("/v1/status", lambda said: said["trading_state"] == "HALTED")
        await guard.until(
            "/v1/liquidations",
            lambda said: [it["state"] for it in said["liquidations"]] == ["FLAT"],
        )
        truth = await venue.truth()

        assert set(before) <= set(everybody(guard)), "beside them only who passes it on"
        assert (held(truth), stops(truth)) == (0, 0)
        assert sum(row["quantity"] for row in truth["trades"]) == 0


@pytest.mark.parametrize("set_by_s", [3600, -3600])
async def test_a_clock_that_somebody_sets_holds_up_entries_and_no_exit(
    bench: Bench, venue: Venue, clocks: Callable[..., None], set_by_s: int
) -> None:
    async with bench.guard(hastily=IMPATIENT, **SENDING) as guard:
        await holds(guard)
        before = everybody(guard)
        clocks(set_by_s=set_by_s)
        said = await guard.until(
            "/v1/status", lambda said: "CLOCK_OFFSET" in json.dumps(said["reasons"])
        )
        assert said["trading_state"] == "REDUCING"
        status, _ = await guard.ask("POST", "/v1/orders", ENTRY | {"client_order_id": "more"})
        assert status == 422
        leave = {"client_order_id": "exit", "symbol": "MES", "side": "SELL", "quantity": 1}
        status, said = await guard.ask("POST", "/v1/orders", leave | {"type": "MARKET"})
        assert status == 201, said
        await guard.until("/v1/orders/exit", lambda said: said["state"] == "FILLED")
        clocks()
        await guard.active()
        truth = await venue.truth()

        assert (held(truth), stops(truth)) == (1, 1)
        assert everybody(guard) == before
        assert await guard.stop() == 0
    verified = await bench.call("audit", "verify")
    assert verified.code == 0, verified.out + verified.err
