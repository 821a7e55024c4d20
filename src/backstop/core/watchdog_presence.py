"""Is the watchdog still there? The guard's own look at the process that watches it.

Without it nobody would notice a freeze, so entries wait while it is away. A watchdog that is gone
or silent is replaced after a moment; the new one counts once it has watched steadily for a while.
"""

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.watch_facts import SECOND_NS, Moment

UNWATCHED_NS = SECOND_NS
"""A look this late says that the guard's own loop stood still: that silence proves nothing."""


class PresenceLimits(Struct, frozen=True, kw_only=True):
    """How patient the guard is with its watchdog, in nanoseconds.

    Attributes:
        silent_ns: without a beat for this long the watchdog is lost.
        replace_ns: a dead one is replaced this long after its death: when somebody kills both
            processes, the second must not start what was just ended.
        frozen_ns: one that lives and is silent for this long is replaced.
        steady_ns: how long beats must come before a watchdog is there again.
        pauses_ns: between attempts to start one; the last one repeats.
    """

    silent_ns: int = 2 * SECOND_NS
    replace_ns: int = SECOND_NS
    frozen_ns: int = 10 * SECOND_NS
    steady_ns: int = 3 * SECOND_NS
    pauses_ns: tuple[int, ...] = tuple(pause_s * SECOND_NS for pause_s in (10, 20, 40, 60))


class PresenceVerdict(StrEnum):
    """What is to be done about the watchdog."""

    NOTHING = "NOTHING"
    LOST = "LOST"  # say so and refuse entries
    REPLACE = "REPLACE"  # end what may be left of it and start another one
    RETURNED = "RETURNED"  # entries are possible again


class Presence(Struct, frozen=True, kw_only=True):
    """What the guard knows of its watchdog. Moments are on the clock that stands still in suspend.

    Attributes:
        heard_ns: newest beat, or when waiting for one began.
        seen_ns: newest look; None before the first one.
        gone: its line has ended: it is dead.
        lost_ns: since when there is none to rely on; None while there is.
        steady_since_ns: begin of the unbroken run of beats after a loss.
        replace_ns: when it is replaced, if it has not returned; None while that is open.
        attempts: watchdogs started since one was there.
        why: how the last one was lost.
    """

    limits: PresenceLimits = PresenceLimits()
    heard_ns: int = 0
    seen_ns: int | None = None
    gone: bool = False
    lost_ns: int | None = None
    steady_since_ns: int | None = None
    replace_ns: int | None = None
    attempts: int = 0
    why: str = ""


PresenceStep = tuple[Presence, PresenceVerdict]


def heard(presence: Presence, now: Moment) -> PresenceStep:
    """Take note of a beat."""
    now_ns = now.awake_ns
    presence = replace(presence, heard_ns=now_ns, seen_ns=now_ns, gone=False)
    if presence.lost_ns is None:
        return presence, PresenceVerdict.NOTHING
    since_ns = now_ns if presence.steady_since_ns is None else presence.steady_since_ns
    presence = replace(presence, steady_since_ns=since_ns, replace_ns=None)
    if now_ns - since_ns < presence.limits.steady_ns:
        return presence, PresenceVerdict.NOTHING
    back = replace(presence, lost_ns=None, steady_since_ns=None, attempts=0, why="")
    return back, PresenceVerdict.RETURNED


def ended(presence: Presence, now: Moment) -> PresenceStep:
    """Take note that the line to the watchdog ended: it is dead."""
    now_ns = now.awake_ns
    if presence.gone:
        return presence, PresenceVerdict.NOTHING
    soon_ns = now_ns + max(presence.limits.replace_ns, _pause_ns(presence))
    presence = replace(presence, gone=True, steady_since_ns=None, replace_ns=soon_ns)
    return _lost(presence, now_ns, "its process died")


def looked(presence: Presence, now: Moment) -> PresenceStep:
    """Judge the silence up to ``now``."""
    now_ns = now.awake_ns
    if presence.seen_ns is None or now_ns - presence.seen_ns >= UNWATCHED_NS:
        return replace(presence, heard_ns=now_ns, seen_ns=now_ns), PresenceVerdict.NOTHING
    presence = replace(presence, seen_ns=now_ns)
    if presence.replace_ns is not None and now_ns >= presence.replace_ns:
        again_ns = now_ns + _pause_ns(replace(presence, attempts=presence.attempts + 1))
        started = replace(
            presence,
            gone=False,
            heard_ns=now_ns,
            steady_since_ns=None,
            replace_ns=again_ns,
            attempts=presence.attempts + 1,
        )
        return started, PresenceVerdict.REPLACE
    silent_ns = now_ns - presence.heard_ns
    if presence.gone or silent_ns < presence.limits.silent_ns:
        return presence, PresenceVerdict.NOTHING
    presence = replace(presence, steady_since_ns=None)
    if presence.replace_ns is None:
        presence = replace(presence, replace_ns=presence.heard_ns + presence.limits.frozen_ns)
    return _lost(presence, now_ns, f"it has been silent for {silent_ns / SECOND_NS:.1f} s")


def _lost(presence: Presence, now_ns: int, why: str) -> PresenceStep:
    if presence.lost_ns is not None:
        return presence, PresenceVerdict.NOTHING
    return replace(presence, lost_ns=now_ns, why=why), PresenceVerdict.LOST


def _pause_ns(presence: Presence) -> int:
    """Return how long the newest attempt may take before the next one."""
    if not presence.attempts:
        return 0
    pauses = presence.limits.pauses_ns
    return pauses[min(presence.attempts, len(pauses)) - 1]
