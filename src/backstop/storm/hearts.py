"""Bots that register and say that they live, until they die, freeze, or say the same for ever."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.domain.bot import BotPolicy, BotTerms
from backstop.errors import BackstopError
from backstop.storm.story import Story

BEAT_S: Final = 0.5

TIMEOUT_MS: Final = 2_000

FLATTEN_AFTER_MS: Final = 9_000

FIT_S: Final = 45.0
"""Mean time between two of its failures."""

SILENCES_S: Final = (1.0, 4.0, 15.0)
"""Too short to matter, long enough to be silent, long enough to be given up."""


class Heart:
    """The heartbeat of one bot; its orders are those that bear its name."""

    def __init__(
        self, name: str, chance: Random, *, story: Story, wants: Callable[[], bool]
    ) -> None:
        self._name = name
        self._chance = chance
        self._story = story
        self._wants = wants
        policy = chance.choice(tuple(BotPolicy))
        self._terms = BotTerms(
            policy=policy,
            heartbeat_timeout_ms=TIMEOUT_MS,
            flatten_after_ms=FLATTEN_AFTER_MS if policy is BotPolicy.FLATTEN else None,
        )

    async def run(self, guard: CriticalSystemManager) -> None:
        """Register and beat, with failures, until cancelled."""
        while True:
            with suppress(BackstopError):
                await guard.bots.register(self._name, self._terms)
            ends_s = asyncio.get_running_loop().time() + self._chance.expovariate(1 / FIT_S)
            await self._beat(guard, until_s=ends_s)
            if self._wants():
                await self._fail(guard)

    async def _beat(self, guard: CriticalSystemManager, *, until_s: float) -> None:
        progress = 0
        while asyncio.get_running_loop().time() < until_s:
            progress += 1
            guard.bots.beat(self._name, progress=progress)
            await asyncio.sleep(BEAT_S)

    async def _fail(self, guard: CriticalSystemManager) -> None:
        """Fall silent, beat without any work, or sign off."""
        how = self._chance.choice(("silent", "stuck", "signs_off"))
        seconds = self._chance.choice(SILENCES_S)
        self._story.tell(self._name, how, seconds=seconds)
        match how:
            case "stuck":
                ends_s = asyncio.get_running_loop().time() + seconds
                while asyncio.get_running_loop().time() < ends_s:
                    guard.bots.beat(self._name, progress=0)
                    await asyncio.sleep(BEAT_S)
            case "signs_off":
                with suppress(BackstopError):
                    await guard.bots.sign_off(self._name)
                await asyncio.sleep(seconds)
            case _:
                await asyncio.sleep(seconds)
