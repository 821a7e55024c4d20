"""Alerts stay open until a person has read them, and critical ones are sent again."""

from tests.core.builders import Guard

from backstop.core.alerts import ALERTS_KEPT, REPEAT_NS, REPEATED_AT_ONCE, AlertBoard
from backstop.core.policy import MILLISECOND_NS
from backstop.core.step import DecisionKind
from backstop.core.trading_state import TradingState
from backstop.domain.commands import RaiseAlert, Severity
from backstop.domain.events import AlertAcknowledged, HaltRequested, PayloadRejected, Source

REPEAT_MS = REPEAT_NS // MILLISECOND_NS


def a_halted_guard() -> Guard:
    guard = Guard().connect()
    guard.feed(HaltRequested(utc_us=guard.utc_us, reason="lunch", operator="ann"))
    return guard


def acknowledge(guard: Guard, alert_id: int, operator: str = "ann") -> DecisionKind | None:
    fact = AlertAcknowledged(utc_us=guard.utc_us, alert_id=alert_id, operator=operator)
    decision = guard.feed(fact).decision
    return None if decision is None else decision.kind


def raised(guard: Guard, code: str) -> list[RaiseAlert]:
    return [it for it in guard.commands_of(RaiseAlert) if it.code == code]


def test_an_alert_has_a_number_of_its_own() -> None:
    guard = a_halted_guard()

    (command,) = raised(guard, "HALTED")

    assert guard.book.alerts.alerts[command.alert_id].is_open
    assert command.alert_id == guard.book.alerts.last_id


def test_a_critical_alert_is_sent_again_until_somebody_reads_it() -> None:
    guard = a_halted_guard()

    guard.timer(after_ms=REPEAT_MS + 10)
    guard.timer(after_ms=REPEAT_MS + 10)
    acknowledge(guard, raised(guard, "HALTED")[0].alert_id)
    guard.timer(after_ms=REPEAT_MS + 10)

    assert [command.repeat for command in raised(guard, "HALTED")] == [0, 1, 2]


def test_a_warning_is_told_once() -> None:
    guard = Guard().connect()
    guard.feed(
        PayloadRejected(
            utc_us=guard.utc_us, source=Source.HUB, target="GatewayUserOrder", fault="no id", raw=""
        )
    )

    guard.timer(after_ms=REPEAT_MS + 10)
    guard.timer(after_ms=REPEAT_MS + 10)

    assert len(raised(guard, "PAYLOAD_REJECTED")) == 1


def test_to_read_an_alert_lifts_nothing() -> None:
    guard = a_halted_guard()

    kind = acknowledge(guard, raised(guard, "HALTED")[0].alert_id)

    assert kind is DecisionKind.ACCEPTED
    assert guard.book.trading_state(guard.now_ns) is TradingState.HALTED


def test_who_read_it_first_stays_on_it() -> None:
    guard = a_halted_guard()
    alert_id = raised(guard, "HALTED")[0].alert_id

    acknowledge(guard, alert_id, "ann")
    acknowledge(guard, alert_id, "bob")

    assert guard.book.alerts.alerts[alert_id].acknowledged_by == "ann"


def test_a_number_that_was_never_given_is_refused() -> None:
    guard = a_halted_guard()

    assert acknowledge(guard, 999) is DecisionKind.UNKNOWN_ALERT


def test_a_reminder_survives_a_restart() -> None:
    guard = a_halted_guard()

    guard.start()
    guard.timer(after_ms=REPEAT_MS + 10)

    assert [command.repeat for command in raised(guard, "HALTED")] == [0, 1]


def test_read_alerts_are_forgotten_before_open_ones() -> None:
    board = AlertBoard()
    first = board.post(Severity.CRITICAL, "FIRST", "", utc_us=1)
    second = board.post(Severity.WARNING, "SECOND", "", utc_us=2)
    board.acknowledge(second.alert_id, "ann", utc_us=3)

    for number in range(ALERTS_KEPT - 1):
        board.post(Severity.WARNING, "MORE", str(number), utc_us=4)

    assert len(board.alerts) == ALERTS_KEPT
    assert first.alert_id in board.alerts
    assert second.alert_id not in board.alerts


def test_one_reminder_repeats_the_newest_and_no_more_than_a_person_reads() -> None:
    board = AlertBoard()
    for number in range(REPEATED_AT_ONCE + 5):
        board.post(Severity.CRITICAL, "FLOOD", str(number), utc_us=1)

    repeated = board.repeated()

    assert len(repeated) == REPEATED_AT_ONCE
    assert repeated[-1].alert_id == board.last_id
    assert all(alert.repeats == 1 for alert in repeated)
