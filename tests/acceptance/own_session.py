"""A bot that trades with a session of its own, over real sockets, on the account of a guard."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from tests.app.desk import API_KEY, USER, Desk

from backstop.adapters.projectx.wire import WireOrderType, WireSide

BUY, SELL = WireSide.BID, WireSide.ASK


@dataclass
class OwnBot:
    """What the bot asks the gateway for; a refusal of the gateway fails the test."""

    desk: Desk
    session: aiohttp.ClientSession
    token: str

    async def call(self, path: str, **body: Any) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        body["accountId"] = self.desk.account
        url = f"{self.desk.venue.url}/api/{path}"
        async with self.session.post(url, json=body, headers=headers) as answer:
            told: Mapping[str, Any] = await answer.json()
        assert told["success"], told
        return told

    async def order(
        self,
        contract_id: str,
        side: WireSide = BUY,
        size: int = 1,
        kind: WireOrderType = WireOrderType.MARKET,
        *,
        bracket_ticks: int = 0,
        **members: Any,
    ) -> int:
        """Place an order and return its number; with ``bracket_ticks`` a stop and a target."""
        if bracket_ticks:
            sign = 1 if side is BUY else -1
            members["stopLossBracket"] = {"ticks": -sign * bracket_ticks, "type": 4}
            members["takeProfitBracket"] = {"ticks": sign * bracket_ticks, "type": 1}
        told = await self.call(
            "Order/place",
            contractId=contract_id,
            type=int(kind),
            side=int(side),
            size=size,
            **members,
        )
        number: int = told["orderId"]
        return number

    async def limit(self, contract_id: str, price: float, size: int = 1, **members: Any) -> int:
        """Rest a limit order to buy."""
        return await self.order(
            contract_id, BUY, size, WireOrderType.LIMIT, limitPrice=price, **members
        )

    async def stop(self, contract_id: str, price: float, size: int = 1) -> int:
        """Rest a stop to sell."""
        return await self.order(contract_id, SELL, size, WireOrderType.STOP, stopPrice=price)

    async def cancel(self, number: int) -> None:
        await self.call("Order/cancel", orderId=number)


@asynccontextmanager
async def own_bot(desk: Desk) -> AsyncIterator[OwnBot]:
    """Log in beside the guard."""
    async with aiohttp.ClientSession() as session:
        login = {"userName": USER, "apiKey": API_KEY}
        async with session.post(f"{desk.venue.url}/api/Auth/loginKey", json=login) as answer:
            token = (await answer.json())["token"]
        yield OwnBot(desk, session, token)


def held(desk: Desk) -> list[int]:
    """Return what the exchange holds for the account: signed contracts of each position."""
    rows = desk.truth()["positions"]
    return [row["quantity"] for row in rows if row["accountId"] == desk.account]


def working(desk: Desk, kind: str = "") -> list[Mapping[str, Any]]:
    """Return every order of the account that works at the exchange, or those of one type."""
    return [
        row
        for row in desk.truth()["orders"]
        if row["accountId"] == desk.account
        and row["status"] == "OPEN"
        and (not kind or row["type"] == kind)
    ]


def numbers(rows: list[Mapping[str, Any]]) -> list[int]:
    return sorted(row["id"] for row in rows)
