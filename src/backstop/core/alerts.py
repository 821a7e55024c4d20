"""What a person was told, and whether somebody has taken note of it.

An alert stays open until a person acknowledges it. To acknowledge is to have read: it lifts no
latch and re-arms nothing.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.policy import SECOND_NS
from backstop.domain.commands import Severity

ALERTS_KEPT = 1_000
"""Newest alerts in memory, open ones last to go; the journal has all of them."""

REPEAT_NS = 300 * SECOND_NS
"""A critical alert that nobody has acknowledged is sent again this often."""

REPEATED_AT_ONCE = 20
"""Alerts that one reminder repeats; more would bury the newest."""


class Alert(Struct, frozen=True, kw_only=True):
    """One alert.

    Attributes:
        alert_id: counts up from 1 for the account, for ever.
        code: names the situation and its page in the runbook.
        repeats: how often it was sent again because nobody acknowledged it.
        acknowledged_by: the person; None while it is open.
    """

    alert_id: int
    severity: Severity
    code: str
    message: str
    raised_utc_us: int
    repeats: int = 0
    acknowledged_by: str | None = None
    acknowledged_utc_us: int | None = None

    @property
    def is_open(self) -> bool:
        """Nobody has acknowledged it."""
        return self.acknowledged_by is None


@dataclass(slots=True)
class AlertBoard:
    """The account's alerts, oldest first."""

    alerts: OrderedDict[int, Alert] = field(default_factory=OrderedDict)
    last_id: int = 0

    def post(self, severity: Severity, code: str, message: str, *, utc_us: int) -> Alert:
        """Add an alert and return it."""
        self.last_id += 1
        alert = Alert(
            alert_id=self.last_id,
            severity=severity,
            code=code,
            message=message,
            raised_utc_us=utc_us,
        )
        self.alerts[alert.alert_id] = alert
        if len(self.alerts) > ALERTS_KEPT:
            oldest = next((it.alert_id for it in self.alerts.values() if not it.is_open), None)
            del self.alerts[next(iter(self.alerts)) if oldest is None else oldest]
        return alert

    def acknowledge(self, alert_id: int, operator: str, *, utc_us: int) -> Alert | None:
        """Note that ``operator`` has read an alert; None when there is no such alert.

        The first person stays on it, for that is who was told.
        """
        alert = self.alerts.get(alert_id)
        if alert is None or not alert.is_open:
            return alert
        read = replace(alert, acknowledged_by=operator, acknowledged_utc_us=utc_us)
        self.alerts[alert_id] = read
        return read

    def open_critical(self) -> Iterator[Alert]:
        """Yield the critical alerts that nobody has acknowledged, newest first."""
        for alert in reversed(self.alerts.values()):
            if alert.is_open and alert.severity is Severity.CRITICAL:
                yield alert

    def repeated(self) -> tuple[Alert, ...]:
        """Count one more reminder of what is open and critical, and return those it is about."""
        due = list(self.open_critical())[:REPEATED_AT_ONCE]
        for alert in due:
            self.alerts[alert.alert_id] = replace(alert, repeats=alert.repeats + 1)
        return tuple(self.alerts[alert.alert_id] for alert in reversed(due))
