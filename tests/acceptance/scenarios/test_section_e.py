"""Section E: the kill switch and liquidation. Lines that other stories play are marked there."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.acceptance.scenarios.stage import (
    alerts,
    flat,
    levels,
    net,
    protected,
    quote_at,
    struck,
    trades,
)
from tests.app.desk import API_KEY, USER, a_desk, a_venue, until
from tests.app.market import trade_at

from backstop.core.policy import SECOND_NS
from backstop.domain.order import Side
from backstop.simulator.exchange_config import PartialFill
from backstop.simulator.fault_rules import FaultKind

PATIENCE_S = 60
LOOK_S = 0.02
ENTERED = 2
LATE_MS = 1_500
"""How long a request is on its way while the stop fires."""


def bought_and_sold(rows: list[Any]) -> tuple[int, int]:
    """Return the contracts that the account bought, and those that it sold."""
    sizes = [row["quantity"] for row in rows]
    return sum(it for it in sizes if it > 0), -sum(it for it in sizes if it < 0)


# -- E2 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("E2")
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("filled", [1, 2])
@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("leaves_by", ["a liquidation", "a close", "an order of a bot"])
async def test_a_stop_that_fires_while_the_exit_is_on_its_way_ends_flat(
    tmp_path: Path, leaves_by: str, side: Side, filled: int
) -> None:
    async with a_venue(partial_fill=PartialFill.BY_LIQUIDITY) as venue:
        desk = a_desk(venue, tmp_path)
        async with desk.guard() as guard:
            await guard.enter(side, ENTERED)
            await protected(desk, 2 * side.sign)
            contract_id = guard.instrument("MES").contract_id
            (level,) = levels(desk)
            call = "Order/place" if leaves_by == "an order of a bot" else "Position/closeContract"
            desk.mischief(call, FaultKind.DELAY_REQUEST, delay_ms=LATE_MS)
            leaving = asyncio.create_task(_leave(guard, leaves_by, side))
            await until(lambda: struck(desk, FaultKind.DELAY_REQUEST, call) == 1, "on its way")
            quote_at(desk, contract_id, level, size=filled)
            await until(lambda: net(desk) != 2 * side.sign, lambda: net(desk))
            await leaving
            await flat(desk)
            await guard.agrees()

            bought, sold = bought_and_sold(trades(desk))
            assert bought == sold
            # An order of a bot cannot be held to what is left: what it opened is undone, and told.
            turned = (bought if side is Side.BUY else sold) > ENTERED
            assert turned is ("STOP_OPENED_POSITION" in alerts(guard))
            assert leaves_by == "an order of a bot" or not turned


async def _leave(guard: Any, by: str, side: Side) -> None:
    """Leave a position of two."""
    match by:
        case "a liquidation":
            await guard.manager.liquidate(reason="enough", operator="ann")
        case "a close":
            await guard.manager.close_position("MES", reason="enough", operator="ann")
        case _:
            await guard.send(guard.request(side.opposite, 2, protected=False))


# -- E4 and E5: with processes -------------------------------------------------------------------

SENDING = {"DRY_RUN": "0", "EXECUTE": "1", "EMERGENCY_LIQUIDATION_THRESHOLD_MINUTES": "0.05"}
ENTRY = {
    "client_order_id": "entry-1",
    "symbol": "MES",
    "side": "BUY",
    "quantity": 2,
    "type": "MARKET",
    "stop_loss_price": "5000",
}


def hastily(**limits: Any) -> list[str]:
    """Return options of a watchdog that does not start another guard for long."""
    given = {"crashes_max": 1, "pauses_ns": [600 * SECOND_NS], **limits}
    return ["--limits", json.dumps(given), "--spare", "no"]


async def trading(guard: Any) -> int:
    """Hold a protected position; return the process that guards it."""
    await guard.active()
    status, said = await guard.ask("POST", "/v1/orders", ENTRY)
    assert status == 201, said
    await guard.until("/v1/orders/entry-1", lambda said: said["state"] == "FILLED")
    await guard.until("/v1/positions", lambda said: any(it["stop"] for it in said["positions"]))
    await guard.until(
        "/v1/status",
        lambda said: said["heartbeats"]["watchdog"]["process_id"] == guard.process.pid,
    )
    (process_id,) = guard.processes("guard")
    return int(process_id)


async def truly(venue: Any, is_true: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        while not is_true(truth := await venue.truth()):  # noqa: ASYNC110 - other processes decide
            await asyncio.sleep(LOOK_S)
    return truth


def is_flat(truth: Any) -> bool:
    working = {"OPEN", "PENDING", "SUSPENDED", "PENDING_CANCELLATION"}
    return not truth["positions"] and not any(it["status"] in working for it in truth["orders"])


async def halted(guard: Any) -> Any:
    """Ask until the guard is there and HALTED; one that is away is asked again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(aiohttp.ClientError):
                _, said = await guard.ask("GET", "/v1/status")
                if said["trading_state"] == "HALTED":
                    return said
            await asyncio.sleep(LOOK_S)


