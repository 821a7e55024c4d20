"""The processes of the bots behind the gateway, with credentials and accidents of their own."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from backstop.adapters.bot_credentials import BotCredentials
from backstop.domain.bot import BotLimits
from backstop.storm.gateway_bots.bot import Desk, GatewayBot
from backstop.storm.gateway_bots.judge import BotsJudge
from backstop.storm.machine import NumberedProcess, StormMachine
from backstop.storm.story import Story

ACCIDENT_S: Final = 60.0
"""Mean time between two accidents of one bot."""

AWAY_S: Final = (0.5, 20.0)
"""How long a bot that died stays away."""

FROZEN_S: Final = (1.0, 40.0)

LOOK_S: Final = 1.0
"""Between two looks at whether it lives."""

LIMITS: Final = (
    BotLimits(quantity_max=2, orders_max=3, entries_per_second_max=2, symbols=("MES", "MNQ")),
    BotLimits(quantity_max=1, orders_max=5, entries_per_second_max=3),
    BotLimits(quantity_max=5, orders_max=20, entries_per_second_max=5),
)
"""One for each bot in turn: what binds, what binds in another way, and what is given by default."""

NAMES: Final = ("alpha", "beta", "gamma")


def credentials_made(state_folder: Path, *, utc_s: int) -> dict[str, str]:
    """Write the bots' credentials, as somebody does before the first start; return their keys."""
    kept = BotCredentials(state_folder)
    return {
        name: kept.add(name, limits, utc_s=utc_s)
        for name, limits in zip(NAMES, LIMITS, strict=True)
    }


class GatewayBots:
    """All of them; each is started again when it has died."""

    def __init__(
        self,
        machine: StormMachine,
        keys: dict[str, str],
        chance: Callable[[str], Random],
        *,
        pause_s: float,
        desk: Desk,
        judge: BotsJudge,
        story: Story,
        wants: Callable[[], bool],
    ) -> None:
        """Prepare; ``chance`` gives each its own dice by its name."""
        self._machine = machine
        self._story = story
        self._judge = judge
        self._wants = wants
        self._bots = [
            GatewayBot(
                name, key, chance(name), pause_s=pause_s, desk=desk, judge=judge, story=story,
                wants=wants,
            )
            for name, key in keys.items()
        ]  # fmt: skip
        self._chances = {name: chance(f"accident/{name}") for name in keys}
        self._processes: dict[str, NumberedProcess] = {}
        self._gone: list[NumberedProcess] = []

    async def keep_running(self) -> None:
        """Keep each running, and let accidents happen to it, until cancelled."""
        await asyncio.gather(*map(self._keep, self._bots))

    def living(self) -> list[NumberedProcess]:
        """Return the processes that are there."""
        return [it for it in self._processes.values() if it.alive]

    def kill_all(self) -> None:
        """End every process at once."""
        for process in self._processes.values():
            process.kill()

    def bury(self) -> None:
        """Let go of what is left of those that died."""
        self.kill_all()
        for process in (*self._gone, *self._processes.values()):
            process.bury()

    def differences(self) -> Iterator[str]:
        """Yield what each believes otherwise than it is."""
        for bot in self._bots:
            yield from self._judge.differences(bot.name, bot.picture)

    async def _keep(self, bot: GatewayBot) -> None:
        chance = self._chances[bot.name]
        while True:
            process = self._started(bot)
            left_s = chance.expovariate(1 / ACCIDENT_S)
            while process.alive:
                await asyncio.sleep(LOOK_S)
                left_s -= LOOK_S
                if left_s <= 0 and self._wants():
                    left_s = chance.expovariate(1 / ACCIDENT_S)
                    await self._accident(bot, process)
            bot.picture.begin()
            await asyncio.sleep(chance.uniform(*AWAY_S))

    def _started(self, bot: GatewayBot) -> NumberedProcess:
        before = self._processes.get(bot.name)
        if before is not None:
            self._gone.append(before)
        process = self._processes[bot.name] = self._machine.new_process(bot.name)
        task = self._machine.inside(process, bot.run)
        task.add_done_callback(partial(self._ended, process))
        self._story.tell(bot.name, "start", number=process.number)
        return process

    def _ended(self, process: NumberedProcess, task: "asyncio.Task[None]") -> None:
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            failed = {"message": process.name, "exception": failure}
            self._machine.loop.failures.append(failed)

    async def _accident(self, bot: GatewayBot, process: NumberedProcess) -> None:
        """Let it die between any two of its callbacks, or stand still."""
        chance = self._chances[bot.name]
        if chance.random() < 0.6:  # noqa: PLR2004 - most accidents are deaths
            self._story.tell(bot.name, "dies")
            process.kill_after(chance.choice((0, 1, 5, 20)))
            return
        seconds = chance.uniform(*FROZEN_S)
        self._story.tell(bot.name, "stands_still", seconds=round(seconds, 3))
        process.freeze()
        await asyncio.sleep(seconds)
        if process.alive and process.frozen:
            process.thaw(self._machine.loop)
