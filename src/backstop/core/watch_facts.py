"""What the watchdog goes by: its patience, the facts it hears, the verdicts it may give."""

from enum import StrEnum

import msgspec
from msgspec import Struct

from backstop.domain.heartbeat import Holdings

SECOND_NS = 1_000_000_000


class Limits(Struct, frozen=True, kw_only=True):
    """How patient the watchdog is; all in nanoseconds but ``crashes_max``.

    Attributes:
        stale_ns: without a pulse for this long, the stacks are dumped.
        frozen_ns: without a pulse for this long, the guard is killed.
        start_ns: how long a start may take: the journal is read, which may be long.
        probation_ns: how long pulses must have come before a guard counts as sound again, and
            how long it is not judged after the machine woke up.
        crashes_max: deaths within ``crash_window_ns`` after which it is restarted with pauses.
        pauses_ns: those pauses; the last one repeats.
        liquidate_after_ns: downtime after which open positions are liquidated; None: never, for the
            recovery of the guard is switched off.
        liquidate_again_ns: pause before another attempt, when one did not end flat; doubled with
            each that failed, up to ``liquidate_again_max_ns``.
        stop_ns: how long the guard may take to end when it was told to; all is over within 5 s.
    """

    stale_ns: int = 2 * SECOND_NS
    frozen_ns: int = 10 * SECOND_NS
    start_ns: int = 60 * SECOND_NS
    probation_ns: int = 3 * SECOND_NS
    crashes_max: int = 5
    crash_window_ns: int = 60 * SECOND_NS
    pauses_ns: tuple[int, ...] = tuple(pause_s * SECOND_NS for pause_s in (5, 10, 20, 40, 60))
    liquidate_after_ns: int | None = 60 * SECOND_NS
    liquidate_again_ns: int = 15 * SECOND_NS
    liquidate_again_max_ns: int = 120 * SECOND_NS
    stop_ns: int = 4 * SECOND_NS + SECOND_NS // 2


class Moment(Struct, frozen=True, kw_only=True):
    """One moment on both clocks: ``elapsed_ns`` counts suspend, ``awake_ns`` does not."""

    elapsed_ns: int
    awake_ns: int


class Verdict(StrEnum):
    """What is to be done now."""

    WELL = "WELL"
    WAIT = "WAIT"  # not well, and nothing to do yet
    DUMP_STACKS = "DUMP_STACKS"
    KILL = "KILL"  # its death, once reaped, decides what follows
    RESTART = "RESTART"
    GIVE_UP_RESTARTING = "GIVE_UP_RESTARTING"  # at once: pauses from now on, and a person is told
    LIQUIDATE = "LIQUIDATE"  # by the guard if it lives, else by us
    END = "END"


class Phase(StrEnum):
    """What the guard's process is doing, as far as the watchdog can see."""

    STARTING = "STARTING"  # no pulse yet
    RUNNING = "RUNNING"
    DOWN = "DOWN"  # no process; one will be started when its time comes
    LIQUIDATING = "LIQUIDATING"  # no process, and none is started before this is over
    ENDED = "ENDED"


# -- facts ---------------------------------------------------------------------------------------


class Began(Struct, frozen=True, kw_only=True, tag=True):
    """There is a process that is to be the guard; ``adopted``: it was at work before us."""

    adopted: bool = False


class Greeted(Struct, frozen=True, kw_only=True, tag=True):
    """The guard has read its settings."""

    liquidate_after_ns: int | None
    holdings: Holdings


class GuardArmed(Struct, frozen=True, tag=True):
    """The guard looks after the account."""


class Pulsed(Struct, frozen=True, kw_only=True, tag=True):
    """A pulse came; ``turns`` is the work it carries."""

    turns: int
    holdings: Holdings


class Died(Struct, frozen=True, kw_only=True, tag=True):
    """The guard's process is gone and reaped.

    ``exit_code`` is negative for a signal, None where only a parent could know it; 0 also for one
    that said that it stops because it was told to.
    """

    exit_code: int | None


class LiquidationEnded(Struct, frozen=True, kw_only=True, tag=True):
    """An attempt to take the account flat is over."""

    flat: bool


class StopAsked(Struct, frozen=True, tag=True):
    """A person told everything to end."""


class GuardStops(Struct, frozen=True, tag=True):
    """The guard says that it ends because somebody told it to, and nobody told us."""


class Looked(Struct, frozen=True, tag=True):
    """Time has passed."""


WatchFact = (
    Began
    | Greeted
    | GuardArmed
    | Pulsed
    | Died
    | LiquidationEnded
    | StopAsked
    | GuardStops
    | Looked
)


def limits_from_json(text: str) -> Limits:
    """Return limits from JSON with any of their names; for tests that cannot wait so long.

    Raises:
        msgspec.DecodeError: it is no JSON, or a limit is no whole number.
    """
    return msgspec.json.decode(text, type=Limits)
