"""Trading sessions: when the markets of a group are open, as moments for decisions."""

from enum import StrEnum

from msgspec import Struct


class MarketGroup(StrEnum):
    """Markets that open, close and rest together."""

    EQUITY = "EQUITY"
    RATES = "RATES"
    CURRENCIES = "CURRENCIES"
    ENERGY = "ENERGY"
    METALS = "METALS"


class Session(Struct, frozen=True, kw_only=True):
    """One session of a group.

    Attributes:
        trade_date: ISO date that the session bears: of the day on which it ends.
        opens_utc_us: microseconds since 1970, UTC; first moment at which orders are taken.
        closes_utc_us: first moment at which they no longer are.
        early: it closes before the usual hour.
    """

    group: MarketGroup
    trade_date: str
    opens_utc_us: int
    closes_utc_us: int
    early: bool = False


GROUP_OF_FAMILY = {
    "ES": MarketGroup.EQUITY,
    "NQ": MarketGroup.EQUITY,
    "RTY": MarketGroup.EQUITY,
    "YM": MarketGroup.EQUITY,
    "ZN": MarketGroup.RATES,
    "ZB": MarketGroup.RATES,
    "6E": MarketGroup.CURRENCIES,
    "CL": MarketGroup.ENERGY,
    "GC": MarketGroup.METALS,
}
"""The group of each family of the instrument table."""
