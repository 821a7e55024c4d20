"""Tick arithmetic is exact, whatever the precision of the number."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstop.domain.instrument import (
    LEVELS_KEPT,
    PRICE_DECIMALS_MAX,
    PRICE_LIMIT_TICKS,
    Instrument,
    Rounding,
)
from backstop.errors import OffTickError


def an_instrument(tick_size: str = "0.25", tick_value_micros: int = 1_250_000) -> Instrument:
    return Instrument(
        contract_id="CON.F.US.MES.Z26",
        symbol="MES",
        name="MESZ6",
        tick_size=Decimal(tick_size),
        tick_value_micros=tick_value_micros,
    )


def test_a_price_on_the_tick_becomes_ticks_and_back() -> None:
    instrument = an_instrument()

    assert instrument.price_ticks(Decimal("5000.25")) == 20_001
    assert instrument.price(20_001) == Decimal("5000.25")
    assert instrument.price_ticks(Decimal("-37.50")) == -150


def test_a_price_between_two_ticks_is_refused() -> None:
    with pytest.raises(OffTickError, match=r"5000\.10"):
        an_instrument().price_ticks(Decimal("5000.10"))


@pytest.mark.parametrize(
    ("rounding", "price", "ticks"),
    [
        (Rounding.DOWN, "5000.24", 20_000),
        (Rounding.UP, "5000.01", 20_001),
        (Rounding.NEAREST, "5000.12", 20_000),
        (Rounding.NEAREST, "5000.125", 20_000),
        (Rounding.NEAREST, "5000.375", 20_002),
        (Rounding.DOWN, "-0.01", -1),
        (Rounding.UP, "-0.01", 0),
        # More digits than a Decimal quotient keeps.
        (Rounding.UP, "5000.0000000000000000000000000000001", 20_001),
        (Rounding.DOWN, "4999.9999999999999999999999999999999", 19_999),
    ],
)
def test_rounding_goes_the_way_it_is_told(rounding: Rounding, price: str, ticks: int) -> None:
    assert an_instrument().rounded_ticks(Decimal(price), rounding) == ticks


@given(
    price=st.decimals("-1e6", "1e6", allow_nan=False),
    tick_size=st.sampled_from(["0.25", "0.1", "0.0000005", "0.015625", "5"]),
)
def test_down_and_up_enclose_the_price_within_one_tick(price: Decimal, tick_size: str) -> None:
    instrument = an_instrument(tick_size)
    down = instrument.rounded_ticks(price, Rounding.DOWN)
    up = instrument.rounded_ticks(price, Rounding.UP)

    assert instrument.price(down) <= price <= instrument.price(up)
    assert up - down in {0, 1}
    assert instrument.rounded_ticks(price, Rounding.NEAREST) in {down, up}


@pytest.mark.parametrize(
    ("tick_size", "tick_value_micros", "point_value_micros"),
    [("0.25", 1_250_000, 5_000_000), ("0.015625", 15_625_000, 1_000_000_000), ("0.3", 1, 4)],
)
def test_the_value_of_a_point_is_rounded_up(
    tick_size: str, tick_value_micros: int, point_value_micros: int
) -> None:
    assert an_instrument(tick_size, tick_value_micros).point_value_micros == point_value_micros


@given(
    prices=st.lists(st.decimals("-1e6", "1e6", allow_nan=False, places=3), max_size=20),
    rounding=st.sampled_from(Rounding),
)
def test_a_price_that_was_asked_for_before_gets_the_ticks_of_one_that_was_not(
    prices: list[Decimal], rounding: Rounding
) -> None:
    asked = an_instrument("0.125")
    for price in prices * 2:
        assert asked.rounded_ticks(price, rounding) == an_instrument("0.125").rounded_ticks(
            price, rounding
        )


def test_no_more_levels_are_remembered_than_a_contract_has_in_days() -> None:
    instrument = an_instrument()
    for ticks in range(2 * LEVELS_KEPT + 1):
        assert instrument.rounded_ticks(instrument.price(ticks), Rounding.UP) == ticks
        assert len(instrument.known_levels) <= LEVELS_KEPT


@pytest.mark.parametrize(
    ("tick_size", "price"),
    [
        ("0.25", Decimal("5000.1")),  # between two ticks
        ("0.25", (PRICE_LIMIT_TICKS + 1) * Decimal("0.25")),  # too far from zero
        ("1E-19", Decimal(10) ** -(PRICE_DECIMALS_MAX + 1)),  # too fine
    ],
)
def test_what_is_no_level_is_not_remembered(tick_size: str, price: Decimal) -> None:
    instrument = an_instrument(tick_size)
    instrument.rounded_ticks(price, Rounding.DOWN)

    assert instrument.known_levels == {}
