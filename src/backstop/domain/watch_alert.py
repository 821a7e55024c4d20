"""What a watchdog told people while no guard could, as it leaves it to the next guard.

People heard of it by the watchdog's own ways. The guard puts it on its board, where it can be read
and acknowledged like everything else.
"""

from msgspec import Struct


class WatchAlert(Struct, frozen=True, kw_only=True):
    """One alert of the watchdog.

    Attributes:
        code: a word of ``AlertCode``.
        message: for people.
        critical: it is repeated until a person acknowledges it.
        utc_us: when it was told.
    """

    code: str
    message: str
    critical: bool
    utc_us: int
