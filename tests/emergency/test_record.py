"""The record as a liquidation without a guard reads it."""

from pathlib import Path

from tests.core.builders import ACCOUNT, Guard, a_policy

from backstop.adapters.clock import SystemClock
from backstop.app.audit_trail import AuditTrail
from backstop.app.journal_fold import policy_batch
from backstop.core.taken_state import payload_of, taken_state
from backstop.domain.events import HaltRequested
from backstop.domain.record_kind import RecordKind
from backstop.emergency.record import recorded
from backstop.emergency.spool import read_spool
from backstop.ports import JournalBatch, JournalRecord


async def test_a_state_on_record_is_part_of_what_it_tells(tmp_path: Path) -> None:
    """A new record after a lost one begins with the state: own orders are known by it."""
    guard = Guard().start()
    decision = guard.submit()
    assert decision.order is not None
    guard.feed(HaltRequested(utc_us=guard.utc_us, reason="the news", operator="eve"))
    taken = taken_state(guard.book, source="s", record="r", journal_seq=1, kept="")
    state = JournalRecord(
        seq=2, kind=RecordKind.STATE, monotonic_ns=1, utc_us=1, payload=payload_of(taken)
    )
    trail = AuditTrail.open(tmp_path, account=str(ACCOUNT), epoch=1, clock=SystemClock())
    rules = policy_batch(a_policy(), seq=1, monotonic_ns=1, utc_us=1).records
    await trail.append(JournalBatch(records=(*rules, state)))
    await trail.close()

    found = recorded(tmp_path, read_spool([tmp_path / "none"]), a_policy())

    assert found.fault == ""
    assert list(found.book.orders) == [decision.order.client_order_id]
    assert [it.cause for it in found.book.latches] == ["the news"]
