"""Section J: positions that are one bet together, as bars that the venue serves say."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.scenarios.bar_files import (
    DAY_BARS,
    PLAYED_DAY,
    Returns,
    moving_together,
    two,
    written,
)
from tests.acceptance.scenarios.stage import alerts, flat, trades
from tests.app.desk import Desk, Guard, JumpingClock, a_desk, a_venue, until

from backstop.core.correlation import Correlation, CorrelationOrigin
from backstop.core.exposure import LimitName, dollars
from backstop.core.step import Decision, DecisionKind
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.order import OrderState, OrderType, Side

pytestmark = pytest.mark.asyncio(loop_scope="module")

SYMBOLS = ("MNQ", "M2K")
NEAR = 0.03
"""How far the measured correlation of so many bars lies from the one that they were drawn with."""


@asynccontextmanager
async def a_past(folder: Path, **past: Returns) -> AsyncIterator[Desk]:
    """Serve a venue whose ES, NQ or RTY have the bars of ``past``."""
    files = written(folder / "bars", past)
    async with a_venue(history=True, data=files, day=PLAYED_DAY) as venue:
        yield a_desk(venue, folder)


def limits(
    *, correlation: int = 100_000, directional: int = 100_000, gross: int = 100_000
) -> dict[str, Any]:
    """Return settings in which each limit is that many risk dollars."""
    return {
        "BACKSTOP_INSTRUMENTS": "MES,MNQ,M2K",
        "RISK_BUDGET": correlation,
        "MAX_CORRELATION_EXPOSURE": 1,
        "ES_NQ_MAX_COMBINED_EXPOSURE": 100_000,
        "MAX_GROSS_EXPOSURE": gross,
        "MAX_DIRECTIONAL_SHARE": Decimal(min(directional, gross)) / gross,
    }


def measured(guard: Guard, first: str, second: str) -> Correlation:
    snapshot = guard.manager.correlation_protection.snapshot()
    return snapshot.correlations.correlation(first, second)


def moving(guard: Guard, first: str, second: str) -> float:
    """Return the correlation that was measured of a pair."""
    value = measured(guard, first, second).value
    assert value is not None
    return value


async def reading(guard: Guard, limit: LimitName, symbol: str = "MNQ") -> str:
    """Return what a limit comes to with what is held, in dollars."""
    system = guard.manager.correlation_protection
    exposure = await system.calculate_correlated_exposure(symbol)
    (found,) = [it for it in exposure.readings if it.limit is limit]
    return dollars(found.value_micros)


def only(decision: Decision) -> Denial:
    """Return the one reason for which an order was refused."""
    assert decision.kind is DecisionKind.REFUSED, decision
    (denial,) = decision.denials
    return denial


def held(desk: Desk) -> dict[str, int]:
    """Return the net contracts of each root at the exchange."""
    return {
        row["contractId"].split(".")[3]: row["quantity"]
        for row in desk.truth()["positions"]
        if row["accountId"] == desk.account
    }


def bought(desk: Desk, symbol: str) -> int:
    """Return the contracts of a root that the exchange traded for the account."""
    return sum(row["quantity"] for row in trades(desk) if f".{symbol}." in row["contractId"])


async def out(desk: Desk, guard: Guard, symbol: str, side: Side, quantity: int) -> None:
    """Leave a position, and wait until nothing of it is left."""
    await guard.enter(side, quantity, symbol=symbol, protected=False)
    await until(lambda: symbol not in held(desk), lambda: held(desk))
    await guard.agrees()


def objections(guard: Guard, *arguments: Any, **changes: Any) -> list[Denial]:
    """Return what speaks against an order that is not sent."""
    assessment = guard.manager.validate_order(guard.request(*arguments, **changes))
    assert assessment is not None
    return list(assessment.denials)


# -- J1 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("J1")
async def test_a_third_index_that_moves_with_the_two_that_are_held_is_the_same_bet(
    tmp_path: Path,
) -> None:
    shares = (
        (1.0,),
        (0.92, 0.0664, math.sqrt(1 - 0.92**2 - 0.0664**2)),
        (0.93, math.sqrt(1 - 0.93**2)),
    )
    es, nq, rty = moving_together(4, *shares)
    async with (
        a_past(tmp_path, ES=es, NQ=nq, RTY=rty) as desk,
        desk.guard(*SYMBOLS, **limits(correlation=896)) as guard,
    ):
        assert moving(guard, "ES", "RTY") == pytest.approx(0.93, abs=NEAR)
        assert moving(guard, "NQ", "RTY") == pytest.approx(0.88, abs=NEAR)
        await guard.enter(quantity=2)
        await guard.enter(quantity=2, symbol="MNQ")

        refused = await guard.manager.submit_order(guard.request(quantity=2, symbol="M2K"))

        denial = only(refused)
        assert denial.code is DenialCode.CORRELATION_EXPOSURE
        assert (denial.limit, denial.max_quantity) == ("896.00", 1)
        with_nq, with_rty = moving(guard, "ES", "NQ"), moving(guard, "NQ", "RTY")
        nq_and_all = 560 + 250 * with_nq + 160 * with_rty
        assert float(str(denial.value)) == pytest.approx(nq_and_all, abs=0.02)
        assert bought(desk, "M2K") == 0
        assert objections(guard, Side.BUY, 1, symbol="M2K") == []
        assert objections(guard, Side.SELL, 2, symbol="M2K") == []

        await out(desk, guard, "MES", Side.SELL, 2)
        await guard.enter(quantity=2, symbol="M2K")
        assert held(desk) == {"MNQ": 2, "M2K": 2}
        await guard.agrees()


# -- J2 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("J2")
@pytest.mark.parametrize("side", Side, ids=["long against short", "short against long"])
async def test_one_index_against_another_is_a_small_bet_and_still_gross(
    tmp_path: Path, side: Side
) -> None:
    es, nq = two(0.95)
    async with (
        a_past(tmp_path, ES=es, NQ=nq) as desk,
        desk.guard("MNQ", **limits(correlation=600, gross=940)) as guard,
    ):
        await guard.enter(side.opposite, quantity=2)
        await guard.enter(side, quantity=2, symbol="MNQ")

        with_es = moving(guard, "ES", "NQ")
        assert with_es == pytest.approx(0.95, abs=NEAR)
        net = 560 - 250 * with_es / 2
        assert float(await reading(guard, LimitName.CORRELATION)) == pytest.approx(net, abs=0.02)
        assert await reading(guard, LimitName.GROSS) == "810.00"
        refused = only(await guard.manager.submit_order(guard.request(side.opposite, quantity=2)))
        assert refused.code is DenialCode.GROSS_EXPOSURE
        assert (refused.value, refused.limit) == ("1060.00", "940.00")
        assert refused.max_quantity == 1
        assert held(desk) == {"MES": -2 * side.sign, "MNQ": 2 * side.sign}

        # One that rests is gross already, and hedges nothing before it fills.
        resting = await guard.send(guard.request(side.opposite, 1, OrderType.LIMIT, ticks=-300))
        assert await reading(guard, LimitName.GROSS) == "935.00"
        assert float(await reading(guard, LimitName.CORRELATION)) == pytest.approx(net, abs=0.02)
        (gross,) = objections(guard, side.opposite, 1)
        assert (gross.code, gross.max_quantity) == (DenialCode.GROSS_EXPOSURE, 0)
        await guard.manager.cancel_order(resting.client_order_id, reason="the other way")
        await guard.reaches(resting.client_order_id, OrderState.CANCELLED)
        # What reduces is no question of limits, though the rest is hedged no more.
        await out(desk, guard, "MES", side, 2)
        assert held(desk) == {"MNQ": 2 * side.sign}


# -- J3 ------------------------------------------------------------------------------------------

MOVES_LITTLE_WITH = 0.2


def known() -> list[dict[int, float]]:
    return two(MOVES_LITTLE_WITH)


def three_trading_days_old() -> list[dict[int, float]]:
    """For five days, a weekend among them or not, each trades while the other one does not."""
    es, rty = two(MOVES_LITTLE_WITH, days=9)
    half = DAY_BARS // 2
    first = {at: it for at, it in es.items() if at < -5 * DAY_BARS or at % DAY_BARS < half - 6}
    second = {at: it for at, it in rty.items() if at < -5 * DAY_BARS or half <= at % DAY_BARS}
    return [first, second]


def too_few() -> list[dict[int, float]]:
    """Fifty returns in common on the first of nine days; then each trades alone."""
    es, rty = two(MOVES_LITTLE_WITH, days=9)
    half = DAY_BARS // 2
    in_common = -9 * DAY_BARS + half + 51
    first = {at: it for at, it in es.items() if at < in_common or at % DAY_BARS < half}
    return [first, {at: it for at, it in rty.items() if half <= at % DAY_BARS}]


def no_variance() -> list[dict[int, float]]:
    es, rty = two(MOVES_LITTLE_WITH)
    return [es, dict.fromkeys(rty, 0.0)]


@pytest.mark.scenario("J3")
@pytest.mark.parametrize(
    ("past", "origin"),
    [
        (known, CorrelationOrigin.MEASURED),
        (three_trading_days_old, CorrelationOrigin.STALE),
        (too_few, CorrelationOrigin.THIN),
        (no_variance, CorrelationOrigin.ZERO_VARIANCE),
    ],
)
async def test_what_is_not_known_of_a_pair_counts_as_one_and_never_as_nothing(
    tmp_path: Path, past: Any, origin: CorrelationOrigin
) -> None:
    es, rty = past()
    async with (
        a_past(tmp_path, ES=es, RTY=rty) as desk,
        desk.guard("M2K", **limits(correlation=400)) as guard,
    ):
        found = measured(guard, "ES", "RTY")
        assert found.origin is origin, found
        await guard.enter(quantity=2)
        both = guard.request(quantity=2, symbol="M2K")
        decision = await guard.manager.submit_order(both)

        if origin is CorrelationOrigin.MEASURED:
            assert decision.kind is DecisionKind.ACCEPTED
            await guard.reaches(both.client_order_id, OrderState.FILLED)
            assert held(desk) == {"MES": 2, "M2K": 2}
            return
        refused = only(decision)
        assert refused.code is DenialCode.CORRELATION_EXPOSURE
        assert (refused.value, refused.limit) == ("410.00", "400.00"), "250 and all of 160"
        assert refused.max_quantity == 1
        assert held(desk) == {"MES": 2}
        # The other side is no hedge either: four MES are 500, whatever is short against them.
        await guard.enter(Side.SELL, 2, symbol="M2K")
        assert await reading(guard, LimitName.CORRELATION, "MES") == "250.00"
        (more,) = objections(guard, Side.BUY, 2)
        assert (more.code, more.value) == (DenialCode.CORRELATION_EXPOSURE, "500.00")
        assert held(desk) == {"MES": 2, "M2K": -2}


# -- J4 ------------------------------------------------------------------------------------------

SHOCK = -0.012
SHOCK_PLACE = -3
BEFORE_IT_S = 3600.0


class BehindClock(JumpingClock):
    """The machine's clocks, with a time of day before the bars of the last hour are closed."""

    behind_s = BEFORE_IT_S

    def utc_us(self) -> int:
        return super().utc_us() - int(self.behind_s * 1_000_000)


