"""What the account lives through around a death, and how it has to stand at the end."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from tests.acceptance.kill_matrix.points import Story, Victim
from tests.acceptance.kill_matrix.run import LOOK_S, Run
from tests.acceptance.scenarios.stage import cover, levels, net, trades, working
from tests.app.desk import audited

TARGET = Decimal(100)
"""Points from the market, for levels that are not to trade."""

LIMIT = "LIMIT"

LATER_US = 3_000_000
"""More than lies between the watchdog's measure of a downtime and that of the next guard."""

NAKED = "POSITION_NAKED"
"""The alert of a position that was closed because no stop could be proven in time."""


def a_price(run: Run, away: Decimal) -> Decimal:
    """Return a whole price ``away`` points from the entry, where the position loses."""
    (trade, *_) = (
        row for row in run.desk.truth()["trades"] if row["accountId"] == run.desk.account
    )
    return run.case.held.against(Decimal(int(Decimal(trade["price"]))), away)


def resting(run: Run) -> list[Any]:
    """Return the bot's limit order at the exchange, if it works there."""
    return [row for row in working(run.desk) if row["leg"] is None and row["type"] == LIMIT]


PASSED_BY_S = 25
"""So long after a step a death of it may come: what writes or reads does so within seconds."""

ON_THE_WAY_BACK = {"restart", "abandon"}
"""Steps in which whoever is to die is started first: that takes as long as it takes."""


class EndedError(Exception):
    """The story ended before its death, and nobody is to blame."""


class ClosedError(EndedError):
    """No stop could be proven to work in time, so the position was closed: protected or flat."""


class PassedByError(EndedError):
    """The step was done without a pass of the point: a hub that was down for a moment told of no
    fill, and a read found it."""


async def play(run: Run) -> None:
    """Play the story of the run's point; every step ends in what the exchange has to say of it.

    Raises:
        EndedError: the story came to no end, or to its end without the death.
    """
    await TALES[run.case.point.story](run)
    assert run.struck, f"{run.case.name}: nobody came by this point"


# -- steps ---------------------------------------------------------------------------------------


async def enter(run: Run) -> None:
    held = run.case.held
    async with run.step("enter"):
        order = {
            "client_order_id": "enter-1",
            "symbol": held.symbol,
            "side": held.entry,
            "quantity": 2,
            "type": "MARKET",
            "stop_loss_price": held.stop,
            "take_profit_price": held.target,
        }
        record = await run.submit(order)
        assert record["state"] in {"WORKING", "PARTIALLY_FILLED", "FILLED"}, record
        await covered(run, 2)
        await until_struck(run, "enter")


async def rest(run: Run) -> None:
    held = run.case.held
    async with run.step("rest"):
        price = a_price(run, TARGET)
        order = {
            "client_order_id": "rest-1",
            "symbol": held.symbol,
            "side": held.entry,
            "quantity": 1,
            "type": LIMIT,
            "limit_price": str(price),
            "stop_loss_price": str(held.against(price, TARGET)),
        }
        await run.submit(order)
        await run.until(lambda: len(resting(run)) == 1)
        await until_struck(run, "rest")


async def change(run: Run) -> None:
    async with run.step("change"):
        (name,) = (name for name in run.told if name.startswith("rest"))
        wanted = a_price(run, TARGET + 10)
        while not any(Decimal(row["limitPrice"]) == wanted for row in resting(run)):
            await run.ask("PATCH", f"/v1/orders/{name}", {"limit_price": str(wanted)})
        await until_struck(run, "change")


async def cancel(run: Run) -> None:
    async with run.step("cancel"):
        (name,) = (name for name in run.told if name.startswith("rest"))
        while resting(run):
            await run.ask("DELETE", f"/v1/orders/{name}")
        await run.says(f"/v1/orders/{name}", lambda said: said["state"] == "CANCELLED")
        await until_struck(run, "cancel")


async def repair(run: Run) -> None:
    async with run.step("repair"):
        taken = {row["id"] for row in working(run.desk) if row["type"] == "STOP"}
        for order_id in taken:
            run.desk.venue.exchange.cancel(run.desk.account, order_id)
        await run.until(lambda: taken.isdisjoint(row["id"] for row in working(run.desk)))
        await until_struck(run, "repair")
        await covered(run, 2)


async def move(run: Run) -> None:
    async with run.step("move"):
        wanted = a_price(run, TARGET)
        path = f"/v1/positions/{run.case.held.symbol}/protection"
        while set(levels(run.desk)) != {wanted}:
            await run.ask("PUT", path, {"stop_price": str(wanted)})
        await until_struck(run, "move")


