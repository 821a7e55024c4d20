"""What is latched outlives its guard also where no disk took it: the watchdog keeps it meanwhile.

A guard says with its pulse what is latched; the guard that comes after it is told, and latches what
its own record lacks. What the record has is not put on twice. A latch that was lifted while the
disk took nothing may come back that way: a person resumes once more, and nothing was sent.

A record that lost its end may have lost a latch with it. Nobody can tell, so that is one too.
"""

from backstop.core.book import Book
from backstop.core.emergency_liquidation import begin, unfinished
from backstop.core.lifecycle import MACHINE, latched
from backstop.core.step import Workbench
from backstop.core.trading_state import Latch, LatchKind
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.events import GuardStarted, LatchesHandedOver
from backstop.domain.numbers import count_text
from backstop.domain.standing_latch import StandingLatch


def standing_latches(book: Book) -> tuple[StandingLatch, ...]:
    """Return what is latched now, for whoever guards next."""
    if not book.latches:
        return ()
    runs = {run.contract_id for run in unfinished(book) if run.latches and run.sends}
    return tuple(
        StandingLatch(
            kind=str(latch.kind),
            cause=latch.cause,
            operator=latch.operator,
            utc_us=latch.utc_us,
            contract_id=latch.contract_id,
            liquidates=latch.kind is LatchKind.LIQUIDATION and latch.contract_id in runs,
        )
        for latch in book.latches
    )


def latches_handed_over(work: Workbench, event: LatchesHandedOver) -> None:
    """Latch what the guard before had latched and our record lacks; end what it had begun."""
    for it in event.latches:
        if it.liquidates:
            begin(work, cause=it.cause, operator=it.operator, contract_id=it.contract_id)
            continue
        latch = Latch(
            kind=_kind(it.kind),
            contract_id=it.contract_id,
            cause=it.cause,
            operator=it.operator,
            utc_us=it.utc_us,
        )
        if latched(work, latch):
            work.alert(
                Severity.CRITICAL,
                AlertCode.HALTED,
                f"{it.operator} latched the guard before this one, whose disk took no record of "
                f"it: {it.cause}. It holds on.",
            )


def records_lost(work: Workbench, event: GuardStarted) -> None:
    """Latch when records are gone that were on disk: what a person decided may be among them.

    What was found is told by ``start_findings``, so no alert follows here.
    """
    if not event.records_lost:
        return
    cause = (
        f"emergency: {count_text(event.records_lost, 'record')} that had been on disk are gone, "
        "and what was decided in them may be too"
    )
    latched(
        work,
        Latch(kind=LatchKind.EMERGENCY, cause=cause, operator=MACHINE, utc_us=event.utc_us),
    )


def _kind(word: str) -> LatchKind:
    """Return the kind of that name; a guard of another version may know one that we do not."""
    try:
        return LatchKind(word)
    except ValueError:
        return LatchKind.HALT
