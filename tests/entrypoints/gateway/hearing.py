"""Bots that listen to a gateway's hubs, and the rules that what they hear has to keep."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from msgspec import json
from tests.adapters.projectx_server.conftest import Hub
from tests.app.desk import until
from tests.entrypoints.gateway.bots import Bot

USER_STREAMS = ("Orders", "Positions", "Trades")
SIGN = {0: 0, 1: 1, 2: -1}
"""Of a position, by its type."""

_ENDED = {2, 3, 4, 5}

Event = tuple[str, int, dict[str, Any]]
"""Name, action and row of a user event."""


@asynccontextmanager
async def on_hub(bot: Bot, hub: str) -> AsyncIterator[Hub]:
    """Connect a bot to a hub; it shows every record."""
    async with bot.http.ws_connect(
        f"{bot.url}/hubs/{hub}",
        headers={"Authorization": f"Bearer {bot.token}"},
        max_msg_size=0,
    ) as socket:
        raw = Hub(socket)
        assert await raw.shake_hands() == {}
        yield raw


@dataclass
class Listener:
    """A bot that remembers what it was told of the account."""

    hub: Hub
    events: list[Event] = field(default_factory=list)
    closed: dict[str, Any] | None = None
    answers: set[str] = field(default_factory=set)

    async def caught_up(self) -> None:
        """Wait until everything that had left for this bot by now has been heard."""
        call = f"caught up {len(self.answers)}"
        await self.hub.send(
            {"type": 1, "invocationId": call, "target": "SubscribeAccounts", "arguments": []}
        )
        await until(lambda: call in self.answers, call)

    async def hear(self) -> None:
        """Take records until the connection ends."""
        while True:
            message = await self.hub.socket.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            for text in message.data.split("\x1e")[:-1]:
                self._take(json.decode(text))

    def _take(self, record: dict[str, Any]) -> None:
        if record["type"] == 7:
            self.closed = record
        if record["type"] == 3:
            self.answers.add(record["invocationId"])
        if record["type"] == 1:
            (envelope,) = record["arguments"]
            self.events.append((record["target"], envelope["action"], envelope["data"]))

    def rows(self, noun: str) -> list[dict[str, Any]]:
        """Return the rows of one kind, in the order in which they came."""
        return [row for target, _, row in self.events if target == f"GatewayUser{noun}"]

    def newest_orders(self) -> dict[int, dict[str, Any]]:
        return {row["id"]: row for row in self.rows("Order")}

    def net(self) -> int:
        """Return the one position that the newest event states."""
        rows = self.rows("Position")
        return int(rows[-1]["size"]) * SIGN[rows[-1]["type"]] if rows else 0


@asynccontextmanager
async def listening(bot: Bot) -> AsyncIterator[Listener]:
    """Have a bot hear everything of the account."""
    async with on_hub(bot, "user") as hub:
        assert (await hub.invoke("SubscribeAccounts"))["result"] is None
        for stream in USER_STREAMS:
            assert (await hub.invoke(f"Subscribe{stream}", bot.account))["result"] is None
        listener = Listener(hub)
        hearing = asyncio.create_task(listener.hear())
        try:
            yield listener
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)


def breaches(events: Sequence[Event]) -> list[str]:
    """Return what of a stream of user events is out of order, or comes twice.

    Of trades that were told: a position that was open before them is not known here.
    """
    found: list[str] = []
    shown: dict[int, dict[str, Any]] = {}
    traded: Counter[int] = Counter()  # contracts by order
    net: Counter[str] = Counter()
    trades: set[int] = set()
    for number, (target, action, row) in enumerate(events):
        what: list[str] = []
        match target:
            case "GatewayUserOrder":
                before = shown.get(row["id"])
                shown[row["id"]] = row
                if before is not None:
                    what = _order_breaches(before, row)
            case "GatewayUserTrade":
                traded[row["orderId"]] += row["size"]
                net[row["contractId"]] += row["size"] * (1 if row["side"] == 0 else -1)
                order = shown.get(row["orderId"])
                if row["id"] in trades or action != 0:
                    what.append("twice")
                if order is None or order["fillVolume"] < traded[row["orderId"]]:
                    what.append("before its order")
                trades.add(row["id"])
            case "GatewayUserPosition":
                said = row["size"] * SIGN[row["type"]]
                if said != net[row["contractId"]] and action != 2:
                    what.append(f"says {said} where trades add up to {net[row['contractId']]}")
                if (action == 2) != (row["size"] == 0):
                    what.append(f"action {action} for size {row['size']}")
            case _:
                pass
        found += [f"event {number}, {target} {row['id']}: {it}" for it in what]
    return found


def _order_breaches(before: dict[str, Any], row: dict[str, Any]) -> list[str]:
    found = []
    if _essence(before) == _essence(row):
        found.append("twice")
    if before["status"] in _ENDED and row["status"] not in _ENDED:
        found.append("it lives again")
    if row["fillVolume"] < before["fillVolume"]:
        found.append("it lost fills")
    return found


def _essence(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.endswith("Timestamp")}
