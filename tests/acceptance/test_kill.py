"""kill -9 of a real guard in the middle of an order; the next one finds out what became of it."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

SENDING = {"DRY_RUN": "0", "EXECUTE": "1"}

ENTRY = {
    "client_order_id": "entry-1",
    "symbol": "MES",
    "side": "BUY",
    "quantity": 2,
    "type": "MARKET",
    "stop_loss_price": "5000",
}


async def placed(venue: Any) -> list[Any]:
    """Return the exchange's orders that somebody placed: legs are its own making."""
    return [row for row in (await venue.truth())["orders"] if row["leg"] is None]


@pytest.mark.parametrize("act", ["lose_response", "delay_response"])
async def test_a_guard_killed_in_the_middle_of_an_order_finds_it_and_sends_nothing(
    bench: Any, act: str
) -> None:
    rules = [
        {"on": "Order/place", "act": act, "delay_ms": 60_000},
        *(
            {"on": event, "act": "drop_event", "count": None}
            for event in ("GatewayUserOrder", "GatewayUserTrade", "GatewayUserPosition")
        ),
    ]
    async with bench.venue() as venue:
        async with bench.guard(**SENDING) as guard:
            await guard.active()
            for rule in rules:
                async with venue.session.post(f"{venue.url}/_simulator/faults", json=rule) as said:
                    assert said.status == 200, await said.text()
            asking = asyncio.create_task(guard.ask("POST", "/v1/orders", ENTRY))
            async with asyncio.timeout(30):
                while not await placed(venue):  # noqa: ASYNC110 - another process decides
                    await asyncio.sleep(0.005)
            await guard.kill()
            await asyncio.wait({asking})
            asking.exception()

        async with bench.guard(**SENDING) as guard:
            record = await guard.until("/v1/orders/entry-1", lambda said: said["state"] == "FILLED")
            said = await guard.until(
                "/v1/positions",
                lambda said: said["positions"] and said["positions"][0]["quantity"] == 2,
            )
            status, repeated = await guard.ask("POST", "/v1/orders", ENTRY)
            orders = await placed(venue)
            trades = (await venue.truth())["trades"]

    assert len(orders) == 1
    assert record["broker_order_id"] == orders[0]["id"]
    assert [fill["fill_id"] for fill in record["fills"]] == [trade["id"] for trade in trades]
    assert said["positions"][0]["quantity"] == 2
    assert (status, repeated["broker_order_id"]) == (200, orders[0]["id"])
    assert audited(bench.folder / "state") == [(str(trade["id"]),) for trade in trades]


def audited(state_folder: Path) -> list[tuple[str]]:
    uri = f"{(state_folder / 'audit.db').as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        return database.execute("SELECT FillId FROM FillAudit ORDER BY FillId").fetchall()
