"""What a recovery found and did, as the interface publishes it."""

from msgspec import Struct

from backstop.app.recovery_review import RecoveryReport
from backstop.core.disaster_recovery import Finding, RecoveryPlan, SymbolPlan
from backstop.domain.events import StopKind
from backstop.domain.utc import utc_text


class PlanView(Struct, frozen=True, kw_only=True):
    """What is different from the book, and what is done about each contract.

    ``stop`` is how the process before ended; ``downtime_ms`` how long nobody guarded (null when
    nothing tells), ``wall_clock`` whether that is a difference of times of day. ``unread`` names
    parts of the account about which nothing is concluded.
    """

    account_id: int
    stop: StopKind
    downtime_ms: int | None
    wall_clock: bool
    liquidates: bool
    findings: tuple[Finding, ...]
    symbols: tuple[SymbolPlan, ...]
    unread: tuple[str, ...]


class RecoveryView(Struct, frozen=True, kw_only=True):
    """The recovery with which this guard began; ``source`` is where its book was from."""

    at: str
    source: str
    plan: PlanView


class RecoveriesView(Struct, frozen=True, kw_only=True):
    """The last recovery (null before the account was read), and what one would do now."""

    last: RecoveryView | None
    now: PlanView


def recovery_view(report: RecoveryReport | None) -> RecoveryView | None:
    """Return a recovery as it is published."""
    if report is None:
        return None
    return RecoveryView(
        at=utc_text(report.at_utc_us), source=report.source, plan=plan_view(report.plan)
    )


def plan_view(plan: RecoveryPlan) -> PlanView:
    """Return a plan as it is published."""
    return PlanView(
        account_id=plan.account_id,
        stop=plan.downtime.stop,
        downtime_ms=plan.downtime.ms,
        wall_clock=plan.downtime.wall_clock,
        liquidates=plan.liquidates,
        findings=plan.findings,
        symbols=plan.symbols,
        unread=plan.unread,
    )
