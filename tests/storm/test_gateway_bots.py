"""Bots behind the gateway: what they are told is held against the exchange's truth."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from msgspec.structs import replace

from backstop.domain.denial import DenialCode
from backstop.simulator.fault_rules import FaultKind, FaultRule
from backstop.storm.coverage import DENIALS
from backstop.storm.gateway_bots.picture import Picture
from backstop.storm.mutations import MUTATIONS, planted
from backstop.storm.network import BOTS_PORT
from backstop.storm.plan import plan_of
from backstop.storm.seed_run import simulated
from backstop.storm.terms import BEHIND_ONE_IN, Hours, Terms, terms_of
from backstop.storm.weather import SILENCE
from backstop.storm.world import World

SEED = 45
PAUSE_S = 3.0
NEVER_S = 1e9
LOUD_S = 30.0
"""So long the bots trade: some ten wishes of each."""

LISTS_LAG_S = 60.0

Story = Callable[[World], Awaitable[None]]


def play(
    story: Story | None = None,
    *,
    seconds: float = LOUD_S,
    pause_s: float = PAUSE_S,
    seed: int = SEED,
) -> World:
    """Let bots trade through the gateway on a calm day; ``story`` may disturb them."""

    async def act(world: World) -> None:
        await world.begin()
        if story is not None:
            await story(world)
        await asyncio.sleep(seconds)
        await world.end()

    return simulated(replace(plan_of(seed), pause_s=pause_s, bots=1), act, terms=wide_terms())


def wide_terms() -> Terms:
    settings = {"DRY_RUN": False, "EXECUTE": True, "DEFAULT_STOP_TICKS": 60}
    return replace(
        terms_of(SEED, stops_are_needed=True),
        hours=Hours.QUIET,
        settings={**settings, "RISK_BUDGET": 900_000, "BACKSTOP_CALENDAR": "always-open"},
        max_tenths=10_000,
        bots_behind=True,
    )


@cache
def rules_without(story: Story | None, seed: int) -> frozenset[str]:
    """Return what is broken without any planted bug; that is played once for all of them."""
    return frozenset(rules(play(story, seed=seed)))


def rules(world: World) -> set[str]:
    return {it.rule for it in world.safety.violations}


async def lose_what_becomes_of_orders(world: World) -> None:
    """From now on orders arrive, and nobody says so: no answer, no event, no list."""
    await asyncio.sleep(5.0)
    lost = FaultRule(on="Order/place", act=FaultKind.LOSE_RESPONSE, count=None)
    world.venue.lag(positions_s=0.0, lists_s=LISTS_LAG_S)
    world.venue.faults.add([*SILENCE, lost])


def test_one_seed_in_four_has_them() -> None:
    with_bots = [seed for seed in range(40) if terms_of(seed, stops_are_needed=True).bots_behind]
    assert len(with_bots) == 40 // BEHIND_ONE_IN


def test_what_they_are_told_is_true_and_what_they_may_not_do_is_refused() -> None:
    world = play(seconds=2 * LOUD_S)
    assert not world.safety.violations
    assert {DenialCode.BOT_QUANTITY_TOO_LARGE, DenialCode.BOT_INSTRUMENT_NOT_ALLOWED} <= set(
        world.reached()[DENIALS]
    )


def test_a_bot_that_comes_back_reads_what_the_lists_of_the_broker_do_not_show_yet() -> None:
    async def story(world: World) -> None:
        world.venue.lag(positions_s=0.0, lists_s=LISTS_LAG_S)
        await asyncio.sleep(LOUD_S)
        assert world.truth.trades
        for process in world.gateway_bots.living():  # type: ignore[union-attr]
            process.kill()
        await asyncio.sleep(LOUD_S / 2)
        lacking = [it for it in world.differences() if " trades: " in it]
        assert lacking == []

    assert not play(story, seconds=0.0).safety.violations


@pytest.mark.parametrize(
    ("name", "disturbs", "seed", "rule"),
    [
        ("an order of a bot under another name each time", None, SEED, "once"),
        ("tell bots of an order again with each of its trades", None, SEED, "told once"),
        (
            "tell a bot that an order of unknown fate was refused",
            lose_what_becomes_of_orders,
            48,  # one in which an order of theirs is on its way then
            "no means no",
        ),
    ],
)
def test_a_planted_bug_is_found_by_what_the_bots_are_told(
    name: str, disturbs: Story | None, seed: int, rule: str
) -> None:
    with planted(next(it for it in MUTATIONS if it.name == name)):
        found = play(disturbs, seed=seed)
    assert rule in rules(found)
    assert rule not in rules_without(disturbs, seed)


def test_a_guard_that_dies_takes_its_door_along_and_the_next_one_opens_it_again() -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(10.0)
        before = world.host.serving()
        world.host.kill(down_s=0.0)
        assert world.host.serving() is None
        with pytest.raises(ConnectionRefusedError):
            await asyncio.get_running_loop().create_connection(
                asyncio.Protocol, "127.0.0.1", BOTS_PORT
            )
        await asyncio.sleep(LOUD_S)
        assert world.host.serving() not in {None, before}
        assert world.differences() == []

    assert not play(story, seconds=0.0, pause_s=NEVER_S).safety.violations


# -- what one bot believes -------------------------------------------------------------------------


def an_order(**changes: Any) -> dict[str, Any]:
    row = {"id": 7, "status": 1, "size": 2, "fillVolume": 0, "customTag": "a-1"}
    return row | changes


def a_trade(**changes: Any) -> dict[str, Any]:
    return {"id": 70, "orderId": 7, "size": 2, "price": Decimal(5), "voided": False} | changes


def test_the_same_is_told_once() -> None:
    picture = Picture()
    assert picture.hear("GatewayUserOrder", an_order()) == []
    assert picture.hear("GatewayUserTrade", a_trade()) == []
    again = (
        *picture.hear("GatewayUserOrder", an_order()),
        *picture.hear("GatewayUserTrade", a_trade()),
    )
    assert [it.rule for it in again] == ["told once", "told once"]
    assert picture.hear("GatewayUserTrade", a_trade(voided=True)) == []
    assert picture.trades() == set()


def test_a_trade_that_was_read_is_not_told_after_a_reconnect_either() -> None:
    picture = Picture()
    picture.begin()
    picture.read([an_order()], [a_trade()], [])
    assert [it.rule for it in picture.hear("GatewayUserTrade", a_trade())] == ["told once"]


def test_an_order_comes_before_its_trades_once_the_account_was_read() -> None:
    picture = Picture()
    assert picture.hear("GatewayUserTrade", a_trade()) == []
    picture.read([], [], [])
    (fault,) = picture.hear("GatewayUserTrade", a_trade(id=71, orderId=8))
    assert fault.rule == "told in order"


def test_what_was_pushed_while_the_account_was_read_is_newer() -> None:
    picture = Picture()
    position = {"contractId": "MES", "type": 1, "size": 2}
    picture.hear("GatewayUserOrder", an_order(status=2, fillVolume=2))
    picture.hear("GatewayUserPosition", position)
    picture.read([an_order()], [], [position | {"size": 1}])
    assert picture.live_orders() == set()
    assert picture.positions() == {"MES": 2}
