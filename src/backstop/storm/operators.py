"""People at the controls of a guard: they halt, resume, acknowledge, liquidate, change limits."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Final

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.core.step import Decision
from backstop.core.trading_state import TradingState
from backstop.errors import BackstopError
from backstop.storm.story import Story
from backstop.storm.venue import SYMBOLS

OPERATOR: Final = "storm operator"

RASH: Final = 0.25
"""How often somebody who has nothing to do does something all the same."""

DAILY_LOSSES: Final = (Decimal(300), Decimal(5_000))
"""Tighter than any account of the storm has it, and looser."""

_ACTS: Final = (
    ("halt", 4),
    ("liquidate", 3),
    ("acknowledge", 4),
    ("change_limits", 2),
    ("put_kill_file", 2),
)


class Operator:
    """A person who looks now and then, wants to go on trading, and does rash things as well."""

    def __init__(
        self,
        chance: Random,
        *,
        story: Story,
        wants: Callable[[], bool],
        kill_file: Path,
        on_decision: Callable[[Decision], None],
    ) -> None:
        self._on_decision = on_decision
        self._chance = chance
        self._story = story
        self._wants = wants
        self._kill_file = kill_file

    async def run(self, guard: CriticalSystemManager) -> None:
        """Resume what is latched, and act, until cancelled."""
        while True:
            await asyncio.sleep(self._chance.uniform(10.0, 60.0))
            if not self._wants():
                continue
            state = guard.book.trading_state(guard.now_ns())
            if state in {TradingState.HALTED, TradingState.REDUCING}:
                self._kill_file.unlink(missing_ok=True)
                await self._do("resume", self._resume(guard))
            elif self._chance.random() < RASH:
                (act,) = self._chance.choices(
                    [name for name, _ in _ACTS], [weight for _, weight in _ACTS]
                )
                await self._do(act, getattr(self, f"_{act}")(guard))

    async def _do(self, act: str, asked: Awaitable[Decision | None]) -> None:
        with suppress(BackstopError):
            decision = await asked
            if decision is not None:
                self._on_decision(decision)
            self._story.tell("operator", act, decision="-" if decision is None else decision.kind)

    async def _resume(self, guard: CriticalSystemManager) -> Decision:
        return await guard.resume(reason="looked at it", operator=OPERATOR)

    async def _halt(self, guard: CriticalSystemManager) -> Decision:
        return await guard.halt(reason="a bad feeling", operator=OPERATOR)

    async def _liquidate(self, guard: CriticalSystemManager) -> Decision:
        symbol = self._chance.choice((None, *SYMBOLS))
        return await guard.liquidate(reason="enough", operator=OPERATOR, symbol=symbol)

    async def _acknowledge(self, guard: CriticalSystemManager) -> Decision:
        return await guard.acknowledge_alert(self._chance.randint(1, 20), operator=OPERATOR)

    async def _change_limits(self, guard: CriticalSystemManager) -> Decision:
        return await guard.change_limits(
            daily_loss=self._chance.choice(DAILY_LOSSES), reason="another day", operator=OPERATOR
        )

    async def _put_kill_file(self, guard: CriticalSystemManager) -> None:
        """Stop entries without any program; the file goes when somebody resumes."""
        del guard
        self._kill_file.touch()
