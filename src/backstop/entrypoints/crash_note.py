"""What the watchdog hands to the process that writes a crash dump."""

from msgspec import Struct


class CrashNote(Struct, frozen=True, kw_only=True):
    """What the watchdog knows of a failed guard, for the process that writes it down."""

    what: str
    why: str
    process_id: int
    state_folder: str
    state: dict[str, str]
