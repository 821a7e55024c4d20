"""Daily volatility: exact on made sessions, careful on everything else, sound on real days."""

import math
from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstop.core.bars import BAR_US, Bar, market_age_s
from backstop.core.instrument_table import family_profile
from backstop.core.volatility import (
    MEDIAN_SESSIONS,
    DailyVolatility,
    VolatilityEstimator,
    VolatilityOrigin,
    VolatilityState,
)
from backstop.errors import DomainError

DAY_US = 86_400_000_000
MONDAY_UTC_US = 1_717_365_600_000_000  # Sunday 2024-06-02 22:00 UTC, where Monday begins
BARS = 276


def session(
    number: int, closes: Sequence[float], *, contract_id: str = "ESU4", family: str = "ES"
) -> list[Bar]:
    """The bars of one session, weekends left out of the calendar."""
    week, day = divmod(number, 5)
    start_utc_us = MONDAY_UTC_US + (7 * week + day) * DAY_US
    return [
        Bar(
            family=family,
            contract_id=contract_id,
            trade_date=f"session-{number:03}",
            start_utc_us=start_utc_us + position * BAR_US,
            close=Decimal(repr(close)),
        )
        for position, close in enumerate(closes)
    ]


def swinging(step: float, level: float = 6000.0, bars: int = BARS) -> list[float]:
    """Closes that go up and down by ``step`` (a log return) in turn, and end where they began."""
    return [level * math.exp(step * (position % 2)) for position in range(bars)]


def end_of(bars: Sequence[Bar]) -> int:
    return bars[-1].start_utc_us + BAR_US


def after(sessions: Sequence[Sequence[Bar]], *, family: str = "ES") -> DailyVolatility:
    """The volatility right after the last bar; the last session is the running one."""
    bars = [bar for one in sessions for bar in one]
    return VolatilityEstimator.seeded(family, bars).volatility(end_of(bars))


def test_without_a_complete_session_the_stress_volatility_stands_in() -> None:
    stress = family_profile("ES").stress_volatility_ppm
    never = VolatilityEstimator("ES").volatility(MONDAY_UTC_US)
    assert (never.sigma_ppm, never.origin) == (stress, VolatilityOrigin.STRESS_MISSING)
    assert after([session(0, swinging(0.001))]).origin is VolatilityOrigin.STRESS_MISSING


def test_a_session_is_the_root_of_its_summed_squared_returns() -> None:
    step = 0.01 / math.sqrt(BARS - 1)
    got = after([session(0, swinging(step)), session(1, [6000.0 * math.exp(step)])])
    assert got.origin is VolatilityOrigin.MEASURED
    assert got.sigma_ppm == pytest.approx(10_000, abs=1)
    assert got.sessions == 1


def test_the_opening_gap_counts() -> None:
    quiet = swinging(0.0001)
    level = quiet[-1]
    gapped = [close * 1.03 for close in swinging(0.0001, level)]
    got = after([session(0, quiet), session(1, gapped), session(2, [gapped[-1]])])
    expected = math.sqrt(0.94 * 275e-8 + 0.06 * (275e-8 + math.log(1.03) ** 2))
    assert got.sigma_ppm == pytest.approx(expected * 1e6, abs=1)


def test_a_roll_to_the_next_month_is_no_return() -> None:
    quiet = swinging(0.001)
    rolled = [close * 1.03 for close in quiet]
    got = after(
        [
            session(0, quiet),
            session(1, rolled, contract_id="ESZ4"),
            session(2, rolled[-1:], contract_id="ESZ4"),
        ]
    )
    assert got.sigma_ppm == pytest.approx(math.sqrt(275e-6) * 1e6, abs=1)


@pytest.mark.parametrize(("next_session", "counts"), [(3, 1), (4, 0)])
def test_a_step_over_a_hole_in_the_history_is_no_opening_gap(
    next_session: int, counts: int
) -> None:
    quiet = swinging(0.0006, bars=BARS)
    far = [close * 1.05 for close in quiet]
    got = after(
        [session(0, quiet), session(next_session, far), session(next_session + 1, far[-1:])]
    )
    step = counts * math.log(far[0] / quiet[-1]) ** 2
    expected = math.sqrt(275 * 0.0006**2 + 0.06 * step)
    assert got.sigma_ppm == pytest.approx(expected * 1e6, abs=1)


def test_sessions_are_weighted_by_094() -> None:
    steps = [0.001, 0.002, 0.0005]
    sessions = [session(day, swinging(step)) for day, step in enumerate(steps)]
    got = after([*sessions, session(3, [float(sessions[-1][-1].close)])])
    variances = [275 * step * step for step in steps]
    gaps = [0.001**2, 0.002**2]  # each session ends one step above where the next begins
    expected = variances[0]
    for variance, gap in zip(variances[1:], gaps, strict=True):
        expected = 0.94 * expected + 0.06 * (variance + gap)
    assert got.sigma_ppm == pytest.approx(math.sqrt(expected) * 1e6, abs=2)


def test_a_crash_counts_while_it_happens_and_a_calm_morning_does_not_calm() -> None:
    normal = session(0, swinging(0.0006))
    before = after([normal, session(1, [float(normal[-1].close)])])
    calm = after([normal, session(1, [6000.0] * 30)])
    crash = after([normal, session(1, [6000.0, 5700.0])])
    assert calm.sigma_ppm == before.sigma_ppm
    assert crash.sigma_ppm > before.sigma_ppm * 1.3


