"""Market data for others over the guard's own connection, and never at its cost."""

from typing import Any

import pytest
from tests.adapters.projectx.conftest import HubSocket, ScriptedHub, SystemClock, until
from tests.adapters.projectx.test_hubs import MES, MNQ, listening, stay

from backstop.adapters.projectx import market_relay
from backstop.adapters.projectx.market_relay import MarketRelay
from backstop.adapters.projectx.quote_book import CONTRACTS_MAX
from backstop.domain.events import Hub, HubLost, PayloadRejected
from backstop.errors import GatewayError

DEPTH, QUOTE = "GatewayDepth", "GatewayQuote"
OWN = [("SubscribeContractQuotes", [MES]), ("SubscribeContractTrades", [MES])]


class Market:
    """A market hub that notes every call, and refuses or ignores those it is told to."""

    def __init__(self, hub: ScriptedHub) -> None:
        self.calls: list[list[tuple[str, list[Any]]]] = []  # by connection
        self.refuses: set[str] = set()
        self.socket: HubSocket
        hub.scripts = [self.serve]

    async def serve(self, socket: HubSocket) -> None:
        self.calls.append([])
        self.socket = socket
        await socket.handshake()
        while True:
            for record in await socket.records():
                if record["type"] == 1:
                    await self._take(record)

    async def _take(self, record: dict[str, Any]) -> None:
        self.calls[-1].append((record["target"], record["arguments"]))
        answer = {"type": 3, "invocationId": record["invocationId"]}
        refused = {"error": "no"} if record["target"] in self.refuses else {"result": None}
        await self.socket.send(answer | refused)

    @property
    def now(self) -> list[tuple[str, list[Any]]]:
        """Return the calls of the newest connection."""
        return self.calls[-1] if self.calls else []


Passed = list[tuple[str, str, bytes]]


def heard_by(relay: MarketRelay) -> Passed:
    passed: Passed = []
    relay.bind(lambda target, contract_id, data: passed.append((target, contract_id, data)))
    return passed


