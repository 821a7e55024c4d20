"""While the disk takes no record: what the book says, and whom it tells."""

import pytest
from tests.core.builders import Guard, a_guard_start

from backstop.core.trading_state import Condition, TradingState
from backstop.domain.commands import RaiseAlert, Severity
from backstop.domain.events import JournalFailed, JournalRecovered, StateFileFailed


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