async def shrink(run: Run) -> None:
    async with run.step("shrink"):
        order = {
            "client_order_id": "shrink-1",
            "symbol": run.case.held.symbol,
            "side": run.case.held.exit,
            "quantity": 1,
            "type": "MARKET",
        }
        await run.submit(order)
        await covered(run, 1)
        await until_struck(run, "shrink")


async def orphan(run: Run) -> None:
    async with run.step("orphan"):
        (held,) = (
            row for row in run.desk.truth()["positions"] if row["accountId"] == run.desk.account
        )
        run.desk.venue.exchange.place_manual(
            run.desk.account, held["contractId"], type=2, side=run.case.held.exit_code, size=1
        )
        await flat(run)
        await until_struck(run, "orphan")


async def liquidate(run: Run) -> None:
    async with run.step("liquidate"):
        # What is on record once goes on by itself: nobody asks for it a second time.
        while not requested(run):
            await run.ask_once("POST", "/v1/liquidate", {"reason": "enough", "operator": "ann"})
        await flat(run)
        await ended_flat(run)
        await until_struck(run, "liquidate")


def requested(run: Run) -> bool:
    """Say whether a liquidation is on record."""
    rows = audited(
        run.bench.folder / "state",
        "SELECT seq FROM Journal WHERE json_extract(CAST(payload AS TEXT), '$.kind') = ?",
        "LiquidationRequested",
    )
    return bool(rows)


async def restart(run: Run) -> None:
    async with run.step("restart"):
        run.kill(Victim.GUARD)
        await until_struck(run, "restart")
        await covered(run, 2)


async def abandon(run: Run) -> None:
    async with run.step("abandon"):
        # Only a watchdog that knows of the position does something about it.
        await run.says(
            "/v1/status", lambda said: _watchdog(said) in run.guard.processes("watchdog")
        )
        run.kill(Victim.GUARD)
        await until_struck(run, "abandon")
        if not run.lives:
            await time_passes(run)  # who came at once would still be in time to protect
        await flat(run)
        await run.back_to_guarding()
        await ended_flat(run)


async def time_passes(run: Run) -> None:
    """Wait until the venue has seen LATER_US pass."""
    ends_us = run.desk.truth()["nowUs"] + LATER_US
    while run.desk.truth()["nowUs"] < ends_us:  # noqa: ASYNC110 - the venue's time
        await asyncio.sleep(LOOK_S)


def _watchdog(status: Any) -> int:
    return int((status["heartbeats"]["watchdog"] or {}).get("process_id", 0))


# -- what they wait for --------------------------------------------------------------------------


async def until_struck(run: Run, step: str) -> None:
    """Wait for the death, if it waits in this step.

    Raises:
        PassedByError: it does not come any more.
    """
    if run.case.point.step != step:
        return
    try:
        async with asyncio.timeout(None if step in ON_THE_WAY_BACK else PASSED_BY_S):
            while not run.struck:
                if step != "abandon":
                    await run.back()
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise PassedByError from None


async def covered(run: Run, contracts: int) -> None:
    """Wait until the exchange holds so many ``contracts`` and stops for exactly those.

    Raises:
        ClosedError: the guard has closed them, and says why.
    """
    while (run.case.held.sign * net(run.desk), cover(run.desk)) != (contracts, contracts):
        if trades(run.desk) and not net(run.desk):
            _, said = await run.ask("GET", "/v1/alerts")
            if NAKED in {alert["code"] for alert in said["alerts"]}:
                raise ClosedError
        await run.back()
        await asyncio.sleep(LOOK_S)


async def flat(run: Run) -> None:
    """Wait until the exchange holds neither a position nor a working order."""
    await run.until(lambda: net(run.desk) == 0 and not working(run.desk))


async def ended_flat(run: Run) -> None:
    """Wait until each liquidation that was begun says FLAT, and the account stays halted."""
    await run.says(
        "/v1/liquidations",
        lambda said: (
            said["liquidations"] and all(it["state"] == "FLAT" for it in said["liquidations"])
        ),
    )
    await run.says("/v1/status", lambda said: said["trading_state"] == "HALTED")


def _tale(*steps: Callable[[Run], Awaitable[None]]) -> Callable[[Run], Awaitable[None]]:
    async def tale(run: Run) -> None:
        for step in steps:
            await step(run)

    return tale


TALES = {
    Story.ORDER: _tale(enter, rest, change, cancel),
    Story.PROTECTION: _tale(enter, repair, move, shrink, orphan),
    Story.LIQUIDATION: _tale(enter, rest, liquidate),
    Story.RESTART: _tale(enter, rest, restart),
    Story.ABANDONED: _tale(enter, abandon),
}
