"""Is a bot still there? The clock beside its heartbeats; they change nothing else.

Only what follows from their absence becomes a fact, so heartbeats never fill the record. A bot
counts as silent after silence that somebody watched: the time for which the guard itself stood
still, or the machine slept, says nothing about the bot.
"""

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.domain.bot import BotState, BotTerms

UNWATCHED_NS = SECOND_NS
"""Two looks this far apart say that the guard stood still between them."""

ASLEEP_NS = 10 * SECOND_NS
"""So far apart, that the whole machine slept: a guard that stands still for as long is ended."""

WAKE_GRACE_NS = 3 * SECOND_NS
"""What a bot is given at least after the machine slept: both wake up at the same time.

After a shorter stall of the guard there is no need: what was sent meanwhile waits to be read.
"""

RESTART_GRACE_NS = 10 * SECOND_NS
"""What a bot is given at least after a start of the guard: until then nobody could hear it."""


class BotVerdict(StrEnum):
    """What a look at a bot, or a heartbeat, brought to light."""

    NOTHING = "NOTHING"
    SILENT = "SILENT"
    GIVEN_UP = "GIVEN_UP"
    RETURNED = "RETURNED"


class BotPresence(Struct, frozen=True, kw_only=True):
    """What the guard hears of one bot. Moments are monotonic, suspend counted.

    Attributes:
        terms: what it registered for.
        heard_ns: newest sign of life, or when the time for one began to count.
        seen_ns: newest look.
        state: the newest verdict.
        beat_ns: newest heartbeat of any kind; None before the first of this process.
        progress: the work that the newest sign of life carried; None when it carried none.
    """

    terms: BotTerms
    heard_ns: int
    seen_ns: int
    state: BotState = BotState.ALIVE
    beat_ns: int | None = None
    progress: int | None = None


PresenceStep = tuple[BotPresence, BotVerdict]


def begun(terms: BotTerms, now_ns: int) -> BotPresence:
    """Return the presence of a bot that has registered just now."""
    return BotPresence(terms=terms, heard_ns=now_ns, seen_ns=now_ns, beat_ns=now_ns)


def begun_again(terms: BotTerms, state: BotState, now_ns: int) -> BotPresence:
    """Return the presence of a bot that an earlier process knew in ``state``: it has its grace."""
    presence = BotPresence(terms=terms, heard_ns=now_ns, seen_ns=now_ns, state=state)
    return _spared(presence, now_ns, RESTART_GRACE_NS)


def heard(presence: BotPresence, now_ns: int, progress: int | None) -> PresenceStep:
    """Take note of a heartbeat; one that carries the same work as the one before proves nothing.

    A bot whose heartbeats go on while its work stands still is frozen: it is silent.
    """
    presence = replace(presence, beat_ns=now_ns)
    if progress is not None and progress == presence.progress:
        return presence, BotVerdict.NOTHING
    presence = replace(presence, progress=progress, heard_ns=now_ns)
    if presence.state is not BotState.SILENT:
        return presence, BotVerdict.NOTHING
    return replace(presence, state=BotState.ALIVE), BotVerdict.RETURNED


def looked(presence: BotPresence, now_ns: int) -> PresenceStep:
    """Judge the silence up to ``now_ns``."""
    unwatched_ns = now_ns - presence.seen_ns
    presence = replace(presence, seen_ns=now_ns)
    if unwatched_ns >= UNWATCHED_NS:
        presence = replace(presence, heard_ns=presence.heard_ns + unwatched_ns)
    if unwatched_ns >= ASLEEP_NS:
        presence = _spared(presence, now_ns, WAKE_GRACE_NS)
    limit_ns = _limit_ns(presence)
    if limit_ns is None or now_ns - presence.heard_ns < limit_ns:
        return presence, BotVerdict.NOTHING
    if presence.state is BotState.ALIVE:
        return replace(presence, state=BotState.SILENT), BotVerdict.SILENT
    return replace(presence, state=BotState.GIVEN_UP), BotVerdict.GIVEN_UP


def _limit_ns(presence: BotPresence) -> int | None:
    """Return the silence that changes what is believed of the bot; None: none does any more."""
    match presence.state:
        case BotState.ALIVE:
            return presence.terms.heartbeat_timeout_ms * MILLISECOND_NS
        case BotState.SILENT if presence.terms.flatten_after_ms is not None:
            return presence.terms.flatten_after_ms * MILLISECOND_NS
        case _:
            return None


def _spared(presence: BotPresence, now_ns: int, grace_ns: int) -> BotPresence:
    """See to it that the next verdict is at least ``grace_ns`` away."""
    limit_ns = _limit_ns(presence)
    if limit_ns is None:
        return presence
    return replace(presence, heard_ns=max(presence.heard_ns, now_ns + grace_ns - limit_ns))
