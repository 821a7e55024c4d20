"""A guard with its gateway in front of the simulated venue, and bots with our own client."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import aiohttp
from tests.app.desk import PATIENCE_S, Desk, Guard, until

from backstop.adapters.bot_credentials import BotCredentials
from backstop.adapters.clock import SystemClock
from backstop.adapters.projectx.gateway import ProjectXGateway
from backstop.config.secret import Secret
from backstop.domain.bot import BotLimits
from backstop.entrypoints.gateway.server import BotGateway

WIDE = BotLimits(quantity_max=50, orders_max=100, entries_per_second_max=100)
MARKET, LIMIT, STOP, TRAILING_STOP = 2, 1, 4, 5
BUY, SELL = 0, 1


@dataclass
class Bot:
    """One bot with nothing but an address, a name and a key: it speaks the gateway's REST."""

    http: aiohttp.ClientSession
    url: str
    name: str
    key: str
    account: int
    contract: str
    token: str = ""

    async def log_in(self) -> dict[str, Any]:
        answer = await self.call("Auth/loginKey", userName=self.name, apiKey=self.key)
        self.token = answer["token"] or ""
        return answer

    async def post(self, path: str, body: object) -> aiohttp.ClientResponse:
        return await self.http.post(
            f"{self.url}/api/{path}",
            data=json.dumps(body, default=float),
            headers={
                "Content-Type": "application/json",
                "Authorization": f"Bearer {self.token}",
            },
        )

    async def call(self, path: str, **body: object) -> dict[str, Any]:
        answer = await self.post(path, body)
        assert answer.status == 200, (path, answer.status, await answer.text())
        told: dict[str, Any] = json.loads(await answer.read(), parse_float=Decimal)
        return told

    async def ask(self, path: str, **body: object) -> dict[str, Any]:
        """Make a call about the account."""
        return await self.call(path, accountId=self.account, **body)

    async def place(
        self,
        side: int = BUY,
        size: int = 1,
        kind: int = MARKET,
        *,
        stop: int | None = 40,
        target: int | None = None,
        **members: object,
    ) -> dict[str, Any]:
        """Place an order with brackets so many ticks from its fill."""
        sign = 1 if side == BUY else -1
        brackets: dict[str, object] = {}
        if stop is not None:
            brackets["stopLossBracket"] = {"ticks": -sign * stop, "type": STOP}
        if target is not None:
            brackets["takeProfitBracket"] = {"ticks": sign * target, "type": LIMIT}
        body = {"contractId": self.contract, "type": kind, "side": side, "size": size}
        return await self.ask("Order/place", **(body | brackets | members))

    async def open_orders(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await self.ask("Order/searchOpen"))["orders"]
        return rows

    async def position(self) -> int:
        rows = (await self.ask("Position/searchOpen"))["positions"]
        signed = [it["size"] if it["type"] == 1 else -it["size"] for it in rows]
        return sum(signed)


