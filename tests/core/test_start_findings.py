"""What a start found damaged is told; only records that are gone stop entries."""

from tests.core.builders import Guard, a_guard_start

from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.commands import RaiseAlert, Severity
from backstop.domain.events import AlertChannelUnreached, ResumeRequested


def told(**findings: int | str | bool) -> list[tuple[Severity, str]]:
    guard = Guard()
    guard.feed(a_guard_start(utc_us=guard.utc_us, **findings))
    assert bool(guard.book.latches) is ("records_lost" in findings)
    alerts: list[RaiseAlert] = guard.commands_of(RaiseAlert)
    return [(alert.severity, alert.code) for alert in alerts]


def test_a_start_that_found_nothing_tells_nothing() -> None:
    assert told() == []


def test_lost_records_are_critical_for_a_halt_may_be_among_them() -> None:
    assert told(records_lost=3) == [(Severity.CRITICAL, "RECORDS_LOST")]


def test_records_that_are_gone_stop_entries_until_a_person_resumes() -> None:
    guard = Guard()
    guard.feed(a_guard_start(utc_us=guard.utc_us, records_lost=3))
    (latch,) = guard.book.latches
    assert latch.kind is LatchKind.EMERGENCY
    assert "3 records" in latch.cause
    assert guard.book.trading_state(guard.now_ns) is TradingState.HALTED

    guard.feed(a_guard_start(utc_us=guard.utc_us))
    assert guard.book.latches == (latch,), "another start lifts nothing"
    guard.feed(ResumeRequested(utc_us=guard.utc_us, reason="looked at it", operator="eve"))
    assert not guard.book.latches


def test_a_record_that_is_gone_as_a_whole_is_named_with_what_is_kept_of_it() -> None:
    guard = Guard()
    kept = "28 records with the root ab had been signed, and none is left: kept in record-1."
    guard.feed(a_guard_start(utc_us=guard.utc_us, records_lost=28, record_kept=kept))
    (alert,) = guard.commands_of(RaiseAlert)

    assert "The journal was on disk and is gone" in alert.message
    assert kept in alert.message
    assert "resume with a name and a reason" in alert.message


def test_an_archive_that_is_made_again_is_a_warning() -> None:
    found = told(past_unusable="past_orders.db cannot be used: file is not a database.")

    assert found == [(Severity.WARNING, "PAST_ORDERS_UNUSABLE")]


def test_a_folder_that_others_could_change_is_critical() -> None:
    found = told(folder_open="state had mode 0777.", folder_changeable=True)

    assert found == [(Severity.CRITICAL, "STATE_FOLDER_OPEN")]


def test_a_secret_that_others_could_read_is_a_warning() -> None:
    assert told(folder_open="api_token had mode 0644.") == [(Severity.WARNING, "STATE_FOLDER_OPEN")]


def test_a_channel_that_is_not_reached_is_told_by_the_others() -> None:
    guard = Guard()
    guard.feed(
        AlertChannelUnreached(
            utc_us=guard.utc_us, channel=2, service="json", reason="Connection refused"
        )
    )
    (alert,) = guard.commands_of(RaiseAlert)

    assert (alert.severity, alert.code) == (Severity.WARNING, "ALERT_CHANNEL_UNREACHED")
    assert "channel 2 (json) cannot be reached: Connection refused" in alert.message
    assert "backstop alerts test" in alert.message
    assert not guard.book.latches
