"""Volatility and correlation by the venue's bars: other code than the guard's, the same answers."""

import math
from decimal import Decimal
from random import Random

import pytest

from backstop.core.bars import Bar
from backstop.core.correlation_estimator import CorrelationEstimator
from backstop.core.volatility import VolatilityEstimator
from backstop.simulator.sessions import trade_date
from backstop.storm.estimate_truth import rho_of, sigma_of
from backstop.storm.history import BAR_US, SESSIONS, Close, past_of
from backstop.storm.mutations import Mutation, planted
from backstop.storm.plan import Weather
from backstop.storm.seed_run import run_seed
from backstop.storm.terms import QUIET_US

PRICES = {"ES": 24_000, "NQ": 84_000}
TICK = Decimal("0.25")


def bars(family: str, closes: list[Close]) -> list[Bar]:
    return [
        Bar(
            family=family,
            contract_id=family,
            trade_date=trade_date(it.open_us).isoformat(),
            start_utc_us=it.open_us,
            close=it.ticks * TICK,
        )
        for it in closes
    ]


@pytest.mark.parametrize("seed", range(3))
def test_volatility_and_correlation_are_what_the_guard_makes_of_the_same_bars(seed: int) -> None:
    past = past_of(Random(seed), PRICES, QUIET_US)  # noqa: S311 - repeatable
    guards = VolatilityEstimator.seeded("ES", bars("ES", past["ES"])).volatility(QUIET_US)
    own = sigma_of(past["ES"], QUIET_US)
    assert own is not None
    assert guards.sigma_ppm / 1e6 >= own * 0.999  # it may count more, and never less

    together = [*bars("ES", past["ES"]), *bars("NQ", past["NQ"])]
    view = CorrelationEstimator.seeded(PRICES, together).view(QUIET_US)
    measured = view.correlation("ES", "NQ").value
    rho = rho_of(past["ES"], past["NQ"], None)
    assert measured is not None
    assert rho is not None
    assert math.isclose(measured, rho, abs_tol=1e-9)


def test_the_past_leads_to_the_price_at_the_beginning_and_has_whole_sessions() -> None:
    past = past_of(Random(1), PRICES, QUIET_US)  # noqa: S311 - repeatable
    assert {family: closes[-1].ticks for family, closes in past.items()} == PRICES
    assert len({trade_date(it.open_us) for it in past["ES"]}) == SESSIONS
    assert all(it.open_us % BAR_US == 0 for it in past["ES"])


HALF_THE_VOLATILITY = Mutation(
    name="count half of the volatility",
    weather=Weather.CALM,
    module="core.volatility",
    old="            self._session_variance += step * step\n",
    new="            self._session_variance += step * step / 4\n",
)


def test_a_planted_bug_counts_less_than_the_bars_say() -> None:
    with planted(HALF_THE_VOLATILITY):
        found = run_seed(20, hours=0.02, first_fault=True)
    assert {it.rule for it in found.violations} == {"within limits"}
    assert "volatility" in found.violations[0].text