@pytest.mark.scenario("J4")
@pytest.mark.parametrize("liquidates", [False, True], ids=["by default", "where it was asked for"])
async def test_a_correlation_that_jumps_blocks_what_adds_and_closes_only_what_it_may(
    tmp_path: Path, *, liquidates: bool
) -> None:
    es, rty = two(0.3)
    es[SHOCK_PLACE] = rty[SHOCK_PLACE] = SHOCK
    clock = BehindClock()
    settings = limits(correlation=450) | {"CORRELATION_UPDATE_SECONDS": 1}
    async with (
        a_past(tmp_path, ES=es, RTY=rty) as desk,
        desk.guard("M2K", clock=clock, EXPOSURE_BREACH_LIQUIDATES=liquidates, **settings) as guard,
    ):
        assert moving(guard, "ES", "RTY") == pytest.approx(0.3, abs=2 * NEAR)
        await guard.enter(quantity=2)
        await guard.enter(quantity=4, symbol="M2K")
        assert "EXPOSURE_LIMIT_BROKEN" not in alerts(guard)

        clock.behind_s = 0
        await until(lambda: "EXPOSURE_LIMIT_BROKEN" in alerts(guard), lambda: alerts(guard))

        assert moving(guard, "ES", "RTY") == pytest.approx(0.95, abs=NEAR)
        if liquidates:
            await until(lambda: not held(desk), lambda: held(desk))
            await flat(desk)
            return
        add = only(await guard.manager.submit_order(guard.request(quantity=1)))
        assert (add.code, add.max_quantity) == (DenialCode.CORRELATION_EXPOSURE, 0)
        assert held(desk) == {"MES": 2, "M2K": 4}
        assert not guard.book.liquidations
        assert alerts(guard).count("EXPOSURE_LIMIT_BROKEN") == 1
        # Leaving in part is allowed, beyond the limit as it still is.
        await guard.enter(Side.SELL, 1, symbol="M2K", protected=False)
        await until(lambda: held(desk) == {"MES": 2, "M2K": 3}, lambda: held(desk))
        await out(desk, guard, "MES", Side.SELL, 2)


