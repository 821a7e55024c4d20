"""The watchdog's own act: it ends when it is told to, and its end is not waited for for ever."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from backstop.entrypoints import acting
from backstop.entrypoints.acting import Act
from backstop.ports import LiquidationOutcome

FLAT = LiquidationOutcome(flat=True, message="all is closed")


class Liquidating:
    """A liquidator that does as it is told here."""

    def __init__(self, goes: Callable[[], Awaitable[LiquidationOutcome]]) -> None:
        self._goes = goes

    async def liquidate(self, _reason: str) -> LiquidationOutcome:
        return await self._goes()


def test_what_came_of_it_is_returned() -> None:
    async def goes() -> LiquidationOutcome:
        return FLAT

    assert Act(Liquidating(goes), "left alone").close() == FLAT


def test_one_that_is_told_to_end_ends() -> None:
    begun = threading.Event()

    async def goes() -> LiquidationOutcome:
        begun.set()
        await asyncio.Event().wait()
        return FLAT

    act = Act(Liquidating(goes), "left alone")
    assert begun.wait(10)
    act.cancel()
    outcome = act.close()

    assert (outcome.flat, outcome.message) == (False, "it was told to end")


def test_one_that_is_told_to_end_before_it_begins_ends_as_well() -> None:
    async def goes() -> LiquidationOutcome:
        await asyncio.Event().wait()
        return FLAT

    act = Act(Liquidating(goes), "left alone")
    act.cancel()

    assert not act.close().flat


def test_one_that_does_not_end_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()
    begun = threading.Event()

    async def goes() -> LiquidationOutcome:
        begun.set()
        let_go.wait(60)  # the loop itself stands still, so nothing can cancel it
        return FLAT

    monkeypatch.setattr(acting, "CLOSE_LIMIT_S", 0.05)
    act = Act(Liquidating(goes), "left alone")
    assert begun.wait(10)
    act.cancel()
    outcome = act.close()

    assert not outcome.flat
    assert "did not end within 0.05 s" in outcome.message
    monkeypatch.setattr(acting, "CLOSE_LIMIT_S", 10.0)
    let_go.set()
    assert act.close() != outcome
