"""Another independent Python client (topstep-client-py) against a gateway at ``GATEWAY_URL``.

An asyncio client on httpx, with a newer SignalR library than the other one; in an environment of
its own. Prints one line per step and ends with 1 when one fails. With ``GATEWAY_GUARDED=1`` a guard
stands there: it takes legs away by itself, and it refuses.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from topstep import TopstepClient
from topstep.models.order import Bracket, OrderSide, OrderType, PlaceOrderRequest
from topstep.realtime.market_hub import MarketHub
from topstep.realtime.user_hub import UserHub

GATEWAY = os.environ["GATEWAY_URL"]
GUARDED = os.environ.get("GATEWAY_GUARDED") == "1"
PASSES = ("POSITION_CLOSING", "PROTECTION_LEFTOVER", "STATE_REDUCING")
WAIT_S = 15.0
OPEN, FILLED, CANCELLED = 1, 2, 3

Result = TypeVar("Result")


class Heard:
    """What the hubs' callbacks brought."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, dict[str, Any]]] = []
        self._came = asyncio.Event()

    def listener(self, kind: str) -> Callable[..., None]:
        """Return a callback that keeps what it is called with, however it is wrapped."""

        def take(*arguments: Any) -> None:
            self._rows += [(kind, row) for row in _rows(arguments)]
            self._came.set()

        return take

    async def seen(self, kind: str, matches: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first row, past or future, of ``kind`` that ``matches``."""
        async with asyncio.timeout(WAIT_S):
            while True:
                for of_kind, row in self._rows:
                    if of_kind == kind and matches(row):
                        return row
                self._came.clear()
                await self._came.wait()

    async def status(self, order_id: int, wanted: int) -> None:
        """Wait until an order was told in a status."""
        await self.seen("order", lambda row: (row["id"], row["status"]) == (order_id, wanted))


def _rows(argument: Any) -> list[dict[str, Any]]:
    if isinstance(argument, list | tuple):
        return [row for item in argument for row in _rows(item)]
    if isinstance(argument, dict):
        inner = argument.get("data")
        return [inner if isinstance(inner, dict) else argument]
    return []


async def step(name: str, act: Awaitable[Result]) -> Result:
    """Run one step and tell how it went."""
    try:
        result = await act
    except Exception as error:  # noqa: BLE001 - whatever the foreign code raises is the finding
        print(f"FAIL  asyncio Python client: {name}: {type(error).__name__}: {error}", flush=True)
        os._exit(1)  # the client leaves threads behind that would keep the process
    print(f"ok    asyncio Python client: {name}", flush=True)
    return result


async def main() -> None:
    """Log in, listen, trade, and leave nothing behind."""
    client = await step(
        "login by key",
        TopstepClient.create(
            os.environ["GATEWAY_USER"], os.environ["GATEWAY_KEY"], base_url=GATEWAY
        ),
    )
    account = (await step("find the account", client.accounts.search()))[0]
    contract = (await step("find the contract", client.contracts.search("MNQ")))[0]
    heard = Heard()
    user = UserHub(client.token or "", hub_url=f"{GATEWAY}/hubs/user")
    market = MarketHub(client.token or "", hub_url=f"{GATEWAY}/hubs/market")
    user.on_order(heard.listener("order"))
    user.on_trade(heard.listener("trade"))
    user.on_position(heard.listener("position"))
    market.on_quote(heard.listener("quote"))
    up = {"user": asyncio.Event(), "market": asyncio.Event()}
    user.on_open(up["user"].set)
    market.on_open(up["market"].set)

    async def connect() -> None:
        await asyncio.gather(user.connect(), market.connect())
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*(it.wait() for it in up.values()))

    await step("connect to both hubs", connect())
    await step("subscribe to all user events", user.subscribe_all(account.id))
    await step("subscribe to quotes", market.subscribe_quotes(contract.id))
    quote = await step("see a quote", heard.seen("quote", lambda row: row.get("bestBid", 0) > 0))
    await trade(client, account.id, contract.id, float(quote["bestBid"]), heard)
    await step("stop the hubs", asyncio.gather(user.stop(), market.stop()))


async def trade(
    client: TopstepClient, account_id: int, contract_id: str, bid: float, heard: Heard
) -> None:
    """Sell with brackets, move the stop, close, and rest a limit order."""
    tag = f"foreign-async-{time.time_ns()}"

    def request(**members: Any) -> PlaceOrderRequest:
        return PlaceOrderRequest(accountId=account_id, contractId=contract_id, **members)

    entry = request(
        type=OrderType.MARKET,
        side=OrderSide.SELL,
        customTag=tag,
        stopLossBracket=Bracket(ticks=400, type=4),
        takeProfitBracket=Bracket(ticks=-400, type=1),
    )
    entry_id = await step("place a market order with brackets", client.orders.place(entry))
    await step("see the fill", heard.status(entry_id, FILLED))
    await step("see its trade", heard.seen("trade", lambda row: row["orderId"] == entry_id))
    legs = [
        await step(
            f"see the leg {suffix} working",
            heard.seen(
                "order",
                lambda row, suffix=suffix: (  # type: ignore[misc]
                    row.get("customTag") == f"{tag}-{suffix}" and row["status"] == OPEN
                ),
            ),
        )
        for suffix in ("SL", "TP")
    ]
    nearer = float(legs[0]["stopPrice"]) - 5
    moved = client.orders.modify(account_id, legs[0]["id"], stop_price=nearer)
    await step("move the stop nearer", moved)
    await step(
        "see it there",
        heard.seen(
            "order", lambda row: row["id"] == legs[0]["id"] and row.get("stopPrice") == nearer
        ),
    )
    await step("close the position", client.positions.close(account_id, contract_id))
    await step("see it go", heard.seen("position", lambda row: row["size"] == 0))
    for leg in legs:
        if not GUARDED:
            await step("cancel a leg", client.orders.cancel(account_id, leg["id"]))
        await step("see a leg go", heard.status(leg["id"], CANCELLED))
    if GUARDED:
        await step("hear a refusal that names the rule", refused(client, request))
    rest = request(
        type=OrderType.LIMIT, side=OrderSide.BUY, limitPrice=round(bid) - 50, customTag=f"{tag}-L"
    )
    order_id = await step("rest a limit order far away", when_it_may(client, rest))
    await step("see it work", heard.status(order_id, OPEN))
    await step("cancel it", client.orders.cancel(account_id, order_id))
    await step("see it cancelled", heard.status(order_id, CANCELLED))

    async def nothing_left() -> None:
        orders = await client.orders.search_open(account_id)
        positions = await client.positions.search_open(account_id)
        if orders or positions:
            raise ValueError(f"left open: {orders} {positions}")

    await step("find nothing left open", nothing_left())


async def refused(client: TopstepClient, request: Callable[..., PlaceOrderRequest]) -> None:
    """Ask for more than any limit allows."""
    try:
        await client.orders.place(request(type=OrderType.MARKET, side=OrderSide.BUY, size=99))
    except Exception as error:
        if "_TOO_LARGE" in str(error):
            return
        raise
    raise ValueError("it was taken")


async def when_it_may(client: TopstepClient, order: PlaceOrderRequest) -> int:
    """Place an order, again while a guard is still closing the position before."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return await client.orders.place(order)
        except Exception as error:
            passes = any(code in str(error) for code in PASSES)
            if not GUARDED or not passes or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.4)


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)  # the client's threads would otherwise keep the process
