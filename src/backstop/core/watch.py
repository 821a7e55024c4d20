"""What the watchdog knows of its guard between two facts, and what it concludes from one."""

from msgspec import Struct

from backstop.core.watch_facts import Limits, Moment, Phase, Verdict
from backstop.domain.heartbeat import Holdings

CLEAN_EXIT = 0
UNUSABLE_EXIT = 2
"""What a guard ends with that was told to end, and one that cannot begin with its settings."""


class Watch(Struct, frozen=True, kw_only=True):
    """What the watchdog knows. Moments are on the elapsed clock.

    Attributes:
        seen: the newest moment.
        greeted: some guard of this watch has read its settings.
        answers: this process has; before that it does not know how to write down its stacks.
        armed_once: some guard of this watch looked after the account.
        holdings: what the account could hold, by the newest word of it.
        turns: work of the newest pulse.
        worked_ns: newest sign of work, or when waiting for one began.
        patient_until_ns: silence is not judged before.
        steady_since_ns: begin of the unbroken run of pulses; None while there is none.
        outage_since_ns: since when no guard was sound; None while one is.
        dumped, killed: what was done about this process.
        deaths: when guards died, within the crash window.
        pauses: pauses taken since the guard was last sound for a whole window.
        restart_ns: when the next guard is started; None while none is wanted.
        attempt_ns: before this no further liquidation is tried.
        attempts: liquidations in a row that did not end flat.
        stopping_since_ns: when everything, or the guard alone, was told to end; None: it was not.
        guard_alone: only the guard was told so.
        exit_code: what the watchdog ends with.
        restarts, freezes, suspends: how often since the watch began.
        gap_ns_max: longest pause between two pulses that needed no act.
    """

    limits: Limits
    phase: Phase = Phase.DOWN
    seen: Moment | None = None
    greeted: bool = False
    answers: bool = False
    armed_once: bool = False
    holdings: Holdings = Holdings.NONE
    turns: int | None = None
    worked_ns: int = 0
    patient_until_ns: int = 0
    steady_since_ns: int | None = None
    outage_since_ns: int | None = None
    dumped: bool = False
    killed: bool = False
    deaths: tuple[int, ...] = ()
    pauses: int = 0
    restart_ns: int | None = None
    attempt_ns: int = 0
    attempts: int = 0
    stopping_since_ns: int | None = None
    guard_alone: bool = False
    exit_code: int = CLEAN_EXIT
    restarts: int = 0
    freezes: int = 0
    suspends: int = 0
    gap_ns_max: int = 0


class Judgement(Struct, frozen=True, kw_only=True):
    """The watch after a fact, the verdict, and why in words."""

    watch: Watch
    verdict: Verdict
    reason: str = ""
