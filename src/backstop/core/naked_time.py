"""How long a position goes without enough stops, and what ends it when repairing did not.

The time runs from the first evidence of the fill. At the limit the contracts that lack a stop are
closed: the part that was added to a position whose stops hold, or else all of it.
"""

from msgspec.structs import replace

from backstop.core.book import Wake
from backstop.core.emergency_liquidation import begin
from backstop.core.liquidation import Cause
from backstop.core.liquidation_register import put_on_record, running
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.protection_plan import total
from backstop.core.protection_record import Episode
from backstop.core.protection_situation import Situation, is_being_closed
from backstop.core.step import Tag, Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity

NAKED_LIMIT_NS = SECOND_NS
"""A stop that is asked for works within some 50 ms: a second is a repair that has failed, and a
market moves far in more."""

RESTART_LIMIT_NS = 2 * SECOND_NS
"""After a start the account has to be read first: what works there must not be placed twice."""

EXCESS_LIMIT_NS = SECOND_NS
"""How long the close of the contracts without a stop may take before all of the position goes."""

LATE_NS = 100 * MILLISECOND_NS
"""A deadline noticed later than this says that this process stood still, not the venue."""

GRACE_NS = 250 * MILLISECOND_NS
"""What waits in the sockets after a standstill is heard within this time; granted once."""

OPERATOR = "backstop"
"""Who asks, in the record, when the guard itself does."""


def time_nakedness(work: Workbench, now: Situation) -> None:
    """Start or stop the clock of a position; the longest times are kept."""
    book, view = work.book, now.view
    since_ns = view.naked_since_ns
    if now.is_naked == bool(since_ns):
        return
    if now.is_naked:
        book.positions[now.contract_id] = view.naked_since(work.now_ns)
        return
    naked_ns = work.now_ns - since_ns
    book.positions[now.contract_id] = view.naked_since(0)
    protection = book.protection
    record = protection.record(now.contract_id)
    protection.records[now.contract_id] = replace(
        record, naked_max_ns=max(record.naked_max_ns, naked_ns)
    )
    protection.naked_max_ns = max(protection.naked_max_ns, naked_ns)
    work.note(
        Tag.CRITICAL_SYSTEM,
        "naked_time",
        contract_id=now.contract_id,
        naked_ms=naked_ns // MILLISECOND_NS,
        position=view.quantity,
        stops=total(now.stops),
    )


def is_overdue(work: Workbench, now: Situation, *, timer: bool) -> bool:
    """Say whether a position has been naked for as long as it may be; have it looked at by then.

    Only a timer decides: it fires when every fact that has come was handled, so a stop that works
    already and waits to be heard of is not missed.
    """
    book = work.book
    episode = book.protection.record(now.contract_id).episode
    if not now.lacking:
        if episode.wanted_ns:
            _put_episode(work, now, Episode())
        return False
    if not episode.wanted_ns:
        # Not earlier: a position may have gone without by choice until somebody asked for a stop.
        episode = replace(episode, wanted_ns=work.now_ns)
        _put_episode(work, now, episode)
    due_ns = _due_ns(work, episode)
    if due_ns is None:
        _alarm_unread(work, now)
        return False
    if episode.excess_ns:
        due_ns = episode.excess_ns + EXCESS_LIMIT_NS
    due_ns = max(due_ns, episode.hear_until_ns)
    if work.now_ns < due_ns or not timer:
        book.wake(Wake.PROTECTION, max(due_ns, work.now_ns + MILLISECOND_NS))
        return False
    if work.now_ns - due_ns > LATE_NS and not episode.hear_until_ns:
        _put_episode(work, now, replace(episode, hear_until_ns=work.now_ns + GRACE_NS))
        book.wake(Wake.PROTECTION, work.now_ns + GRACE_NS)
        return False
    return True


def _due_ns(work: Workbench, episode: Episode) -> int | None:
    """Return when a position must be protected; None while the account has not been read."""
    protection, policy = work.book.protection, work.book.policy
    if not protection.known_ns:
        return None
    limit_ns = NAKED_LIMIT_NS + (policy.bot_grace_ns if policy.is_drop_copy else 0)
    if episode.wanted_ns > protection.known_ns:
        return episode.wanted_ns + limit_ns
    return max(protection.started_ns + RESTART_LIMIT_NS, protection.known_ns + limit_ns)


def _alarm_unread(work: Workbench, now: Situation) -> None:
    """Tell a person, once, that a position may be naked and nothing can be read about it."""
    book = work.book
    episode = book.protection.record(now.contract_id).episode
    due_ns = book.protection.started_ns + RESTART_LIMIT_NS
    if work.now_ns < due_ns:
        book.wake(Wake.PROTECTION, due_ns)
        return
    if episode.alarmed:
        return
    _put_episode(work, now, replace(episode, alarmed=True))
    work.alert(
        Severity.CRITICAL,
        AlertCode.POSITION_NAKED,
        f"{now.uncovered} of {now.view.quantity:+d} {now.contract_id} had no working stop when "
        "this process began, and the account cannot be read: a stop may work there, so none is "
        "placed before it is known.",
    )


def _put_episode(work: Workbench, now: Situation, episode: Episode) -> None:
    protection = work.book.protection
    record = protection.record(now.contract_id)
    protection.records[now.contract_id] = replace(record, episode=episode)


def give_up(work: Workbench, now: Situation, *, code: AlertCode, why: str) -> None:
    """Close what cannot be protected: the part without a stop first, then the whole contract."""
    book = work.book
    contract_id = now.contract_id
    if is_being_closed(book, contract_id):
        return
    record = book.protection.record(contract_id)
    since_ns = book.position(contract_id).naked_since_ns
    naked_ms = (work.now_ns - since_ns) // MILLISECOND_NS if since_ns else 0
    lacking = max(now.uncovered, now.undetermined)
    what = f"{lacking} of {now.view.quantity:+d} {contract_id}"
    if total(now.stops) and not record.episode.excess_ns and running(book, contract_id) is None:
        work.alert(
            Severity.CRITICAL,
            code,
            f"{what} have had no working stop for {naked_ms} ms ({why}): those are closed.",
        )
        put_on_record(
            work,
            Cause(text=f"{code}: {why}", operator=OPERATOR, utc_us=work.utc_us),
            contract_id,
            latches=False,
            quantity=lacking,
            keep=now.quantity - lacking,
        )
        _put_episode(work, now, replace(record.episode, excess_ns=work.now_ns))
        book.wake(Wake.PROTECTION, work.now_ns + EXCESS_LIMIT_NS)
        return
    work.alert(
        Severity.CRITICAL,
        code,
        f"{what} have had no working stop for {naked_ms} ms ({why}): {contract_id} is taken flat.",
    )
    begin(work, cause=f"{code}: {why}", operator=OPERATOR, contract_id=contract_id, latches=False)
