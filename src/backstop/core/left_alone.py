"""An account that nobody guarded for too long is taken flat by the guard that comes next.

While a watchdog lives it has decided that already. This is for when it could not: after a power
cut, or when guard and watchdog died together. The stop at the venue has protected meanwhile, so the
broker is read before anything is closed.
"""

from backstop.core.book import Book
from backstop.core.emergency_liquidation import begin
from backstop.core.lifecycle import MACHINE
from backstop.core.liquidation_scope import open_quantity
from backstop.core.policy import Policy
from backstop.core.step import Tag, Workbench
from backstop.domain.events import (
    AccountAudited,
    Fact,
    GuardStarted,
    OrderReported,
    PositionReported,
    StopKind,
    TradeReported,
)

MILLISECONDS_PER_SECOND = 1000


def is_too_long(stop: StopKind, downtime_ms: int | None, *, after_ms: int | None) -> bool:
    """Say whether open positions were left alone for longer than they may be.

    Args:
        stop: how the process before ended; a clean stop by a person is no downtime.
        downtime_ms: how long nobody guarded; what is not known is no downtime either.
        after_ms: the threshold; None: there is none.
    """
    if after_ms is None or downtime_ms is None:
        return False
    return stop is StopKind.CRASH and downtime_ms > after_ms


def alone_ms(before: Book, stop: StopKind, downtime_ms: int | None, *, after_ms: int | None) -> int:
    """Return for how long a start finds that nobody guarded, if that was too long; else 0.

    What the process before owed and could not act on, for it died before it could read the account,
    is still owed: a broker that cannot be reached is no downtime, and does not end one either. A
    person who stopped that process has seen to it.
    """
    owed_ms = before.left_alone_ms if stop is StopKind.CRASH and after_ms is not None else 0
    too_long = is_too_long(stop, downtime_ms, after_ms=after_ms)
    return max(owed_ms, (downtime_ms or 0) if too_long else 0)


def note_guarding(work: Workbench, event: Fact) -> None:
    """Have this process count as a guard from the first moment that it hears of the account.

    If it ends without a word after that, it is a crash. One that was refused, that was killed while
    the gateway said nothing, has not guarded anything: how the one before ended stands.
    """
    if work.book.ends_as is not StopKind.CRASH and _tells_of_the_account(event):
        work.book.ends_as = StopKind.CRASH


def _tells_of_the_account(event: Fact) -> bool:
    match event:
        case PositionReported() | OrderReported() | TradeReported():
            return True
        case AccountAudited():
            parts = (event.positions, event.live_orders, event.orders, event.trades)
            return any(part is not None for part in parts)
        case _:
            return False


def left_alone(work: Workbench, event: GuardStarted) -> None:
    """Note at a start that nobody guarded for too long; what is held is not known yet."""
    policy: Policy = work.book.policy
    work.book.ends_as = event.stop
    work.book.left_alone_ms = alone_ms(
        work.book, event.stop, event.downtime_ms, after_ms=policy.liquidate_after_ms
    )
    if policy.liquidate_after_ms is None and policy.unprotected:
        work.warn(
            Tag.CRITICAL_SYSTEM,
            "never_liquidated_when_left_alone",
            switched_off=", ".join(policy.unprotected),
        )


def left_alone_for(work: Workbench, unguarded_ms: int) -> None:
    """Note that this process did not run for a while; what is held has to be read first."""
    too_long = is_too_long(
        work.book.ends_as, unguarded_ms, after_ms=work.book.policy.liquidate_after_ms
    )
    if too_long:
        work.book.left_alone_ms = unguarded_ms


def liquidate_what_was_left_alone(work: Workbench) -> None:
    """Take the account flat once its first complete read shows that something is open."""
    book = work.book
    if not book.left_alone_ms or not book.recovered:
        return
    alone_ms, book.left_alone_ms = book.left_alone_ms, 0
    seconds = f"{alone_ms / MILLISECONDS_PER_SECOND:.1f} s"
    if not any(open_quantity(book, view) for view in book.positions.values()):
        work.note(Tag.CRITICAL_SYSTEM, "left_alone_and_flat", downtime_ms=alone_ms)
        return
    begin(
        work,
        cause=f"no guard for {seconds} with open positions, longer than "
        "EMERGENCY_LIQUIDATION_THRESHOLD_MINUTES",
        operator=MACHINE,
    )
