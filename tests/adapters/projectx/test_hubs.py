import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.adapters.projectx.conftest import (
    HubSocket,
    ScriptedHub,
    SystemClock,
    make_jwt,
    running,
    until,
)

from backstop.adapters.projectx.hubs import ProjectXHubs
from backstop.adapters.projectx.market_hub import SilenceLimits
from backstop.adapters.projectx.session import BearerToken
from backstop.adapters.projectx.signalr import HubTimings
from backstop.domain.events import (
    AccountReported,
    Fact,
    Hub,
    HubConnected,
    HubLost,
    OrderReported,
    PayloadRejected,
    PositionReported,
    SessionEvicted,
    Source,
    TradeReported,
)
from backstop.domain.quote import Quote
from backstop.errors import SettingError

ACCOUNT = 31004502
MES = "CON.F.US.MES.Z26"
MNQ = "CON.F.US.MNQ.Z26"
QUICK = HubTimings(delays_s=(0.0, 0.01, 0.02))
REPOSITORY = Path(__file__).parents[3]
DATA = REPOSITORY / os.environ.get("BACKSTOP_TEST_DATA", "../shared/data") / "gateway" / "projectx"

ORDER = {
    "id": 3501000101,
    "accountId": ACCOUNT,
    "contractId": MES,
    "creationTimestamp": "2026-10-02T14:31:07.6008362+00:00",
    "status": 1,
    "type": 4,
    "side": 1,
    "size": 1,
    "stopPrice": 5990.25,
    "customTag": "bs-abc-SL",
}
TRADE = {
    "id": 3090000022,
    "accountId": ACCOUNT,
    "contractId": MES,
    "creationTimestamp": "2026-10-02T14:33:41.406128+00:00",
    "price": 6000.5,
    "fees": 0.37,
    "side": 0,
    "size": 1,
    "voided": False,
    "orderId": 3501000100,
}
POSITION = {
    "id": 840000123,
    "accountId": ACCOUNT,
    "contractId": MES,
    "creationTimestamp": "2026-10-02T14:31:07.611387+00:00",
    "type": 0,
    "size": 0,
    "averagePrice": 6000.5,
}
ACCOUNT_ROW = {"id": ACCOUNT, "name": "PRAC", "balance": 150000.25, "canTrade": True}


class Tokens:
    async def token(self) -> BearerToken:
        return BearerToken(make_jwt(lives_s=3_600), ends_ns=2**62, life_ns=2**62)

    def refuse(self, token: BearerToken) -> None:
        raise AssertionError(token)


class Heard:
    """Everything that the hubs said."""

    def __init__(self, hubs: ProjectXHubs) -> None:
        self.hubs = hubs
        self.facts: list[Fact] = []
        self.quotes: list[tuple[Quote, int]] = []

    def of(self, kind: type) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def generations(self, hub: Hub) -> list[int]:
        return [fact.generation for fact in self.of(HubConnected) if fact.hub is hub]


def some_hubs(
    user: ScriptedHub,
    market: ScriptedHub,
    facts: list[Fact],
    quotes: list[tuple[Quote, int]],
    **options: Any,
) -> ProjectXHubs:
    settings: dict[str, Any] = {"contract_ids": (MES,), "timings": QUICK, **options}
    return ProjectXHubs(
        user_hub_url=user.url,
        market_hub_url=market.url,
        tokens=Tokens(),
        clock=SystemClock(),
        account_id=ACCOUNT,
        sink=facts.append,
        quotes=lambda quote, arrived_ns: quotes.append((quote, arrived_ns)),
        **settings,
    )


@asynccontextmanager
async def listening(
    user: ScriptedHub,
    market: ScriptedHub,
    *,
    contracts: tuple[str, ...] = (MES,),
    on_user_connected: Callable[[], Any] | None = None,
    **options: Any,
) -> AsyncIterator[Heard]:
    facts: list[Fact] = []
    quotes: list[tuple[Quote, int]] = []
    hubs = some_hubs(user, market, facts, quotes, contract_ids=contracts, **options)
    heard = Heard(hubs)
    heard.facts, heard.quotes = facts, quotes
    async with running(hubs.run(on_user_connected)):
        yield heard


