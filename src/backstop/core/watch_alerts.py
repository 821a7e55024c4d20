"""Puts on the board what the watchdog told people while there was no guard to do so.

Nobody is told anew: the watchdog has its own ways. A critical one is repeated like every other,
until somebody has read it.
"""

from backstop.core.alerts import REPEAT_NS
from backstop.core.book import Wake
from backstop.core.step import Tag, Workbench
from backstop.domain.commands import Severity
from backstop.domain.events import WatchAlertsHandedOver


def watch_alerts_handed_over(work: Workbench, event: WatchAlertsHandedOver) -> None:
    """Post each alert with its own time, once: a guard that died early may have done so before."""
    board = work.book.alerts
    for told in event.alerts:
        if any(
            it.raised_utc_us == told.utc_us and it.code == told.code for it in board.alerts.values()
        ):
            continue
        severity = Severity.CRITICAL if told.critical else Severity.WARNING
        alert = board.post(severity, told.code, told.message, utc_us=told.utc_us)
        work.note(Tag.CRITICAL_SYSTEM, "watchdog_alert", alert_id=alert.alert_id, code=alert.code)
        if told.critical:
            work.book.wake(Wake.ALERTS, work.now_ns + REPEAT_NS)
