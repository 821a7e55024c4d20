"""Hosts strategies: connects the hubs, starts the critical systems, and only then lets them trade.

A strategy never meets the gateway. It hears quotes, sees its orders and sends every wish through
the manager, where it is judged, recorded and verified like any other. How one of them ends is its
own affair, whatever it raises: the others go on, a person is told, and its entries are cancelled.
"""

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.notes import failure_text
from backstop.app.quote_board import QuoteBoard
from backstop.app.wish_checks import check_strategy
from backstop.core.step import Note, Tag
from backstop.core.trading_state import TradingState
from backstop.domain.commands import Severity
from backstop.domain.events import StrategyFailed
from backstop.errors import DomainError, SetupError

StrategyState = dict[str, str | int | None]
"""What a strategy needs to go on after a restart; plain JSON values."""

SAVE_INTERVAL_S = 1.0
"""How often a strategy is asked for what it wants to keep; only a change is recorded."""

END_LIMIT_S = 5.0
"""How long strategies may take to end once they are told to: time for what cleans up behind them,
and no more than that, for one that does not listen must not keep the guard from ending."""


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
        """Take ``strategies``, each under a name of its own.

        Raises:
            SetupError: two of them go by one name, or one by none that a strategy can have.
        """
        self._manager = manager
        self._strategies = tuple(strategies)
        names = [strategy.name for strategy in self._strategies]
        _refuse_nameless(names)
        _refuse_doubles(names)

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

        A cancellation ends all of them; who does not heed it is left behind, and told of.

        Raises:
            SetupError: the manager hosts a strategy of one of these names already.
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
        _refuse_doubles([*self._manager.hosted_strategies, *(it.name for it in self._strategies)])
        running = [self._started(strategy) for strategy in self._strategies]
        guarded = asyncio.create_task(self._manager.failed(), name="guard")
        try:
            await _over(guarded, running)
        finally:
            guarded.cancel()
            await self._end(running)

    def _started(self, strategy: Strategy) -> asyncio.Task[None]:
        """Begin to run a strategy; its name is taken for as long as it runs."""
        hosted, name = self._manager.hosted_strategies, strategy.name
        hosted.add(name)
        task = asyncio.create_task(self._run_strategy(strategy), name=name)
        task.add_done_callback(lambda _: hosted.discard(name))
        return task

    async def _end(self, running: Sequence[asyncio.Task[None]]) -> None:
        """Have every strategy end, and leave behind who does not."""
        going_on = {task for task in running if not task.done()}
        for task in going_on:
            task.cancel()
        if going_on:
            _, going_on = await asyncio.wait(going_on, timeout=END_LIMIT_S)
        for task in going_on:
            self._failed(
                task.get_name(),
                f"it was told to end, did not within {END_LIMIT_S:g} s, and is left behind",
            )

    async def _run_strategy(self, strategy: Strategy) -> None:
        """A strategy that fails takes only itself down: its positions stay guarded."""
        try:
            await self._run_and_save(strategy)
        except BaseException as error:
            # Somebody else's code: the guard and the other strategies must survive all of it, also
            # a sys.exit, for which asyncio would end its whole loop.
            if _is_meant_for_all(error):
                raise
            self._failed(strategy.name, failure_text(error))

    async def _run_and_save(self, strategy: Strategy) -> None:
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

    async def _save_changes(self, strategy: Strategy) -> None:
        while True:
            try:
                state = strategy.snapshot()
            except (SystemExit, KeyboardInterrupt) as error:
                # Out of a task of its own it would end asyncio's whole loop.
                raise DomainError(f"No state to save: {failure_text(error)}") from error
            self._manager.save_strategy(strategy.name, state)
            await asyncio.sleep(SAVE_INTERVAL_S)

    def _failed(self, name: str, reason: str) -> None:
        """Say that a strategy has failed; the core has its entries cancelled and alerts."""
        self._manager.note(
            Note(
                tag=Tag.CRITICAL,
                name="strategy_failed",
                severity=Severity.CRITICAL,
                fields={"strategy": name, "message": reason},
            )
        )
        self._manager.decisions.put(
            StrategyFailed(utc_us=self._manager.clock.utc_us(), strategy_id=name, reason=reason)
        )


async def _over(guarded: asyncio.Task[None], running: Sequence[asyncio.Task[None]]) -> None:
    """Wait until every strategy has ended; raise what ended the guard before that.

    Without strategies, wait for the guard alone.
    """
    going_on = {guarded, *running}
    while going_on - {guarded} or not running:
        ended, going_on = await asyncio.wait(going_on, return_when=asyncio.FIRST_COMPLETED)
        if guarded in ended:
            if not guarded.cancelled():
                guarded.result()
            if not running:
                return


def _refuse_nameless(names: Sequence[object]) -> None:
    """Refuse a name by which no strategy can save, or have an order."""
    for name in names:
        try:
            check_strategy(name)
        except DomainError as error:
            raise SetupError(f"A strategy cannot be hosted by its name: {error}") from None


def _refuse_doubles(names: Sequence[str]) -> None:
    doubles = sorted(name for name, count in Counter(names).items() if count > 1)
    if doubles:
        raise SetupError(
            f"More than one strategy goes by {', '.join(map(repr, doubles))}. What a strategy "
            "saves, its orders and its share of a position are known by its name, so each needs "
            "one of its own."
        )


def _is_meant_for_all(error: BaseException) -> bool:
    """Say whether it is who hosts a strategy that ends it, and not the strategy itself."""
    match error:
        case GeneratorExit():
            return True
        case asyncio.CancelledError():
            task = asyncio.current_task()
            return task is None or task.cancelling() > 0
        case KeyboardInterrupt():
            # Asyncio's runner makes a cancellation of Ctrl-C. Only Python's own handler, which is
            # there without that runner, raises it in whatever runs at the moment.
            return (
                threading.current_thread() is threading.main_thread()
                and signal.getsignal(signal.SIGINT) is signal.default_int_handler
            )
        case _:
            return False
