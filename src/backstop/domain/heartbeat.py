"""What guard and watchdog tell each other: the messages on the line between the two processes.

Each message is one line of JSON. The guard's pulse carries work that only its decision loop can
do, so that a process whose loop is stuck cannot look alive.
"""

from enum import StrEnum

from msgspec import Struct

from backstop.domain.standing_latch import StandingLatch
from backstop.domain.watch_alert import WatchAlert


class Holdings(StrEnum):
    """Could the account hold, or come to hold, a position without anybody's doing?"""

    NONE = "NONE"
    OPEN = "OPEN"  # a position, or an order that could still open one
    UNKNOWN = "UNKNOWN"


class Message(Struct, frozen=True, kw_only=True, tag_field="kind", tag=True):
    """Base of all messages."""


# -- from the guard ------------------------------------------------------------------------------


class Hello(Message, frozen=True, kw_only=True, tag=True):
    """A guard has read its settings.

    ``liquidate_after_ns`` is the downtime after which open positions are liquidated, None: they
    never are; ``holdings`` what the account could hold by the time at which this process began;
    ``alerts`` says whether there is an address to send alerts to.
    """

    process_id: int
    account_id: int
    gateway_host: str
    state_folder: str
    liquidate_after_ns: int | None
    holdings: Holdings
    alerts: bool = False


class Armed(Message, frozen=True, kw_only=True, tag=True):
    """The guard looks after the account; its API listens at ``host`` and ``port``."""

    host: str
    port: int


class Pulse(Message, frozen=True, kw_only=True, tag=True):
    """The guard's loop is at work.

    Attributes:
        turns: turns of the decision loop; a pulse without a new one is none.
        steps: facts handled since the process began.
        journal_seq: number of the newest record.
        audit_age_ms: since the account was last read completely; None before the first time.
        holdings: what the account could hold now.
        stall_ms_max: longest time for which the event loop did not get round, since the start.
        latches: what is latched now; whoever guards next is told, for the disk may have taken
            nothing of it.
    """

    turns: int
    steps: int
    journal_seq: int
    audit_age_ms: int | None
    holdings: Holdings
    stall_ms_max: int
    latches: tuple[StandingLatch, ...] = ()


class CleanStop(Message, frozen=True, kw_only=True, tag=True):
    """The guard ends because it was told to; nothing is to be restarted."""


class Dismissed(Message, frozen=True, kw_only=True, tag=True):
    """Another watchdog has taken over; this one is to end."""


# -- from the watchdog ---------------------------------------------------------------------------


class Begin(Message, frozen=True, kw_only=True, tag=True):
    """Be the guard from now on.

    ``port`` is where the one before listened, 0 for none; ``options`` are the watchdog's own, for
    the watchdog that this guard may have to start; ``latches`` is what the one before had latched
    by its last pulse; ``alerts`` is what people were told since a guard last guarded.
    """

    port: int = 0
    options: dict[str, str] = {}
    latches: tuple[StandingLatch, ...] = ()
    alerts: tuple[WatchAlert, ...] = ()


class Beat(Message, frozen=True, kw_only=True, tag=True):
    """The watchdog ``process_id`` is at work; ``restarts`` of the guard by it so far."""

    process_id: int
    restarts: int


class Stop(Message, frozen=True, kw_only=True, tag=True):
    """End now; the same as a signal, for systems without."""


FromGuard = Hello | Armed | Pulse | CleanStop | Dismissed
FromWatchdog = Begin | Beat | Stop
AnyMessage = FromGuard | FromWatchdog
