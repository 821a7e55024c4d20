"""Asking for protection through the application: what the caller waits for, and is told."""

from decimal import Decimal

import pytest
from tests.app.desk import Desk, Guard, until

from backstop.core.leftovers import leftovers
from backstop.core.protection_situation import is_in_place
from backstop.core.step import DecisionKind
from backstop.domain.denial import DenialCode
from backstop.domain.order import Side
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")


def contract(guard: Guard) -> str:
    return guard.instrument("MES").contract_id


async def held(guard: Guard) -> None:
    """Hold 2 MES whose bracket works."""
    await guard.enter(quantity=2)
    await until(
        lambda: guard.book.stop_cover(contract(guard), guard.position()) == 2, "the stop works"
    )
    # The venue measures a bracket from the fill; the legs are moved to what was asked for.
    await until(lambda: is_in_place(guard.book, contract(guard)), "the legs stand where asked")


def stop_of(guard: Guard) -> Decimal | None:
    (row,) = guard.book.working_stops(contract(guard), 1)
    return row.stop_price


async def test_the_answer_comes_when_the_level_stands(desk: Desk) -> None:
    async with desk.guard() as guard:
        await held(guard)
        before = stop_of(guard)
        assert before is not None
        decision = await guard.manager.protect_position("MES", stop_price=before + 5)

        assert decision.kind is DecisionKind.ACCEPTED
        assert stop_of(guard) == before + 5


async def test_a_move_that_the_venue_refuses_is_told_with_its_words(desk: Desk) -> None:
    async with desk.guard() as guard:
        await held(guard)
        before = stop_of(guard)
        assert before is not None
        desk.mischief(
            "Order/modify", FaultKind.ERROR_CODE, code=3, message="Invalid stop price", count=None
        )
        decision = await guard.manager.protect_position("MES", stop_price=before + 5)

        assert decision.kind is DecisionKind.NOT_POSSIBLE
        assert "Invalid stop price" in decision.message
        assert stop_of(guard) == before


async def test_what_is_no_price_or_no_contract_is_refused(desk: Desk) -> None:
    async with desk.guard() as guard:
        await held(guard)
        nothing = await guard.manager.protect_position("MES", stop_price=Decimal("NaN"))
        nowhere = await guard.manager.protect_position("ZZZ", stop_price=Decimal(1))

        assert [denial.code for denial in nothing.denials] == [DenialCode.PRICE_INVALID]
        assert nowhere.kind is DecisionKind.UNKNOWN_SYMBOL


async def test_an_entry_waits_for_old_stops_to_go_and_is_refused_when_they_stay(
    desk: Desk,
) -> None:
    async with desk.guard() as guard:
        await held(guard)
        desk.mischief("Order/cancel", FaultKind.ERROR_CODE, code=3, message="no", count=None)
        await guard.enter(Side.SELL, 2, protected=False)
        await until(lambda: guard.position() == 0, guard.position)
        refused = await guard.manager.submit_order(guard.request())
        assert [denial.code for denial in refused.denials] == [DenialCode.PROTECTION_LEFTOVER]

        desk.venue.faults.heal()
        await until(lambda: not list(leftovers(guard.book, contract(guard))), "they are gone")
        accepted = await guard.manager.submit_order(guard.request())
        assert accepted.kind is DecisionKind.ACCEPTED


async def test_an_exit_waits_for_nothing(desk: Desk) -> None:
    """A stop of the other side is left over from a flip; the way out is open all the same."""
    async with desk.guard(ALLOW_FLIP=True) as guard:
        await held(guard)
        desk.mischief("Order/cancel", FaultKind.ERROR_CODE, code=3, message="no", count=None)
        await guard.enter(Side.SELL, 3)
        await until(lambda: guard.position() == -1, guard.position)
        assert list(leftovers(guard.book, contract(guard)))
        decision = await guard.manager.submit_order(guard.request(protected=False))

        assert decision.kind is DecisionKind.ACCEPTED
        await until(lambda: guard.position() == 0, guard.position)
