"""The guard stood still while the market went on: what it knew before proves nothing now.

A laptop that slept, a process that was stopped or starved. Positions may have been closed and stops
may have filled meanwhile, and nobody told us. So the account is read anew, as at a start: entries
wait for that, and nothing is protected, closed or liquidated before. The stop at the venue protects
meanwhile.
"""

from msgspec.structs import replace

from backstop.core.emergency_liquidation import restarted
from backstop.core.left_alone import left_alone_for
from backstop.core.positions import distrusted
from backstop.core.protection import protection_restarted
from backstop.core.step import Tag, Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.events import GuardStoodStill

MILLISECONDS_PER_SECOND = 1000


def stood_still(work: Workbench, event: GuardStoodStill) -> None:
    """Trust nothing that was known before, and have the account read at once."""
    book, now_ns = work.book, work.now_ns
    how = "the machine was suspended" if event.asleep_ms else "the guard's process did not run"
    seconds = f"{event.unguarded_ms / MILLISECONDS_PER_SECOND:.1f} s"
    work.alert(
        Severity.WARNING,
        AlertCode.GUARD_STOOD_STILL,
        f"Nobody guarded the account for {seconds}: {how}. Entries wait until the account has been "
        "read again; stops at the venue stayed.",
    )
    work.note(
        Tag.CRITICAL_SYSTEM,
        "guard_stood_still",
        unguarded_ms=event.unguarded_ms,
        asleep_ms=event.asleep_ms,
    )
    book.standstills += 1
    book.recovered = False
    # What the hub would have told meanwhile is lost, whether or not its connection lives on.
    book.links.user_since_ns = now_ns
    clock = book.audit
    clock.requested_ns = clock.complete_ns = clock.complete_sent_ns = 0
    clock.due_ns = now_ns if book.links.user_up else 0
    for contract_id, view in book.positions.items():
        book.positions[contract_id] = replace(
            distrusted(view), evidence_ns=now_ns, naked_since_ns=0
        )
        if view.quantity:
            work.touched_contracts[contract_id] = None
    restarted(work)
    protection_restarted(work)
    left_alone_for(work, event.unguarded_ms)
