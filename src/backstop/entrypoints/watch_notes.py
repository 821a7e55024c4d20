"""What the watchdog hands to processes that write and tell for it: it waits for nobody."""

from msgspec import Struct


class CrashNote(Struct, frozen=True, kw_only=True):
    """What the watchdog knows of a failed guard, for the process that writes it down."""

    what: str
    why: str
    process_id: int
    state_folder: str
    state: dict[str, str]


class AlertNote(Struct, frozen=True, kw_only=True):
    """What a person must hear although there may be no guard to say it."""

    critical: bool
    code: str
    message: str
