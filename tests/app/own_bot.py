"""A bot that places its own orders: plain REST calls, and nothing of the guard."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from tests.app.desk import API_KEY, USER, Desk

from backstop.domain.order import OrderRequest, OrderType, Side

TYPES = {
    OrderType.LIMIT: 1,
    OrderType.MARKET: 2,
    OrderType.STOP: 4,
    OrderType.TRAILING_STOP: 5,
}


class OwnBot:
    """Logged in at the venue by itself."""

    def __init__(self, session: aiohttp.ClientSession, desk: Desk, token: str) -> None:
        self._session = session
        self._desk = desk
        self._headers = {"Authorization": f"Bearer {token}"}

    async def place(self, request: OrderRequest, *, tag: str | None) -> int:
        """Place an order, once; return the number that the venue gave it."""
        body = {
            "accountId": self._desk.account,
            "contractId": self._contract_id(request.symbol),
            "type": TYPES[request.type],
            "side": 0 if request.side is Side.BUY else 1,
            "size": request.quantity,
            "limitPrice": None if request.limit_price is None else float(request.limit_price),
            "stopPrice": None if request.stop_price is None else float(request.stop_price),
            "customTag": tag,
        }
        return int((await self._post("Order/place", body))["orderId"])

    async def cancel(self, number: int) -> None:
        await self._post("Order/cancel", {"accountId": self._desk.account, "orderId": number})

    def _contract_id(self, symbol: str) -> str:
        rows = self._desk.venue.exchange.contracts()
        return next(
            row.id
            for row in rows
            if row.id.startswith(f"CON.F.US.{symbol}.") and row.active_contract
        )

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        url = f"{self._desk.venue.url}/api/{path}"
        async with self._session.post(url, json=body, headers=self._headers) as answer:
            return await answer.json()


@asynccontextmanager
async def an_own_bot(desk: Desk) -> AsyncIterator[OwnBot]:
    async with aiohttp.ClientSession() as session:
        login = {"userName": USER, "apiKey": API_KEY}
        async with session.post(f"{desk.venue.url}/api/Auth/loginKey", json=login) as answer:
            token = (await answer.json())["token"]
        yield OwnBot(session, desk, token)