async def outage(venue: Any) -> None:
    """Break every call and every connection from now on."""
    rules = [
        {"on": "any_call", "act": "reset_before", "count": None},
        {"on": "now", "act": "hub_reset"},
    ]
    for rule in rules:
        async with venue.session.post(f"{venue.url}/_simulator/faults", json=rule) as answer:
            assert answer.ok, await answer.text()


async def healed(venue: Any) -> None:
    async with venue.session.delete(f"{venue.url}/_simulator/faults") as answer:
        assert answer.ok, await answer.text()


@pytest.mark.scenario("E4")
@pytest.mark.parametrize("dies", [False, True], ids=["the guard lives", "the guard dies"])
async def test_a_kill_without_a_network_is_done_when_it_is_back(bench: Any, *, dies: bool) -> None:
    async with bench.venue() as venue, bench.guard(hastily=hastily(), **SENDING) as guard:
        process_id = await trading(guard)
        await outage(venue)
        status, said = await guard.ask(
            "POST", "/v1/liquidate", {"reason": "fire", "operator": "ann"}
        )
        assert status in {200, 201, 202}, said
        await guard.until("/v1/status", lambda said: said["trading_state"] == "HALTED")
        if dies:
            os.kill(process_id, signal.SIGKILL)
            log = f"{venue.url}/_simulator/faults"
            before = (await (await venue.session.get(log)).json())["rules"][0]["matched"]
            await until_more_calls(venue, before)
        assert not is_flat(await venue.truth())
        await healed(venue)
        truth = await truly(venue, is_flat)
        said = await halted(guard)

    assert any("fire" in reason for reason in said["reasons"]), said["reasons"]
    bought, sold = bought_and_sold(truth["trades"])
    assert (bought, sold) == (2, 2)


async def until_more_calls(venue: Any, before: int) -> None:
    """Wait until somebody else than the dead guard has knocked at the venue."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with venue.session.get(f"{venue.url}/_simulator/faults") as answer:
                (rule, *_) = (await answer.json())["rules"]
            if rule["matched"] > before:
                return
            await asyncio.sleep(LOOK_S)


BLOCKS_ITS_LOOP = """
import signal, time

signal.signal(signal.SIGUSR2, lambda *_: time.sleep(600))
"""
"""Loaded into every process of the run: what a strategy does that sleeps."""


DAY_LIMIT = 500
MES_POINT = 5
FALL = Decimal(150)
"""Points, so far that one MES alone loses the day: the other may find a market that came back."""


@pytest.mark.scenario("E5")
async def test_a_loop_that_is_blocked_while_the_day_is_lost_does_not_keep_the_position_open(
    bench: Any,
) -> None:
    (bench.folder / "sitecustomize.py").write_text(BLOCKS_ITS_LOOP, encoding="utf-8")
    limits = hastily(stale_ns=SECOND_NS, frozen_ns=3 * SECOND_NS)
    async with a_venue(speed=1) as venue:
        desk = a_desk(venue, bench.folder)
        settings = {
            **SENDING,
            "PYTHONPATH": str(bench.folder),
            "MAX_DAILY_LOSS": "20000",
            "TOPSTEPX_API_URL": venue.url,
            "TOPSTEPX_USERNAME": USER,
            "TOPSTEPX_API_KEY": API_KEY,
            "TOPSTEPX_ACCOUNT_ID": str(desk.account),
        }
        async with bench.guard(hastily=limits, **settings) as guard:
            process_id = await trading(guard)
            await protected(desk, 2)
            # Only now: no order whose stop is so far away could be sent under this limit.
            tightened = {"daily_loss": str(DAY_LIMIT)}
            status, said = await guard.ask("PATCH", "/v1/account/limits", tightened)
            assert status == 200, said
            os.kill(process_id, signal.SIGUSR2)
            held = trades(desk)[0]
            down = Decimal(held["price"]) - FALL

            def closed_below() -> bool:
                trade_at(venue, held["contractId"], down)
                return net(desk) == 0

            await until(closed_below, lambda: desk.truth()["positions"])
            await flat(desk)
            said = await halted(guard)
            _, listed = await guard.ask("GET", "/v1/liquidations")
            account = await guard.until("/v1/account", lambda said: said["locked"])
            _, entry = await guard.ask("POST", "/v1/orders/validate", ENTRY)

        bought, sold = bought_and_sold(trades(desk))
        assert (bought, sold) == (2, 2)
        paid = sum(row["quantity"] * Decimal(row["price"]) * MES_POINT for row in trades(desk))
    assert paid > DAY_LIMIT
    assert -Decimal(account["realised"]) > paid, "fees come on top"
    assert any("no sound guard" in reason for reason in said["reasons"]), said["reasons"]
    (run,) = listed["liquidations"]
    assert (run["state"], run["requests"][0]["operator"]) == ("FLAT", "watchdog")
    assert "500 may be lost" in account["locked"]
    assert {it["code"] for it in entry["denials"]} >= {"STATE_HALTED", "DAILY_LOSS_LOCKED"}
