"""What is made of a correlation, and how it is measured."""

import math
import random
from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backstop.core.bars import BAR_US, Bar
from backstop.core.correlation import (
    UNKNOWN_WEIGHT,
    Correlation,
    CorrelationOrigin,
    CorrelationView,
    PairWeight,
    pair_weight,
)
from backstop.core.correlation_estimator import (
    HALF_LIFE_BARS,
    RECENT_RETURNS,
    CorrelationEstimator,
    CorrelationState,
)
from backstop.errors import DomainError

START_UTC_US = 1_717_365_600_000_000  # Sunday 2024-06-02 22:00 UTC
DAY_US = 86_400_000_000


def series(family: str, returns: Sequence[float], *, contract_id: str = "U4") -> list[Bar]:
    """One bar to start from and one per return."""
    level = 5000.0
    bars = []
    for position, step in enumerate([0.0, *returns]):
        level *= math.exp(step)
        bars.append(
            Bar(
                family=family,
                contract_id=contract_id,
                trade_date="2024-06-03",
                start_utc_us=START_UTC_US + position * BAR_US,
                close=Decimal(repr(level)),
            )
        )
    return bars


def pair(count: int, slope: float = 1.0, noise: float = 0.0) -> list[Bar]:
    """ES, and CL that follows it by ``slope`` with ``noise``; seeded."""
    chance = random.Random(7)  # noqa: S311 - prices, not secrets
    leader = [chance.gauss(0, 0.0005) for _ in range(count)]
    follower = [slope * step + chance.gauss(0, noise) for step in leader]
    return series("ES", leader) + series("CL", follower)


def end_of(bars: Sequence[Bar]) -> int:
    return max(bar.start_utc_us for bar in bars) + BAR_US


def measured(bars: Sequence[Bar], *, later_us: int = 0) -> Correlation:
    estimator = CorrelationEstimator.seeded(["ES", "CL"], bars)
    return estimator.view(end_of(bars) + later_us).correlation("CL", "ES")


# -- what the decision makes of it -------------------------------------------------------------


def known(value: float | None, origin: CorrelationOrigin) -> Correlation:
    return Correlation(origin=origin, value=value)


@pytest.mark.parametrize(
    ("value", "weight"),
    [
        (0.93, PairWeight(same_side_ppm=930_000, opposite_side_ppm=-930_000)),
        (0.9300001, PairWeight(same_side_ppm=930_001, opposite_side_ppm=-930_000)),
        (-0.25, PairWeight(same_side_ppm=-250_000, opposite_side_ppm=250_000)),
        (1.0, PairWeight(same_side_ppm=1_000_000, opposite_side_ppm=-1_000_000)),
        (0.0, PairWeight(same_side_ppm=0, opposite_side_ppm=0)),
        (1e-300, PairWeight(same_side_ppm=1, opposite_side_ppm=0)),
    ],
)
def test_a_measured_correlation_is_rounded_against_us(value: float, weight: PairWeight) -> None:
    assert pair_weight("CL", "GC", known(value, CorrelationOrigin.MEASURED)) == weight


@pytest.mark.parametrize(
    "correlation",
    [
        *(known(0.0, origin) for origin in CorrelationOrigin if origin != "MEASURED"),
        *(
            known(value, CorrelationOrigin.MEASURED)
            for value in (None, math.nan, math.inf, -math.inf, 1.01, -1.01)
        ),
    ],
)
def test_anything_but_a_sound_measurement_is_the_same_bet_and_no_hedge(
    correlation: Correlation,
) -> None:
    assert pair_weight("CL", "GC", correlation) == UNKNOWN_WEIGHT
    assert PairWeight(same_side_ppm=1_000_000, opposite_side_ppm=0) == UNKNOWN_WEIGHT


@pytest.mark.parametrize(
    ("value", "same", "opposite"),
    [
        (0.3, 850_000, -300_000),
        (0.95, 950_000, -950_000),
        (0.0, 850_000, 0),
        (-0.3, 850_000, 850_000),
        (-0.9, 850_000, 900_000),
    ],
)
def test_es_and_nq_on_one_side_never_count_less_than_085(
    value: float, same: int, opposite: int
) -> None:
    expected = PairWeight(same_side_ppm=same, opposite_side_ppm=opposite)
    for names in (("ES", "NQ"), ("NQ", "ES")):
        assert CorrelationView.measured({names: value}).weight(*names) == expected
    assert CorrelationView().weight("ES", "NQ") == UNKNOWN_WEIGHT


def test_a_view_knows_each_pair_from_both_ends_and_nothing_else() -> None:
    view = CorrelationView.measured({("NQ", "CL"): 0.2})
    assert view.correlation("CL", "NQ") == view.correlation("NQ", "CL")
    assert view.correlation("CL", "GC").origin is CorrelationOrigin.MISSING
    assert [(first, second) for first, second, _ in view.pairs()] == [("CL", "NQ")]


# -- how it is measured ------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [2.0, -0.5])
def test_series_that_move_in_proportion_correlate_fully(slope: float) -> None:
    got = measured(pair(100, slope))
    assert got.origin is CorrelationOrigin.MEASURED
    assert got.value == pytest.approx(math.copysign(1, slope), abs=1e-9)
    assert -1 <= (got.value or 0) <= 1


def test_the_estimate_finds_the_correlation_of_noisy_series() -> None:
    got = measured(pair(3000, 1.0, noise=0.0005))
    assert got.value == pytest.approx(1 / math.sqrt(2), abs=0.08)


