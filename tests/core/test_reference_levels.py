"""A fill is measured from a level that it could have met, however the rows about it come."""

from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.builders import START_US, a_row, a_trade

from backstop.core.reference_levels import (
    ASKED_KEPT,
    SIGHTINGS_KEPT,
    LevelHistory,
    adverse_ticks,
    references,
    with_move_asked,
    with_move_refused,
    with_row,
)
from backstop.domain.order import OrderType, Side

AS_SENT = Decimal(5000)
BUY, SELL = Side.BUY, Side.SELL


def seen(
    *rows: tuple[str, int], kind: OrderType = OrderType.LIMIT, side: Side = BUY
) -> LevelHistory:
    """Return what rows with these levels, updated so many microseconds after the start, leave."""
    history = LevelHistory()
    for price, after_us in rows:
        member = "limit_price" if kind is OrderType.LIMIT else "stop_price"
        row: dict[str, Any] = {member: Decimal(price)}
        history = with_row(history, a_row(updated_utc_us=START_US + after_us, **row), kind, side)
    return history


def measured(
    history: LevelHistory,
    *at_us: int,
    kind: OrderType = OrderType.LIMIT,
    side: Side = BUY,
    as_sent: Decimal | None = AS_SENT,
) -> list[str] | None:
    fills = [a_trade(trade_id=it, created_utc_us=START_US + it) for it in at_us]
    levels = references(fills, history, kind=kind, side=side, as_sent=as_sent)
    return None if levels is None else [str(it) for it in levels]


def test_an_order_that_never_moved_is_measured_from_where_it_stands() -> None:
    assert measured(LevelHistory(), 5) == ["5000"]
    assert measured(seen(("5000", 0)), 5) == ["5000"]


def test_each_fill_is_measured_from_the_level_of_its_time() -> None:
    """A fill at 5000, then the limit goes down to 4990, and another: neither has slipped."""
    history = seen(("5000", 0), ("5000", 100), ("4990", 200))

    assert measured(history, 100, 300) == ["5000", "4990"]


def test_a_row_of_the_fill_itself_says_what_stood_at_that_moment() -> None:
    history = seen(("5000", 0), ("5000", 100), ("5010", 200))

    assert measured(history, 100) == ["5000"]
    assert measured(history, 101) == ["5010"]  # either may have stood: the kinder one


@pytest.mark.parametrize(("side", "kinder"), [(BUY, "5010"), (SELL, "5000")])
def test_between_two_rows_both_levels_could_have_been_in_force(side: Side, kinder: str) -> None:
    assert measured(seen(("5000", 0), ("5010", 200), side=side), 100, side=side) == [kinder]
    assert measured(seen(("5010", 0), ("5000", 200), side=side), 100, side=side) == [kinder]


def test_the_order_in_which_rows_arrive_changes_nothing() -> None:
    rows = (("5000", 0), ("5010", 100), ("5000", 200), ("4990", 300), ("4990", 400))
    expected = measured(seen(*rows), 50, 150, 250, 350, 500)

    for shuffled in permutations(rows):
        assert measured(seen(*shuffled, *shuffled), 50, 150, 250, 350, 500) == expected
    assert expected == ["5010", "5010", "5000", "4990", "4990"]


def test_rows_of_one_time_do_not_tell_which_of_them_was_later() -> None:
    for rows in ((("5000", 0), ("4990", 0)), (("4990", 0), ("5000", 0))):
        assert measured(seen(*rows), 100) == ["5000"]
        assert measured(seen(*rows, ("4990", 50)), 100) == ["4990"]


def test_a_level_that_was_asked_for_may_be_in_force_before_a_row_shows_it() -> None:
    history = with_move_asked(seen(("5000", 0)), Decimal(5010), after_utc_us=START_US)

    assert measured(history, 100) == ["5010"]
    assert measured(with_move_refused(history), 100) == ["5000"]


def test_a_level_that_was_asked_for_ends_when_another_one_is_shown() -> None:
    asked = with_move_asked(seen(("5000", 0)), Decimal(5010), after_utc_us=START_US)
    line = a_row(limit_price=Decimal(4990), updated_utc_us=START_US + 200)
    history = with_row(asked, line, OrderType.LIMIT, BUY)

    assert measured(history, 100, 300) == ["5010", "4990"]


def test_a_market_order_is_measured_from_the_touch_alone() -> None:
    assert measured(seen(("4000", 0)), 1, 2, kind=OrderType.MARKET) == ["5000", "5000"]
    assert measured(LevelHistory(), 1, kind=OrderType.MARKET, as_sent=None) is None


def test_nothing_is_measured_without_a_fill() -> None:
    assert measured(seen(("5000", 0))) is None


# -- trailing stops --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "levels"), [(SELL, ("4990", "4995", "5001")), (BUY, ("5010", "5005", "4999"))]
)
def test_a_trailing_stop_is_measured_from_where_it_had_come_to(
    side: Side, levels: tuple[str, ...]
) -> None:
    """The venue moves it without a new time, and a late row shows where it was before."""
    trailing = OrderType.TRAILING_STOP
    for rows in permutations([(price, 0) for price in levels]):
        history = seen(*rows, kind=trailing, side=side)
        assert measured(history, 100, kind=trailing, side=side) == [levels[-1]]
        assert len(history.seen) == 1


def test_a_trailing_stop_that_somebody_moved_back_is_measured_from_there() -> None:
    trailing = OrderType.TRAILING_STOP
    history = seen(("4990", 0), ("5000", 0), ("4980", 50), ("4985", 50), kind=trailing, side=SELL)

    assert measured(history, 100, kind=trailing, side=SELL) == ["4985"]


def test_a_trailing_stop_that_was_never_shown_is_measured_from_nothing() -> None:
    """The level it was sent with is where it began, not where it was reached."""
    assert measured(LevelHistory(), 100, kind=OrderType.TRAILING_STOP, side=SELL) is None


# -- limits ----------------------------------------------------------------------------------------


def test_only_so_many_levels_are_kept_and_an_older_fill_is_measured_from_nothing() -> None:
    rows = [(str(5000 + it), 10 * it) for it in range(SIGHTINGS_KEPT + 1)]
    history = seen(*rows)

    assert len(history.seen) == SIGHTINGS_KEPT
    assert measured(history, 5) is None
    assert measured(history, 10 * SIGHTINGS_KEPT + 1) == [str(5000 + SIGHTINGS_KEPT)]


def test_only_so_many_asked_levels_are_kept() -> None:
    history = LevelHistory()
    for it in range(ASKED_KEPT + 1):
        history = with_move_asked(history, Decimal(it), after_utc_us=0)

    assert [int(it.price) for it in history.asked] == list(range(1, ASKED_KEPT + 1))


@given(
    st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 1000), st.integers(1, 9)), min_size=1),
    st.sampled_from(Side),
)
def test_adverse_ticks_are_the_exact_mean_over_contracts(
    fills: list[tuple[int, int, int]], side: Side
) -> None:
    trades = [a_trade(price=Decimal(paid), quantity=size) for paid, _, size in fills]
    levels = [Decimal(level) for _, level, _ in fills]
    found = adverse_ticks(trades, levels, side=side, tick_size=Decimal("0.25"))

    worse = sum((paid - level) * size for paid, level, size in fills)
    assert found * sum(size for _, _, size in fills) == 4 * worse * side.sign
