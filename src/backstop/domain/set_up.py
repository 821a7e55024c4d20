"""What was measured of a set-up: the machine, the account, the gateway. Nothing is judged here.

Each look holds a figure, or says in ``fault`` why there is none.
"""

from enum import StrEnum

from msgspec import Struct

from backstop.domain.clock import DATE_RESOLUTION_US, ClockReading
from backstop.domain.events import Hub


class Holder(StrEnum):
    """Who has the right to send for the account on this machine."""

    NOBODY = "NOBODY"
    GUARD = "GUARD"  # the guard that was asked
    SILENT = "SILENT"  # a process that does not answer


class ClockLook(Struct, frozen=True, kw_only=True):
    """The gateway's time of day minus ours; None while no answer of it said what time it is."""

    offset_ms: int | None
    limit_ms: int  # 0: any offset is allowed
    uncertainty_ms: int = DATE_RESOLUTION_US // 2000  # the offset is true to that


class DiskLook(Struct, frozen=True, kw_only=True):
    """How long small writes took until they were on the disk of the state folder."""

    folder: str
    writes: int = 0
    typical_us: int = 0  # half of them took no longer
    slowest_us: int = 0
    bounds: bool = False  # upper bounds: half, and nearly all, took no longer
    free_bytes: int | None = None
    fault: str = ""


class LockLook(Struct, frozen=True, kw_only=True):
    """The account's lock; ``fault`` when it could not even be looked at."""

    account_id: int
    holder: Holder = Holder.NOBODY
    process_id: int | None = None
    fault: str = ""


class LoginLook(Struct, frozen=True, kw_only=True):
    """One login; ``took_ms`` None where the guard's own session was looked at instead.

    ``reached`` False: nobody answered, so nothing is known of the credentials.
    """

    took_ms: int | None = None
    fault: str = ""
    reached: bool = True


class AccountLook(Struct, frozen=True, kw_only=True):
    """The account as the gateway shows it."""

    account_id: int
    name: str = ""
    balance_micros: int | None = None
    can_trade: bool = False
    fault: str = ""


class HubLook(Struct, frozen=True, kw_only=True):
    """One hub: how long connecting and subscribing took, or since when it is connected."""

    hub: Hub
    connected: bool = False
    took_ms: int | None = None
    up_for_ms: int | None = None
    fault: str = ""


class DataLook(Struct, frozen=True, kw_only=True):
    """Market data of one symbol; ``age_ms`` None: not one quote while it was listened to."""

    symbol: str
    age_ms: int | None
    limit_ms: int  # older than this is stale
    listened_ms: int | None  # None: since the guard's start
    is_open: bool  # its market trades now, as far as the calendar says
    fault: str = ""  # why nothing can be heard of it at all


class GatewayLook(Struct, frozen=True, kw_only=True):
    """What one session at the gateway showed; None and empty: it did not come to that.

    Attributes:
        clock_readings: what its answers said of its time, oldest first; empty: they do not say it.
        ages_ms: of the newest quote by symbol; None: there was none.
        listened_ms: how long quotes were waited for, at most.
        unknown_symbols: no active contract goes by them.
        not_looked: why it did not come to the rest.
    """

    clock_readings: tuple[ClockReading, ...] = ()
    login: LoginLook | None = None
    account: AccountLook | None = None
    hubs: tuple[HubLook, ...] = ()
    ages_ms: dict[str, int | None] = {}
    listened_ms: int = 0
    unknown_symbols: tuple[str, ...] = ()
    not_looked: str = ""


class GatesLook(Struct, frozen=True, kw_only=True):
    """The two keys, what is switched off, and what else stops entries.

    ``trading_state`` and ``reasons`` are the running guard's; empty without one. ``refused`` says
    why a guard would not start with these settings.
    """

    dry_run: bool
    execute: bool
    observe_only: bool
    switched_off: tuple[str, ...] = ()
    allow_unprotected: bool = False
    kill_file: bool = False
    doubts: tuple[str, ...] = ()  # what of the settings was perhaps not meant
    trading_state: str = ""
    reasons: tuple[str, ...] = ()
    refused: str = ""


class SetUp(Struct, frozen=True, kw_only=True):
    """Everything that was looked at; None: it was not, and ``not_looked`` says why."""

    disk: DiskLook
    lock: LockLook
    gates: GatesLook
    clock: ClockLook | None = None
    login: LoginLook | None = None
    account: AccountLook | None = None
    hubs: tuple[HubLook, ...] = ()
    data: tuple[DataLook, ...] = ()
    not_looked: str = ""