async def test_a_stream_is_subscribed_when_it_is_wanted_and_left_when_it_is_not(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    hub.scripts, market = [stay], Market(other_hub)
    async with listening(hub, other_hub) as heard:
        relay = heard.hubs.relay
        await until(lambda: len(market.now) == 2)
        relay.want(QUOTE, MNQ)
        relay.want(QUOTE, MNQ)
        relay.want(DEPTH, MES)
        await until(lambda: relay.counts().streams == 2)
        relay.drop(QUOTE, MNQ)
        await until(lambda: relay.counts().streams == 1)

    assert market.calls == [
        [
            *OWN,
            ("SubscribeContractQuotes", [MNQ]),
            ("SubscribeContractMarketDepth", [MES]),
            ("UnsubscribeContractQuotes", [MNQ]),
        ]
    ]


async def test_what_the_guard_hears_for_itself_is_passed_on_without_a_second_subscription(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    hub.scripts, market = [stay], Market(other_hub)
    async with listening(hub, other_hub) as heard:
        relay, passed = heard.hubs.relay, heard_by(heard.hubs.relay)
        relay.want(QUOTE, MES)
        await until(lambda: len(market.now) == 2)
        await market.socket.event(QUOTE, MES, {"bestBid": 6000.25, "x": "as it came"})
        await until(lambda: passed)
        relay.drop(QUOTE, MES)
        await market.socket.event(QUOTE, MES, {"bestBid": 6000.5})
        await until(lambda: len(heard.quotes) == 2)

    assert market.calls == [OWN]
    assert passed == [(QUOTE, MES, b'{"bestBid": 6000.25, "x": "as it came"}')]


async def test_after_a_drop_every_stream_is_subscribed_anew_once(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    hub.scripts, market = [stay], Market(other_hub)
    async with listening(hub, other_hub) as heard:
        relay = heard.hubs.relay
        relay.want(DEPTH, MNQ)
        await until(lambda: relay.counts().streams == 1)
        market.socket.abort()
        await until(lambda: len(market.calls) == 2 and relay.counts().streams == 1)

    wanted = [*OWN, ("SubscribeContractMarketDepth", [MNQ])]
    assert market.calls == [wanted, wanted]


async def test_a_refused_stream_costs_the_guard_nothing_and_is_tried_again(
    hub: ScriptedHub, other_hub: ScriptedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_relay, "RETRY_NS", 200_000_000)
    hub.scripts, market = [stay], Market(other_hub)
    market.refuses.add("SubscribeContractMarketDepth")
    async with listening(hub, other_hub) as heard:
        relay, passed = heard.hubs.relay, heard_by(heard.hubs.relay)
        relay.want(DEPTH, MES)
        relay.want(QUOTE, MNQ)
        await until(lambda: relay.counts().calls_failed == 1)
        await market.socket.event(QUOTE, MES, {"bestBid": 1})
        await market.socket.event(QUOTE, MNQ, {"bestBid": 2})
        await until(lambda: heard.quotes and passed)
        assert [fact.hub for fact in heard.of(HubLost)] == []

        market.refuses.clear()
        await until(lambda: relay.counts().streams == 2)

    # Nobody knows what a refused call did: first it is taken back.
    depth = [target for target, _ in market.now if target.endswith("MarketDepth")]
    assert depth[-2:] == ["UnsubscribeContractMarketDepth", "SubscribeContractMarketDepth"]
    assert len(market.calls) == 1


async def test_a_renewed_stream_is_left_and_joined(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    hub.scripts, market = [stay], Market(other_hub)
    async with listening(hub, other_hub) as heard:
        relay = heard.hubs.relay
        relay.renew(DEPTH, MES)  # not subscribed: nothing to renew
        relay.want(DEPTH, MES)
        await until(lambda: relay.counts().streams == 1)
        relay.renew(DEPTH, MES)
        await until(lambda: len(market.now) == 5)

    assert [target for target, _ in market.now[2:]] == [
        "SubscribeContractMarketDepth",
        "UnsubscribeContractMarketDepth",
        "SubscribeContractMarketDepth",
    ]


async def test_events_that_were_on_their_way_when_a_stream_was_left_are_no_fault(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    hub.scripts, market = [stay], Market(other_hub)
    async with listening(hub, other_hub) as heard:
        relay, passed = heard.hubs.relay, heard_by(heard.hubs.relay)
        relay.want(QUOTE, MNQ)
        await until(lambda: relay.counts().streams == 1)
        relay.drop(QUOTE, MNQ)
        await market.socket.event(QUOTE, MNQ, {"bestBid": 1})
        await market.socket.event(QUOTE, "CON.F.US.NEVER.Z26", {"bestBid": 1})
        await until(lambda: heard.of(PayloadRejected))
        (rejected,) = heard.of(PayloadRejected)

    assert passed == []
    assert "CON.F.US.NEVER.Z26 was not subscribed" in rejected.fault


async def test_text_that_is_not_utf_8_is_counted_and_kept_from_bots(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    hub.scripts, market = [stay], Market(other_hub)
    async with listening(hub, other_hub) as heard:
        relay, passed = heard.hubs.relay, heard_by(heard.hubs.relay)
        relay.want(DEPTH, MES)
        await until(lambda: relay.counts().streams == 1)
        broken = b'{"type":1,"target":"GatewayDepth","arguments":["%b",["\xff"]]}\x1e'
        await market.socket.socket.send_bytes(broken % MES.encode())
        await market.socket.event(DEPTH, MES, ["ü"])
        await until(lambda: passed)

        assert relay.counts().unreadable == 1
        assert [data for _, _, data in passed] == [b'["\\u00fc"]']


async def test_a_contract_that_the_guard_begins_to_watch_is_handed_over(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    hub.scripts, market = [stay], Market(other_hub)
    async with listening(hub, other_hub) as heard:
        relay, passed = heard.hubs.relay, heard_by(heard.hubs.relay)
        relay.want(QUOTE, MNQ)
        await until(lambda: relay.counts().streams == 1)
        await heard.hubs.add_contracts([MNQ])
        relay.drop(QUOTE, MNQ)
        relay.want(QUOTE, MNQ)
        await market.socket.event(QUOTE, MNQ, {"bestBid": 1})
        await until(lambda: passed and heard.quotes)

    quotes = [target for target, arguments in market.now if arguments == [MNQ]]
    assert quotes.count("SubscribeContractQuotes") == 2
    assert quotes.count("UnsubscribeContractQuotes") == 1, "no stream twice on one connection"


def a_month(number: int) -> str:
    return f"CON.F.US.MCLE.{number}"


async def test_a_month_of_the_past_makes_room_for_the_next_one(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    hub.scripts, market = [stay], Market(other_hub)
    months = tuple(a_month(number) for number in range(CONTRACTS_MAX - 1))
    wanted, heard_last = {MES, a_month(0)}, a_month(1)
    async with listening(
        hub, other_hub, contracts=(MES, *months), is_wanted=wanted.__contains__
    ) as heard:
        relay, passed = heard.hubs.relay, heard_by(heard.hubs.relay)
        await until(lambda: heard.generations(Hub.MARKET) == [1])
        for number in (1, *range(3, len(months)), 2):
            await market.socket.event(QUOTE, a_month(number), {"bestBid": number})
        await until(lambda: len(heard.quotes) == len(months) - 1)
        relay.want(QUOTE, heard_last)
        before = len(market.now)

        await heard.hubs.add_contracts([MNQ, MES])
        await until(lambda: relay.counts().streams == 1)

        calls = market.now[before:]
        for contract_id in (MNQ, heard_last):
            await market.socket.event(QUOTE, contract_id, {"bestBid": 1})
        await market.socket.event("GatewayTrade", heard_last, {"price": 1})
        await until(lambda: passed and heard.quotes[-1][0].contract_id == MNQ)
        assert heard.hubs.data_age_ms(heard_last) is None
        assert heard.of(PayloadRejected) == [], "what was on its way is no fault"

    assert sorted(calls) == [
        ("SubscribeContractQuotes", [heard_last]),  # for a bot that wants it still
        ("SubscribeContractQuotes", [MNQ]),
        ("SubscribeContractTrades", [MNQ]),
        ("UnsubscribeContractQuotes", [heard_last]),
        ("UnsubscribeContractTrades", [heard_last]),
    ]
    assert calls.index(("UnsubscribeContractQuotes", [heard_last])) < calls.index(
        ("SubscribeContractQuotes", [heard_last])
    ), "twice would double it"


async def test_one_contract_too_many_is_a_fault_that_names_the_limit_and_the_rest_goes_on(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    hub.scripts, market = [stay], Market(other_hub)
    months = tuple(a_month(number) for number in range(CONTRACTS_MAX - 1))
    async with listening(hub, other_hub, contracts=months) as heard:
        await until(lambda: heard.generations(Hub.MARKET) == [1])

        with pytest.raises(GatewayError, match=f"{MNQ} is not heard.* {CONTRACTS_MAX} contracts"):
            await heard.hubs.add_contracts([MES, MNQ])

        assert [call for call in market.now if call[1] == [MES]] == OWN
        await market.socket.event(QUOTE, a_month(0), {"bestBid": 1})
        await until(lambda: heard.quotes)
        assert heard.generations(Hub.MARKET) == [1]


def test_more_streams_than_a_hub_should_carry_are_not_taken() -> None:
    relay = MarketRelay(clock=SystemClock(), owned=lambda _stream: False)
    wanted = [relay.want(QUOTE, f"CON.{number}") for number in range(market_relay.STREAMS_MAX + 1)]

    assert wanted == [True] * market_relay.STREAMS_MAX + [False]
    assert len(relay.calls_due()) == market_relay.CALLS_AT_ONCE


async def test_without_a_connection_wants_wait_for_one(
    hub: ScriptedHub, other_hub: ScriptedHub
) -> None:
    hub.scripts, market = [stay], Market(other_hub)
    other_hub.upgrade_status = [503, 503]
    async with listening(hub, other_hub) as heard:
        heard.hubs.relay.want(QUOTE, MNQ)
        await until(lambda: heard.hubs.relay.counts().streams == 1)
        assert heard.hubs.health(Hub.MARKET).link.drops == 0

    assert market.calls == [[*OWN, ("SubscribeContractQuotes", [MNQ])]]
