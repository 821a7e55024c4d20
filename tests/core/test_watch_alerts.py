"""What the watchdog told people stands on the board of the next guard, with its own time."""

from tests.core.builders import Guard, replayed

from backstop.core.alerts import REPEAT_NS, Alert
from backstop.core.policy import MILLISECOND_NS
from backstop.domain.commands import RaiseAlert, Severity
from backstop.domain.events import AlertAcknowledged, WatchAlertsHandedOver
from backstop.domain.watch_alert import WatchAlert

KILLED = WatchAlert(code="GUARD_KILLED", message="no pulse for 10 s", critical=True, utc_us=7)
RESTARTED = WatchAlert(code="GUARD_RESTARTED", message="exit code -9", critical=False, utc_us=9)


def handed(guard: Guard, *alerts: WatchAlert) -> None:
    guard.feed(WatchAlertsHandedOver(utc_us=guard.utc_us, alerts=alerts))


def board(guard: Guard) -> list[Alert]:
    return list(guard.book.alerts.alerts.values())


def test_they_can_be_read_with_the_time_at_which_they_were_told() -> None:
    guard = Guard().start()
    handed(guard, KILLED, RESTARTED)

    assert [(it.code, it.severity, it.message, it.raised_utc_us) for it in board(guard)] == [
        ("GUARD_KILLED", Severity.CRITICAL, "no pulse for 10 s", 7),
        ("GUARD_RESTARTED", Severity.WARNING, "exit code -9", 9),
    ]


def test_nobody_is_told_anew_until_a_critical_one_is_repeated() -> None:
    guard = Guard().start()
    handed(guard, KILLED, RESTARTED)
    assert guard.commands_of(RaiseAlert) == []

    guard.timer(after_ms=REPEAT_NS // MILLISECOND_NS)

    assert [(it.code, it.repeat) for it in guard.commands_of(RaiseAlert)] == [("GUARD_KILLED", 1)]


def test_one_that_was_acknowledged_is_not_repeated() -> None:
    guard = Guard().start()
    handed(guard, KILLED)
    guard.feed(AlertAcknowledged(utc_us=guard.utc_us, alert_id=1, operator="ann"))
    guard.timer(after_ms=REPEAT_NS // MILLISECOND_NS)

    assert not board(guard)[0].is_open
    assert guard.commands_of(RaiseAlert) == []


def test_the_same_one_is_put_there_once() -> None:
    """A guard that died before it guarded had it on record; the next one is handed it again."""
    guard = Guard().start()
    handed(guard, KILLED)
    handed(guard, KILLED, RESTARTED)

    assert [it.code for it in board(guard)] == ["GUARD_KILLED", "GUARD_RESTARTED"]


def test_a_replay_finds_the_same() -> None:
    guard = Guard().start()
    handed(guard, KILLED, RESTARTED)
    book, _ = replayed(guard.book.policy, guard.history)

    assert book.alerts == guard.book.alerts
