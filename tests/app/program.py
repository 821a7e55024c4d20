"""A strategy of one function, for tests of what hosts it."""

from collections.abc import Awaitable, Callable

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.orchestrator_agent import StrategyState
from backstop.app.quote_board import QuoteBoard

Work = Callable[[CriticalSystemManager], Awaitable[None]]


class Program:
    """A strategy that does one thing."""

    def __init__(self, work: Work, name: str = "program") -> None:
        self._work = work
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def snapshot(self) -> StrategyState:
        return {}

    def restore(self, state: StrategyState) -> None:
        assert state == {}

    async def run(self, manager: CriticalSystemManager, quotes: QuoteBoard) -> None:
        assert quotes is manager.quotes
        await self._work(manager)
