"""The storm's judge speaks of exits that outlive their position, and of no others."""

import asyncio

import pytest
from msgspec.structs import replace

from backstop.adapters.projectx.wire import PlaceBody, WireOrderType
from backstop.storm.plan import plan_of
from backstop.storm.rules.exits import BEYOND_S, ExitRules
from backstop.storm.rules.scene import LOOK_S, SETTLED_S
from backstop.storm.seed_run import simulated
from backstop.storm.terms import Hours, terms_of
from backstop.storm.venue import ACCOUNT_ID
from backstop.storm.world import World

SEED = 20
NEVER_S = 1e9
TAG = "bs-exit"
FILLED_S = 0.1
"""Of virtual time: by then an order has filled."""


@pytest.mark.parametrize(
    ("bought", "sold", "is_exit", "broken"),
    [
        (2, 2, True, []),
        (1, 2, True, ["no exit outlives its position"]),
        (0, 1, True, ["no exit outlives its position"]),
        (0, 1, False, []),
    ],
)
def test_an_exit_that_closes_more_than_is_held_is_told_once(
    bought: int,
    sold: int,
    is_exit: bool,  # noqa: FBT001 - a column of the table
    broken: list[str],
) -> None:
    async def story(world: World) -> None:
        contract_id = world.venue.contract_ids["MES"]
        bid, tick = world.venue.touch(contract_id)
        exchange = world.venue.exchange
        if bought:
            exchange.place_manual(
                ACCOUNT_ID, contract_id, type=WireOrderType.MARKET, side=0, size=bought
            )
            await asyncio.sleep(FILLED_S)
        if is_exit:
            world.safety.scene.bare_exits.add(TAG)
        exchange.place_by_others(
            PlaceBody(
                account_id=ACCOUNT_ID,
                contract_id=contract_id,
                type=WireOrderType.LIMIT,
                side=1,
                size=sold,
                limit_price=bid + 400 * tick,
                custom_tag=TAG,
            )
        )
        world.safety.scene.foreign_orders.update(world.truth.live)
        rule = ExitRules(world.safety.scene)
        for _ in range(int((BEYOND_S + 5.0) / LOOK_S)):
            rule.look(able=True)

    async def act(world: World) -> None:
        await world.begin()
        await asyncio.sleep(SETTLED_S + 1.0)
        await story(world)

    settings = {"DRY_RUN": False, "EXECUTE": True, "DEFAULT_STOP_TICKS": 60}
    terms = replace(
        terms_of(SEED, stops_are_needed=True),
        hours=Hours.QUIET,
        settings={**settings, "BACKSTOP_CALENDAR": "always-open"},
    )
    world = simulated(replace(plan_of(SEED), pause_s=NEVER_S), act, terms=terms)
    assert [it.rule for it in world.safety.violations] == broken
