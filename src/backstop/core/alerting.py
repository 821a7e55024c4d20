"""Reminds a person of critical alerts, and books that one was read."""

from backstop.core.alerts import REPEAT_NS
from backstop.core.book import Wake
from backstop.core.step import Decision, DecisionKind, Tag, Workbench
from backstop.domain.commands import RaiseAlert
from backstop.domain.events import AlertAcknowledged


def alert_acknowledged(work: Workbench, event: AlertAcknowledged) -> None:
    """Note who has read an alert; it lifts no latch."""
    read = work.book.alerts.acknowledge(event.alert_id, event.operator, utc_us=event.utc_us)
    if read is None:
        work.decision = Decision(
            kind=DecisionKind.UNKNOWN_ALERT, message=f"no alert has the number {event.alert_id}"
        )
        return
    work.decision = Decision(kind=DecisionKind.ACCEPTED)
    work.note(
        Tag.CRITICAL_SYSTEM,
        "alert_acknowledged",
        alert_id=event.alert_id,
        code=read.code,
        operator=event.operator,
    )


def remind(work: Workbench) -> None:
    """Send critical alerts again while nobody has acknowledged them."""
    book = work.book
    if not book.woken(Wake.ALERTS, work.now_ns):
        return
    if next(book.alerts.open_critical(), None) is None:
        return
    book.wake(Wake.ALERTS, work.now_ns + REPEAT_NS)
    for alert in book.alerts.repeated():
        work.commands.append(
            RaiseAlert(
                alert_id=alert.alert_id,
                severity=alert.severity,
                code=alert.code,
                message=alert.message,
                repeat=alert.repeats,
            )
        )
