"""What a seed decides about the account and about the day: settings, limits, and the time of day.

Most seeds have the settings of the first storms, at a quiet hour. The others have what binds: a
profile's limits on losses, exposure limits with estimates from bars, gates that are closed, hours
near a close, an opening, a weekend or the end of a contract month.
"""

from datetime import UTC, datetime
from enum import StrEnum
from random import Random
from typing import Any, Final

from msgspec import Struct

from backstop.simulator.exchange_config import BracketMode
from backstop.simulator.sessions import CHICAGO, instant_us

SECOND_US: Final = 1_000_000

QUIET_US: Final = instant_us(datetime(2026, 3, 11, 14, tzinfo=UTC))
"""A Wednesday, 09:00 in Chicago: hours before any daily break."""

MAX_POSITION: Final = 2
"""Minis that may be held and on their way together; a micro is a tenth of one."""

TENTHS: Final = 10

STOP_TICKS: Final = 60

BEHIND_ONE_IN: Final = 4
"""So many seeds have one with bots behind the gateway: their requests cost time."""


class Hours(StrEnum):
    """What the day brings."""

    QUIET = "quiet"  # nothing: the market is open, and no calendar is kept
    OPEN = "open"  # nothing, with a calendar
    FLAT_BY = "flat-by"  # the time to be flat, then the close
    BREAK = "break"  # the close of the day, and positions that may be held over
    REOPENING = "reopening"  # the end of the daily break
    WEEKEND = "weekend"  # Friday's close
    SUNDAY = "sunday"  # the week's opening
    EXPIRY = "expiry"  # the last hours of a contract month: the time to leave it
    EXPIRED = "expired"  # the end of a contract month
    UNKNOWN = "unknown"  # a year for which nobody knows the holidays


_EDGES: Final = {
    Hours.OPEN: (2026, 3, 11, 9, 0),
    Hours.FLAT_BY: (2026, 3, 11, 15, 0),
    Hours.BREAK: (2026, 3, 11, 16, 0),
    Hours.REOPENING: (2026, 3, 11, 17, 0),
    Hours.WEEKEND: (2026, 3, 13, 16, 0),
    Hours.SUNDAY: (2026, 3, 15, 17, 0),
    Hours.EXPIRY: (2026, 3, 20, 7, 30),
    Hours.EXPIRED: (2026, 3, 20, 8, 30),
    Hours.UNKNOWN: (2032, 3, 10, 9, 0),
}
"""When it happens, on Chicago's clock."""

_LEADS_S: Final = (25, 120, 600)
"""So long before it the seed begins: the short ones for short seeds."""


class Account(StrEnum):
    """Which rules the account has."""

    WIDE = "wide"  # limits that the storm's bots hardly reach
    LOSSES = "losses"  # a profile with small limits on losses
    EXPOSURE = "exposure"  # exposure limits that bind, with what was measured
    STRICT = "strict"  # every other guardrail set so that it binds
    BARE = "bare"  # no default stop: entries without one are refused
    FLATTEN = "flatten"  # what others open is closed
    GATED = "gated"  # nothing may be sent
    UNARMED = "unarmed"  # a component is switched off
    DROP_COPY = "drop-copy"  # others trade, and the guard watches over them
    FIRM = "firm"  # the venue refuses what the guard would let pass


class Terms(Struct, frozen=True, kw_only=True):
    """The terms of one seed.

    Attributes:
        start_utc_us: the true time at the beginning.
        settings: of the guard, beside those that name the world.
        max_tenths: the largest position, in tenths of a mini.
        sends: the gate is open.
        bots_behind: some bots are processes of their own, behind the protective gateway.
    """

    hours: Hours
    account: Account
    start_utc_us: int
    settings: dict[str, Any]
    max_tenths: int
    sends: bool
    bracket_mode: BracketMode = BracketMode.AUTO_OCO
    firm_max_position: int | None = None
    bots_behind: bool = False

    @property
    def keeps_hours(self) -> bool:
        """There is a calendar, and the market keeps it."""
        return self.hours is not Hours.QUIET

    @property
    def old_month(self) -> bool:
        """The month of the minis is about to end."""
        return self.hours in {Hours.EXPIRY, Hours.EXPIRED}

    @property
    def expiry_us(self) -> int | None:
        """When that month ends; None: not in this story."""
        return _edge_us(Hours.EXPIRED) if self.old_month else None


_HOURS: Final = {
    Hours.QUIET: 10,
    Hours.OPEN: 4,
    Hours.FLAT_BY: 3,
    Hours.BREAK: 3,
    Hours.REOPENING: 3,
    Hours.WEEKEND: 2,
    Hours.SUNDAY: 2,
    Hours.EXPIRY: 2,
    Hours.EXPIRED: 1,
    Hours.UNKNOWN: 1,
}
_ACCOUNTS: Final = {
    Account.WIDE: 8,
    Account.LOSSES: 4,
    Account.EXPOSURE: 5,
    Account.STRICT: 4,
    Account.BARE: 2,
    Account.FLATTEN: 2,
    Account.FIRM: 3,
    Account.GATED: 1,
    Account.UNARMED: 1,
    Account.DROP_COPY: 1,
}
"""How often each is drawn."""


