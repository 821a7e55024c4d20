"""What strange clients of a hub may take, and the count of what they were refused.

A simulator is kind and wide open; a gateway that stands in front of a live account is neither. The
defaults are the simulator's.
"""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from msgspec import Struct

QUEUE_BYTES_MAX: Final = 8 * 1024 * 1024
"""What may wait for one client: half a minute of full depth for some contracts. A client that is
slower is told so and disconnected: it then knows that it missed events and reads the truth again,
while quietly dropped events would leave it with a wrong picture."""

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""One WebSocket message of a client: many records may share it."""

TELL_PAUSE_S: Final = 60.0
"""How often at most one kind of misuse by one user is told of; it is counted every time."""

TOLD_MAX: Final = 1_024
"""Pairs of user and misuse whose last telling is remembered."""


class Pace(Struct, frozen=True, kw_only=True):
    """At most ``burst`` at once, and ``per_s`` for ever."""

    burst: int
    per_s: float


class HubLimits(Struct, frozen=True, kw_only=True):
    """Limits of one hub.

    Attributes:
        connections_max: open at once; one more is answered 503.
        user_connections_max: of one user; one more is answered 429. None: as many as fit.
        connects: how fast one user may connect or negotiate; more is answered 429. None: any pace.
        subscriptions_max: of one connection, a repeated one counted each time that it doubles.
        message_bytes_max: largest WebSocket message that is taken.
        records: how fast a connection may send records of any kind, pings included; None: any pace.
        queue_bytes_max: what may wait for a client before its connection is ended.
        conflate_above_bytes: from so much on, quotes that wait are merged into the newest one and
            market trades are left out; None: never.
        send_buffer_bytes: of the kernel, per connection; what is in there can no longer be merged.
            None: as the system has it.
    """

    connections_max: int = 1_000
    user_connections_max: int | None = None
    connects: Pace | None = None
    subscriptions_max: int = 100_000
    message_bytes_max: int = MESSAGE_BYTES_MAX
    records: Pace | None = None
    queue_bytes_max: int = QUEUE_BYTES_MAX
    conflate_above_bytes: int | None = None
    send_buffer_bytes: int | None = None


STRANGERS = HubLimits(
    connections_max=64,
    user_connections_max=16,
    connects=Pace(burst=30, per_s=1.0),
    subscriptions_max=256,
    message_bytes_max=256 * 1024,
    records=Pace(burst=600, per_s=100.0),
    queue_bytes_max=1024 * 1024,
)
"""For the user hub of a gateway: three thousand user events may wait, more than an account has in a
day. Six hundred records at once are the subscriptions of two hundred contracts."""

MARKET_STRANGERS = HubLimits(
    connections_max=STRANGERS.connections_max,
    user_connections_max=STRANGERS.user_connections_max,
    connects=STRANGERS.connects,
    subscriptions_max=512,
    message_bytes_max=STRANGERS.message_bytes_max,
    records=STRANGERS.records,
    queue_bytes_max=4 * 1024 * 1024,
    conflate_above_bytes=64 * 1024,
    send_buffer_bytes=64 * 1024,
)
"""For the market hub of a gateway: a few hundred quotes wait, about a second of a wild market, then
they are merged. A dozen snapshots of depth, 280 KB each, still fit."""


class Misuse(StrEnum):
    """What a client did, or could not do; one word each, for logs and metrics."""

    HUB_FULL = "hub_full"
    USER_FULL = "user_full"
    CONNECTS_TOO_FAST = "connects_too_fast"
    BAD_HANDSHAKE = "bad_handshake"
    NONSENSE = "nonsense"
    FLOOD = "flood"
    TOO_MANY_SUBSCRIPTIONS = "too_many_subscriptions"
    NOT_ADMITTED = "not_admitted"
    SILENT = "silent"
    QUEUE_FULL = "queue_full"
    QUOTE_MERGED = "quote_merged"
    TRADE_LEFT_OUT = "trade_left_out"


TellMisuse = Callable[[Misuse, str, int], None]
"""Takes what was done, by whom, and how often it was done on this hub by now."""


def _untold(_what: Misuse, _user: str, _count: int) -> None:
    """Nobody wants to hear of it."""


class HubTally:
    """Counts misuse, and tells of it without letting those who do it fill a log."""

    def __init__(self, *, now_s: Callable[[], float]) -> None:
        self.counts: Final[Counter[Misuse]] = Counter()
        self.tell: TellMisuse = _untold
        self._now_s = now_s
        self._told_s: dict[tuple[Misuse, str], float] = {}

    def note(self, what: Misuse, user: str) -> None:
        """Count ``what``, and tell of it if that was not done within the last minute."""
        self.counts[what] += 1
        key, now_s = (what, user), self._now_s()
        if now_s < self._told_s.get(key, now_s):
            return
        if len(self._told_s) >= TOLD_MAX:
            del self._told_s[next(iter(self._told_s))]
        self._told_s[key] = now_s + TELL_PAUSE_S
        self.tell(what, user, self.counts[what])


class Paced:
    """One client's pace: a bucket that ``per_s`` fills and each act takes one from."""

    def __init__(self, pace: Pace, *, now_s: Callable[[], float]) -> None:
        self._pace = pace
        self._now_s = now_s
        self._left = float(pace.burst)
        self._filled_s = now_s()

    def admits(self) -> bool:
        """Take one; False when there is none."""
        now_s = self._now_s()
        filled = self._left + (now_s - self._filled_s) * self._pace.per_s
        self._left = min(float(self._pace.burst), filled)
        self._filled_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
