"""A guard that fails of itself: the next one protects and closes, and takes on nothing new."""

from typing import Any

import pytest
from tests.app.desk import Desk, forget_failures, until

from backstop.app.last_failure import FAILURE_FILE, LastFailure
from backstop.core.step import DecisionKind
from backstop.core.trading_state import TradingState
from backstop.domain.denial import DenialCode
from backstop.domain.order import Side
from backstop.errors import GatewayUnreachableError, InvariantError, JournalError

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_A_FACT: Any = object()
"""Nothing in the program makes one; that it ends the decision loop is how any bug in it shows."""


async def fail(desk: Desk) -> None:
    """Have a guard buy, and break."""
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await guard.agrees()
        guard.manager.decisions.put(NOT_A_FACT)
        with pytest.raises(ExceptionGroup):
            await guard.manager.failed()
    forget_failures()


async def test_after_a_failure_of_its_own_a_guard_waits_for_a_person(desk: Desk) -> None:
    await fail(desk)
    assert (desk.folder / "state" / FAILURE_FILE).stat().st_mode & 0o077 == 0

    async with desk.guard(ready=False) as guard:
        await guard.manager.reached(TradingState.HALTED)
        await guard.manager.account_read()
        await until(lambda: not (desk.folder / "state" / FAILURE_FILE).exists(), "it is on record")
        await guard.quoted("MES")
        refused = await guard.manager.submit_order(guard.request())
        sold = await guard.enter(Side.SELL, 1, protected=False)

        assert any("emergency: a guard failed" in it for it in reasons(guard)), reasons(guard)
        assert DenialCode.STATE_HALTED in {it.code for it in refused.denials}
        assert sold.filled_quantity == 1, "an exit passes"

    # It is said once, and a restart does not lift it; a person does, for good.
    async with desk.guard(ready=False) as guard:
        await guard.manager.account_read()
        assert len([it for it in guard.book.latches if "emergency" in it.cause]) == 1
        decision = await guard.manager.resume(reason="looked at it", operator="ann")
        assert decision.kind is DecisionKind.ACCEPTED
    async with desk.guard() as guard:
        assert guard.book.latches == ()


async def test_a_disk_or_a_gateway_that_fails_is_no_failure_of_the_guard(desk: Desk) -> None:
    async with desk.guard() as guard:
        last = LastFailure(desk.folder, loop=guard.manager.decisions, clock=guard.manager.clock)
        last.note(ExceptionGroup("tasks", [JournalError("the disk is full")]))
        last.note(GatewayUnreachableError("nobody answers"))
        assert not (desk.folder / FAILURE_FILE).exists()

        last.note(ExceptionGroup("tasks", [JournalError("full"), InvariantError("the key is x")]))
        noted = (desk.folder / FAILURE_FILE).read_text(encoding="utf-8")

        assert "InvariantError" in noted
        assert "the key is x" not in noted, "words may hold a secret"


async def test_a_folder_that_takes_no_note_hinders_nothing(desk: Desk) -> None:
    async with desk.guard() as guard:
        nowhere = desk.folder / "nowhere"
        last = LastFailure(nowhere, loop=guard.manager.decisions, clock=guard.manager.clock)
        last.note(InvariantError("broken"))
        await last.run()

        assert not nowhere.exists()
        assert guard.book.latches == ()


def reasons(guard: Any) -> tuple[str, ...]:
    found: tuple[str, ...] = guard.book.state_reasons(guard.manager.now_ns())
    return found
