"""Limits that somebody changes while the account trades: tighter at once, looser with a name.

To loosen takes a person and a reason, and says so in an alert. It lifts no lock that holds already.
"""

from backstop.core.account_rules.limits import AccountLimits, LimitChange, LimitName, in_force
from backstop.core.step import Decision, DecisionKind, Tag, Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.events import LimitsChangeRequested
from backstop.domain.numbers import money

UNNAMED = "unnamed"
"""Who tightened a limit where the caller did not say: that is never refused for want of a name."""


def limits_change_requested(work: Workbench, event: LimitsChangeRequested) -> None:
    """Put the limits of ``event`` in force, or say why not; all of them, or none."""
    book, record = work.book, work.book.account_rules
    settings = book.policy.account_limits or AccountLimits()
    now = in_force(settings, record.changes)
    wanted = {name: value for name, value in _wanted(event).items() if value is not None}
    refusal = _refusal(settings, now, wanted, event)
    if refusal:
        work.decision = Decision(kind=DecisionKind.NOT_POSSIBLE, message=refusal)
        return
    said = []
    for name, value in wanted.items():
        before = getattr(now, name.member)
        record.changes[name] = LimitChange(
            value=value,
            setting=getattr(settings, name.member),
            operator=event.operator.strip() or UNNAMED,
            reason=event.reason.strip(),
            utc_us=work.utc_us,
        )
        if before is not None and value > before:
            said.append(str(name))
        work.note(
            Tag.CRITICAL_SYSTEM,
            "limit_changed",
            limit=str(name),
            from_value=-1 if before is None else before,
            value=value,
            operator=event.operator.strip() or UNNAMED,
            reason=event.reason.strip(),
        )
    if said:
        work.alert(
            Severity.WARNING,
            AlertCode.LIMIT_LOOSENED,
            f"{event.operator} loosened {', '.join(said)}: {event.reason}. It holds until the "
            "setting says something else.",
        )
    work.decision = Decision(kind=DecisionKind.ACCEPTED)


def _wanted(event: LimitsChangeRequested) -> dict[LimitName, int | None]:
    return {
        LimitName.DAILY_LOSS: event.daily_loss_micros,
        LimitName.TRAILING_LOSS: event.trailing_loss_micros,
        LimitName.POSITION: event.max_position_tenths,
    }


def _refusal(
    settings: AccountLimits,
    now: AccountLimits,
    wanted: dict[LimitName, int],
    event: LimitsChangeRequested,
) -> str:
    if not wanted:
        return "nothing to change: give a limit"
    for name, value in wanted.items():
        if value < 1:
            return f"{name}: a limit is above 0"
    if LimitName.TRAILING_LOSS in wanted and settings.starting_balance_micros is None:
        return "MAX_TRAILING_LOSS needs ACCOUNT_STARTING_BALANCE, or a profile, in the settings"
    began = settings.starting_balance_micros
    for name in (LimitName.DAILY_LOSS, LimitName.TRAILING_LOSS):
        if began is not None and wanted.get(name, 0) > began:
            return f"{name}: the account began with {money(began):f}, and no loss is larger"
    looser = [
        str(name)
        for name, value in wanted.items()
        if (before := getattr(now, name.member)) is not None and value > before
    ]
    if looser and not (event.operator.strip() and event.reason.strip()):
        return f"to loosen {', '.join(looser)} takes a person with a name and a reason"
    return ""