async def stay(socket: HubSocket) -> None:
    await socket.handshake()
    await socket.serve()


def then_send(*events: tuple[Any, ...], calls: int = 0) -> Callable[[HubSocket], Any]:
    """Return a script that acknowledges ``calls`` subscriptions, sends events and stays."""

    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        await socket.acknowledge(calls)
        for target, *arguments in events:
            await socket.event(target, *arguments)
        await socket.serve()

    return script


# -- user hub --------------------------------------------------------------------------------------


async def test_the_user_hub_is_connected_only_after_all_four_acknowledgements(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    calls: list[tuple[str, list[Any]]] = []
    last = asyncio.Event()

    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        pending: list[dict[str, Any]] = []
        while len(pending) < 4:
            pending += [record for record in await socket.records() if record["type"] == 1]
        calls.extend((record["target"], record["arguments"]) for record in pending)
        for record in pending[:3]:
            await socket.send({"type": 3, "invocationId": record["invocationId"]})
        await socket.event("GatewayUserAccount", {"action": 1, "data": ACCOUNT_ROW})
        await last.wait()
        await socket.send({"type": 3, "invocationId": pending[3]["invocationId"]})
        await socket.serve()

    hub.scripts = [script]
    other_hub.scripts = [stay]
    async with listening(hub, other_hub) as heard:
        await until(lambda: heard.of(AccountReported))
        assert heard.generations(Hub.USER) == []
        last.set()
        await until(lambda: heard.generations(Hub.USER) == [1])

    assert sorted(calls) == [
        ("SubscribeAccounts", []),
        ("SubscribeOrders", [ACCOUNT]),
        ("SubscribePositions", [ACCOUNT]),
        ("SubscribeTrades", [ACCOUNT]),
    ]


async def test_every_user_event_becomes_its_fact_in_order(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    hub.scripts = [
        then_send(
            ("GatewayUserOrder", {"action": 1, "data": ORDER}),
            ("GatewayUserTrade", {"action": 0, "data": TRADE}),
            ("GatewayUserPosition", {"action": 2, "data": POSITION}),
            ("GatewayUserAccount", {"action": 1, "data": ACCOUNT_ROW}),
            calls=4,
        )
    ]
    other_hub.scripts = [stay]
    async with listening(hub, other_hub) as heard:
        await until(lambda: heard.of(AccountReported))

    kinds = (OrderReported, TradeReported, PositionReported, AccountReported)
    told = [fact for fact in heard.facts if isinstance(fact, kinds)]
    assert tuple(type(fact) for fact in told) == kinds
    assert all(fact.source is Source.HUB for fact in told)
    (order,) = heard.of(OrderReported)
    assert order.order.stop_price == Decimal("5990.25")
    assert json.loads(order.order.raw) == ORDER
    (position,) = heard.of(PositionReported)
    assert position.position.quantity == 0


async def test_bare_rows_lists_and_several_arguments_are_understood(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    wrapped = {"action": 1, "data": ORDER}
    hub.scripts = [
        then_send(
            ("GatewayUserOrder", ORDER),
            ("GatewayUserOrder", [wrapped, ORDER]),
            ("GatewayUserOrder", wrapped, wrapped),
        )
    ]
    other_hub.scripts = [stay]
    async with listening(hub, other_hub) as heard:
        await until(lambda: len(heard.of(OrderReported)) == 5)
        assert heard.of(PayloadRejected) == []


async def test_rows_that_make_no_sense_are_reported_and_the_others_count(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    hub.scripts = [
        then_send(
            ("GatewayUserOrder", [{**ORDER, "side": 7}, ORDER, {"action": 1, "data": None}]),
            ("GatewayUserTrade", 5),
            ("GatewayUserTrade", {"action": 0, "data": {**TRADE, "price": "?"}}),
            ("GatewayUserTrade", TRADE),
        )
    ]
    other_hub.scripts = [stay]
    async with listening(hub, other_hub) as heard:
        await until(lambda: heard.of(TradeReported))
        rejected = heard.of(PayloadRejected)

        assert len(heard.of(OrderReported)) == 1
        assert [fact.target for fact in rejected] == [
            "GatewayUserOrder",
            "GatewayUserOrder",
            "GatewayUserTrade",
            "GatewayUserTrade",
        ]
        assert "side 7" in rejected[0].fault
        assert heard.hubs.health(Hub.USER).counts.rejected == 4


async def test_what_is_no_event_is_reported_with_the_name_of_its_hub(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    """Without a target a report would name nothing that a person could look at."""

    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        await socket.send({"type": 99}, {"type": 1, "arguments": []})
        await socket.event("GatewayUserOrder", ORDER)
        await socket.serve()

    hub.scripts, other_hub.scripts = [script], [stay]
    async with listening(hub, other_hub) as heard:
        await until(lambda: heard.of(OrderReported))
        rejected = heard.of(PayloadRejected)

    assert [fact.target for fact in rejected] == ["/hubs/user", "/hubs/user"]
    assert "unknown type 99" in rejected[0].fault


async def test_unknown_events_are_counted_each_and_reported_once(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    """A bot once lost its fills for a day because nobody heard an event it did not know."""
    hub.scripts = [then_send(*[("GatewayUserFill", {"id": 1})] * 30, ("GatewayUserOrder", ORDER))]
    other_hub.scripts = [stay]
    async with listening(hub, other_hub) as heard:
        await until(lambda: heard.of(OrderReported))
        (report,) = heard.of(PayloadRejected)
        assert report.target == "GatewayUserFill"
        assert heard.hubs.health(Hub.USER).counts.unknown_targets == 30


async def test_a_flood_of_nonsense_is_counted_and_reported_within_a_bound(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    hub.scripts = [then_send(*[("GatewayUserOrder", 1)] * 500, ("GatewayUserOrder", ORDER))]
    other_hub.scripts = [stay]
    async with listening(hub, other_hub) as heard:
        await until(lambda: heard.of(OrderReported))
        counts = heard.hubs.health(Hub.USER).counts
        assert (counts.rejected, counts.unreported) == (500, 450)
        assert len(heard.of(PayloadRejected)) == 50


@pytest.mark.parametrize("arguments", [(), ("another session",), ({"reason": "x"},)])
async def test_a_logout_is_told_and_the_hub_comes_back_without_a_fight(
    hub: ScriptedHub, other_hub: ScriptedHub, arguments: tuple[Any, ...]
) -> None:
    hub.scripts = [then_send(("GatewayLogout", *arguments), calls=4), stay]
    other_hub.scripts = [stay]
    delays_s = (0.0, 30.0, 30.0, 30.0, 0.2)  # only the pause after an eviction is short
    timings = msgspec.structs.replace(QUICK, delays_s=delays_s)
    async with listening(hub, other_hub, timings=timings) as heard:
        await until(lambda: heard.generations(Hub.USER) == [1, 2])

    (evicted,) = heard.of(SessionEvicted)
    (lost,) = heard.of(HubLost)
    assert (evicted.hub, evicted.generation) == (Hub.USER, 1)
    assert lost.reason.startswith("GatewayLogout")
    assert heard.facts.index(evicted) < heard.facts.index(lost)


async def test_facts_of_a_connection_lie_between_its_connected_and_lost(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    async def short(socket: HubSocket) -> None:
        await socket.handshake()
        await socket.acknowledge(4)
        await socket.event("GatewayUserOrder", {**ORDER, "id": len(hub.opened)})
        socket.transport.close()

    hub.scripts = [short, short, short, stay]
    other_hub.scripts = [stay]
    async with listening(hub, other_hub) as heard:
        await until(lambda: heard.generations(Hub.USER) == [1, 2, 3, 4])

    story = []
    for fact in heard.facts:
        match fact:
            case OrderReported(order=order):
                story.append(("OrderReported", order.broker_order_id))
            case HubConnected(hub=Hub.USER) | HubLost(hub=Hub.USER):
                story.append((type(fact).__name__, fact.generation))
            case _:
                pass
    names = ("HubConnected", "OrderReported", "HubLost")
    assert story == [
        *((name, generation) for generation in (1, 2, 3) for name in names),
        ("HubConnected", 4),
    ]


async def test_the_start_of_the_systems_is_called_after_each_connection_and_survives_a_drop(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    begun = 0
    finished = 0
    proceed = asyncio.Event()

    async def start() -> None:
        nonlocal begun, finished
        begun += 1
        await proceed.wait()
        finished += 1

    async def drop(socket: HubSocket) -> None:
        await socket.handshake()
        await socket.acknowledge(4)
        await until(lambda: begun == 1)
        socket.abort()

    hub.scripts = [drop, stay]
    other_hub.scripts = [stay]
    async with listening(hub, other_hub, on_user_connected=start) as heard:
        await until(lambda: heard.generations(Hub.USER) == [1, 2])
        assert (begun, finished) == (1, 0)
        proceed.set()
        await until(lambda: finished == 2)


async def test_what_the_start_of_the_systems_raises_ends_the_hubs(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    async def start() -> None:
        raise RuntimeError("not ready")

    hub.scripts = other_hub.scripts = [stay]
    hubs = some_hubs(hub, other_hub, [], [])
    with pytest.raises(ExceptionGroup) as group:
        async with asyncio.timeout(5):
            await hubs.run(start)
    assert group.group_contains(RuntimeError, match="not ready")


# -- market hub ------------------------------------------------------------------------------------


async def test_sparse_quotes_are_merged_and_trades_move_the_last_price(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    now = "2026-08-19T20:51:31.348+00:00"
    trades = [
        {"symbolId": "F.US.MES", "price": 6000.75, "timestamp": "2026-08-19T20:51:31Z"},
        {"symbolId": "F.US.MES", "price": 6001, "timestamp": "2026-08-19T20:51:32Z"},
        {"symbolId": "F.US.MES", "price": 5, "timestamp": "2026-08-19T20:51:30Z"},
        None,
    ]
    other_hub.scripts = [
        then_send(
            ("GatewayQuote", MES, {"symbol": "F.US.MES", "bestBid": 6000.25, "timestamp": now}),
            ("GatewayQuote", MES, {"bestAsk": 6000.5, "lastPrice": 6000.25, "contract": MES}),
            ("GatewayTrade", MES, trades),
            ("GatewayTrade", MES, {"price": 6001.25, "timestamp": now}),
            ("GatewayQuote", MES, {"bestBid": None}),
            ("GatewayDepth", MES, [{"price": 1, "type": 5}]),
        )
    ]
    hub.scripts = [stay]
    async with listening(hub, other_hub) as heard:
        await until(lambda: len(heard.quotes) == 5)
        assert heard.of(PayloadRejected) == []

    seen = [(quote.bid, quote.ask, quote.last) for quote, _ in heard.quotes]
    bid, ask = Decimal("6000.25"), Decimal("6000.5")
    assert seen == [
        (bid, None, None),
        (bid, ask, Decimal("6000.25")),
        (bid, ask, Decimal(6001)),
        (bid, ask, Decimal("6001.25")),
        (None, ask, Decimal("6001.25")),
    ]
    arrivals = [arrived_ns for _, arrived_ns in heard.quotes]
    assert arrivals == sorted(arrivals)


async def test_prices_from_before_a_gap_are_forgotten(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    """A bid from before the gap beside an ask from after it would look like a fresh quote."""

    async def first(socket: HubSocket) -> None:
        await socket.handshake()
        await socket.event("GatewayQuote", MES, {"bestBid": 6000, "bestAsk": 6000.25})
        await socket.acknowledge(2)
        socket.transport.close()

    other_hub.scripts = [first, then_send(("GatewayQuote", MES, {"bestAsk": 5900}))]
    hub.scripts = [stay]
    async with listening(hub, other_hub) as heard:
        await until(lambda: len(heard.quotes) == 2)

    assert (heard.quotes[1][0].bid, heard.quotes[1][0].ask) == (None, Decimal(5900))


@pytest.mark.parametrize(
    "arguments",
    [
        (MES,),
        (MES, 5),
        (MES, {"bestBid": "NaN"}),
        (MES, {"contract": MNQ, "bestBid": 1}),
        (MNQ, {"bestBid": 1}),
        (None, {"bestBid": 1}),
    ],
)
async def test_a_quote_that_makes_no_sense_changes_nothing(
    hub: ScriptedHub, other_hub: ScriptedHub, arguments: tuple[Any, ...]
) -> None:
    other_hub.scripts = [
        then_send(
            ("GatewayQuote", MES, {"bestBid": 6000}),
            ("GatewayQuote", *arguments),
            ("GatewayQuote", MES, {"bestAsk": 6001}),
        )
    ]
    hub.scripts = [stay]
    async with listening(hub, other_hub) as heard:
        await until(lambda: len(heard.quotes) == 2)
        assert heard.quotes[1][0].bid == Decimal(6000)
        assert len(heard.of(PayloadRejected)) == 1


async def test_the_age_of_data_is_known_for_each_contract(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    other_hub.scripts = [then_send(("GatewayQuote", MES, {"bestBid": 6000}))]
    hub.scripts = [stay]
    async with listening(hub, other_hub, contracts=(MES, MNQ)) as heard:
        await until(lambda: heard.quotes)
        age_ms = heard.hubs.data_age_ms(MES)
        assert age_ms is not None
        assert 0 <= age_ms < 5_000
        assert heard.hubs.data_age_ms(MNQ) is None
        await until(lambda: (heard.hubs.data_age_ms(MES) or 0) > age_ms)


async def test_contracts_can_be_added_later_and_come_back_after_a_drop(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    subscribed: list[list[tuple[str, str]]] = [[], []]
    drop = asyncio.Event()

    async def script(socket: HubSocket) -> None:
        mine = subscribed[len(other_hub.opened) - 1]
        await socket.handshake()
        while len(mine) < 4:
            (call,) = await socket.acknowledge(1)
            mine.append((call["target"], call["arguments"][0]))
        await drop.wait()
        if len(other_hub.opened) == 1:
            socket.abort()
        await socket.serve()

    other_hub.scripts = [script]
    hub.scripts = [stay]
    async with listening(hub, other_hub) as heard:
        await until(lambda: heard.generations(Hub.MARKET) == [1])
        await heard.hubs.add_contracts([MNQ, MES])
        drop.set()
        await until(lambda: heard.generations(Hub.MARKET) == [1, 2])

    wanted = [
        (f"Subscribe{stream}", contract)
        for stream in ("ContractQuotes", "ContractTrades")
        for contract in (MES, MNQ)
    ]
    assert [sorted(calls) for calls in subscribed] == [sorted(wanted)] * 2


async def test_a_market_hub_that_is_open_and_silent_is_rebuilt(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    async def half_dead(socket: HubSocket) -> None:
        await socket.handshake()
        await socket.acknowledge(2)
        while True:
            await socket.send({"type": 6})
            await asyncio.sleep(0.02)

    other_hub.scripts = [half_dead, then_send(("GatewayQuote", MES, {"bestBid": 6000}), calls=2)]
    hub.scripts = [stay]
    silence = SilenceLimits(resubscribe_s=60.0, rebuild_s=0.2, check_s=0.02)
    async with listening(hub, other_hub, silence=silence) as heard:
        await until(lambda: heard.quotes)

    (first, *_) = heard.of(HubLost)
    assert (first.hub, first.reason) == (Hub.MARKET, "connected, but no market data")


async def test_silence_is_no_fault_while_no_data_is_expected(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    asked = 0

    def expects_data(_contract_id: str) -> bool:
        nonlocal asked
        asked += 1
        return False

    hub.scripts = other_hub.scripts = [stay]
    silence = SilenceLimits(resubscribe_s=0.01, rebuild_s=0.01, check_s=0.005)
    async with listening(hub, other_hub, silence=silence, expects_data=expects_data) as heard:
        await until(lambda: asked > 50)
        assert heard.generations(Hub.MARKET) == [1]
        assert heard.of(HubLost) == []


async def test_one_silent_contract_is_subscribed_anew_while_the_others_go_on(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    calls: list[tuple[str, str]] = []

    async def script(socket: HubSocket) -> None:
        await socket.handshake()
        await socket.acknowledge(4)
        chatter = asyncio.ensure_future(chat(socket))
        try:
            while True:
                (call,) = await socket.acknowledge(1)
                calls.append((call["target"], call["arguments"][0]))
        finally:
            chatter.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await chatter

    async def chat(socket: HubSocket) -> None:
        while True:
            await socket.event("GatewayQuote", MES, {"bestBid": 6000})
            await asyncio.sleep(0.01)

    other_hub.scripts = [script]
    hub.scripts = [stay]
    silence = SilenceLimits(resubscribe_s=0.2, rebuild_s=30.0, check_s=0.02)
    async with listening(hub, other_hub, contracts=(MES, MNQ), silence=silence) as heard:
        await until(lambda: len(calls) >= 4)
        assert heard.generations(Hub.MARKET) == [1]

    assert sorted(calls[:2]) == [
        ("UnsubscribeContractQuotes", MNQ),
        ("UnsubscribeContractTrades", MNQ),
    ]
    assert sorted(calls[2:4]) == [
        ("SubscribeContractQuotes", MNQ),
        ("SubscribeContractTrades", MNQ),
    ]


async def test_a_logout_on_the_market_hub_is_told_too(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    other_hub.scripts = [then_send(("GatewayLogout",), calls=2), stay]
    hub.scripts = [stay]
    async with listening(hub, other_hub) as heard:
        await until(lambda: heard.generations(Hub.MARKET) == [1, 2])

    assert [evicted.hub for evicted in heard.of(SessionEvicted)] == [Hub.MARKET]


def recorded_events() -> list[tuple[str, list[Any]]]:
    """Every recorded hub event, as target and arguments."""
    targets = {
        "account": "GatewayUserAccount",
        "order": "GatewayUserOrder",
        "position": "GatewayUserPosition",
        "trade": "GatewayUserTrade",
        "quote": "GatewayQuote",
        "depth": "GatewayDepth",
        "market_trade": "GatewayTrade",
    }
    events: list[tuple[str, list[Any]]] = []
    for path in sorted(DATA.glob("capture-*/stream_event_samples.json")):
        for sample in json.loads(path.read_text())["payload"]["samples"]:
            target, body = targets.get(sample["event_type"]), sample["raw_payload"]
            if target is None or body is None:
                continue
            is_market = "contractId" in body
            events.append((target, [body["contractId"], body["payload"]] if is_market else [body]))
    for path in sorted(DATA.glob("verified-shapes-*.json")):
        for target, body in json.loads(path.read_text())["payload"].items():
            if target.startswith("Gateway") and not target.endswith("_entry"):
                events.append((target, body if isinstance(body, list) else [body]))
    return events


@pytest.mark.parametrize(("target", "arguments"), recorded_events())
async def test_every_recorded_event_is_understood(
    hub: ScriptedHub, other_hub: ScriptedHub, target: str, arguments: list[Any]
) -> None:
    sender, silent = (hub, other_hub) if target.startswith("GatewayUser") else (other_hub, hub)
    marker: tuple[str, dict[str, Any]] = (
        "Marker",
        {},
    )  # tells that the event before it has been taken
    sender.scripts = [then_send((target, *arguments), marker)]
    silent.scripts = [stay]
    contracts = (arguments[0],) if sender is other_hub else (MES,)
    async with listening(hub, other_hub, contracts=contracts) as heard:
        await until(lambda: heard.of(PayloadRejected))

    assert [fact.target for fact in heard.of(PayloadRejected)] == ["Marker"]
    told = (OrderReported, TradeReported, PositionReported, AccountReported)
    facts = [fact for fact in heard.facts if isinstance(fact, told)]
    assert len(facts) == (1 if sender is hub else 0)
    assert len(heard.quotes) == (1 if target in {"GatewayQuote", "GatewayTrade"} else 0)


def test_an_unencrypted_address_of_a_hub_is_refused() -> None:
    with pytest.raises(SettingError, match="TOPSTEPX_MARKET_HUB_URL"):
        ProjectXHubs(
            user_hub_url="https://rtc.example.com/hubs/user",
            market_hub_url="http://rtc.example.com/hubs/market",
            tokens=Tokens(),
            clock=SystemClock(),
            account_id=ACCOUNT,
            contract_ids=(),
            sink=lambda _fact: None,
            quotes=lambda _quote, _arrived_ns: None,
        )
