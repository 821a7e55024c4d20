"""The guard's look at its watchdog, on a clock that the test moves."""

from dataclasses import dataclass, field

from backstop.core.watch_facts import SECOND_NS, Moment
from backstop.core.watchdog_presence import (
    Presence,
    PresenceStep,
    PresenceVerdict,
    ended,
    heard,
    looked,
)

LOOK_S = 0.25


@dataclass
class Sight:
    """A guard's view of its watchdog, with what it led to and when."""

    presence: Presence = field(default_factory=Presence)
    now_s: float = 100.0
    told: list[tuple[float, PresenceVerdict]] = field(default_factory=list)
    line_has_ended: bool = False

    @property
    def now(self) -> Moment:
        now_ns = round(self.now_s * SECOND_NS)
        return Moment(elapsed_ns=now_ns, awake_ns=now_ns)

    def take(self, stepped: PresenceStep) -> None:
        self.presence, verdict = stepped
        if verdict is not PresenceVerdict.NOTHING:
            self.told.append((self.now_s, verdict))
        if verdict is PresenceVerdict.REPLACE:
            self.line_has_ended = False  # there is a new one

    def hear(self) -> None:
        self.take(heard(self.presence, self.now))

    def end(self) -> None:
        self.line_has_ended = True
        self.take(ended(self.presence, self.now))

    def look(self, seconds: float, *, beating: bool = False) -> list[tuple[float, PresenceVerdict]]:
        """Look four times a second; return what that led to, in seconds from its beginning."""
        began_s, before = self.now_s, len(self.told)
        for _ in range(round(seconds / LOOK_S)):
            self.now_s += LOOK_S
            if beating:
                self.hear()
            if self.line_has_ended:
                self.take(ended(self.presence, self.now))  # as long as nobody replaces it
            self.take(looked(self.presence, self.now))
        return [(at_s - began_s, verdict) for at_s, verdict in self.told[before:]]


def a_sight() -> Sight:
    sight = Sight()
    assert sight.look(5, beating=True) == []
    return sight


def test_a_beating_watchdog_is_there() -> None:
    sight = a_sight()

    assert sight.look(600, beating=True) == []
    assert sight.presence.lost_ns is None


def test_a_dead_watchdog_is_lost_at_once_and_replaced_after_a_second() -> None:
    sight = a_sight()
    sight.end()

    assert sight.told == [(sight.now_s, PresenceVerdict.LOST)]
    assert sight.presence.lost_ns is not None
    assert "died" in sight.presence.why
    assert sight.look(5) == [(1, PresenceVerdict.REPLACE)]


def test_the_end_of_a_line_counts_once() -> None:
    sight = a_sight()
    sight.end()
    sight.end()

    assert len(sight.told) == 1


def test_a_silent_watchdog_is_lost_after_2_s_and_replaced_after_10_s() -> None:
    sight = a_sight()

    assert sight.look(11) == [(2, PresenceVerdict.LOST), (10, PresenceVerdict.REPLACE)]


def test_a_new_watchdog_counts_after_three_steady_seconds() -> None:
    sight = a_sight()
    sight.end()
    sight.look(1)

    assert sight.look(5, beating=True) == [(3.25, PresenceVerdict.RETURNED)]
    assert sight.presence.lost_ns is None
    assert sight.presence.attempts == 0


def test_a_silence_ends_with_beats_and_nobody_is_replaced() -> None:
    sight = a_sight()
    sight.look(3)

    assert sight.look(30, beating=True) == [(3.25, PresenceVerdict.RETURNED)]


def test_a_watchdog_that_stammers_has_not_returned() -> None:
    sight = a_sight()
    sight.look(3)
    sight.look(2, beating=True)
    sight.look(2.5)

    assert sight.look(2.75, beating=True) == []
    assert sight.presence.lost_ns is not None


def test_watchdogs_that_cannot_start_are_tried_with_growing_pauses() -> None:
    sight = a_sight()
    sight.end()
    began_s = sight.now_s
    while sight.now_s - began_s < 300:
        before = len(sight.told)
        sight.look(LOOK_S)
        if len(sight.told) > before and sight.told[-1][1] is PresenceVerdict.REPLACE:
            sight.end()

    assert [at_s - began_s for at_s, _ in sight.told[1:]] == [1, 11, 31, 71, 131, 191, 251]


def test_one_that_starts_and_never_beats_is_replaced_as_well() -> None:
    sight = a_sight()
    sight.end()

    assert sight.look(12) == [(1, PresenceVerdict.REPLACE), (11, PresenceVerdict.REPLACE)]


def test_a_guard_that_stood_still_itself_does_not_blame_the_watchdog() -> None:
    """Its beats wait to be read."""
    sight = a_sight()
    sight.now_s += 60

    assert sight.look(1.75) == []
    assert sight.look(5, beating=True) == []
