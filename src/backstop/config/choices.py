"""The closed sets that settings choose from."""

from datetime import time
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct


class Calendar(StrEnum):
    """Which sessions, flat-by times and expiries are enforced."""

    CME = "cme"
    ALWAYS_OPEN = "always-open"  # none of them: for the simulator


class Profile(StrEnum):
    """The rules of a kind of account."""

    NONE = "none"
    TOPSTEP_50K = "topstep-50k"
    TOPSTEP_100K = "topstep-100k"
    TOPSTEP_150K = "topstep-150k"


class ProfileDefaults(Struct, frozen=True, kw_only=True):
    """What goes with a profile where no setting says otherwise: dollars, minis, Chicago times.

    Topstep closes what is open at 15:10 Chicago by itself, and counts it against the trader. Where
    its numbers come from: docs/reference/account-rules.md.
    """

    risk_budget: Decimal
    es_nq_max_combined_exposure: Decimal
    entries_until: time | None = time(15)
    flat_by: time | None = time(15, 5)
    starting_balance: Decimal | None = None
    max_daily_loss: Decimal | None = None
    max_trailing_loss: Decimal | None = None
    max_position: Decimal | None = None


PROFILE_DEFAULTS = {
    Profile.NONE: ProfileDefaults(
        risk_budget=Decimal(10_000),
        es_nq_max_combined_exposure=Decimal(5_000),
        entries_until=None,
        flat_by=None,
    ),
    Profile.TOPSTEP_50K: ProfileDefaults(
        risk_budget=Decimal(10_000),
        es_nq_max_combined_exposure=Decimal(5_000),
        starting_balance=Decimal(50_000),
        max_daily_loss=Decimal(1_000),
        max_trailing_loss=Decimal(2_000),
        max_position=Decimal(5),
    ),
    Profile.TOPSTEP_100K: ProfileDefaults(
        risk_budget=Decimal(20_000),
        es_nq_max_combined_exposure=Decimal(10_000),
        starting_balance=Decimal(100_000),
        max_daily_loss=Decimal(2_000),
        max_trailing_loss=Decimal(3_000),
        max_position=Decimal(10),
    ),
    Profile.TOPSTEP_150K: ProfileDefaults(
        risk_budget=Decimal(30_000),
        es_nq_max_combined_exposure=Decimal(15_000),
        starting_balance=Decimal(150_000),
        max_daily_loss=Decimal(3_000),
        max_trailing_loss=Decimal(4_500),
        max_position=Decimal(15),
    ),
}
