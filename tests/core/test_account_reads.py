"""When the account is read, and which reads do not wait for others.

From where they read is held by test_reconciliation.py and test_clock_readings.py.
"""

from tests.core.builders import Guard

from backstop.core.account_reads import AUDIT_ANSWER_LIMIT_NS, next_read_ns
from backstop.core.book import AUDIT_INTERVAL_NS, AUDIT_STALE_NS
from backstop.core.engine import next_deadline_ns
from backstop.core.policy import MILLISECOND_NS
from backstop.domain.commands import AuditAccount


def test_nobody_reads_an_account_before_the_start() -> None:
    assert next_read_ns(Guard().book) == 0


def test_the_account_is_read_every_interval_and_again_when_no_answer_comes() -> None:
    guard = Guard().start()
    guard.until_due()
    asked_ns = guard.now_ns
    assert len(guard.commands_of(AuditAccount)) == 2
    assert next_deadline_ns(guard.book) == asked_ns + AUDIT_ANSWER_LIMIT_NS

    guard.timer(after_ms=6000)
    assert len(guard.commands_of(AuditAccount)) == 2, "one at a time"

    guard.until_due()
    assert len(guard.commands_of(AuditAccount)) == 3
    guard.audit(after_ms=10)
    guard.until_due()
    assert guard.now_ns <= asked_ns + AUDIT_ANSWER_LIMIT_NS + AUDIT_INTERVAL_NS
    assert len(guard.commands_of(AuditAccount)) == 4


def test_what_nobody_has_read_of_late_is_read_urgently() -> None:
    """What is there may lack a stop: the read does not wait, as ordinary calls may have to."""
    guard = Guard().connect()
    assert guard.commands_of(AuditAccount)[-1].urgent
    guard.audit()
    guard.until_due()
    assert not guard.commands_of(AuditAccount)[-1].urgent

    guard.timer(after_ms=(AUDIT_STALE_NS + AUDIT_ANSWER_LIMIT_NS) // MILLISECOND_NS)

    assert guard.commands_of(AuditAccount)[-1].urgent
