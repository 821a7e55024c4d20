"""What is known of each exchange root before any price was seen: its family, size and volatility.

A family is one underlying: its minis and micros add up, counted in units of its smallest contract
(1 ES = 10 units, 1 MES = 1 unit). Roots that are not listed are a family of their own with
volatilities that no listed family reaches, so that ignorance costs size and never hides risk.
"""

from decimal import Decimal

from msgspec import Struct

PPM = 1_000_000
"""Parts per million: the unit of volatilities and correlations in decisions."""

ES_FAMILY = "ES"
NQ_FAMILY = "NQ"


class ContractProfile(Struct, frozen=True, kw_only=True):
    """One exchange root.

    Attributes:
        symbol: the exchange's root, ``MES``.
        family: the underlying it adds up with, ``ES``.
        units: how many of the family's smallest contract one of it is.
        tick_size: price points in one tick; None for a root that is not listed.
        point_value_micros: millionths of a dollar per point and contract; None when not listed.
            Live decisions take tick and point value from the gateway's contract row; these are
            for examples and for finding a row that contradicts them.
    """

    symbol: str
    family: str
    units: int = 1
    tick_size: Decimal | None = None
    point_value_micros: int | None = None


class FamilyProfile(Struct, frozen=True, kw_only=True):
    """What a family's daily volatility is at least, and what it is when nothing was measured.

    Attributes:
        family: the underlying.
        volatility_floor_ppm: parts per million; a calm estimate is never believed below this.
        stress_volatility_ppm: parts per million; stands in for a missing or stale estimate.
        price_floor: points; a lower (or negative) price is valued as this one, because a
            percentage of a price near zero says nothing about dollars.
        reason: where the numbers come from.
    """

    family: str
    volatility_floor_ppm: int
    stress_volatility_ppm: int
    price_floor: Decimal = Decimal(0)
    reason: str


def _contract(
    symbol: str, family: str, units: int, tick_size: str, point_value_micros: int
) -> ContractProfile:
    return ContractProfile(
        symbol=symbol,
        family=family,
        units=units,
        tick_size=Decimal(tick_size),
        point_value_micros=point_value_micros,
    )


CONTRACTS: dict[str, ContractProfile] = {
    profile.symbol: profile
    for profile in (
        _contract("ES", "ES", 10, "0.25", 50_000_000),
        _contract("MES", "ES", 1, "0.25", 5_000_000),
        _contract("NQ", "NQ", 10, "0.25", 20_000_000),
        _contract("MNQ", "NQ", 1, "0.25", 2_000_000),
        _contract("RTY", "RTY", 10, "0.1", 50_000_000),
        _contract("M2K", "RTY", 1, "0.1", 5_000_000),
        _contract("YM", "YM", 10, "1", 5_000_000),
        _contract("MYM", "YM", 1, "1", 500_000),
        _contract("CL", "CL", 10, "0.01", 1_000_000_000),
        _contract("MCL", "CL", 1, "0.01", 100_000_000),
        _contract("GC", "GC", 10, "0.1", 100_000_000),
        _contract("MGC", "GC", 1, "0.1", 10_000_000),
        _contract("ZN", "ZN", 1, "0.015625", 1_000_000_000),
        _contract("ZB", "ZB", 1, "0.03125", 1_000_000_000),
        _contract("6E", "6E", 10, "0.00005", 125_000_000_000),
        _contract("M6E", "6E", 1, "0.0001", 12_500_000_000),
    )
}

# Floors lie at or below the calmest month-long average of their market, so that they bind only
# when an estimate is calmer than the market ever was. Stress values are one day at the highest
# implied volatility a market has shown (annual figure over the root of 252), rounded up.
FAMILIES: dict[str, FamilyProfile] = {
    profile.family: profile
    for profile in (
        FamilyProfile(
            family="ES",
            volatility_floor_ppm=5_000,
            stress_volatility_ppm=55_000,
            reason="Calm: VIX 9 (2017) is 0.57 %, realised days ran below it. "
            "Stress: VIX 82.7 (March 2020) is 5.2 % a day.",
        ),
        FamilyProfile(
            family="NQ",
            volatility_floor_ppm=7_000,
            stress_volatility_ppm=60_000,
            reason="Calm: early 2024 averaged 0.78 %. Stress: moved up to 1.25 times as much as "
            "ES, but its implied volatility peaked at the same level (March 2020).",
        ),
        FamilyProfile(
            family="RTY",
            volatility_floor_ppm=8_000,
            stress_volatility_ppm=65_000,
            reason="Calm: 2017 averaged about 0.8 %. Stress: small caps led the fall of "
            "March 2020, implied 87 is 5.5 % a day; a margin for thinner books.",
        ),
        FamilyProfile(
            family="YM",
            volatility_floor_ppm=5_000,
            stress_volatility_ppm=55_000,
            reason="As ES, whose large companies it shares.",
        ),
        FamilyProfile(
            family="CL",
            volatility_floor_ppm=12_000,
            stress_volatility_ppm=150_000,
            price_floor=Decimal(20),
            reason="Calm: 1.5 % (early 2024), lower before 2014. Stress: single days of 10 to "
            "20 % (March 2026), implied over 200 (April 2020). The price floor keeps a price "
            "near or below zero (20 April 2020) from looking harmless.",
        ),
        FamilyProfile(
            family="GC",
            volatility_floor_ppm=5_000,
            stress_volatility_ppm=45_000,
            reason="Calm: 0.6 % (May 2019). Stress: 5.4 % on 2025-10-17 was one day; implied "
            "64 (2008) is 4.1 % a day.",
        ),
        FamilyProfile(
            family="ZN",
            volatility_floor_ppm=2_000,
            stress_volatility_ppm=12_000,
            reason="Calm: about 0.2 % (2017 to 2019). Stress: March 2020 and March 2023 had "
            "days of 1 %; with a margin.",
        ),
        FamilyProfile(
            family="ZB",
            volatility_floor_ppm=4_000,
            stress_volatility_ppm=30_000,
            reason="Calm: about 0.4 % (2017 to 2019). Stress: March 2020 had days of 3 %.",
        ),
        FamilyProfile(
            family="6E",
            volatility_floor_ppm=3_000,
            stress_volatility_ppm=20_000,
            reason="Calm: implied 4 to 5 (2019) is 0.3 %. Stress: implied 28 (2008) is 1.8 %.",
        ),
    )
}


def contract_profile(symbol: str) -> ContractProfile:
    """Return the profile of an exchange root; one that is not listed is a family of its own."""
    listed = CONTRACTS.get(symbol)
    return ContractProfile(symbol=symbol, family=symbol) if listed is None else listed


def family_profile(family: str) -> FamilyProfile:
    """Return the profile of a family; one that is not listed gets the conservative default."""
    listed = FAMILIES.get(family)
    if listed is not None:
        return listed
    return FamilyProfile(
        family=family,
        volatility_floor_ppm=20_000,
        stress_volatility_ppm=200_000,
        reason="Not listed: calmer than nothing that trades as wildly as natural gas or bitcoin, "
        "and in stress worse than any listed family.",
    )