def terms_of(seed: int, *, stops_are_needed: bool) -> Terms:
    """Return what ``seed`` decides.

    ``stops_are_needed`` where others trade: what they open needs a stop that can be made up.
    """
    chance = Random(f"terms/{seed}")  # noqa: S311 - repeatable, nothing secret is drawn
    (hours,) = chance.choices([*_HOURS], [*_HOURS.values()])
    (account,) = chance.choices([*_ACCOUNTS], [*_ACCOUNTS.values()])
    unfit = Account.BARE if stops_are_needed else Account.DROP_COPY
    if account is unfit:
        account = Account.STRICT
    lead_s = chance.choice(_LEADS_S)
    settings: dict[str, Any] = {
        "DEFAULT_STOP_TICKS": STOP_TICKS,
        "RISK_BUDGET": 300_000,
        "ES_NQ_MAX_COMBINED_EXPOSURE": 200_000,
        "MAX_POSITION": MAX_POSITION,
        "DRY_RUN": False,
        "EXECUTE": True,
        "BACKSTOP_CALENDAR": "always-open" if hours is Hours.QUIET else "cme",
    }
    if hours is Hours.FLAT_BY:
        settings |= {"ENTRIES_UNTIL": "15:00", "FLAT_BY": "15:02"}
    settings |= _of_account(account, chance)
    if settings["DEFAULT_STOP_TICKS"] is None:
        del settings["DEFAULT_STOP_TICKS"]
    return Terms(
        hours=hours,
        account=account,
        start_utc_us=QUIET_US if hours is Hours.QUIET else _edge_us(hours) - lead_s * SECOND_US,
        settings=settings,
        max_tenths=round(float(settings["MAX_POSITION"]) * TENTHS),
        sends=account is not Account.GATED,
        bracket_mode=chance.choice((BracketMode.POSITION, BracketMode.AUTO_OCO))
        if account is Account.FIRM
        else BracketMode.AUTO_OCO,
        firm_max_position=3 if account is Account.FIRM else None,
        bots_behind=seed % BEHIND_ONE_IN == 1,
    )


def _edge_us(hours: Hours) -> int:
    return instant_us(datetime(*_EDGES[hours], tzinfo=CHICAGO))


def _of_account(account: Account, chance: Random) -> dict[str, Any]:
    match account:
        case Account.WIDE | Account.FIRM:
            return {}
        case Account.LOSSES:
            return {
                "BACKSTOP_PROFILE": "topstep-150k",
                **chance.choice(_LOSSES),
                "COOL_DOWN_AFTER_STOPS": 2,
                "COOL_DOWN_MINUTES": "0.5",
                "MAX_POSITION": chance.choice((1, 3)),
            }
        case Account.EXPOSURE:
            return {
                "MAX_POSITION": 6,
                "EXPOSURE_BREACH_LIQUIDATES": chance.random() < 0.3,  # noqa: PLR2004 - one in three
                **chance.choice(_EXPOSURES),
            }
        case Account.STRICT:
            return {
                "MIN_R_MULTIPLE": "1.5",
                "MAX_REPEATED_EXECUTIONS": 2,
                "MAX_ORDERS_PER_SECOND": 2,
                "MAX_SLIPPAGE_TICKS": 0,
                "SLIPPAGE_BREACHES_TO_REDUCE": 2,
                "BACKSTOP_INSTRUMENTS": "ES,MES,MNQ",
                "MAX_ORDER_QUANTITY": 2,
                "MAX_ORDER_NOTIONAL": 500_000,
                "ALLOW_FLIP": chance.random() < 0.5,  # noqa: PLR2004 - a coin
            }
        case Account.BARE:
            return {"DEFAULT_STOP_TICKS": None}
        case Account.FLATTEN:
            return {"EXTERNAL_POSITION_POLICY": "flatten"}
        case Account.DROP_COPY:
            return {"BACKSTOP_MODE": "drop-copy"}
        case Account.UNARMED:
            return {"CORRELATION_PROTECTION_ENABLE": False}
        case Account.GATED:
            closed: tuple[dict[str, Any], ...] = (
                {"DRY_RUN": True},
                {"EXECUTE": False},
                {"CRITICAL_SYSTEM_ENABLE": False},
            )
            return chance.choice(closed)


_LOSSES: Final[tuple[dict[str, Any], ...]] = (
    {"MAX_DAILY_LOSS": 400, "MAX_TRAILING_LOSS": 5_000},
    {"MAX_DAILY_LOSS": 5_000, "MAX_TRAILING_LOSS": 500},
    {"MAX_DAILY_LOSS": 5_000, "MAX_TRAILING_LOSS": 900, "ACCOUNT_STARTING_BALANCE": 149_900},
)
"""The day's limit, the account's, and that of an account whose past does not add up."""

_EXPOSURES: Final[tuple[dict[str, Any], ...]] = (
    {"RISK_BUDGET": 12_000, "ES_NQ_MAX_COMBINED_EXPOSURE": 6_000},
    {"RISK_BUDGET": 12_000, "ES_NQ_MAX_COMBINED_EXPOSURE": 60_000},
    {
        "RISK_BUDGET": 20_000,
        "ES_NQ_MAX_COMBINED_EXPOSURE": 60_000,
        "MAX_CORRELATION_EXPOSURE": 1,
        "MAX_DIRECTIONAL_SHARE": "0.25",
    },
    {
        "RISK_BUDGET": 20_000,
        "ES_NQ_MAX_COMBINED_EXPOSURE": 60_000,
        "MAX_CORRELATION_EXPOSURE": 1,
        "MAX_DIRECTIONAL_SHARE": 1,
        "MAX_GROSS_EXPOSURE": 9_000,
    },
)
"""One for each limit, so that it is the one that binds: what moves together, S&P with Nasdaq, one
side, and both sides."""
