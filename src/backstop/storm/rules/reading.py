"""The account is read again and again, whatever the hubs say: nothing else finds what was lost."""

from collections import deque
from typing import Final

from backstop.core.book import Book
from backstop.storm.rules.scene import LOOK_S, Scene

READS: Final = ("Position/searchOpen", "Trade/search", "Order/search")

UNREAD_S: Final = 12.0
"""The account is to be read every 5 s; one read may fail."""

WINDOW_S: Final = 61.0
"""The venue counts the calls of a minute, and hears of each a little later."""

CALLS_MAX: Final = 200
"""Within that minute; what the venue would take on top is refused."""

LOST_CALLS: Final = 20
"""Spent by the guard within a minute, and not understood by the venue: where connections break, it
cannot know which calls got there. 16 have been seen in a hurricane."""


class ReadingRule:
    """Times how long a guard that could read the account has not.

    Who has no calls left but those that are kept for cutting risk has to wait for others.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._unread_s = dict.fromkeys(READS, 0.0)
        self._calls_s: deque[float] = deque(maxlen=CALLS_MAX)

    def on_call(self, endpoint: str) -> None:
        """Note a call that the venue has understood."""
        self._calls_s.append(self._scene.now_s())
        if endpoint in self._unread_s:
            self._unread_s[endpoint] = 0.0

    def look(self, *, able: bool) -> None:
        """Count the time in which nothing disturbs it."""
        guard = self._scene.host.guard
        if not able or guard is None or not self._scene.is_settled or self._is_spent(guard.book):
            return
        for endpoint, before_s in self._unread_s.items():
            unread_s = self._unread_s[endpoint] = before_s + LOOK_S
            if before_s <= UNREAD_S < unread_s:
                self._scene.break_rule(
                    "the account is read", f"no {endpoint} has come for {unread_s:g} s"
                )

    def _is_spent(self, book: Book) -> bool:
        """Say whether only the kept are left: 20, 3 for each position, 1 for each order."""
        calls_s = self._calls_s
        while calls_s and self._scene.now_s() - calls_s[0] > WINDOW_S:
            calls_s.popleft()
        kept = 20 + 3 * len(book.positions.held) + len(book.live) + len(book.live_venue)
        return len(calls_s) + LOST_CALLS >= CALLS_MAX - kept
