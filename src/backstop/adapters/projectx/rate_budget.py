"""The gateway's call limits, known and kept on our side, with a reserve for emergencies.

The gateway allows 200 calls in 60 s over every endpoint, logins included, and 50 calls in 30 s for
history bars; what exceeds them gets HTTP 429. It does not tell how much is left, so we count. Each
call leaves as many untouched as are ``kept`` from its purpose; what cuts risk may use them all.
How many that are is not decided here: it follows from positions and orders.

A call is remembered a little longer than the gateway's window: it counts calls when they arrive,
and one that travels fast must not land in the window of one that travelled slowly. The window is
the user's, not the process's: what one process has made is told to the next.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from backstop.domain.call_purpose import CallPurpose
from backstop.errors import GatewayUnreachableError
from backstop.ports import Clock

CALLS_MAX = 200
CALLS_WINDOW_NS = 60_000_000_000
BARS_MAX = 50
BARS_WINDOW_NS = 30_000_000_000
WINDOW_MARGIN_NS = 1_000_000_000
"""Longer than the difference between the slowest and the fastest way to the gateway."""

SLICE_NS = 5_000_000_000
"""How finely one process tells the next one when it made its calls; each counts as made at the end
of its slice."""

RESERVE_DEFAULT = 20
"""Calls that only urgent requests may use while nobody says how many it takes."""

FEELER_NS = 250_000_000
"""After a 429 one call goes first, and the others only when it had the time to be answered: all
that wait would leave in one moment, and be refused together."""

_ORDINARY_PAUSES_NS = tuple(seconds * 1_000_000_000 for seconds in (2, 5, 10, 20, 60))
_URGENT_PAUSES_NS = tuple(seconds * 250_000_000 for seconds in (1, 2, 4, 8, 8))
_REPEAT_PAUSE_NS = 6_000_000_000  # with the 2 s of what is urgent: as long as its own slowest pace
_RETRY_AFTER_MAX_NS = 120_000_000_000  # a longer wish would switch the guard off
_NS_PER_S = 1_000_000_000


class BudgetSpentError(GatewayUnreachableError):
    """No call is left within the deadline; nothing was sent."""


class Window:
    """The calls of one sliding window; ``stamps`` are monotonic ns, oldest first."""

    def __init__(self, *, calls_max: int, window_ns: int) -> None:
        self._calls_max = calls_max
        self._window_ns = window_ns + WINDOW_MARGIN_NS
        self._stamps: deque[int] = deque()  # never longer than calls_max

    def left(self, now_ns: int) -> int:
        """Return how many calls may leave now."""
        while self._stamps and now_ns - self._stamps[0] >= self._window_ns:
            self._stamps.popleft()
        return self._calls_max - len(self._stamps)

    def free_at_ns(self, *, keep: int) -> int | None:
        """Return when more than ``keep`` calls will be left; None: never, ``keep`` is too high."""
        index = keep - (self._calls_max - len(self._stamps))
        if not 0 <= index < len(self._stamps):
            return None
        return self._stamps[index] + self._window_ns

    def slices(self, now_ns: int) -> tuple[int, ...]:
        """Return how many calls were made in each ``SLICE_NS`` until now, the newest first."""
        self.left(now_ns)
        counts = [0] * (-(-self._window_ns // SLICE_NS))
        for stamp_ns in self._stamps:
            counts[max(0, now_ns - stamp_ns) // SLICE_NS] += 1
        return tuple(counts)

    def inherit(self, slices: Sequence[int], *, until_ns: int) -> None:
        """Count the calls of another process, by what its ``slices`` were at ``until_ns``."""
        theirs = (
            until_ns - age * SLICE_NS
            for age, made in enumerate(slices)
            for _ in range(min(made, self._calls_max))
        )
        self._stamps = deque(sorted((*theirs, *self._stamps))[-self._calls_max :])

    def take(self, now_ns: int) -> None:
        """Count one call."""
        self._stamps.append(now_ns)

    def give_back(self, stamp_ns: int) -> None:
        """Forget a call of which no byte left."""
        if stamp_ns in self._stamps:
            self._stamps.remove(stamp_ns)


class Permit:
    """The right to send one call; ``stamp_ns`` is when it was given, monotonic."""

    def __init__(self, window: Window, stamp_ns: int) -> None:
        self.stamp_ns = stamp_ns
        self._window = window

    def give_back(self) -> None:
        """Undo the count, because no byte of the call left this machine."""
        self._window.give_back(self.stamp_ns)


def kept_by_default(purpose: CallPurpose) -> int:
    """Return how many calls are kept from a purpose while nobody knows positions and orders."""
    return 0 if purpose.is_urgent else RESERVE_DEFAULT


class RateBudget:
    """Both windows of one user; everything that calls the gateway for this user shares it."""

    def __init__(
        self,
        *,
        clock: Clock,
        kept: Callable[[CallPurpose], int] = kept_by_default,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.kept = kept
        """Asked at each call how many are kept from its purpose."""
        self._clock = clock
        self._sleep = sleep
        self._calls = Window(calls_max=CALLS_MAX, window_ns=CALLS_WINDOW_NS)
        self._bars = Window(calls_max=BARS_MAX, window_ns=BARS_WINDOW_NS)
        self._refusals = 0  # answers 429 in a row
        self._refused_ns: int | None = None  # when the newest of them was noted
        self._ordinary_from_ns = 0
        self._guessed_ns: int | None = None  # refusal after which nobody said how long to wait
        self._urgent_from_ns = 0
        self._feeler_until_ns = 0

    def left(self) -> int:
        """Return how many calls the gateway would take now; 0 while a 429 makes us pause."""
        now_ns = self._clock.monotonic_ns()
        return 0 if now_ns < self._ordinary_from_ns else self._calls.left(now_ns)

    def made(self) -> tuple[int, ...]:
        """Return the calls that may still count at the gateway, for ``inherit``; never many."""
        return self._calls.slices(self._clock.monotonic_ns())

    def inherit(self, made: Sequence[int], *, until_ns: int) -> None:
        """Count what another process of this user had ``made`` at ``until_ns``, in this boot."""
        self._calls.inherit(made, until_ns=until_ns)

    def spare(self) -> int:
        """Return how many ordinary calls could leave now: what is left but the reserve."""
        return max(0, self.left() - self.kept(CallPurpose.ORDINARY))

    async def acquire(
        self,
        *,
        deadline_ns: int,
        purpose: CallPurpose = CallPurpose.ORDINARY,
        bars: bool = False,
        leave: int = 0,
    ) -> Permit:
        """Wait until a call may leave, and count it.

        Args:
            deadline_ns: monotonic time after which waiting makes no sense.
            purpose: what the call is for; only what is ordinary waits long after a 429.
            bars: the call is for history bars, which have a window of their own.
            leave: so many calls more than are kept are left untouched: for others come first.

        Raises:
            BudgetSpentError: no call will be free before the deadline; raised at once.
        """
        window = self._bars if bars else self._calls
        keep = leave if bars else self.kept(purpose) + leave
        now_ns = await self._free(window, keep=keep, purpose=purpose, deadline_ns=deadline_ns)
        window.take(now_ns)
        if self._refusals and purpose is not CallPurpose.CUT_RISK:
            self._feeler_until_ns = now_ns + FEELER_NS
        return Permit(window, now_ns)

    async def room_for(self, calls: int, *, purpose: CallPurpose, deadline_ns: int) -> None:
        """Wait until so many calls may leave, and count none: for what is of no use in part.

        Raises:
            BudgetSpentError: they will not be free before the deadline; raised at once.
        """
        keep = self.kept(purpose) + calls - 1
        await self._free(self._calls, keep=keep, purpose=purpose, deadline_ns=deadline_ns)

    async def _free(
        self, window: Window, *, keep: int, purpose: CallPurpose, deadline_ns: int
    ) -> int:
        """Return when a call may leave that leaves ``keep`` others, once it is that time."""
        while True:
            now_ns = self._clock.monotonic_ns()
            due_ns = self._due_ns(window, keep=keep, purpose=purpose, now_ns=now_ns)
            if due_ns is not None and due_ns <= now_ns:
                return now_ns
            if due_ns is None or due_ns > deadline_ns:
                raise BudgetSpentError(self._why_not(window, keep, due_ns, now_ns))
            await self._sleep((due_ns - now_ns) / _NS_PER_S)

    def _why_not(self, window: Window, keep: int, due_ns: int | None, now_ns: int) -> str:
        left = window.left(now_ns)
        if left > keep and due_ns is not None:
            wait_s = (due_ns - now_ns) / _NS_PER_S
            return (
                "The gateway has answered 429 (too many calls), so nothing was sent: a call like "
                f"this one waits {wait_s:.1f} s more."
            )
        return (
            f"The gateway's call budget is spent, so nothing was sent. {left} calls are left, of "
            f"which {keep} are kept for what comes first."
        )

    def refused(self, *, retry_after_s: float | None = None, permit: Permit | None = None) -> None:
        """Note an answer 429: the gateway counts differently, so everybody pauses.

        Ordinary calls wait for ``retry_after_s`` where the gateway gave it, else longer at each
        refusal in a row. Urgent calls wait at most 2 s: a flatten goes on knocking; what is asked
        again, perhaps because a refusal was all its answer, waits at most 8 s. Calls that were
        under way together are refused together: with their ``permit`` they count once.
        """
        if self._left_before_refusal(permit):
            return
        now_ns = self._refused_ns = self._clock.monotonic_ns()
        step = min(self._refusals, len(_ORDINARY_PAUSES_NS) - 1)
        self._refusals += 1
        pause_ns = _ORDINARY_PAUSES_NS[step]
        self._guessed_ns = now_ns if retry_after_s is None else None
        if retry_after_s is not None:
            pause_ns = min(max(int(retry_after_s * _NS_PER_S), 0), _RETRY_AFTER_MAX_NS)
        self._ordinary_from_ns = max(self._ordinary_from_ns, now_ns + pause_ns)
        self._urgent_from_ns = now_ns + min(pause_ns, _URGENT_PAUSES_NS[step])

    def answered(self, permit: Permit | None = None) -> None:
        """Note an answer that was not 429: the next refusal starts with the short pause.

        A long pause was a guess, unless the gateway named it; an answer ends that one as well. One
        to a call that was under way when another was refused says nothing about now.
        """
        if self._left_before_refusal(permit):
            return
        if self._guessed_ns is not None:
            short_ns = self._guessed_ns + _ORDINARY_PAUSES_NS[0]
            self._ordinary_from_ns = min(self._ordinary_from_ns, short_ns)
        self._refusals = 0
        self._feeler_until_ns = 0

    def _left_before_refusal(self, permit: Permit | None) -> bool:
        if permit is None or self._refused_ns is None:
            return False
        return permit.stamp_ns <= self._refused_ns

    def _due_ns(
        self, window: Window, *, keep: int, purpose: CallPurpose, now_ns: int
    ) -> int | None:
        paused_ns = self._ordinary_from_ns
        if purpose.is_urgent:
            paused_ns = self._urgent_from_ns
        elif purpose is CallPurpose.REPEAT:
            paused_ns = min(paused_ns, self._urgent_from_ns + _REPEAT_PAUSE_NS)
        if purpose is not CallPurpose.CUT_RISK:
            paused_ns = max(paused_ns, self._feeler_until_ns)
        if window.left(now_ns) > keep:
            return max(now_ns, paused_ns)
        free_ns = window.free_at_ns(keep=keep)
        return None if free_ns is None else max(free_ns, paused_ns)
