"""What a start found damaged is told, and stops nothing."""

from tests.core.builders import Guard, a_guard_start

from backstop.domain.commands import RaiseAlert, Severity
from backstop.domain.events import AlertChannelUnreached


def told(**findings: int | str | bool) -> list[tuple[Severity, str]]:
    guard = Guard()
    guard.feed(a_guard_start(utc_us=guard.utc_us, **findings))
    assert not guard.book.latches
    alerts: list[RaiseAlert] = guard.commands_of(RaiseAlert)
    return [(alert.severity, alert.code) for alert in alerts]


def test_a_start_that_found_nothing_tells_nothing() -> None:
    assert told() == []


def test_lost_records_are_critical_for_a_halt_may_be_among_them() -> None:
    assert told(records_lost=3) == [(Severity.CRITICAL, "RECORDS_LOST")]


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