@dataclass
class Front:
    """A guard with its gateway."""

    guard: Guard
    desk: Desk
    gateway: BotGateway
    url: str
    http: aiohttp.ClientSession
    credentials: BotCredentials
    bots: dict[str, Bot] = field(default_factory=dict)

    async def bot(self, name: str = "alpha", limits: BotLimits = WIDE) -> Bot:
        """Return a bot that was given credentials and has logged in with them."""
        key = self.credentials.add(name, limits, utc_s=SystemClock().utc_us() // 1_000_000)
        contract = self.guard.instrument("MES").contract_id
        bot = Bot(self.http, self.url, name, key, self.desk.account, contract)
        assert (await bot.log_in())["success"] is True
        self.bots[name] = bot
        return bot

    def client(self, bot: Bot) -> ProjectXGateway:
        """Return our own client as the bot's: it does not know whom it talks to."""
        return ProjectXGateway(
            api_url=self.url,
            user_name=bot.name,
            api_key=Secret(bot.key),
            clock=SystemClock(),
        )

    def truth_of(self, order_id: int) -> dict[str, Any]:
        """Return the order as the exchange has it."""
        rows = self.desk.truth()["orders"]
        return next(dict(row) for row in rows if row["id"] == order_id)

    def true_position(self, symbol: str = "MES") -> int:
        contract = self.guard.instrument(symbol).contract_id
        return sum(
            row["quantity"]
            for row in self.desk.truth()["positions"]
            if row["accountId"] == self.desk.account and row["contractId"] == contract
        )

    def true_live_orders(self) -> list[dict[str, Any]]:
        """Return the orders of the account that can still fill, as the exchange has them."""
        return [
            dict(row)
            for row in self.desk.truth()["orders"]
            if row["accountId"] == self.desk.account
            and row["status"] in {"OPEN", "PENDING", "SUSPENDED"}
        ]

    def true_orders_tagged(self, client_order_id: str) -> list[dict[str, Any]]:
        """Return what the exchange has under the tag of one order of the guard."""
        tag = self.guard.book.orders[client_order_id].custom_tag
        return [dict(row) for row in self.desk.truth()["orders"] if row["customTag"] == tag]

    async def flat(self) -> None:
        """Cancel every entry and close the position, as a person would."""
        book = self.guard.book

        def entries() -> list[str]:
            return [
                order.client_order_id
                for order in book.live_orders()
                if order.role is None and not book.is_exit(order)
            ]

        for name in entries():
            await self.guard.manager.cancel_order(name, reason="test ends")
        await until(lambda: not entries(), entries)  # one may have filled before its cancel
        if self.true_position():
            await self.guard.manager.close_position("MES")
        await until(lambda: self.true_position() == 0, "flat")
        await self.settled()

    async def settled(self) -> None:
        """Wait until the guard has proven that the account is flat, and takes entries again."""
        await until(lambda: self.guard.position() == 0, "known to be flat")
        await until(lambda: not self.guard.book.liquidating, "closed for good")

    def true_stops(self) -> list[dict[str, Any]]:
        """Return the working stops of the account, as the exchange has them."""
        return [
            dict(row)
            for row in self.desk.truth()["orders"]
            if row["accountId"] == self.desk.account
            and row["status"] == "OPEN"
            and row["type"] in {"STOP", "TRAILING_STOP"}
        ]


@asynccontextmanager
async def in_front(desk: Desk, *, ready: bool = True, **settings: object) -> AsyncIterator[Front]:
    """Run a guard and its gateway; with ``ready`` entries are possible."""
    async with desk.guard(ready=ready, **settings) as guard:
        listener = socket.create_server(("127.0.0.1", 0))
        gateway = BotGateway(guard.manager, listener)
        serving = asyncio.create_task(gateway.serve())
        port = listener.getsockname()[1]
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as http:
                yield Front(
                    guard,
                    desk,
                    gateway,
                    f"http://127.0.0.1:{port}",
                    http,
                    BotCredentials(guard.manager.settings.state_folder),
                )
        finally:
            gateway.stop()
            await serving


def far_limit(front: Front, side: int = BUY, ticks: int = 100) -> float:
    """Return a price that does not trade."""
    instrument = front.guard.instrument("MES")
    quote = front.guard.manager.quotes.reference(instrument.contract_id)
    assert quote is not None
    assert quote.last is not None
    sign = 1 if side == BUY else -1
    return float(quote.last - sign * ticks * instrument.tick_size)


async def entered(front: Front, bot: Bot, *, size: int = 1, **members: Any) -> int:
    """Enter a long position with a stop and return the broker's id of the entry."""
    before = front.true_position()
    placed = await bot.place(size=size, **members)
    assert placed["success"] is True, placed
    await until(lambda: front.true_position() == before + size, "the position")
    await until(lambda: len(front.true_stops()) > 0, "a stop")
    await until(lambda: front.guard.position() == before + size, "the position is known")
    return int(placed["orderId"])


def row_of(rows: list[dict[str, Any]], order_id: int) -> dict[str, Any]:
    return next(row for row in rows if row["id"] == order_id)
