"""What the account lives through around a death, and how it has to stand at the end."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from tests.acceptance.kill_matrix.points import Story, Victim
from tests.acceptance.kill_matrix.run import Run
from tests.acceptance.scenarios.stage import cover, levels, net, working

TARGET = Decimal(100)
"""Points from the market, for levels that are not to trade."""

MES = "CON.F.US.MES"
LIMIT = "LIMIT"


def a_price(run: Run, away: Decimal = Decimal(0)) -> Decimal:
    """Return a whole price near where the account bought, ``away`` points from there."""
    (trade, *_) = (
        row for row in run.desk.truth()["trades"] if row["accountId"] == run.desk.account
    )
    return Decimal(int(Decimal(trade["price"]))) + away


def resting(run: Run) -> list[Any]:
    """Return the bot's limit order at the exchange, if it works there."""
    return [row for row in working(run.desk) if row["leg"] is None and row["type"] == LIMIT]


async def play(run: Run) -> None:
    """Play the story of the run's point; every step ends in what the exchange has to say of it."""
    await TALES[run.case.point.story](run)
    assert run.struck, f"{run.case.name}: nobody came by this point"


# -- steps ---------------------------------------------------------------------------------------


async def enter(run: Run) -> None:
    async with run.step("enter"):
        order = {
            "client_order_id": "enter-1",
            "symbol": "MES",
            "side": "BUY",
            "quantity": 2,
            "type": "MARKET",
            "stop_loss_price": "4000",
            "take_profit_price": "9000",
        }
        record = await run.submit(order)
        assert record["state"] in {"WORKING", "PARTIALLY_FILLED", "FILLED"}, record
        await covered(run, 2)
        await until_struck(run, "enter")


async def rest(run: Run) -> None:
    async with run.step("rest"):
        price = a_price(run, -TARGET)
        order = {
            "client_order_id": "rest-1",
            "symbol": "MES",
            "side": "BUY",
            "quantity": 1,
            "type": LIMIT,
            "limit_price": str(price),
            "stop_loss_price": str(price - TARGET),
        }
        await run.submit(order)
        await run.until(lambda: len(resting(run)) == 1)
        await until_struck(run, "rest")


async def change(run: Run) -> None:
    async with run.step("change"):
        (name,) = (name for name in run.told if name.startswith("rest"))
        wanted = a_price(run, -TARGET - 10)
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
        for row in working(run.desk):
            if row["type"] == "STOP":
                run.desk.venue.exchange.cancel(run.desk.account, row["id"])
        await until_struck(run, "repair")
        # Whose new stop may have left, or may not, cannot be given a second one: it is closed.
        await run.until(
            lambda: cover(run.desk) == net(run.desk) and (net(run.desk) or not working(run.desk))
        )


async def move(run: Run) -> None:
    async with run.step("move"):
        if net(run.desk):
            wanted = a_price(run, -TARGET)
            while set(levels(run.desk)) != {wanted}:
                await run.ask("PUT", "/v1/positions/MES/protection", {"stop_price": str(wanted)})
        await until_struck(run, "move")


async def shrink(run: Run) -> None:
    if not net(run.desk):
        return
    async with run.step("shrink"):
        order = {
            "client_order_id": "shrink-1",
            "symbol": "MES",
            "side": "SELL",
            "quantity": 1,
            "type": "MARKET",
        }
        await run.submit(order)
        await covered(run, 1)
        await until_struck(run, "shrink")


async def orphan(run: Run) -> None:
    if not net(run.desk):
        return
    async with run.step("orphan"):
        (held,) = (
            row for row in run.desk.truth()["positions"] if row["accountId"] == run.desk.account
        )
        run.desk.venue.exchange.place_manual(
            run.desk.account, held["contractId"], type=2, side=1, size=1
        )
        await flat(run)
        await until_struck(run, "orphan")


async def liquidate(run: Run) -> None:
    async with run.step("liquidate"):
        body = {"reason": "enough", "operator": "ann"}
        while True:
            _, said = await run.ask("GET", "/v1/liquidations")
            if said["liquidations"]:
                break
            await run.ask("POST", "/v1/liquidate", body)
        await flat(run)
        await ended_flat(run)
        await until_struck(run, "liquidate")


async def restart(run: Run) -> None:
    async with run.step("restart"):
        run.kill(Victim.GUARD)
        await until_struck(run, "restart")
        await covered(run, 2)


async def abandon(run: Run) -> None:
    async with run.step("abandon"):
        # Only a watchdog that knows of the position does something about it.
        await run.says("/v1/status", lambda said: _watchdog(said) == run.guard.process.pid)
        run.kill(Victim.GUARD)
        await until_struck(run, "abandon")
        await flat(run)
        await run.back_to_guarding()
        await ended_flat(run)


def _watchdog(status: Any) -> int:
    return int((status["heartbeats"]["watchdog"] or {}).get("process_id", 0))


# -- what they wait for --------------------------------------------------------------------------


async def until_struck(run: Run, step: str) -> None:
    """Wait for the death, if it waits in this step."""
    if run.case.point.step == step:
        await run.until(lambda: run.struck)


async def covered(run: Run, position: int) -> None:
    """Wait until the exchange holds ``position`` and stops for exactly that."""
    await run.until(lambda: (net(run.desk), cover(run.desk)) == (position, abs(position)))


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
