"""The storm's bots: an exit that nothing spoke against is reported when it is refused."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
from tests.storm.test_rules import LEGS_S, buy_with_a_stop, guard_of, play

from backstop.storm.bots import Bot
from backstop.storm.mutations import Mutation, planted
from backstop.storm.plan import Weather
from backstop.storm.world import World


class TheFirst(random.Random):
    """Draws what comes first: an exit is a market order, of the only position there is."""

    def choice(self, seq: Sequence[Any]) -> Any:
        return seq[0]


def a_bot(world: World, name: str, refused: list[str]) -> Bot:
    return Bot(
        name,
        TheFirst(1),
        pause_s=1.0,
        story=world.story,
        wants=lambda: True,
        on_refused_exit=refused.append,
        on_decision=lambda _: None,
        sends_itself=None,
        old_month="",
    )


REFUSES_EXITS = Mutation(
    name="count every exit as an entry",
    weather=Weather.CALM,
    module="core.guardrails",
    old="    return opposite and intent.quantity <= exposure.closable(intent.side)\n",
    new="    return False\n",
)


@pytest.mark.parametrize("number", [1, 2])
def test_of_two_bots_that_close_at_once_one_is_refused_and_that_is_right(number: int) -> None:
    refused: list[str] = []

    async def story(world: World) -> None:
        await buy_with_a_stop(world)
        bots = [a_bot(world, f"bot{place}", refused) for place in range(number)]
        await asyncio.gather(*(bot._exit(guard_of(world)) for bot in bots))
        await asyncio.sleep(LEGS_S)
        assert not world.truth.positions.get(world.venue.contract_ids["MES"])

    play(story)
    assert refused == []


def test_an_exit_that_is_refused_and_nothing_else_closes_is_reported() -> None:
    refused: list[str] = []

    async def story(world: World) -> None:
        await buy_with_a_stop(world)
        await guard_of(world).halt(reason="enough", operator="Ann")
        await a_bot(world, "bot0", refused)._exit(guard_of(world))

    with planted(REFUSES_EXITS):
        play(story)
    assert len(refused) == 1
    assert "STATE_HALTED" in refused[0]