def test_the_estimate_stays_above_the_floor_of_the_table() -> None:
    floor = family_profile("ES").volatility_floor_ppm
    got = after([session(0, swinging(0.00001)), session(1, [6000.0])])
    assert (got.sigma_ppm, got.origin) == (floor, VolatilityOrigin.TABLE_FLOOR)


def test_the_estimate_stays_above_half_of_its_sixty_session_median() -> None:
    wild, calm = swinging(0.003), [6000.0] * BARS
    sessions = [session(day, wild) for day in range(40)]
    sessions += [session(40 + day, calm) for day in range(26)]
    got = after([*sessions, session(66, [6000.0])])
    assert got.origin is VolatilityOrigin.MEDIAN_FLOOR
    assert got.sigma_ppm == pytest.approx(math.sqrt(275 * 0.003**2) / 2 * 1e6, rel=0.01)


def test_a_short_session_is_not_a_session() -> None:
    half_day = session(0, swinging(0.0001, bars=60))
    assert after([half_day, session(1, [6000.0])]).origin is VolatilityOrigin.STRESS_MISSING


def test_an_old_estimate_is_no_better_than_none() -> None:
    bars = session(0, swinging(0.0006)) + session(1, [6000.0])
    estimator = VolatilityEstimator.seeded("ES", bars)
    fresh = estimator.volatility(end_of(bars) + DAY_US)
    assert fresh.origin is VolatilityOrigin.MEASURED
    stale = estimator.volatility(end_of(bars) + DAY_US + 1_000_000)
    assert stale.origin is VolatilityOrigin.STRESS_STALE
    assert stale.sigma_ppm == family_profile("ES").stress_volatility_ppm
    ahead = estimator.volatility(end_of(bars) - 2 * BAR_US)
    assert ahead.origin is VolatilityOrigin.STRESS_STALE


def test_a_weekend_does_not_age_an_estimate() -> None:
    friday_2100, monday_2100 = 1_717_794_000, 1_718_053_200
    assert market_age_s(friday_2100 * 1_000_000, monday_2100 * 1_000_000) == 24 * 3600
    saturday = friday_2100 + 20 * 3600
    assert market_age_s(friday_2100 * 1_000_000, saturday * 1_000_000) == 3600
    assert market_age_s(saturday * 1_000_000, friday_2100 * 1_000_000) == -3600


@pytest.mark.parametrize("close", ["NaN", "Infinity", "-Infinity", "0", "-37.63", "-0"])
def test_a_close_that_is_no_price_is_left_out_and_counted(close: str) -> None:
    bars = session(0, swinging(0.0006))
    estimator = VolatilityEstimator.seeded("ES", bars)
    before = estimator.snapshot()
    bad = msgspec.structs.replace(
        bars[-1], close=Decimal(close), start_utc_us=bars[-1].start_utc_us + BAR_US
    )
    assert estimator.on_bar(bad) is False
    assert estimator.snapshot() == msgspec.structs.replace(before, rejected_bars=1)


def test_a_bar_that_comes_twice_or_late_counts_once() -> None:
    bars = session(0, swinging(0.0006))
    estimator = VolatilityEstimator.seeded("ES", bars)
    assert [estimator.on_bar(bar) for bar in (bars[-1], bars[3])] == [False, False]
    assert estimator.snapshot().session_variance == (
        VolatilityEstimator.seeded("ES", bars).snapshot().session_variance
    )


def test_a_bar_of_another_family_is_an_error() -> None:
    (bar,) = session(0, [21000.0], family="NQ")
    with pytest.raises(DomainError, match="NQ was given to the volatility of ES"):
        VolatilityEstimator("ES").on_bar(bar)


def test_the_state_survives_the_journal() -> None:
    bars = [bar for day in range(4) for bar in session(day, swinging(0.001 * (day + 1)))]
    cut = 700
    first = VolatilityEstimator.seeded("ES", bars[:cut])
    text = msgspec.json.encode(first.snapshot())
    restored = VolatilityEstimator.restored(msgspec.json.decode(text, type=VolatilityState))
    for bar in bars[cut:]:
        restored.on_bar(bar)
    assert restored.snapshot() == VolatilityEstimator.seeded("ES", bars).snapshot()


def test_memory_of_sessions_is_bounded() -> None:
    sessions = [session(day, swinging(0.001, bars=70)) for day in range(MEDIAN_SESSIONS + 9)]
    estimator = VolatilityEstimator.seeded("ES", [bar for one in sessions for bar in one])
    assert len(estimator.snapshot().recent_sigmas) == MEDIAN_SESSIONS


@given(
    st.lists(
        st.decimals(allow_nan=True, allow_infinity=True) | st.decimals("1e-9", "1e9"), max_size=90
    ),
    st.integers(1, 100),
)
def test_no_prices_bring_the_volatility_below_the_floor(closes: list[Decimal], cut: int) -> None:
    bars = [
        Bar(
            family="ES",
            contract_id="ESU4",
            trade_date=str(position // cut),
            start_utc_us=MONDAY_UTC_US + position * BAR_US,
            close=close,
        )
        for position, close in enumerate(closes)
    ]
    got = VolatilityEstimator.seeded("ES", bars).volatility(MONDAY_UTC_US + 90 * BAR_US)
    assert got.sigma_ppm >= family_profile("ES").volatility_floor_ppm
