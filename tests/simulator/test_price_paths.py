"""Paths inside bars: nothing is invented beyond what the bar says, and nothing is lost."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from backstop.adapters.projectx.wire import WireSide
from backstop.simulator.price_paths import MOST_SPREAD_TICKS, Bar, fold, quote_path
from backstop.simulator.sessions import MINUTE_US

MOST_TURNS = 4  # open, two extremes, close


@st.composite
def bars(draw: st.DrawFn) -> Bar:
    """Draw any bar that a market can make, negative prices included."""
    low = draw(st.integers(-5_000, 100_000))
    high = low + draw(st.integers(0, 400))
    inside = st.integers(low, high)
    width_us = draw(st.sampled_from([1, 2, 5])) * MINUTE_US
    return Bar(
        open_us=draw(st.integers(0, 10_000)) * width_us,
        width_us=width_us,
        open=draw(inside),
        high=high,
        low=low,
        close=draw(inside),
        volume=draw(st.integers(MOST_TURNS, 50_000)),
    )


def a_bar(**changes: int | None) -> Bar:
    values: dict[str, int | None] = {
        "open_us": 0,
        "width_us": MINUTE_US,
        "open": 100,
        "high": 110,
        "low": 95,
        "close": 103,
        "volume": 500,
    }
    return Bar(**{**values, **changes})  # type: ignore[arg-type]


@given(bar=bars(), seed=st.text(max_size=5), quotes=st.integers(0, 300))
def test_the_bar_remade_from_its_quotes_is_the_bar(bar: Bar, seed: str, quotes: int) -> None:
    path = quote_path(bar, seed=seed, quotes=quotes)

    assert fold(path, bar.width_us) == [bar]


@given(bar=bars(), quotes=st.integers(0, 300), hasty_ticks=st.integers(0, 50))
def test_the_touch_never_crosses_and_time_never_turns_back(
    bar: Bar, quotes: int, hasty_ticks: int
) -> None:
    path = quote_path(bar, seed="s", quotes=quotes, hasty_ticks=hasty_ticks)

    assert path[0].time_us == bar.open_us
    assert path[-1].time_us < bar.open_us + bar.width_us
    assert all(left.time_us < right.time_us for left, right in pairwise(path))
    for point in path:
        assert 1 <= point.ask - point.bid <= MOST_SPREAD_TICKS
        assert min(point.bid_size, point.ask_size) >= 1
        if point.last is not None:
            assert point.last == (point.ask if point.aggressor is WireSide.BID else point.bid), (
                "a trade happens at the side that was hit"
            )


def test_the_number_of_quotes_is_the_number_asked_for() -> None:
    assert len(quote_path(a_bar(), seed="s", quotes=240)) == 240
    assert len(quote_path(a_bar(), seed="s", quotes=0)) == MOST_TURNS


def test_equal_seeds_make_equal_paths_and_other_seeds_other_paths() -> None:
    first = quote_path(a_bar(), seed="one", quotes=50)

    assert quote_path(a_bar(), seed="one", quotes=50) == first
    assert quote_path(a_bar(), seed="two", quotes=50) != first


def test_a_calm_market_is_one_tick_wide_and_a_hasty_one_wider() -> None:
    calm = quote_path(a_bar(high=104, low=99), seed="s", quotes=20, hasty_ticks=40)
    hasty = quote_path(a_bar(high=200, low=99), seed="s", quotes=20, hasty_ticks=40)

    assert {point.ask - point.bid for point in calm} == {1}
    assert {point.ask - point.bid for point in hasty} == {3}


def test_a_flat_bar_of_one_contract_is_one_trade() -> None:
    flat = a_bar(open=100, high=100, low=100, close=100, volume=1)

    path = quote_path(flat, seed="s", quotes=30)

    assert len(path) == 30
    assert [point.last_size for point in path if point.last is not None] == [1]


def test_a_volume_too_small_for_the_turns_is_raised_to_one_contract_each() -> None:
    (remade,) = fold(quote_path(a_bar(volume=0), seed="s", quotes=30), MINUTE_US)

    assert (remade.open, remade.high, remade.low, remade.close) == (100, 110, 95, 103)
    assert remade.volume == MOST_TURNS


def test_a_source_without_volume_still_trades() -> None:
    (remade,) = fold(quote_path(a_bar(volume=None), seed="s", quotes=30), MINUTE_US)

    assert remade.volume is not None
    assert remade.volume >= MOST_TURNS


def test_no_gap_between_two_quotes_is_longer_than_two_of_their_distances() -> None:
    path = quote_path(a_bar(), seed="s", quotes=240)

    gaps = [right.time_us - left.time_us for left, right in pairwise(path)]

    assert max(gaps) < 2 * MINUTE_US // 240


def test_a_stretch_without_a_trade_has_no_bar() -> None:
    early = quote_path(a_bar(open_us=0), seed="s", quotes=10)
    late = quote_path(a_bar(open_us=3 * MINUTE_US), seed="s", quotes=10)

    assert [bar.open_us for bar in fold([*early, *late], MINUTE_US)] == [0, 3 * MINUTE_US]
