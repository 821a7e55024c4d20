"""A gateway on a free loopback port over a small venue in memory, and raw clients for it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from backstop.adapters.projectx.wire import (
    AccountRow,
    BarRow,
    BarsBody,
    ContractRow,
    ModifyBody,
    OrderRow,
    PlaceBody,
    PositionRow,
    QueryBody,
    TradeRow,
)
from backstop.adapters.projectx_server.app import GatewayServer
from backstop.adapters.projectx_server.config import ServerConfig
from backstop.adapters.projectx_server.hub_limits import HubLimits
from backstop.adapters.projectx_server.interference import Interference
from backstop.adapters.projectx_server.venue import EventSink, MarketEvent, Outcome, UserEvent

USER = "Trader77"
API_KEY = "key-of-trader-77"
ACCOUNT = 31004501
CONTRACT = "CON.F.US.MNQ.Z26"
START_US = 1_790_951_467_600_836  # 2026-10-02T14:31:07.600836Z
WAIT_S = 10.0


class MemoryVenue:
    """A venue that keeps what it is told: orders rest, a close flattens, nothing ever matches."""

    def __init__(self) -> None:
        self.account_rows = [
            AccountRow(id=ACCOUNT, name="PRAC-1", balance=Decimal("149812.30"), can_trade=True)
        ]
        self.contract_rows = [
            contract_row(CONTRACT, "MNQZ6"),
            contract_row("CON.F.US.MNQ.U26", "MNQU6", active=False),
        ]
        self.bar_rows: list[BarRow] = []
        self.order_rows: list[OrderRow] = []
        self.position_rows: list[PositionRow] = []
        self.trade_rows: list[TradeRow] = []
        self.placed: list[PlaceBody] = []
        self.modified: list[ModifyBody] = []
        self.outcome = Outcome()
        self.sinks: list[EventSink] = []

    def emit(self, event: UserEvent | MarketEvent) -> None:
        for sink in self.sinks:
            sink(event)

    def subscribe(self, sink: EventSink) -> None:
        self.sinks.append(sink)

    def desk(self, user: str) -> "MemoryVenue":
        del user
        return self

    def accounts(self, user: str, *, only_active: bool) -> Sequence[AccountRow]:
        return [
            row for row in self.account_rows if user == USER and (row.can_trade or not only_active)
        ]

    def owns(self, user: str, account_id: int) -> bool:
        return user == USER and any(row.id == account_id for row in self.account_rows)

    def contracts(self) -> Sequence[ContractRow]:
        return self.contract_rows

    def contract(self, contract_id: str) -> ContractRow | None:
        return next((row for row in self.contract_rows if row.id == contract_id), None)

    def bars(self, body: BarsBody) -> tuple[int, list[BarRow]]:
        if body.contract_id != CONTRACT:
            return 1, []
        return 0, self.bar_rows[: body.limit]

    def place(self, body: PlaceBody) -> Outcome:
        self.placed.append(body)
        order = order_row(3_501_000_100 + len(self.placed), tag=body.custom_tag)
        if self.outcome.code:
            order.status = 5
        self.order_rows.append(order)
        self.emit(
            UserEvent(target="GatewayUserOrder", account_id=body.account_id, action=1, data=order)
        )
        return Outcome(code=self.outcome.code, message=self.outcome.message, order_id=order.id)

    def modify(self, body: ModifyBody) -> Outcome:
        self.modified.append(body)
        return self.outcome if self.order(body.account_id, body.order_id) else Outcome(code=2)

    def cancel(self, account_id: int, order_id: int) -> Outcome:
        order = self.order(account_id, order_id)
        if order is None:
            return Outcome(code=2)
        order.status = 3
        return self.outcome

    def orders(self, account_id: int, start_us: int, end_us: int | None) -> list[OrderRow]:
        del start_us, end_us
        return [row for row in self.order_rows if row.account_id == account_id]

    def open_orders(self, account_id: int) -> list[OrderRow]:
        return [row for row in self.orders(account_id, 0, None) if row.status == 1]

    def order(self, account_id: int, order_id: int) -> OrderRow | None:
        found = [row for row in self.orders(account_id, 0, None) if row.id == order_id]
        return found[0] if found else None

    def query_orders(self, body: QueryBody) -> tuple[list[OrderRow], int]:
        rows = self.orders(body.filter.account_id, 0, None)
        return rows[body.page_offset : body.page_offset + body.page_size], len(rows)

    def positions(self, account_id: int) -> list[PositionRow]:
        return [row for row in self.position_rows if row.account_id == account_id]

    def close_position(self, account_id: int, contract_id: str) -> Outcome:
        held = [row for row in self.positions(account_id) if row.contract_id == contract_id]
        if not held:
            return Outcome(code=2)
        self.position_rows.remove(held[0])
        return Outcome()

    def partial_close(self, account_id: int, contract_id: str, size: int) -> Outcome:
        held = [row for row in self.positions(account_id) if row.contract_id == contract_id]
        if not held:
            return Outcome(code=2)
        if not 0 < size <= held[0].size:
            return Outcome(code=5)
        held[0].size -= size
        return Outcome()

    def trades(self, account_id: int, start_us: int | None, end_us: int | None) -> list[TradeRow]:
        del start_us, end_us
        return [row for row in self.trade_rows if row.account_id == account_id]

    def market_snapshot(self, target: str, contract_id: str) -> list[MarketEvent]:
        if target != "GatewayDepth":
            return []
        reset = {"contractId": contract_id, "type": 6, "price": 0, "volume": 0}
        return [MarketEvent(target=target, contract_id=contract_id, data=[reset])]


def contract_row(contract_id: str, name: str, *, active: bool = True) -> ContractRow:
    return ContractRow(
        id=contract_id,
        name=name,
        description="Micro E-mini Nasdaq-100",
        tick_size=Decimal("0.25"),
        tick_value=Decimal("0.50"),
        active_contract=active,
        symbol_id="F.US.MNQ",
    )


def order_row(order_id: int, *, status: int = 1, tag: str | None = None) -> OrderRow:
    return OrderRow(
        id=order_id,
        account_id=ACCOUNT,
        contract_id=CONTRACT,
        symbol_id="F.US.MNQ",
        creation_timestamp="2026-10-02T14:31:07.600836+00:00",
        update_timestamp="2026-10-02T14:31:07.600836+00:00",
        status=status,
        type=1,
        side=0,
        size=1,
        limit_price=Decimal("21010.250"),
        custom_tag=tag,
    )


class Hub:
    """A raw SignalR client: it shows every record and hides nothing."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.frames: list[bytes] = []
        self._records: list[Any] = []
        self._rest = b""

    async def send(self, *records: object) -> None:
        text = "".join(json.dumps(record) + "\x1e" for record in records)
        await self.socket.send_str(text)

    async def shake_hands(self, *, version: int = 1) -> Any:
        await self.send({"protocol": "json", "version": version})
        return await self.next()

    async def invoke(self, target: str, *arguments: object) -> Any:
        call_id = f"call {target} {len(self.frames)}"
        await self.send(
            {"type": 1, "invocationId": call_id, "target": target, "arguments": arguments}
        )
        early = []  # events may overtake the answer: they stay readable
        while (record := await self.next()).get("invocationId") != call_id:
            early.append(json.dumps(record).encode())
        self._records[:0] = early
        return record

    async def next(self) -> Any:
        """Return the next record; a closed connection gives ``None``."""
        async with asyncio.timeout(WAIT_S):
            while not self._records:
                message = await self.socket.receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    self.frames.append(message.data.encode())
                    *whole, self._rest = (self._rest + message.data.encode()).split(b"\x1e")
                    self._records += whole
                else:
                    return None
        record = self._records.pop(0)
        try:
            return json.loads(record)
        except json.JSONDecodeError:
            return record

    async def next_event(self, target: str) -> Any:
        while (record := await self.next()) is not None and record.get("target") != target:
            pass
        return record

    async def ended(self) -> list[Any]:
        """Return the records until the connection ends."""
        records = []
        while (record := await self.next()) is not None:
            records.append(record)
        return records


