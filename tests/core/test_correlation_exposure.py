"""Risk dollars: units, rounding, prices that say nothing, and limits that are none."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstop.app.exposure_limits import exposure_limits
from backstop.core.exposure import (
    ExposureLimits,
    FamilyExposure,
    Holding,
    dollars,
    family_exposures,
    unit_risk_micros,
)
from backstop.core.instrument_table import (
    CONTRACTS,
    FAMILIES,
    PPM,
    contract_profile,
    family_profile,
)
from backstop.errors import DomainError, SettingError

ES_POINT = 50_000_000
MES_POINT = 5_000_000


def holding(
    symbol: str,
    price: str | None,
    *,
    filled: int = 0,
    buys: int = 0,
    sells: int = 0,
    point_value_micros: int = MES_POINT,
) -> Holding:
    return Holding(
        symbol=symbol,
        price=None if price is None else Decimal(price),
        point_value_micros=point_value_micros,
        filled=filled,
        pending_buys=buys,
        pending_sells=sells,
    )


def test_every_family_of_a_contract_has_a_profile_with_a_reason() -> None:
    assert {profile.family for profile in CONTRACTS.values()} == set(FAMILIES)
    for profile in FAMILIES.values():
        assert profile.reason
        assert 0 < profile.volatility_floor_ppm < profile.stress_volatility_ppm


def test_a_root_that_is_not_listed_is_its_own_family_and_the_most_volatile() -> None:
    assert (contract_profile("NG").family, contract_profile("NG").units) == ("NG", 1)
    default = family_profile("NG")
    assert all(
        default.volatility_floor_ppm >= one.volatility_floor_ppm for one in FAMILIES.values()
    )
    assert all(
        default.stress_volatility_ppm >= one.stress_volatility_ppm for one in FAMILIES.values()
    )


def test_a_mini_and_ten_micros_cancel_exactly_whatever_their_prices() -> None:
    (es,) = family_exposures(
        [
            holding("ES", "6000.25", filled=1, point_value_micros=ES_POINT),
            holding("MES", "5999.75", filled=-10),
        ],
        {"ES": 12_345},
    )
    assert (es.filled_units, es.is_flat) == (0, True)


def test_a_family_counts_at_the_highest_of_its_prices() -> None:
    (es,) = family_exposures(
        [holding("MES", "5000"), holding("MES", "6000"), holding("MES", None)], {"ES": 10_000}
    )
    assert es.unit_risk_micros == 300_000_000


def test_pending_orders_of_mini_and_micro_make_one_range() -> None:
    (es,) = family_exposures(
        [
            holding("ES", "6000", filled=1, buys=2, point_value_micros=ES_POINT),
            holding("MES", "6000", filled=-3, sells=4),
        ],
        {"ES": 10_000},
    )
    assert es.filled_units == 7
    assert es.net_if_buys_fill_units == 27
    assert es.net_if_sells_fill_units == 3


def test_a_family_without_a_volatility_counts_at_its_stress_value() -> None:
    (es,) = family_exposures([holding("MES", "6000")], {})
    stress = FAMILIES["ES"].stress_volatility_ppm
    assert es.unit_risk_micros == 6000 * MES_POINT * stress // PPM


@given(
    st.decimals("0.00001", "99999", places=5),
    st.integers(1, 10**12),
    st.integers(1, 10**6),
    st.sampled_from(["ES", "MES", "6E", "NG"]),
)
def test_the_risk_of_a_unit_is_rounded_up_by_less_than_one_micro(
    price: Decimal, point_value_micros: int, sigma_ppm: int, symbol: str
) -> None:
    risk = unit_risk_micros(
        symbol, price=price, point_value_micros=point_value_micros, sigma_ppm=sigma_ppm
    )
    assert risk is not None
    whole = int(price * 100_000) * point_value_micros * sigma_ppm
    divisor = 100_000 * PPM * contract_profile(symbol).units
    assert (risk - 1) * divisor < whole <= risk * divisor


@pytest.mark.parametrize("price", ["-37.63", "0", "0.01", "20"])
def test_oil_near_or_below_zero_is_valued_at_its_price_floor(price: str) -> None:
    risk = unit_risk_micros(
        "MCL", price=Decimal(price), point_value_micros=100_000_000, sigma_ppm=50_000
    )
    at_floor = 20 * 100_000_000 * 50_000 // PPM
    assert risk == max(at_floor, abs(int(Decimal(price) * 100)) * 1_000_000 * 50_000 // PPM)


@pytest.mark.parametrize("price", [None, "NaN", "Infinity", "-Infinity", "0", "-1"])
def test_a_price_that_is_none_gives_no_risk_figure(price: str | None) -> None:
    known = None if price is None else Decimal(price)
    assert (
        unit_risk_micros("MES", price=known, point_value_micros=MES_POINT, sigma_ppm=10_000) is None
    )


def test_a_range_that_does_not_hold_the_position_is_refused() -> None:
    with pytest.raises(DomainError, match=r"ES: the net is 3 units, outside of its range 0 to 2"):
        FamilyExposure(family="ES", unit_risk_micros=1, filled_units=3, net_if_buys_fill_units=2)
    with pytest.raises(DomainError, match="at least 1"):
        FamilyExposure(family="ES", unit_risk_micros=0)
    with pytest.raises(DomainError, match="never negative"):
        family_exposures([holding("MES", "6000", buys=-1)], {})


def settings(**changed: str) -> ExposureLimits:
    values = {
        "risk_budget": "10000",
        "max_correlation_exposure": "0.7",
        "es_nq_max_combined_exposure": "5000",
        "max_directional_share": "0.5",
        **changed,
    }
    return exposure_limits(**{name: Decimal(text) for name, text in values.items()})


def test_the_default_settings_mean_these_limits() -> None:
    assert settings() == ExposureLimits(
        correlation_micros=7_000_000_000,
        es_nq_combined_micros=5_000_000_000,
        directional_micros=10_000_000_000,
        gross_micros=20_000_000_000,
    )
    assert settings(max_gross_exposure="12000").directional_micros == 6_000_000_000


def test_a_limit_is_rounded_down() -> None:
    assert settings(risk_budget="0.00001").correlation_micros == 7
    assert settings(es_nq_max_combined_exposure="1.0000019").es_nq_combined_micros == 1_000_001


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("risk_budget", "0"),
        ("risk_budget", "-1"),
        ("max_correlation_exposure", "NaN"),
        ("es_nq_max_combined_exposure", "0"),
        ("es_nq_max_combined_exposure", "1e-9"),
        ("es_nq_max_combined_exposure", "1e40"),
        ("max_gross_exposure", "Infinity"),
        ("max_directional_share", "1.01"),
        ("max_directional_share", "0"),
    ],
)
def test_a_setting_that_is_no_limit_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingError) as refusal:
        settings(**{name: value})
    assert refusal.value.name == name.upper()
    assert refusal.value.allowed


def test_a_limit_below_one_micro_is_refused() -> None:
    with pytest.raises(DomainError, match="gross_micros is 0"):
        ExposureLimits(
            correlation_micros=1, es_nq_combined_micros=1, directional_micros=1, gross_micros=0
        )


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (4_999_200_000, "4999.20"),
        (5_000_000_001, "5000.01"),
        (0, "0.00"),
        (-15_000, "-0.01"),
        (-1, "0.00"),
    ],
)
def test_dollars_are_rounded_up_to_the_cent(micros: int, text: str) -> None:
    assert dollars(micros) == text
