"""Every limit that is configured is shown an order that breaks it, before the guard is armed.

A limit that lets its order through would be missed by nobody until the day it is needed. The orders
take the way of real ones, through the whole judgement, in a book of their own with the limits that
are in force; each breaks its limit by the least there is, and what refuses it has to be that limit.
"""

from msgspec.structs import replace

from backstop.core.book import Book
from backstop.core.correlation_protection import self_test
from backstop.core.pre_trade import judge
from backstop.core.step import Workbench
from backstop.core.trial_accounts import account_trials
from backstop.core.trial_book import NOW_NS, Trial, trial_book
from backstop.core.trial_moments import moment_trials
from backstop.core.trial_orders import order_trials
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity


def limits_tried(work: Workbench) -> None:
    """Let each limit judge orders that it must refuse; one that does not keeps entries out.

    Limits that were found to be sound need no second trial by the same process: a record of many
    starts would be read no faster than all of their trials go.
    """
    book = work.book
    limits = (book.policy, book.account_limits)
    if book.sound_limits == limits and not book.broken_limits:
        return
    broken = broken_limits(book)
    if broken and broken != book.broken_limits:
        work.alert(
            Severity.CRITICAL,
            AlertCode.LIMIT_BROKEN,
            f"{', '.join(broken)} let an order through that breaks it. Entries are refused; exits "
            "and protection go on. Stop this version and start one that works.",
        )
    book.broken_limits = broken
    book.sound_limits = None if broken else limits


def broken_limits(book: Book) -> tuple[str, ...]:
    """Return the limits in force in ``book`` that let through what they must refuse."""
    exposure = book.policy.exposure_limits
    of_exposure = () if exposure is None else self_test(exposure)
    policy = replace(
        book.policy,
        dry_run=False,
        execute=True,
        observe_only=False,
        exposure_limits=None,
        account_limits=book.account_limits,
    )
    trials = (*order_trials(policy), *moment_trials(policy), *account_trials(policy))
    failed = (trial.limit for trial in trials if not _refuses(trial))
    return (*map(str, of_exposure), *dict.fromkeys(failed))


def _refuses(trial: Trial) -> bool:
    book = trial_book(trial.policy)
    try:
        trial.prepare(book)
        found = judge(book, trial.wish, now_ns=NOW_NS)
    except Exception:  # noqa: BLE001 - a limit that fails refuses nothing, whatever it fails with
        return False
    return found is not None and any(it.code is trial.code for it in found.refusals)
