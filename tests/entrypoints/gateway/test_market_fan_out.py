"""Market data of the venue for many bots, from one subscription for each contract and kind."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from tests.adapters.projectx_server.conftest import Hub
from tests.app.desk import API_KEY, USER, a_desk, until
from tests.entrypoints.gateway.bots import Bot, Front, in_front
from tests.entrypoints.gateway.hearing import on_hub

from backstop.adapters.projectx_server.hub_limits import Misuse
from backstop.core.trading_state import TradingState
from backstop.domain.events import Hub as HubName
from backstop.entrypoints.gateway import market_fan_out
from backstop.entrypoints.gateway.market_fan_out import MarketFanOut
from backstop.simulator.fault_rules import FaultKind
from backstop.simulator.fault_rules import HubName as FaultyHub
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUOTE, TRADE, DEPTH = "GatewayQuote", "GatewayTrade", "GatewayDepth"
METHODS = {QUOTE: "ContractQuotes", TRADE: "ContractTrades", DEPTH: "ContractMarketDepth"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(venue: Simulator, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    """One guard with its gateway for all tests of this file; streams are left at once."""
    folder = tmp_path_factory.mktemp("fan-out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        async with in_front(a_desk(venue, folder)) as front:
            fan_out_of(front)._linger_s = 0.0
            yield front


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bot(front: Front) -> Bot:
    return await front.bot("market-bot")


def fan_out_of(front: Front) -> MarketFanOut:
    return front.gateway._event_side.fan_out


def upstream(front: Front) -> Counter[tuple[str, object]]:
    """Return the subscriptions that the venue serves to the guard's account."""
    found: Counter[tuple[str, object]] = Counter()
    for connection in front.desk.venue.server.market_hub.connections:
        found += connection.groups
    return found


async def subscribe(hub: Hub, target: str, contract_id: str) -> Any:
    return await hub.invoke(f"Subscribe{METHODS[target]}", contract_id)


async def unsubscribe(hub: Hub, target: str, contract_id: str) -> Any:
    return await hub.invoke(f"Unsubscribe{METHODS[target]}", contract_id)


def traded(front: Front) -> str:
    return front.guard.instrument("MES").contract_id


def foreign(front: Front, count: int = 1) -> list[str]:
    """Return contracts that the venue lists and the guard does not trade."""
    link = front.guard.manager.parts.link
    own = {it.contract_id for it in link.instruments}
    listed = [it.contract_id for it in front.guard.book.instruments.values() if it.active]
    return [contract_id for contract_id in listed if contract_id not in own][:count]


async def next_record(hub: Hub, target: str) -> bytes:
    """Return the bytes of the next event of a kind."""
    while True:
        message = await hub.socket.receive(timeout=30)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        text: str = message.data
        for record in text.split("\x1e"):
            if f'"target":"{target}"' in record:
                return record.encode()


async def test_ten_bots_hear_what_one_subscription_brings_byte_for_byte(
    front: Front, bot: Bot
) -> None:
    """A client of the venue itself gets the very same records."""
    contract_id = traded(front)
    venue = front.desk.venue
    async with AsyncExitStack() as stack:
        hubs = [await stack.enter_async_context(on_hub(bot, "market")) for _ in range(10)]
        for hub in hubs:
            assert (await subscribe(hub, QUOTE, contract_id))["result"] is None
        direct = await stack.enter_async_context(at_the_venue(venue))
        await subscribe(direct, QUOTE, contract_id)
        sent = [await next_record(direct, QUOTE) for _ in range(5)]
        heard = [[await next_record(hub, QUOTE) for _ in range(30)] for hub in hubs]

        for records in heard:
            assert set(sent[1:4]) <= set(records)
        assert upstream(front)[QUOTE, contract_id] == 2, "the guard's, and that of the test"


@asynccontextmanager
async def at_the_venue(venue: Simulator) -> AsyncIterator[Hub]:
    """Connect a client to the market hub of the venue itself."""
    async with aiohttp.ClientSession() as http:
        body = {"userName": USER, "apiKey": API_KEY}
        answer = await http.post(f"{venue.url}/api/Auth/loginKey", json=body)
        token = (await answer.json())["token"]
        headers = {"Authorization": f"Bearer {token}"}
        async with http.ws_connect(f"{venue.url}/hubs/market", headers=headers) as socket:
            hub = Hub(socket)
            assert await hub.shake_hands() == {}
            yield hub


async def test_a_foreign_contract_is_heard_on_first_interest_and_left_after_the_last(
    front: Front, bot: Bot
) -> None:
    (contract_id,) = foreign(front)
    async with on_hub(bot, "market") as first, on_hub(bot, "market") as second:
        for target in (QUOTE, TRADE):
            for hub in (first, second):
                assert (await subscribe(hub, target, contract_id))["result"] is None
        await until(lambda: upstream(front)[TRADE, contract_id] == 1, "subscribed upstream")
        assert upstream(front)[QUOTE, contract_id] == 1
        await next_record(first, QUOTE)
        await unsubscribe(first, QUOTE, contract_id)
        await next_record(second, QUOTE)
        assert upstream(front)[QUOTE, contract_id] == 1, "one bot still listens"
    await until(
        lambda: not any(contract_id in group for group in upstream(front)),
        lambda: upstream(front),
    )
    assert upstream(front)[QUOTE, traded(front)] == 1, "what the guard watches stays"


