"""While the disk takes no record: what the book says, and whom it tells."""

import pytest
from tests.core.builders import Guard, a_guard_start

from backstop.core.journal_outage import STEADY_NS
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.trading_state import Condition, TradingState
from backstop.domain.commands import RaiseAlert, Severity
from backstop.domain.events import JournalFailed, JournalRecovered, StateFileFailed

STEADY_MS = STEADY_NS // MILLISECOND_NS


def fail(guard: Guard) -> None:
    guard.feed(JournalFailed(utc_us=guard.utc_us, reason="No space left on device."))


def recover(guard: Guard, *, lost: int = 0) -> None:
    guard.feed(
        JournalRecovered(
            utc_us=guard.utc_us,
            began_utc_us=guard.utc_us - 1_000_000,
            reason="No space left on device.",
            decisions=7,
            first_seq=41,
            last_seq=52,
            lost=lost,
        )
    )


def test_without_a_record_entries_are_refused_and_a_person_is_told() -> None:
    guard = Guard().start()
    fail(guard)

    assert guard.book.trading_state(guard.now_ns) is TradingState.REDUCING
    assert guard.book.state_reasons(guard.now_ns) == (str(Condition.JOURNAL_FAILED),)
    assert guard.alerts().count("JOURNAL_FAILED") == 1


def test_entries_are_possible_again_once_all_is_written() -> None:
    guard = Guard().start()
    fail(guard)
    recover(guard)

    assert guard.book.trading_state(guard.now_ns) is TradingState.ACTIVE
    assert guard.alerts().count("JOURNAL_RECOVERED") == 1


@pytest.mark.parametrize(("lost", "severity"), [(0, Severity.WARNING), (3, Severity.CRITICAL)])
def test_the_alert_says_from_when_to_when_how_much_and_why(lost: int, severity: Severity) -> None:
    guard = Guard().start()
    fail(guard)
    recover(guard, lost=lost)
    told = [
        command
        for command in guard.commands
        if isinstance(command, RaiseAlert) and command.code == "JOURNAL_RECOVERED"
    ]

    assert [alert.severity for alert in told] == [severity]
    assert "No space left on device." in told[0].message
    assert "7 decisions" in told[0].message
    assert "records 41 to 52" in told[0].message
    assert ("3 later ones" in told[0].message) is bool(lost)


# -- a disk that comes and goes -----------------------------------------------------------------


def flicker(guard: Guard, times: int) -> None:
    """Let the disk fail and come back, over and over."""
    for _ in range(times):
        fail(guard)
        guard.timer(after_ms=100)
        recover(guard)
        guard.timer(after_ms=100)


def told(guard: Guard) -> list[str]:
    """Return what a person was told of the disk, reminders excepted."""
    alerts = guard.commands_of(RaiseAlert)
    return [it.code for it in alerts if it.code.startswith("JOURNAL") and not it.repeat]


def test_a_disk_that_comes_and_goes_is_told_of_twice_and_not_with_every_turn() -> None:
    guard = Guard().start()
    flicker(guard, 300)

    assert told(guard) == ["JOURNAL_FAILED", "JOURNAL_RECOVERED", "JOURNAL_FAILED"]
    last = guard.commands_of(RaiseAlert)[-1]
    assert last.severity is Severity.CRITICAL
    assert "has taken everything for 60 s" in last.message


def test_entries_wait_for_such_a_disk_each_time_and_no_longer() -> None:
    guard = Guard().start()
    flicker(guard, 5)
    assert guard.book.trading_state(guard.now_ns) is TradingState.ACTIVE
    fail(guard)

    assert guard.book.trading_state(guard.now_ns) is TradingState.REDUCING


def test_that_it_is_back_is_said_once_it_has_held_with_all_that_was_written() -> None:
    guard = Guard().start()
    flicker(guard, 5)
    ended_ns = guard.book.outages.ended_ns
    while len(told(guard)) == 3:
        guard.until_due()

    assert guard.now_ns == ended_ns + STEADY_NS
    assert told(guard)[3:] == ["JOURNAL_RECOVERED"]
    last = guard.commands_of(RaiseAlert)[-1]
    assert "in 4 outages" in last.message
    assert "28 decisions" in last.message
    assert "records 41 to 52" in last.message


@pytest.mark.parametrize("wakes", [True, False])
def test_what_fails_after_that_is_told_like_the_first(*, wakes: bool) -> None:
    guard = Guard().start()
    flicker(guard, 5)
    guard.now_ns += STEADY_NS
    if wakes:
        guard.timer()
    flicker(guard, 1)

    assert told(guard)[3:] == ["JOURNAL_RECOVERED", "JOURNAL_FAILED", "JOURNAL_RECOVERED"]
    assert len(guard.commands_of(RaiseAlert)) == 6


def test_one_that_fails_again_meanwhile_is_not_told_as_back() -> None:
    guard = Guard().start()
    flicker(guard, 5)
    guard.timer(after_ms=STEADY_MS - 1_000)
    fail(guard)
    guard.timer(after_ms=10 * STEADY_MS)
    assert len(told(guard)) == 3
    recover(guard)
    guard.timer(after_ms=STEADY_MS - 1)
    assert len(told(guard)) == 3

    guard.timer(after_ms=1)
    assert told(guard)[3:] == ["JOURNAL_RECOVERED"]


def test_what_is_lost_is_told_at_once() -> None:
    guard = Guard().start()
    flicker(guard, 5)
    fail(guard)
    recover(guard, lost=3)

    assert told(guard)[3:] == ["JOURNAL_RECOVERED"]
    told_lost = [it for it in guard.commands_of(RaiseAlert) if it.code == "JOURNAL_RECOVERED"]
    assert told_lost[-1].severity is Severity.CRITICAL


def test_the_next_process_says_that_such_a_disk_is_back() -> None:
    guard = Guard().start()
    flicker(guard, 5)
    guard.now_ns = SECOND_NS  # another boot: monotonic time is young again
    guard.feed(a_guard_start(utc_us=guard.utc_us))
    guard.timer(after_ms=STEADY_MS - 1)
    assert len(told(guard)) == 3

    guard.timer(after_ms=1)
    assert told(guard)[3:] == ["JOURNAL_RECOVERED"]


def test_the_next_process_begins_with_a_disk_that_has_not_failed_it() -> None:
    guard = Guard().start()
    fail(guard)
    guard.feed(a_guard_start(utc_us=guard.utc_us))

    assert Condition.JOURNAL_FAILED not in guard.book.readiness(guard.now_ns).conditions


def test_a_state_file_that_cannot_be_written_is_told_and_stops_nothing() -> None:
    guard = Guard().start()
    guard.feed(StateFileFailed(utc_us=guard.utc_us, reason="No space left on device."))
    (alert,) = guard.commands_of(RaiseAlert)

    assert (alert.severity, alert.code) == (Severity.WARNING, "STATE_NOT_SAVED")
    assert alert.message.startswith("No space left on device. The journal still takes")
    assert Condition.JOURNAL_FAILED not in guard.book.readiness(guard.now_ns).conditions


def test_a_disk_that_takes_nothing_at_all_is_told_as_that_alone() -> None:
    guard = Guard().start()
    fail(guard)
    guard.feed(StateFileFailed(utc_us=guard.utc_us, reason="No space left on device."))

    assert guard.alerts() == ["JOURNAL_FAILED"]
