"""Halts, closes that are refused, and an ordinary end, told against the exchange's own truth.

What reduces goes on whatever was halted; nothing is called flat that is not; and a guard that is
stopped in good order leaves the position with its stop.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.acceptance.scenarios.stage import alerts, cover, flat, levels, net, protected, working
from tests.app.desk import Desk, a_desk, a_venue, until

from backstop.core.liquidation import LiquidationState
from backstop.core.protection_situation import is_in_place
from backstop.core.step import DecisionKind
from backstop.core.trading_state import TradingState
from backstop.domain.denial import DenialCode
from backstop.domain.order import Side
from backstop.simulator.fault_rules import FaultKind
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFUSALS = 3


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue() -> AsyncIterator[Simulator]:
    async with a_venue() as venue:
        yield venue


@pytest.fixture
def desk(venue: Simulator, tmp_path: Path) -> Desk:
    return a_desk(venue, tmp_path)


@pytest.mark.scenario("E6")
async def test_a_close_that_the_venue_refuses_is_never_told_as_flat(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        desk.mischief(
            "Position/closeContract", FaultKind.ERROR_CODE, code=2, message="no", count=None
        )
        decision = await guard.manager.liquidate(reason="enough", operator="ann")
        assert decision.liquidation_id is not None
        await until(
            lambda: desk.strikes(FaultKind.ERROR_CODE) >= REFUSALS,
            lambda: guard.book.liquidations,
        )
        run = guard.manager.liquidation(decision.liquidation_id)
        assert run is not None
        assert run.state is not LiquidationState.FLAT
        assert not run.is_finished
        assert "LIQUIDATION_FLAT" not in alerts(guard)
        assert (guard.position(), net(desk), cover(desk)) == (2, 2, 2), "its stop stays"
        resumed = await guard.manager.resume(reason="it looks flat", operator="ann")
        assert resumed.kind is DecisionKind.NOT_POSSIBLE

        desk.venue.faults.heal()
        await flat(desk)
        await until(lambda: "LIQUIDATION_FLAT" in alerts(guard), lambda: alerts(guard))


@pytest.mark.scenario("E9")
async def test_a_halt_lets_through_what_reduces_and_nothing_that_adds(desk: Desk) -> None:
    async with desk.guard(ALLOW_FLIP=True) as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        halted = await guard.manager.halt(reason="the news", operator="ann")
        assert halted.kind is DecisionKind.ACCEPTED
        for side, quantity in ((Side.BUY, 1), (Side.SELL, 3)):
            refused = await guard.manager.submit_order(guard.request(side, quantity))
            assert DenialCode.STATE_HALTED in {denial.code for denial in refused.denials}
        await guard.enter(Side.SELL, 1, protected=False)
        await protected(desk, 1)
        closed = await guard.manager.close_position("MES", reason="the rest", operator="ann")
        assert closed.kind is DecisionKind.ACCEPTED
        await flat(desk)
        await guard.agrees()

        assert guard.book.trading_state(guard.manager.now_ns()) is TradingState.HALTED


@pytest.mark.scenario("E10")
async def test_an_ordinary_stop_leaves_the_position_its_stop(desk: Desk) -> None:
    async with desk.guard() as guard:
        await guard.enter(quantity=2)
        await protected(desk, 2)
        contract_id = guard.instrument("MES").contract_id
        await until(lambda: is_in_place(guard.book, contract_id), "in place")
        before = levels(desk), [row["id"] for row in working(desk)]
    assert (net(desk), cover(desk)) == (2, 2)

    async with desk.guard() as guard:
        await guard.agrees()
        assert (levels(desk), [row["id"] for row in working(desk)]) == before
        assert guard.book.latches == ()
