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
        busy_from_utc_us: from here to ``busy_until_utc_us`` the market is at its busiest: a quote
            is old sooner.
        entries_until_utc_us: from here to the close no new exposure is taken on; None: never.
        flat_by_utc_us: from here to the close no position is held; None: it may be held over.
    """

    group: MarketGroup
    trade_date: str
    opens_utc_us: int
    closes_utc_us: int
    early: bool = False
    busy_from_utc_us: int = 0
    busy_until_utc_us: int = 0
    entries_until_utc_us: int | None = None
    flat_by_utc_us: int | None = None


class ContractEnd(Struct, frozen=True, kw_only=True):
    """When a contract month has to be left.

    Attributes:
        last_date: ISO date of the last trading day on which it may be held: it is settled in that
            session, or delivery could be asked for on the next day.
        entries_until_utc_us: from here on no new exposure is taken on in it.
        flat_by_utc_us: from here on it is not held.
        ends_utc_us: when its trading ends; None in records of before that was told.
    """

    contract_id: str
    last_date: str
    entries_until_utc_us: int
    flat_by_utc_us: int
    ends_utc_us: int | None = None


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
