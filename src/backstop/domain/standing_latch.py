"""A latch as one guard leaves it to the next, by way of the watchdog.

The record holds it as well, unless the disk took nothing since. A latch is the one thing that
nobody could find out again from the broker: it is what a person, or a machine, decided.
"""

from msgspec import Struct


class StandingLatch(Struct, frozen=True, kw_only=True):
    """One latch that holds.

    Attributes:
        kind: its kind, a word of ``core.trading_state.LatchKind``.
        cause: why, for people.
        operator: who put it on.
        utc_us: when.
        contract_id: what it is about; None: the whole account.
        liquidates: what it is about is being taken flat, and that is not over.
    """

    kind: str
    cause: str
    operator: str
    utc_us: int
    contract_id: str | None = None
    liquidates: bool = False
