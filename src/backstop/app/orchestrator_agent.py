"""Hosts strategies: connects the hubs, starts the critical systems, and only then lets them trade.

A strategy never meets the gateway. It hears quotes, sees its orders and sends every wish through
the manager, where it is judged, recorded and verified like any other.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.notes import failure_text
from backstop.app.quote_board import QuoteBoard
from backstop.core.step import Note, Tag
from backstop.core.trading_state import TradingState
from backstop.domain.commands import Severity

StrategyState = dict[str, str | int | None]
"""What a strategy needs to go on after a restart; plain JSON values."""

SAVE_INTERVAL_S = 1.0
"""How often a strategy is asked for what it wants to keep; only a change is recorded."""


class Strategy(Protocol):
    """A trading program that the orchestrator hosts."""

    @property
    def name(self) -> str:
        """The strategy's id on its orders."""

    def snapshot(self) -> StrategyState:
        """Return everything needed to go on after a restart."""

    def restore(self, state: StrategyState) -> None:
        """Go on from ``state``; called before ``run``."""

    async def run(self, manager: CriticalSystemManager, quotes: QuoteBoard) -> None:
        """Trade until cancelled, or return when done."""


class OrchestratorAgent:
    """Runs a manager and the strategies on top of it."""

    def __init__(self, manager: CriticalSystemManager, strategies: Sequence[Strategy] = ()) -> None:
        self._manager = manager
        self._strategies = tuple(strategies)

    async def run(self) -> None:
        """Start, trade, and end when every strategy has ended; without strategies, run for ever.

        Raises:
            SetupError: the guard cannot start with these settings.
            LoginRefusedError: the gateway refuses the credentials.
        """
        async with self._manager:
            await self.host()

    async def host(self) -> None:
        """Run the strategies on a manager that is initialised already.

        Raises:
            ExceptionGroup: a part of the guard failed; no strategy goes on without it.
        """
        await self._manager.user_hub_connected()
        self._manager.note(
            Note(
                tag=Tag.CRITICAL_SYSTEM,
                name="critical_systems_started",
                fields={"strategies": len(self._strategies)},
            )
        )
        await self._manager.reached(TradingState.ACTIVE)
        async with asyncio.TaskGroup() as tasks:
            guarded = tasks.create_task(self._manager.failed(), name="guard")
            running = [
                tasks.create_task(self._run_strategy(strategy), name=strategy.name)
                for strategy in self._strategies
            ]
            if running:
                await asyncio.wait(running)
                guarded.cancel()

    async def _run_strategy(self, strategy: Strategy) -> None:
        """A strategy that fails takes only itself down: its orders stay guarded."""
        try:
            saved = self._manager.book.strategy_states.get(strategy.name)
            if saved is not None:
                strategy.restore(saved)
            async with asyncio.TaskGroup() as tasks:
                saving = tasks.create_task(self._save_changes(strategy))
                try:
                    await strategy.run(self._manager, self._manager.quotes)
                finally:
                    saving.cancel()
                    self._manager.save_strategy(strategy.name, strategy.snapshot())
        except Exception as error:  # noqa: BLE001 - somebody else's code; the guard must survive it
            self._manager.note(
                Note(
                    tag=Tag.CRITICAL,
                    name="strategy_failed",
                    severity=Severity.CRITICAL,
                    fields={"strategy": strategy.name, "message": failure_text(error)},
                )
            )

    async def _save_changes(self, strategy: Strategy) -> None:
        while True:
            self._manager.save_strategy(strategy.name, strategy.snapshot())
            await asyncio.sleep(SAVE_INTERVAL_S)
