"""The whole simulator over real sockets: log in, trade, listen, look back, break things."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from backstop.errors import DataFileError, SettingError
from backstop.simulator.exchange import Exchange
from backstop.simulator.exchange_config import BracketMode
from backstop.simulator.fault_rules import FaultKind, FaultRule
from backstop.simulator.live_exchange import OWN_CALLS, LiveExchange
from backstop.simulator.process import (
    COMBINE_ACCOUNT_ID,
    PRACTICE_ACCOUNT_ID,
    Simulator,
    SimulatorConfig,
)
from backstop.simulator.sessions import HOUR_US, SECOND_US, instant_us
from backstop.simulator.sources import Calendar

_LIMIT_S = 40.0
_TUESDAY_US = instant_us(datetime(2026, 11, 17, 16, 0, tzinfo=UTC))
_SUNDAY_US = instant_us(datetime(2026, 11, 15, 16, 0, tzinfo=UTC))
_MES, _MNQ = "CON.F.US.MES.Z26", "CON.F.US.MNQ.Z26"


def a_config(**changes: Any) -> SimulatorConfig:
    return SimulatorConfig(
        **{"user": "trader77", "api_key": "key", "start_us": _TUESDAY_US, **changes}
    )


class Client:
    """A plain client of the gateway, as a stranger would write it."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._token = ""

    async def log_in(self) -> None:
        self._token = (await self.post("Auth/loginKey", userName="trader77", apiKey="key"))["token"]

    async def post(self, path: str, **body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"}
        async with self._session.post(
            f"{self._url}/api/{path}", json=body, headers=headers
        ) as answer:
            assert answer.status == 200, await answer.text()
            return json.loads(await answer.text(), parse_float=Decimal)

    async def place(self, **changes: Any) -> Any:
        order = {
            "accountId": PRACTICE_ACCOUNT_ID,
            "contractId": _MES,
            "type": 2,
            "side": 0,
            "size": 1,
        }
        return await self.post("Order/place", **{**order, **changes})

    async def until(self, path: str, good: Callable[[Any], bool], **body: Any) -> Any:
        """Ask again and again until the answer is good."""
        async with asyncio.timeout(_LIMIT_S):
            while True:
                answer = await self.post(path, **body)
                if good(answer):
                    return answer

    async def listen(self, hub: str, *calls: tuple[str, object]) -> aiohttp.ClientWebSocketResponse:
        socket = await self._session.ws_connect(
            f"{self._url}/hubs/{hub}?access_token={self._token}"
        )
        await socket.send_str('{"protocol":"json","version":1}\x1e')
        for target, argument in calls:
            call = {"type": 1, "target": target, "arguments": [argument]}
            await socket.send_str(f"{json.dumps(call)}\x1e")
        return socket


async def passed(simulator: Simulator, us: int) -> None:
    """Wait until simulated time has passed ``us``."""
    async with asyncio.timeout(_LIMIT_S):
        while simulator.clock.now_us() < us:  # noqa: ASYNC110 - time is moved by the loop itself
            await asyncio.sleep(0)


async def hear(socket: aiohttp.ClientWebSocketResponse, target: str) -> list[Any]:
    """Return the arguments of the next event named ``target``."""
    async with asyncio.timeout(_LIMIT_S):
        async for message in socket:
            for text in message.data.split("\x1e"):
                record = json.loads(text, parse_float=Decimal) if text else {}
                if record.get("target") == target:
                    return list(record["arguments"])
    raise AssertionError(f"the hub closed before {target}")


@asynccontextmanager
async def running(config: SimulatorConfig) -> AsyncIterator[tuple[Simulator, Client]]:
    async with (
        Simulator(config) as simulator,
        aiohttp.ClientSession() as session,
    ):
        client = Client(session, simulator.url)
        await client.log_in()
        yield simulator, client


async def test_a_newcomer_finds_two_accounts_and_51_contracts() -> None:
    async with running(a_config()) as (_, client):
        accounts = (await client.post("Account/search", onlyActiveAccounts=True))["accounts"]
        contracts = (await client.post("Contract/available", live=False))["contracts"]

    assert {row["id"]: (row["name"], row["balance"]) for row in accounts} == {
        PRACTICE_ACCOUNT_ID: ("PRAC-V2-900001-87654321", 150_000),
        COMBINE_ACCOUNT_ID: ("50KTC-V2-900001-12345678", 50_000),
    }
    assert len(contracts) == 51
    assert all(row["activeContract"] for row in contracts)


async def test_an_order_with_a_bracket_fills_at_once_on_a_sunday() -> None:
    async with running(a_config(start_us=_SUNDAY_US)) as (_, client):
        answer = await client.place(
            stopLossBracket={"ticks": -400, "type": 4}, takeProfitBracket={"ticks": 800, "type": 1}
        )
        assert answer["success"]
        legs = await client.until(
            "Order/searchOpen",
            lambda answer: len(answer["orders"]) == 2,
            accountId=PRACTICE_ACCOUNT_ID,
        )
        positions = await client.post("Position/searchOpen", accountId=PRACTICE_ACCOUNT_ID)

    assert [row["size"] for row in positions["positions"]] == [1]
    entry = positions["positions"][0]["averagePrice"]
    stop, target = sorted(legs["orders"], key=lambda row: row["id"])
    assert (stop["stopPrice"], target["limitPrice"]) == (entry - 100, entry + 200)


async def test_every_active_contract_takes_a_market_order_and_a_trailing_stop_at_once() -> None:
    async with running(a_config()) as (simulator, client):
        for row in simulator.exchange.contracts():
            if not row.active_contract:
                continue
            market = await client.place(contractId=row.id)
            assert market["success"], (row.id, market)
        for listing in simulator.listings[:4]:
            level = listing.product.start_price * Decimal("0.99")
            level -= level % listing.product.tick_size
            trailing = await client.place(
                contractId=listing.active.id, type=5, side=1, trailPrice=float(level)
            )
            assert trailing["success"], trailing


async def test_a_contract_that_has_rolled_is_refused() -> None:
    async with running(a_config()) as (_, client):
        answer = await client.place(contractId="CON.F.US.MES.U26")

    assert (answer["success"], answer["errorCode"]) == (False, 9)


async def test_brackets_are_refused_on_accounts_with_position_brackets() -> None:
    async with running(a_config(bracket_mode=BracketMode.POSITION)) as (_, client):
        answer = await client.place(stopLossBracket={"ticks": -40, "type": 4})

    assert (answer["success"], answer["errorCode"]) == (False, 2)
    assert "Auto OCO" in answer["errorMessage"]


async def test_the_market_hub_tells_quotes_trades_and_depth() -> None:
    async with running(a_config()) as (_, client):
        socket = await client.listen(
            "market",
            ("SubscribeContractQuotes", _MNQ),
            ("SubscribeContractTrades", _MNQ),
        )
        contract_id, quote = await hear(socket, "GatewayQuote")
        assert contract_id == _MNQ
        assert quote["bestBid"] < quote["bestAsk"]
        _, trades = await hear(socket, "GatewayTrade")
        assert trades[0]["symbolId"] == "F.US.MNQ"
        depth = await client.listen("market", ("SubscribeContractMarketDepth", _MNQ))
        _, rows = await hear(depth, "GatewayDepth")
        assert rows[0]["type"] == 6
        assert len(rows) > 100


async def test_no_depth_comes_ahead_of_the_snapshot_however_fast_the_market() -> None:
    async with running(a_config(speed=1_000)) as (simulator, client):
        for listing in simulator.listings[:8]:
            contract_id = listing.active.id
            depth = await client.listen("market", ("SubscribeContractMarketDepth", contract_id))
            _, rows = await hear(depth, "GatewayDepth")
            await depth.close()
            assert rows[0]["type"] == 6, contract_id


async def test_the_user_hub_tells_of_the_fill() -> None:
    async with running(a_config()) as (_, client):
        socket = await client.listen("user", ("SubscribeTrades", PRACTICE_ACCOUNT_ID))
        await client.place()
        (event,) = await hear(socket, "GatewayUserTrade")

    assert event["data"]["contractId"] == _MES
    assert event["data"]["size"] == 1


async def test_65_sessions_of_bars_are_there_from_the_first_second() -> None:
    async with running(a_config()) as (_, client):
        answer = await client.post(
            "History/retrieveBars",
            contractId=_MES,
            live=False,
            startTime="2026-01-01T00:00:00Z",
            endTime="2026-12-31T00:00:00Z",
            unit=2,
            unitNumber=5,
            limit=20_000,
            includePartialBar=True,
        )

    bars = answer["bars"]
    assert len(bars) > 65 * 270
    assert bars[0]["t"] == "2026-11-17T16:00:00+00:00", "the running bar"
    assert bars == sorted(bars, key=lambda bar: bar["t"], reverse=True)


async def test_a_replayed_price_is_the_price_that_orders_get(tmp_path: Path) -> None:
    path = tmp_path / "ES.csv"
    path.write_text(
        "ts_utc,open,high,low,close,volume\n2024-08-05T14:00:00Z,5199,5199,5199,5199,100\n",
        "utf-8",
    )
    async with running(a_config(data=(path,))) as (_, client):
        await client.place()
        trades = await client.until(
            "Trade/search",
            lambda answer: answer["trades"],
            accountId=PRACTICE_ACCOUNT_ID,
            startTimestamp="2026-11-01T00:00:00Z",
        )

    assert Decimal(5198) <= trades["trades"][0]["price"] <= Decimal(5200)


async def test_the_exchange_calendar_refuses_orders_on_a_sunday_morning() -> None:
    config = a_config(start_us=_SUNDAY_US, calendar=Calendar.CME)
    async with running(config) as (_, client):
        answer = await client.place()

    assert not answer["success"]
    assert "not in an active trading status" in answer["errorMessage"]


async def test_the_exchange_calendar_closes_and_opens_by_itself() -> None:
    closes_us = instant_us(datetime(2026, 11, 17, 22, 0, tzinfo=UTC))
    config = a_config(
        start_us=closes_us - 60 * SECOND_US, calendar=Calendar.CME, speed=0, quote_density=0.1
    )
    simulator = Simulator(config)
    market = simulator.exchange

    def buy() -> tuple[int, int]:
        answer = market.place_manual(PRACTICE_ACCOUNT_ID, _MES, type=2, side=0, size=1)
        return market.now_us, answer.code

    assert buy() == (config.start_us, 0)
    codes = []
    async with asyncio.timeout(_LIMIT_S), simulator:
        while market.now_us < closes_us + HOUR_US:
            await asyncio.sleep(0)
            codes.append(buy())
    assert {code for now_us, code in codes if now_us < closes_us} <= {0}
    assert {code for now_us, code in codes if closes_us <= now_us < closes_us + HOUR_US} <= {2}
    assert codes[-1][1] == 0


async def test_a_virtual_clock_runs_far_in_no_time_and_stays_in_order() -> None:
    async with running(a_config(speed=0, quote_density=0.1)) as (simulator, client):
        await passed(simulator, _TUESDAY_US + HOUR_US)
        await client.place()
        await client.until(
            "Position/searchOpen",
            lambda answer: answer["positions"],
            accountId=PRACTICE_ACCOUNT_ID,
        )
        assert simulator.items_played > 1_000


async def test_faults_strike_and_the_truth_is_told_beside_them() -> None:
    told: list[FaultKind] = []
    lost = FaultRule(on="Order/place", act=FaultKind.LOSE_RESPONSE)
    config = a_config(faults=(lost,))
    async with (
        Simulator(config, on_fault=lambda fault: told.append(fault.act)) as simulator,
        aiohttp.ClientSession() as session,
    ):
        client = Client(session, simulator.url)
        await client.log_in()
        with pytest.raises(aiohttp.ClientError):
            await client.place(customTag="lost")
        async with session.get(f"{simulator.url}/_simulator/truth") as answer:
            truth = await answer.json()

    assert told == [FaultKind.LOSE_RESPONSE]
    assert [order["customTag"] for order in truth["orders"]] == ["lost"]


async def test_equal_seeds_trade_at_equal_prices_and_times() -> None:
    async def trades(seed: int) -> Any:
        simulator = Simulator(a_config(speed=0, seed=seed))
        for contract_id in (_MES, _MNQ):
            simulator.exchange.place_manual(
                PRACTICE_ACCOUNT_ID, contract_id, type=2, side=0, size=2
            )
        simulator.exchange.place_manual(
            PRACTICE_ACCOUNT_ID, _MES, type=4, side=1, size=2, stop_price=Decimal("5998.00")
        )
        async with simulator:
            await passed(simulator, _TUESDAY_US + 600 * SECOND_US)
            return simulator.exchange.truth()["trades"]

    assert await trades(5) == await trades(5) != await trades(6)


async def test_two_simulators_live_side_by_side_and_a_taken_port_is_named() -> None:
    async with Simulator(a_config()) as first, Simulator(a_config()) as second:
        assert first.port != second.port
        with pytest.raises(SettingError, match=f"{first.port} cannot be listened on"):
            async with Simulator(a_config(port=first.port)):
                pass


async def test_no_address_but_one_is_served() -> None:
    async with Simulator(a_config()) as simulator:
        assert simulator.url == f"http://127.0.0.1:{simulator.port}"
        with pytest.raises(OSError, match=str(simulator.port)):
            await asyncio.open_connection("127.0.0.2", simulator.port)


async def test_open_hub_connections_do_not_delay_the_end() -> None:
    async with aiohttp.ClientSession() as session:
        async with Simulator(a_config()) as simulator:
            client = Client(session, simulator.url)
            await client.log_in()
            socket = await client.listen("market", ("SubscribeContractQuotes", _MNQ))
            await hear(socket, "GatewayQuote")
            loop = asyncio.get_running_loop()
            before_s = loop.time()
        assert loop.time() - before_s < _LIMIT_S
        assert socket.closed or (await socket.receive()).type is not aiohttp.WSMsgType.ERROR


def test_unusable_data_is_named_before_anything_listens(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="no such file"):
        Simulator(a_config(data=(tmp_path / "absent.csv",)))


def test_every_call_of_the_exchange_is_made_in_the_present() -> None:
    public = {name for name in vars(Exchange) if not name.startswith("_")}

    wrapped = {name for name in vars(LiveExchange) if not name.startswith("_")}

    assert wrapped == public - OWN_CALLS
