"""When a liquidation does not get anywhere: who is told, and how often."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from backstop.core.book import Book
from backstop.core.closed_market import is_closed, is_silent
from backstop.core.liquidation import (
    CloseAttempt,
    Liquidation,
    LiquidationState,
    Remaining,
    RemainingKind,
)
from backstop.core.policy import SECOND_NS
from backstop.core.step import Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import RaiseAlert, Severity

ESCALATE_NS = 30 * SECOND_NS
"""Without progress for this long a person is called."""

CLOSES_BEFORE_ESCALATION = 6
"""So many requests in a row that changed nothing call a person as well."""

REPEAT_NS = 60 * SECOND_NS
"""How often a person is called again who has not acknowledged."""

NAMED_MAX = 6
"""Things that one message names; all of them are in the answer of the API."""


def escalated(work: Workbench, run: Liquidation, left: Sequence[Remaining]) -> Liquidation:
    """Call a person when nothing gets better, and again until somebody has acknowledged it.

    A market that is closed is nobody's failure: that is told once, and waited for. One that only
    may be closed, because the venue rejects without a word, is told as well, and is a failure where
    it lasts.
    """
    closed = _refused(work, left, is_closed)
    if closed:
        run = replace(_tell_closed(work, run, closed, left), progress_ns=work.now_ns)
    elif silent := _refused(work, left, is_silent):
        run = _tell_silent(work, run, silent, left)
    if run.state is LiquidationState.ESCALATED:
        return _called_again(work, run, left)
    stuck = work.now_ns >= run.progress_ns + ESCALATE_NS or _tried_enough(work, run)
    if not stuck:
        return run
    work.alert(
        Severity.CRITICAL,
        AlertCode.LIQUIDATION_ESCALATED,
        f"{run.liquidation_id} gets nowhere: {named(left)}.{_said(run)} "
        f"{stops_in_words(work.book, left)}It goes on trying; look at the account, and close by "
        "hand what is left.",
    )
    return replace(
        run,
        state=LiquidationState.ESCALATED,
        escalation=work.book.alerts.last_id,
        escalated_ns=work.now_ns,
    )


def named(left: Sequence[Remaining]) -> str:
    """Return what is left in words."""
    words = [_words(it) for it in left[:NAMED_MAX]]
    if len(left) > NAMED_MAX:
        words.append(f"and {len(left) - NAMED_MAX} more")
    return ", ".join(words) or "nothing is left that is known, but no reads prove it"


def _words(it: Remaining) -> str:
    match it.kind:
        case RemainingKind.POSITION:
            return f"position {it.quantity:+d} {it.contract_id} ({it.status})"
        case RemainingKind.ORDER:
            return f"order {it.broker_order_id} ({it.contract_id}, {it.status})"
        case RemainingKind.INTENT:
            return f"order {it.client_order_id} of ours is {it.status}"


def stops_in_words(book: Book, left: Sequence[Remaining]) -> str:
    """Return which of the positions that are left have working stops, as the venue shows them."""
    words = []
    for it in left:
        if it.kind is not RemainingKind.POSITION or not it.quantity:
            continue
        cover = book.stop_cover(it.contract_id, it.quantity)
        if not cover:
            words.append(f"NO stop works for {it.quantity:+d} {it.contract_id}")
        elif cover < abs(it.quantity):
            words.append(f"stops work for only {cover} of {it.quantity:+d} {it.contract_id}")
    if words:
        return f"{'; '.join(words[:NAMED_MAX])}. "
    held = any(it.kind is RemainingKind.POSITION and it.quantity for it in left)
    return "Stops work for all that is held, and stay. " if held else ""


def _said(run: Liquidation) -> str:
    return f' The venue refuses the close: "{run.venue_said}".' if run.venue_said else ""


def _refused(
    work: Workbench,
    left: Sequence[Remaining],
    is_so: Callable[[Workbench, CloseAttempt], bool],
) -> list[str]:
    """Return the contracts whose close was refused like that, if nothing but those is open."""
    held = [it.contract_id for it in left if it.kind is RemainingKind.POSITION and it.quantity]
    closes = work.book.closes
    refused = [name for name in held if name in closes and is_so(work, closes[name])]
    return refused if len(refused) == len(held) else []


def _tell_closed(
    work: Workbench, run: Liquidation, closed: Sequence[str], left: Sequence[Remaining]
) -> Liquidation:
    if not run.told_closed:
        work.alert(
            Severity.CRITICAL,
            AlertCode.MARKET_CLOSED_WHILE_LIQUIDATING,
            f"{run.liquidation_id}: the venue takes no orders for {', '.join(closed)}."
            f"{_said(run)} Left: {named(left)}. {stops_in_words(work.book, left)}The close is "
            "tried until the market opens.",
        )
    return replace(run, told_closed=True)


def _tell_silent(
    work: Workbench, run: Liquidation, silent: Sequence[str], left: Sequence[Remaining]
) -> Liquidation:
    if not run.told_closed:
        work.alert(
            Severity.CRITICAL,
            AlertCode.MARKET_CLOSED_WHILE_LIQUIDATING,
            f"{run.liquidation_id}: the venue rejects the close of {', '.join(silent)} without a "
            "word, as it does while a market is closed or halted; by the calendar it is open. "
            f"Left: {named(left)}. {stops_in_words(work.book, left)}The close is tried on, and "
            f"where that helps nothing for {ESCALATE_NS // SECOND_NS} s a person is called.",
        )
    return replace(run, told_closed=True)


def _tried_enough(work: Workbench, run: Liquidation) -> bool:
    return any(
        attempt.times - attempt.refusals > CLOSES_BEFORE_ESCALATION
        for contract_id, attempt in work.book.closes.items()
        if run.covers(contract_id)
    )


def _called_again(work: Workbench, run: Liquidation, left: Sequence[Remaining]) -> Liquidation:
    board = work.book.alerts.alerts
    alert = board.get(run.escalation)
    if work.now_ns < run.escalated_ns + REPEAT_NS or alert is None or not alert.is_open:
        return run
    board[alert.alert_id] = alert = replace(alert, repeats=alert.repeats + 1)
    work.commands.append(
        RaiseAlert(
            alert_id=alert.alert_id,
            severity=alert.severity,
            code=alert.code,
            message=f"{run.liquidation_id} still gets nowhere: {named(left)}.{_said(run)} "
            f"{stops_in_words(work.book, left)}".rstrip(),
            repeat=alert.repeats,
        )
    )
    return replace(run, escalated_ns=work.now_ns)
