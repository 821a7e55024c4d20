"""What a hosted strategy saves is there again after a restart."""

import pytest
from tests.app.desk import Desk

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.orchestrator_agent import OrchestratorAgent, StrategyState
from backstop.app.quote_board import QuoteBoard

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Counter:
    """A strategy that only counts how often it was started."""

    def __init__(self) -> None:
        self.starts = 0

    @property
    def name(self) -> str:
        return "counter"

    def snapshot(self) -> StrategyState:
        return {"starts": self.starts}

    def restore(self, state: StrategyState) -> None:
        starts = state["starts"]
        assert isinstance(starts, int)
        self.starts = starts

    async def run(self, manager: CriticalSystemManager, quotes: QuoteBoard) -> None:
        del manager, quotes  # counting needs neither
        self.starts += 1


async def test_a_strategy_goes_on_where_the_process_before_it_stopped(desk: Desk) -> None:
    for expected in (1, 2, 3):
        counter = Counter()
        async with desk.guard() as guard:
            await OrchestratorAgent(guard.manager, [counter]).host()

        assert counter.starts == expected
