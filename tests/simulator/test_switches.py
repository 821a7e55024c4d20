"""Switches as texts: every kind, every field, and what is refused; then over a real socket."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from msgspec import Struct, structs

from backstop.adapters.projectx_server.config import HubTimings, ServerConfig, TokenExpiryOnHub
from backstop.adapters.projectx_server.rate_limit import RateLimit
from backstop.errors import SettingError
from backstop.simulator.exchange_config import ClosedMarketCode, ExchangeConfig, PartialFill
from backstop.simulator.process import PRACTICE_ACCOUNT_ID, Simulator, SimulatorConfig
from backstop.simulator.switches import NOT_SWITCHES, SWITCHES, switch_list, switched

_LIMIT_S = 40.0
_EXCHANGE = ExchangeConfig(seed=0, accounts=(), contracts=())
_SERVER = ServerConfig()
_OWNERS: tuple[type[Struct], ...] = (ExchangeConfig, ServerConfig, HubTimings)


def value_of(text: str) -> object:
    """Return what the field of ``text`` is when only this switch is set."""
    exchange, server = switched([text], _EXCHANGE, _SERVER)
    name = text.partition("=")[0].strip().replace("-", "_")
    holders = (exchange, server, server.timings)
    return next(getattr(holder, name) for holder in holders if hasattr(holder, name))


def refusal(*texts: str) -> SettingError:
    with pytest.raises(SettingError) as caught:
        switched(texts, _EXCHANGE, _SERVER)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("retry_after=on", True),
        ("retry_after=true", True),
        ("retry_after=1", True),
        ("resubscribe_doubles=off", False),
        ("resubscribe_doubles=FALSE", False),
        ("resubscribe_doubles=0", False),
        ("fill_slices=7", 7),
        ("cancel_finished_code=0", 0),
        ("price_collar_ticks=40", 40),
        ("price_collar_ticks=none", None),
        ("ping_interval_s=0.5", 0.5),
        ("market_fill_us=5-9", (5, 9)),
        ("stop_slippage_ticks=3-3", (3, 3)),
        ("general_limit=20/10", RateLimit(calls=20, window_s=10)),
        ("general_limit=none", None),
        ("partial_fill=by-liquidity", PartialFill.BY_LIQUIDITY),
        ("partial-fill=BY_LIQUIDITY", PartialFill.BY_LIQUIDITY),
        ("closed_market_code=outside-trading-hours", ClosedMarketCode.OUTSIDE_TRADING_HOURS),
        (" token_expiry_on_hub = drop ", TokenExpiryOnHub.DROP),
    ],
)
def test_a_text_becomes_the_value_of_its_field(text: str, value: object) -> None:
    found = value_of(text)

    assert (found, type(found)) == (value, type(value))


def test_switches_are_set_together_and_nothing_else_changes() -> None:
    exchange, server = switched(
        ["fill_slices=3", "retry_after=on", "close_wait_s=1"], _EXCHANGE, _SERVER
    )

    assert exchange == structs.replace(_EXCHANGE, fill_slices=3)
    assert server == ServerConfig(retry_after=True, timings=HubTimings(close_wait_s=1.0))
    assert switched([], exchange, server) == (exchange, server)


def test_every_field_is_a_switch_or_is_set_by_the_process() -> None:
    fields = [field.name for owner in _OWNERS for field in structs.fields(owner)]

    assert sorted(fields) == sorted([*SWITCHES, *NOT_SWITCHES])


@pytest.mark.parametrize("name", SWITCHES)
def test_a_shown_default_reads_as_the_default(name: str) -> None:
    switch = SWITCHES[name]
    default = next(it.default for it in structs.fields(switch.owner) if it.name == name)

    assert value_of(f"{name}={switch.default}") == default


@pytest.mark.parametrize("name", SWITCHES)
def test_every_switch_is_explained(name: str) -> None:
    assert SWITCHES[name].meaning
    assert f"{name}={SWITCHES[name].default}\n" in switch_list()


@pytest.mark.parametrize(
    "text",
    [
        "retry_after=yes",
        "retry_after=",
        "fill_slices=0",
        "fill_slices=-1",
        "fill_slices=2.5",
        "fill_slices=1_000",
        "fill_slices=9999999999",
        "fill_slices=" + "9" * 5_000,
        "fill_slices=\u0663",
        "fill_slices=none",
        "price_collar_ticks=far",
        "ping_interval_s=0",
        "ping_interval_s=nan",
        "ping_interval_s=inf",
        "ping_interval_s=soon",
        "market_fill_us=5",
        "market_fill_us=9-5",
        "market_fill_us=1-2-3",
        "general_limit=200",
        "general_limit=0/60",
        "general_limit=200/0",
        "partial_fill=some",
        "closed_market_code=2=5",
    ],
)
def test_a_bad_value_is_refused_with_field_value_and_what_is_allowed(text: str) -> None:
    name, _, value = text.partition("=")

    error = refusal(text)

    assert error.name == f"--switch {name}"
    assert repr(value) in error.fault
    assert error.allowed == SWITCHES[name].allowed


@pytest.mark.parametrize("name", ["partial_fil", "", "seed", "accounts", "signing_key", "timings"])
def test_an_unknown_name_is_refused_with_all_that_are_known(name: str) -> None:
    error = refusal(f"{name}=1")

    assert repr(name) in error.fault
    assert error.allowed.split(", ") == list(SWITCHES)


def test_a_name_without_a_value_is_refused() -> None:
    assert "'partial_fill' has no value" in str(refusal("partial_fill"))


def test_a_name_that_comes_twice_is_refused() -> None:
    assert "fill_slices: is given twice" in str(refusal("fill_slices=2", "fill-slices=3"))


async def fills_of(size: int, *texts: str) -> list[int]:
    """Return the sizes of the fills that a market order gets over a real socket."""
    bare = SimulatorConfig(user="trader77", api_key="key")
    exchange, server = switched(texts, bare.exchange, bare.server)
    config = structs.replace(bare, exchange=exchange, server=server)
    async with Simulator(config) as simulator, aiohttp.ClientSession() as session:

        async def post(path: str, **body: object) -> Any:
            async with session.post(f"{simulator.url}/api/{path}", json=body) as answer:
                return json.loads(await answer.text())

        login = await post("Auth/loginKey", userName="trader77", apiKey="key")
        session.headers["Authorization"] = f"Bearer {login['token']}"
        order = {"contractId": simulator.listings[0].active.id, "type": 2, "side": 0, "size": size}
        assert (await post("Order/place", accountId=PRACTICE_ACCOUNT_ID, **order))["success"]
        async with asyncio.timeout(_LIMIT_S):
            while True:
                found = await post(
                    "Trade/search",
                    accountId=PRACTICE_ACCOUNT_ID,
                    startTimestamp="2020-01-01T00:00:00Z",
                )
                sizes = [trade["size"] for trade in found["trades"]]
                if sum(sizes) >= size:
                    return sizes


async def test_partial_fills_are_switched_on_over_the_wire() -> None:
    switches = ("partial_fill=slices", "fill_slices=3", "general_limit=none")

    assert await fills_of(3, *switches) == [1, 1, 1]
    assert await fills_of(3, "general_limit=none") == [3]
