"""Volatility and correlation from the gateway's own bars, as a fact of the decision loop."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from msgspec.structs import replace
from tests.app.desk import NO_HISTORY, Desk, Guard, a_desk, a_venue, audited, until

from backstop.core.step import DecisionKind
from backstop.domain.denial import DenialCode
from backstop.domain.events import PairCorrelation, RiskEstimated
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def recorded() -> AsyncIterator[Simulator]:
    """Serve a venue that has a history of bars."""
    async with a_venue(history=True) as venue:
        yield venue


async def test_a_history_is_measured_before_the_first_entry(
    recorded: Simulator, tmp_path: Path
) -> None:
    async with a_desk(recorded, tmp_path).guard() as guard:
        estimate = guard.book.estimate
        assert estimate is not None
        volatilities = {each.family: each for each in estimate.volatilities}
        (pair,) = estimate.correlations

        assert sorted(volatilities) == ["ES", "NQ"]
        assert all(0 < each.sigma_ppm < 100_000 for each in volatilities.values())
        assert {pair.first, pair.second} == {"ES", "NQ"}
        assert pair.value is not None
        assert 0.3 < pair.value <= 1
        assert pair.aligned_bars >= 60


async def test_what_was_measured_stands_in_the_record(recorded: Simulator, tmp_path: Path) -> None:
    """A decision can be replayed only with what was known when it was made."""
    async with a_desk(recorded, tmp_path).guard() as guard:
        live = guard.book.estimate

    ((payload,),) = audited(
        tmp_path / "state",
        "SELECT payload FROM Journal WHERE kind = 'event' "
        "AND json_extract(CAST(payload AS TEXT), '$.kind') = 'RiskEstimated'",
    )
    assert msgspec.json.decode(payload, type=RiskEstimated) == live


async def test_without_history_the_stress_values_hold_and_it_is_said(desk: Desk) -> None:
    async with desk.guard() as guard:
        estimate = guard.book.estimate
        assert estimate is not None

        assert "market history" in guard.manager.components
        assert {pair.value for pair in estimate.correlations} == {None}
        assert min(each.sigma_ppm for each in estimate.volatilities) >= 20_000


async def test_a_bet_that_a_calm_history_allows_is_refused_without_history(
    recorded: Simulator, desk: Desk, tmp_path: Path
) -> None:
    limits = {"RISK_BUDGET": 10_000, "ES_NQ_MAX_COMBINED_EXPOSURE": 10_000}
    calm = a_desk(recorded, tmp_path / "calm")
    async with calm.guard("ES", **limits) as guard, desk.guard("ES", **limits) as blind:
        allowed = guard.manager.validate_order(guard.request(symbol="ES"))
        refused = await blind.manager.submit_order(blind.request(symbol="ES"))

    assert allowed is not None
    assert allowed.denials == ()
    assert refused.kind is DecisionKind.REFUSED
    assert DenialCode.CORRELATION_EXPOSURE in {denial.code for denial in refused.denials}


async def test_a_history_that_comes_back_is_read_again(recorded: Simulator, tmp_path: Path) -> None:
    desk = a_desk(recorded, tmp_path)
    desk.venue.faults.add([NO_HISTORY])
    async with desk.guard(CORRELATION_UPDATE_SECONDS=1) as guard:
        assert "market history" in guard.manager.components
        desk.venue.faults.heal()
        await until(
            lambda: (
                guard.book.estimate is not None
                and guard.book.estimate.correlations[0].value is not None
            ),
            lambda: guard.book.estimate,
        )
        async with asyncio.timeout(10):
            await until(lambda: guard.manager.components == {}, lambda: guard.manager.components)


async def test_a_read_that_failed_is_asked_for_again_long_before_the_next_update(
    recorded: Simulator, tmp_path: Path
) -> None:
    """Minutes of 503 for one answer that came too late would help nobody."""
    desk = a_desk(recorded, tmp_path)
    desk.venue.faults.add([replace(NO_HISTORY, count=2)])  # both families, once
    async with desk.guard(CORRELATION_UPDATE_SECONDS=3600) as guard:
        assert "market history" in guard.manager.components
        await until(lambda: guard.manager.components == {}, lambda: guard.manager.components)
        await until(lambda: _correlation(guard).value is not None, lambda: _correlation(guard))


async def test_a_history_that_comes_late_is_paired_with_the_whole_of_the_others(
    recorded: Simulator, tmp_path: Path
) -> None:
    """The other feed has run ahead by a hundred days; pairs are bars of the same time."""
    together = a_desk(recorded, tmp_path / "together")
    async with together.guard() as guard:
        in_time = _correlation(guard)
        assert in_time.value is not None
    desk = a_desk(recorded, tmp_path / "late")
    desk.venue.faults.add([replace(NO_HISTORY, count=1, contract=".EP.")])
    async with desk.guard(CORRELATION_UPDATE_SECONDS=3600) as guard:
        assert guard.manager.components["market history"].startswith("no bars of ES: ")
        await until(lambda: _correlation(guard).value is not None, lambda: _correlation(guard))
        late = _correlation(guard)
        await until(lambda: guard.manager.components == {}, lambda: guard.manager.components)

    assert late.aligned_bars >= in_time.aligned_bars


def _correlation(guard: Guard) -> PairCorrelation:
    """Return what is known of the one pair that there is."""
    assert guard.book.estimate is not None
    return guard.book.estimate.correlations[0]
