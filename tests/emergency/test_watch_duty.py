"""What the watchdog's duty hands to the guard that it starts: over a line of real sockets."""

import socket

import msgspec
import pytest

from backstop.adapters.plain_log import Level
from backstop.adapters.process_line import ProcessLine
from backstop.core.watch_facts import Limits, Moment
from backstop.domain.alert_code import AlertCode
from backstop.domain.heartbeat import Armed, Begin, Pulse
from backstop.domain.watch_alert import WatchAlert
from backstop.emergency.watch_duty import (
    ALERT_BYTES_MAX,
    ALERT_CHARACTERS_MAX,
    ALERTS_KEPT,
    WatchDuty,
    newest_that_fit,
)

ARMED = Armed(host="127.0.0.1", port=7)


class Held:
    """A guard of this test: its two ends of the line."""

    def __init__(self) -> None:
        self.line, theirs = ProcessLine.pair()
        self.other = ProcessLine(theirs)
        self.pulse: Pulse | None = None
        self.killed = False

    def stop(self) -> None:
        """End it."""

    def kill(self) -> None:
        """End it at once."""

    def ask_for_stacks(self) -> None:
        """Have its stacks."""

    def exit_code(self) -> int | None:
        return -9

    def close(self) -> None:
        self.line.close()
        self.other.close()

    def begin(self) -> Begin:
        """Return how it was told to begin."""
        return next(it for it in self.other.receive() if isinstance(it, Begin))


class Computer:
    """A computer on which a second passes whenever somebody looks at the clock."""

    def __init__(self) -> None:
        self.seconds = 0
        self.guards: list[Held] = []
        self.called: list[tuple[Level, AlertCode, str]] = []

    @property
    def process_id(self) -> int:
        return 1

    def moment(self) -> Moment:
        self.seconds += 1
        return Moment(elapsed_ns=self.seconds * 10**9, awake_ns=self.seconds * 10**9)

    def utc_us(self) -> int:
        return self.seconds * 10**6

    def start_guard(self, begin: Begin) -> Held:
        self.guards.append(Held())
        self.guards[-1].line.send(begin)
        return self.guards[-1]

    def let_go(self, guard: Held) -> None:
        """Wait for it no longer."""

    def liquidate(self, reason: str, *, guard_lives: bool) -> None:
        """Take the account flat."""

    def give_up(self) -> None:
        """End that."""

    def call(self, level: Level, code: AlertCode, reason: str) -> None:
        self.called.append((level, code, reason))

    def report(self, guard: Held, what: str, why: str) -> None:
        """Write it down."""

    def log(self, level: Level, event: str, **fields: str | int) -> None:
        """Write a line."""

    def armed(self) -> None:
        """Take note."""


def dies(duty: WatchDuty[Held]) -> None:
    """Let the newest guard die, and time pass until there is another."""
    guard = duty.guard
    assert guard is not None
    duty.died(guard)
    for _ in range(100):
        if duty.guard is not None:
            return
        duty.look()
    pytest.fail("no guard was started again")


def test_a_guard_is_told_what_people_were_told_until_one_guards() -> None:
    computer = Computer()
    duty: WatchDuty[Held] = WatchDuty(computer, Limits(liquidate_after_ns=None))
    duty.begin()
    assert computer.guards[0].begin().alerts == ()
    dies(duty)
    (first,) = computer.guards[1].begin().alerts
    dies(duty)
    second = computer.guards[2].begin().alerts
    computer.guards[2].other.send(ARMED)
    duty.hear(computer.guards[2])
    dies(duty)
    third = computer.guards[3].begin().alerts
    computer.guards[3].close()

    assert (first.code, first.critical) == ("GUARD_RESTARTED", False)
    assert "signal 9" in first.message
    assert 0 < first.utc_us <= computer.seconds * 10**6
    assert second[0] == first, "the guard that was told of it died before it guarded"
    assert [it.code for it in second] == ["GUARD_RESTARTED"] * 2
    assert [it.code for it in third] == ["GUARD_RESTARTED"], "the others are on record by now"
    assert third[0] not in second


def test_only_the_newest_wait_for_a_guard_and_fit_into_one_row() -> None:
    computer = Computer()
    limits = Limits(liquidate_after_ns=None, crashes_max=10_000)
    duty: WatchDuty[Held] = WatchDuty(computer, limits)
    duty.begin()
    for _ in range(ALERTS_KEPT + 5):
        dies(duty)
    kept = computer.guards[-1].begin().alerts
    computer.guards[-1].close()

    assert len(kept) == ALERTS_KEPT
    assert kept[-1].utc_us > kept[0].utc_us
    assert len(computer.called) == ALERTS_KEPT + 5


@pytest.mark.parametrize("letter", ["a", "ä", "—", '"', "\x00"])
def test_as_many_as_wait_arrive_in_one_row_whatever_their_letters(letter: str) -> None:
    alerts: tuple[WatchAlert, ...] = ()
    for second in range(ALERTS_KEPT + 5):
        said = letter * ALERT_CHARACTERS_MAX
        alert = WatchAlert(code="X" * 40, message=said, critical=True, utc_us=second)
        alerts = newest_that_fit((*alerts, alert))
    ends = socket.socketpair()
    sends, hears = (ProcessLine(end) for end in ends)
    sends.send(Begin(alerts=alerts))
    (begin,) = hears.receive()
    sends.close()
    hears.close()

    assert isinstance(begin, Begin)
    assert begin.alerts == alerts
    assert alerts[-1].utc_us == ALERTS_KEPT + 4
    assert len(alerts) >= ALERT_BYTES_MAX // (ALERT_CHARACTERS_MAX * len(encoded(letter)) + 200)


def encoded(letter: str) -> bytes:
    """Return a letter as it stands in a row."""
    return msgspec.json.encode(letter)[1:-1]
