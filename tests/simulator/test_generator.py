"""Invented prices: determinism, continuity, and the statistics that a risk model relies on."""

import math
from itertools import islice, pairwise
from statistics import correlation, fmean

import pytest

from backstop.simulator.contracts import PRODUCTS
from backstop.simulator.generator import DYNAMICS, HISTORY_STEP_US, Generator, Noise
from backstop.simulator.price_paths import Bar
from backstop.simulator.sessions import HOUR_US, MINUTE_US, sessions_before, trade_date

_NOW_US = 1_795_000_200_000_000
_PRODUCTS = {product.code: product for product in PRODUCTS}


def a_generator(index: str, seed: int = 1) -> Generator:
    product = _PRODUCTS[index]
    return Generator(
        index,
        seed=seed,
        tick_size=float(product.tick_size),
        start_price=float(product.start_price),
    )


def start_ticks(index: str) -> int:
    return int(_PRODUCTS[index].start_price / _PRODUCTS[index].tick_size)


def history(index: str, *, seed: int = 1, sessions: int = 30) -> list[Bar]:
    return a_generator(index, seed).before(
        sessions_before(_NOW_US, sessions), end_ticks=start_ticks(index)
    )


def always(_: int) -> bool:
    return True


def returns(bars: list[Bar]) -> list[float]:
    return [math.log(bar.close / bar.open) for bar in bars]


def test_every_leading_product_has_its_dynamics() -> None:
    assert set(DYNAMICS) == {product.index for product in PRODUCTS}


def test_equal_seeds_give_equal_prices_and_other_seeds_other_ones() -> None:
    assert history("ES", sessions=3) == history("ES", sessions=3)
    assert history("ES", sessions=3) != history("ES", seed=2, sessions=3)


def test_noise_does_not_depend_on_the_order_of_questions() -> None:
    forwards = Noise(7, "name")
    backwards = Noise(7, "name")

    one = [forwards.wave(step / 4) for step in range(40)]
    other = [backwards.wave(step / 4) for step in reversed(range(40))]

    assert one == other[::-1]


@pytest.mark.parametrize("index", sorted(DYNAMICS))
def test_every_bar_is_possible_and_begins_where_the_one_before_ended(index: str) -> None:
    bars = list(
        islice(
            a_generator(index).after(_NOW_US, start_ticks=start_ticks(index), is_open=always), 300
        )
    )

    assert bars[0].open == start_ticks(index)
    for bar in bars:
        assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert bar.volume is not None
        assert bar.volume >= 1
    for left, right in pairwise(bars):
        assert right.open == left.close
        assert right.open_us == left.open_us + MINUTE_US


def test_history_ends_at_the_price_at_which_life_begins() -> None:
    bars = history("NQ", sessions=2)

    assert bars[-1].close == start_ticks("NQ")
    assert bars[-1].open_us + HISTORY_STEP_US == _NOW_US


def test_history_covers_whole_sessions_and_nothing_between_them() -> None:
    bars = history("CL", sessions=6)

    by_day: dict[object, int] = {}
    for bar in bars:
        by_day[trade_date(bar.open_us)] = by_day.get(trade_date(bar.open_us), 0) + 1
    assert list(by_day.values())[1:-1] == [276] * 4


def test_a_session_opens_with_a_gap_and_runs_without_one() -> None:
    bars = history("ES", sessions=6)

    jumps = {right.open_us for left, right in pairwise(bars) if right.open != left.close}

    opens = {opens_us for opens_us, _ in sessions_before(_NOW_US, 6)}
    assert jumps
    assert jumps <= opens


@pytest.mark.parametrize("seed", range(3))
def test_es_and_nq_move_together_and_crude_goes_its_own_way(seed: int) -> None:
    es, nq, crude = (returns(history(index, seed=seed)) for index in ("ES", "NQ", "CL"))

    assert 0.89 < correlation(es, nq) < 0.95
    assert abs(correlation(es, crude)) < 0.1


@pytest.mark.parametrize(("index", "daily"), [("ES", 0.010), ("NQ", 0.014)])
def test_a_day_is_as_volatile_as_that_index_is(index: str, daily: float) -> None:
    bars = history(index, sessions=60)

    measured = math.sqrt(sum(change * change for change in returns(bars)) / 60)

    assert 0.8 * daily < measured < 1.2 * daily


def test_volatility_comes_in_clusters() -> None:
    sizes = [abs(change) for change in returns(history("ES"))]

    assert correlation(sizes[:-1], sizes[1:]) > 0.2


def test_the_cash_session_is_livelier_than_the_night() -> None:
    bars = history("ES")
    day = [bar.high - bar.low for bar in bars if 14 <= bar.open_us // HOUR_US % 24 < 20]
    night = [bar.high - bar.low for bar in bars if 3 <= bar.open_us // HOUR_US % 24 < 7]

    assert fmean(day) > 1.5 * fmean(night)


def test_closed_hours_have_no_bars() -> None:
    opens_us = _NOW_US + 30 * MINUTE_US

    bars = a_generator("ES").after(
        _NOW_US, start_ticks=start_ticks("ES"), is_open=lambda us: us >= opens_us
    )

    assert next(bars).open_us == opens_us


@pytest.mark.parametrize("ticks", [0, -3_763])
def test_a_price_at_or_below_zero_moves_on(ticks: int) -> None:
    bars = list(islice(a_generator("CL").after(_NOW_US, start_ticks=ticks, is_open=always), 200))

    assert bars[0].open == ticks
    assert len({bar.close for bar in bars}) > 20


def test_a_typical_minute_is_as_high_as_minutes_are() -> None:
    generator = a_generator("ES")
    bars = list(islice(generator.after(_NOW_US, start_ticks=24_000, is_open=always), 5 * 24 * 60))

    mean = fmean(bar.high - bar.low for bar in bars)

    assert 0.5 * mean < generator.typical_minute_ticks(24_000) < 2 * mean