async def test_bots_stay_connected_while_the_venue_is_away_and_hear_again_afterwards(
    front: Front, bot: Bot
) -> None:
    (contract_id,) = foreign(front)
    async with on_hub(bot, "market") as hub:
        for target, of in ((QUOTE, contract_id), (DEPTH, traded(front))):
            await subscribe(hub, target, of)
        await next_record(hub, QUOTE)
        generation = front.guard.manager.parts.link._hubs.health(HubName.MARKET).link.generation
        front.desk.mischief("now", FaultKind.HUB_RESET, hub=FaultyHub.MARKET)
        await until(
            lambda: (
                front.guard.manager.parts.link._hubs.health(HubName.MARKET).link.generation
                > generation
            ),
            "a new connection upstream",
        )
        await until(lambda: upstream(front)[DEPTH, traded(front)] == 1, "subscribed anew")
        await until(lambda: upstream(front)[QUOTE, contract_id] == 1, "subscribed anew")
        await next_record(hub, QUOTE)
        await next_record(hub, DEPTH)
        assert not hub.socket.closed


async def test_depth_begins_with_a_snapshot_for_whoever_joins_later_too(
    front: Front, bot: Bot
) -> None:
    contract_id = traded(front)
    async with on_hub(bot, "market") as first, on_hub(bot, "market") as second:
        for hub in (first, second):
            await subscribe(hub, DEPTH, contract_id)
            event = await hub.next_event(DEPTH)
            rows = event["arguments"][1]
            assert rows[0]["type"] == 6, "the reset comes first"
            assert len(rows) > 1, "and the levels with it"
        assert upstream(front)[DEPTH, contract_id] == 1
        assert fan_out_of(front).counts().snapshots_asked >= 1
    await until(lambda: not upstream(front)[DEPTH, contract_id], "left after the last")


async def test_a_late_joiner_gets_the_changes_where_no_second_snapshot_comes(
    front: Front, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_fan_out, "SNAPSHOT_PAUSE_S", 0.2)
    contract_id = front.guard.instrument("MNQ").contract_id
    async with on_hub(bot, "market") as first, on_hub(bot, "market") as second:
        await subscribe(first, DEPTH, contract_id)
        await first.next_event(DEPTH)
        fan_out = fan_out_of(front)
        monkeypatch.setattr(fan_out._relay, "renew", lambda *_: None)
        await subscribe(second, DEPTH, contract_id)
        hub = front.gateway.server.market_hub
        await until(
            lambda: all(it.groups[DEPTH, contract_id] for it in hub.connections),
            "both hear the changes",
        )


async def test_contracts_that_the_guard_does_not_trade_are_heard_within_a_limit(
    front: Front, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_fan_out, "FOREIGN_CONTRACTS_MAX", 2)
    first, second, third = foreign(front, 3)
    async with on_hub(bot, "market") as hub:
        for contract_id in (first, second):
            assert (await subscribe(hub, QUOTE, contract_id))["result"] is None
        refused = await subscribe(hub, QUOTE, third)
        assert "2 contracts that the guard does not trade are heard already" in refused["error"]
        assert (await subscribe(hub, TRADE, first))["result"] is None
        assert (await subscribe(hub, QUOTE, traded(front)))["result"] is None
        await unsubscribe(hub, QUOTE, second)
        await until(lambda: fan_out_of(front).counts().foreign_contracts == 1, "one is left")
        assert (await subscribe(hub, QUOTE, third))["result"] is None
        assert front.gateway.server.market_hub.tally.counts[Misuse.NOT_ADMITTED] == 1


@pytest.mark.parametrize("contract_id", ["CON.F.US.NONE.Z26", ""])
async def test_a_contract_that_nobody_lists_stays_silent_and_is_not_asked_for(
    front: Front, bot: Bot, contract_id: str
) -> None:
    async with on_hub(bot, "market") as hub:
        assert (await subscribe(hub, QUOTE, contract_id))["result"] is None
        await subscribe(hub, QUOTE, traded(front))
        await next_record(hub, QUOTE)

        assert (QUOTE, contract_id) not in upstream(front)


async def test_a_contract_id_that_can_be_none_is_refused(front: Front, bot: Bot) -> None:
    async with on_hub(bot, "market") as hub:
        refused = await subscribe(hub, QUOTE, "C" * 65)
        assert "at most 64 characters" in refused["error"]
    assert front.guard.book.trading_state(front.guard.manager.now_ns()) is TradingState.ACTIVE


async def test_a_stream_that_is_wanted_again_at_once_makes_no_calls_at_the_venue(
    front: Front, bot: Bot
) -> None:
    fan_out, (contract_id,) = fan_out_of(front), foreign(front)
    fan_out._linger_s = 60.0
    try:
        async with on_hub(bot, "market") as hub:
            await subscribe(hub, QUOTE, contract_id)
            await until(lambda: upstream(front)[QUOTE, contract_id] == 1, "subscribed upstream")
            asked = calls_made(front)
            for _ in range(5):
                await unsubscribe(hub, QUOTE, contract_id)
                await subscribe(hub, QUOTE, contract_id)
            await next_record(hub, QUOTE)
            assert calls_made(front) == asked
    finally:
        fan_out._linger_s = 0.0


def calls_made(front: Front) -> int:
    """Return how many calls the guard has made on its market connection."""
    link = front.guard.manager.parts.link._hubs._links[HubName.MARKET]
    assert link._connection is not None
    return link._connection._invocations