class Gateway:
    """One running gateway and the client session that talks to it."""

    def __init__(self, server: GatewayServer, venue: MemoryVenue, now: list[int]) -> None:
        self.server = server
        self.venue = venue
        self.now = now  # one item: the venue's time in microseconds
        self.url = ""
        self.http: aiohttp.ClientSession
        self.token = ""

    async def post(
        self, path: str, body: object = None, *, token: str | None = None, raw: bytes | None = None
    ) -> aiohttp.ClientResponse:
        bearer = self.token if token is None else token
        return await self.http.post(
            f"{self.url}/api/{path}",
            data=raw if raw is not None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                **({"Authorization": f"Bearer {bearer}"} if bearer else {}),
            },
        )

    async def call(self, path: str, body: object = None) -> Any:
        answer = await self.post(path, body)
        assert answer.status == 200, (answer.status, await answer.text())
        return json.loads(await answer.read(), parse_float=Decimal)

    async def login(self) -> str:
        answer = await self.call("Auth/loginKey", {"userName": USER, "apiKey": API_KEY})
        return str(answer["token"])

    @asynccontextmanager
    async def hub(self, name: str, *, shake: bool = True, query: str = "") -> AsyncIterator[Hub]:
        async with self.http.ws_connect(
            f"{self.url}/hubs/{name}{query}",
            headers={"Authorization": f"Bearer {self.token}"},
            max_msg_size=0,
        ) as socket:
            hub = Hub(socket)
            if shake:
                assert await hub.shake_hands() == {}
            yield hub


@asynccontextmanager
async def running(
    config: ServerConfig | None = None,
    interference: Interference | None = None,
    attach: Callable[[GatewayServer], None] | None = None,
    limits: HubLimits | None = None,
) -> AsyncIterator[Gateway]:
    venue = MemoryVenue()
    now = [START_US]
    server = GatewayServer(
        venue,
        config or ServerConfig(users={USER: API_KEY}),
        now_us=lambda: now[0],
        interference=interference,
        user_limits=limits,
        market_limits=limits,
    )
    if attach is not None:
        attach(server)
    runner = web.AppRunner(server.app, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    gateway = Gateway(server, venue, now)
    gateway.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WAIT_S)) as http:
            gateway.http = http
            gateway.token = await gateway.login()
            yield gateway
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], bool]) -> None:
    """Give the server turns of the event loop until ``condition`` holds."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - the server announces no such event
            await asyncio.sleep(0)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running() as instance:
        yield instance