# -- J5 ------------------------------------------------------------------------------------------


@pytest.mark.scenario("J5")
async def test_what_moves_against_it_takes_off_no_more_than_half_and_nothing_of_the_gross(
    tmp_path: Path,
) -> None:
    es, rty = two(-0.9)
    async with a_past(tmp_path, ES=es, RTY=rty) as desk:
        hedged = limits(correlation=400, directional=850, gross=1700)
        async with desk.guard("M2K", **hedged) as guard:
            moves = moving(guard, "ES", "RTY")
            assert moves == pytest.approx(-0.9, abs=NEAR)
            (alone,) = objections(guard, Side.BUY, 4)
            assert (alone.code, alone.value) == (DenialCode.CORRELATION_EXPOSURE, "500.00")
            await guard.enter(quantity=5, symbol="M2K")

            # Five M2K, 400 dollars, take off 180: by that four MES would be 320, and five too
            # much. But should all go the same way for once, only three fit.
            five = {it.code: it for it in objections(guard, Side.BUY, 5)}
            assert set(five) == {
                DenialCode.CORRELATION_EXPOSURE,
                DenialCode.CONCENTRATION_DIRECTIONAL,
            }
            with_hedge = five[DenialCode.CORRELATION_EXPOSURE]
            assert float(str(with_hedge.value)) == pytest.approx(625 + 200 * moves, abs=0.02)
            assert with_hedge.max_quantity == 4
            refused = only(await guard.manager.submit_order(guard.request(quantity=4)))
            assert refused.code is DenialCode.CONCENTRATION_DIRECTIONAL
            assert (refused.value, refused.limit) == ("900.00", "850.00")
            assert refused.max_quantity == 3
            await guard.enter(quantity=3)
            assert held(desk) == {"MES": 3, "M2K": 5}
        # A share that is raised to the whole leaves the gross limit to bind.
        async with desk.guard("M2K", **limits(correlation=400, gross=850)) as guard:
            (gross, *_) = objections(guard, Side.BUY, 1)
            codes = {it.code for it in objections(guard, Side.BUY, 1)}
            assert DenialCode.GROSS_EXPOSURE in codes
            assert (gross.value, gross.limit) == ("900.00", "850.00")
            assert held(desk) == {"MES": 3, "M2K": 5}
