"""Exact numbers as text."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstop.domain.numbers import count_text, fraction_text, micros, money, plain, ratio_text


@given(st.integers(-(10**15), 10**15))
def test_money_goes_to_decimals_and_back(amount_micros: int) -> None:
    assert micros(money(amount_micros)) == amount_micros


@pytest.mark.parametrize(
    ("amount", "expected"),
    [("0.37", 370_000), ("0.0000005", 0), ("0.0000015", 2), ("-1", -(10**6))],
)
def test_money_of_more_than_six_decimals_is_rounded_half_even(amount: str, expected: int) -> None:
    assert micros(Decimal(amount)) == expected


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("5000.250000000", "5000.25"),
        ("5000", "5000"),
        ("5E+3", "5000"),
        ("0.00", "0"),
        ("-0.50", "-0.5"),
    ],
)
def test_a_plain_number_has_no_needless_zeros_and_no_exponent(number: str, text: str) -> None:
    assert str(plain(Decimal(number))) == text


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (Fraction(1, 2), 9, "0.5"),
        (Fraction(60009, 12), 9, "5000.75"),
        (Fraction(1, 3), 4, "0.3333"),
        (Fraction(-1, 3), 4, "-0.3333"),
        (Fraction(5000), 9, "5000"),
        (Fraction(0), 9, "0"),
    ],
)
def test_a_fraction_is_exact_or_cut(value: Fraction, places: int, text: str) -> None:
    assert fraction_text(value, places=places) == text


@pytest.mark.parametrize(
    ("numerator", "denominator", "text"),
    [(2, 1, "2.0"), (15, 8, "1.875"), (2, 3, "0.6666"), (-2, 3, "-0.6666"), (0, 3, "0.0")],
)
def test_a_ratio_has_one_to_four_decimals(numerator: int, denominator: int, text: str) -> None:
    assert ratio_text(numerator, denominator) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 trades"), (1, "1 trade"), (2, "2 trades"), (-1, "-1 trades")]
)
def test_one_thing_is_no_plural(number: int, text: str) -> None:
    assert count_text(number, "trade") == text
