"""The least that a gateway in front of a venue can cost: its server, its client, nothing between.

A process that takes orders with the server that the guard's gateway is made of and passes each on
with the guard's client. It judges nothing, records nothing and protects nothing: what it adds is
the price of the second HTTP exchange in this interpreter, which no guard can go below.
``python pass_through.py URL ACCOUNT`` prints how to reach it and ends with its input.
"""

import asyncio
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from backstop.adapters.clock import SystemClock
from backstop.adapters.projectx.gateway import ProjectXGateway
from backstop.adapters.projectx.wire import AccountRow, PlaceBody, WireSide
from backstop.adapters.projectx_server.app import make_app
from backstop.adapters.projectx_server.config import ServerConfig
from backstop.adapters.projectx_server.venue import EventSink, MarketEvent, Outcome
from backstop.config.secret import Secret
from backstop.domain.commands import PlaceOrder
from backstop.domain.events import Answer
from backstop.domain.order import OrderType, Side
from backstop.entrypoints.lean_start import all_is_loaded

if __name__ == "__main__":  # as a process of its own it is not part of the package
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.venue import API_KEY, USER

KEY = "key-of-the-pass-through"


class PassThrough:
    """A venue that is somewhere else: a limit order goes there as it came."""

    def __init__(self, client: ProjectXGateway, account: int) -> None:
        self._client = client
        self._account = account

    async def place(self, body: PlaceBody) -> Outcome:
        """Send an order on and bring back the answer."""
        tag = body.custom_tag or ""
        answered = await self._client.place_order(
            PlaceOrder(
                client_order_id=tag,
                custom_tag=tag,
                account_id=body.account_id,
                contract_id=body.contract_id,
                type=OrderType.LIMIT,
                side=Side.BUY if body.side == WireSide.BID else Side.SELL,
                quantity=body.size,
                limit_price=body.limit_price,
            )
        )
        if answered.answer is not Answer.YES:
            raise RuntimeError(f"the venue answered {answered}")
        return Outcome(order_id=answered.broker_order_id)

    def desk(self, user: str) -> Any:
        """Return itself: only orders are placed here."""
        del user
        return self

    def subscribe(self, sink: EventSink) -> None:
        """Send nothing."""

    def accounts(self, user: str, *, only_active: bool) -> Sequence[AccountRow]:
        """Return none: nobody asks."""
        del user, only_active
        return ()

    def owns(self, user: str, account_id: int) -> bool:
        """Tell whether it is the one account."""
        del user
        return account_id == self._account

    def market_snapshot(self, target: str, contract_id: str) -> list[MarketEvent]:
        """Return nothing."""
        del target, contract_id
        return []


async def _serve(url: str, account: int) -> None:
    clock = SystemClock()
    async with ProjectXGateway(
        api_url=url, user_name=USER, api_key=Secret(API_KEY), clock=clock
    ) as client:
        await client.instruments()  # logs in, and opens a connection
        app = make_app(
            PassThrough(client, account),
            ServerConfig(users={USER: KEY}, general_limit=None),
            now_us=clock.utc_us,
        )
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        listener = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(runner, listener).start()
        all_is_loaded()
        sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]} {KEY}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