def test_returns_lose_half_their_weight_in_276_bars() -> None:
    """One common move and, 276 bars later, one opposite move of the same size."""
    quiet = [0.0] * (HALF_LIFE_BARS - 1)
    bars = series("ES", [0.01, *quiet, 0.01]) + series("CL", [0.01, *quiet, -0.01])
    assert measured(bars).value == pytest.approx((0.5 - 1) / (0.5 + 1), abs=1e-9)


def test_sixty_aligned_bars_are_a_measurement_and_one_less_is_not() -> None:
    assert measured(pair(59)).origin is CorrelationOrigin.THIN
    assert measured(pair(60)).origin is CorrelationOrigin.MEASURED


def test_a_measurement_older_than_one_trading_day_is_stale() -> None:
    bars = pair(80)
    assert measured(bars, later_us=DAY_US).origin is CorrelationOrigin.MEASURED
    stale = measured(bars, later_us=DAY_US + 1_000_000)
    assert (stale.origin, stale.age_s) == (CorrelationOrigin.STALE, 86_401)
    assert measured(bars, later_us=3 * DAY_US).origin is CorrelationOrigin.STALE
    assert measured(bars, later_us=-2 * BAR_US).origin is CorrelationOrigin.STALE


def test_one_feed_that_stops_makes_its_pairs_stale_however_fresh_the_other_is() -> None:
    leader, follower = series("ES", [0.001, -0.001] * 200), series("CL", [0.001, -0.001] * 40)
    got = measured(leader + follower)
    assert got.aligned_bars == 80
    assert got.as_of_utc_us == end_of(follower)
    assert got.origin is CorrelationOrigin.STALE


@pytest.mark.parametrize(("moving", "still"), [("ES", "CL"), ("CL", "ES")])
def test_a_series_that_does_not_move_has_no_correlation(moving: str, still: str) -> None:
    got = measured(series(moving, [0.001, -0.001] * 50) + series(still, [0.0] * 100))
    assert (got.origin, got.value) == (CorrelationOrigin.ZERO_VARIANCE, None)


def test_series_that_never_met_have_no_correlation() -> None:
    assert measured(series("ES", [0.001] * 80)).origin is CorrelationOrigin.MISSING


def test_a_hole_a_night_and_a_roll_are_no_returns() -> None:
    bars = pair(100)
    holed = [bar for bar in bars if bar.start_utc_us != START_UTC_US + 50 * BAR_US]
    assert measured(holed).aligned_bars == 98
    rolled = [
        msgspec.structs.replace(
            bar, contract_id="U4" if bar.start_utc_us < START_UTC_US + 50 * BAR_US else "Z4"
        )
        for bar in bars
    ]
    assert measured(rolled).aligned_bars == 99


@pytest.mark.parametrize("close", ["NaN", "Infinity", "0", "-37.63"])
def test_a_close_that_is_no_price_is_left_out_and_counted(close: str) -> None:
    bars = pair(80)
    bars[40] = msgspec.structs.replace(bars[40], close=Decimal(close))
    got = measured(bars)
    assert got.aligned_bars == 78  # neither into the bar nor out of it
    assert got.value == pytest.approx(1.0, abs=1e-9)


def test_bars_align_whichever_feed_is_ahead() -> None:
    bars = pair(200, noise=0.0003)
    together = CorrelationEstimator.seeded(["ES", "CL"], bars)
    apart = CorrelationEstimator(["CL", "ES"])
    for bar in bars:  # all of ES first, then all of CL
        assert apart.on_bar(bar)
    assert apart.snapshot().pairs == together.snapshot().pairs


def test_a_bar_that_comes_twice_counts_once() -> None:
    bars = pair(80)
    estimator = CorrelationEstimator.seeded(["ES", "CL"], bars)
    before = estimator.snapshot().pairs
    assert estimator.on_bar(bars[10]) is False
    assert estimator.on_bar(bars[80]) is False
    assert estimator.snapshot().pairs == before


def test_a_family_that_is_not_kept_is_an_error() -> None:
    with pytest.raises(DomainError, match="bar of GC came; correlations are kept of CL, ES"):
        CorrelationEstimator(["ES", "CL"]).on_bar(series("GC", [])[0])


def test_the_state_survives_the_journal() -> None:
    bars = sorted(pair(200, noise=0.0003), key=lambda bar: bar.start_utc_us)
    first = CorrelationEstimator(["ES", "CL"])
    for bar in bars[:211]:
        first.on_bar(bar)
    text = msgspec.json.encode(first.snapshot())
    restored = CorrelationEstimator.restored(msgspec.json.decode(text, type=CorrelationState))
    for bar in bars[211:]:
        restored.on_bar(bar)
    assert restored.snapshot() == CorrelationEstimator.seeded(["ES", "CL"], bars).snapshot()


def test_memory_of_returns_is_bounded() -> None:
    estimator = CorrelationEstimator.seeded(["ES"], series("ES", [0.001] * (RECENT_RETURNS + 50)))
    assert len(estimator.snapshot().series[0].recent) == RECENT_RETURNS


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ES", "CL"]),
            st.integers(0, 30),
            st.decimals(allow_nan=True, allow_infinity=True) | st.decimals("1e-9", "1e9"),
        ),
        max_size=80,
    )
)
def test_no_bars_in_any_order_make_a_number_outside_of_minus_one_to_one(
    arrivals: list[tuple[str, int, Decimal]],
) -> None:
    estimator = CorrelationEstimator(["ES", "CL"])
    for family, position, close in arrivals:
        estimator.on_bar(
            Bar(
                family=family,
                contract_id="U4",
                trade_date="2024-06-03",
                start_utc_us=START_UTC_US + position * BAR_US,
                close=close,
            )
        )
    value = estimator.view(START_UTC_US + 31 * BAR_US).correlation("ES", "CL").value
    assert value is None or -1 <= value <= 1
