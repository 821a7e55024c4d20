"""Protected or flat: keeps working stops equal to each position, and says what the venue must do.

The stops of a position together cover exactly its quantity, on the right side and in the right
contract. Too few: what lacks is placed at its recorded level, beside what works. Too many: they
shrink, and an order that cannot shrink goes when another has taken over. A move is made in place.
So there is never a gap that was not there before. What cannot be protected in time is closed.

The venue knows no time in force: a stop rests until it fills or is cancelled, and what a firm does
at the end of its day shows as any other loss of a stop. A trailing stop is trailed by the venue.
"""

from msgspec.structs import replace

from backstop.core.bare_at_start import tell_bare_at_start
from backstop.core.book import Wake
from backstop.core.emergency_liquidation import begin
from backstop.core.leftovers import sweep_leftovers, watch_leftovers
from backstop.core.naked_time import OPERATOR, give_up, is_overdue, time_nakedness
from backstop.core.protection_changes import (
    align_legs,
    changes_after_restart,
    follow_changes,
)
from backstop.core.protection_evidence import fold_protection
from backstop.core.protection_levels import drop_ended_changes
from backstop.core.protection_record import Episode, ProtectionRecord
from backstop.core.protection_repair import (
    SETTLE_NS,
    is_refused,
    repair,
    stay_covered_while_closing,
)
from backstop.core.protection_situation import (
    Situation,
    is_being_closed,
    situation,
    situation_again,
)
from backstop.core.protection_surplus import cut_surplus
from backstop.core.protection_targets import restore_targets, targets_given_up
from backstop.core.step import Tag, Workbench
from backstop.core.unprotected import follow_doubt, is_to_close, settle_undetermined
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.events import AccountAudited, Fact, PositionCloseAnswered, TimerFired


def protect(work: Workbench, fact: Fact) -> None:
    """Look at every contract whose protection this step, or the time, may have changed."""
    book = work.book
    fold_protection(work)
    contracts = dict(work.touched_contracts)
    read_at_last = not book.protection.known_ns and bool(book.audit.complete_ns)
    if read_at_last:
        book.protection.known_ns = work.now_ns
    woken = book.woken(Wake.PROTECTION, work.now_ns)
    if woken or read_at_last or isinstance(fact, AccountAudited):
        records = book.protection.records.items()
        contracts |= {name: None for name, it in records if it.sign or it.doubted_ns}
    if isinstance(fact, PositionCloseAnswered):
        contracts[fact.contract_id] = None
    for contract_id in contracts:
        _look_at(work, contract_id, timer=isinstance(fact, TimerFired))
    if read_at_last:
        tell_bare_at_start(work)
    if isinstance(fact, AccountAudited):
        _note_what_is_bare(work, fact)
    drop_ended_changes(work)
    sweep_leftovers(work)


def protection_restarted(work: Workbench) -> None:
    """Forget what times and requests of the process before meant; look at every position anew."""
    protection = work.book.protection
    protection.started_ns = work.now_ns
    protection.known_ns = 0
    protection.start_noted = False
    changes_after_restart(work)
    for number, fill in protection.awaited.items():
        protection.awaited[number] = replace(fill, since_ns=work.now_ns)
    for contract_id, record in protection.records.items():
        protection.records[contract_id] = replace(
            record,
            episode=Episode(),
            surplus=0,
            surplus_since_ns=0,
            doubted_ns=0,
            opened_ns=work.now_ns if record.opened_ns else 0,
        )
        if record.sign:
            work.touched_contracts[contract_id] = None


def _note_what_is_bare(work: Workbench, read: AccountAudited) -> None:
    """Note which positions lack a stop by the word of a complete read, and not only by ours.

    That is a read that was sent when the stop was missing already. What is missing when a start has
    found out what is true was missing before it, whenever we noticed; what a fill has just opened
    has its stop soon.
    """
    book, protection = work.book, work.book.protection
    if book.audit.complete_sent_ns != read.sent_ns:
        return  # a part of it could not be read
    ends_start = book.recovered and not protection.start_noted
    protection.start_noted = book.recovered
    for contract_id in tuple(protection.records.lacking):
        record = protection.records[contract_id]
        since_ns = record.episode.wanted_ns
        if not since_ns or record.episode.bare_since_ns:
            continue
        if ends_start or since_ns <= read.sent_ns:
            episode = replace(record.episode, bare_since_ns=since_ns)
            protection.records[contract_id] = replace(record, episode=episode)


def _look_at(work: Workbench, contract_id: str, *, timer: bool) -> None:
    book = work.book
    if contract_id not in book.positions and not book.protection.record(contract_id).sign:
        return
    align_legs(work, contract_id)
    follow_changes(work, contract_id)
    watch_leftovers(work, contract_id)
    if not book.protection.record(contract_id).sign and _is_left_flat(work, contract_id):
        return
    now = situation(book, contract_id)
    time_nakedness(work, now)
    now = situation_again(book, now)
    if not book.policy.protects:
        return
    if book.policy.sends:
        follow_doubt(work, contract_id)
    now = situation_again(book, now)
    if not now.record.sign:
        return
    if not book.policy.sends:
        _say_what_is_withheld(work, now)
        return
    targets_given_up(work, contract_id)
    now = situation_again(book, now)
    requests = len(work.commands)
    cut_surplus(work, now)
    if is_being_closed(book, contract_id):
        stay_covered_while_closing(work, now)
        return
    if is_refused(work, now):
        give_up(work, now, code=AlertCode.STOP_REJECTED, why="the venue refused the stop")
    elif not _flatten_what_a_stop_opened(work, now):
        repair(work, now)
        quiet = len(work.commands) == requests
        now = situation_again(book, now) if quiet else situation(book, contract_id)
        if is_overdue(work, now, timer=timer):
            _end_nakedness(work, now)
        quiet = len(work.commands) == requests
        now = situation_again(book, now) if quiet else situation(book, contract_id)
        restore_targets(work, now)


def _is_left_flat(work: Workbench, contract_id: str) -> bool:
    """Say whether nothing was held that needs a stop, and do what is still to do about that."""
    book = work.book
    if book.position(contract_id).naked_since_ns:
        return False  # its time without a stop ends now
    if book.policy.protects and book.policy.sends:
        follow_doubt(work, contract_id)
    return True


def _end_nakedness(work: Workbench, now: Situation) -> None:
    """Close what could not be protected in time; what has no stop on record may be declared."""
    if now.has_level:
        give_up(
            work, now, code=AlertCode.POSITION_NAKED, why="no stop could be proven to work in time"
        )
    else:
        settle_undetermined(work, situation_again(work.book, now))


def _say_what_is_withheld(work: Workbench, now: Situation) -> None:
    """Say once per position what would be done if the gate were open."""
    if not now.uncovered or not now.view.quantity or now.record.withheld:
        return
    work.book.protection.records[now.contract_id] = replace(now.record, withheld=True)
    instrument = now.instrument
    levels = (
        f"{share.quantity} at {instrument.price(share.ticks)}"
        for share in now.missing
        if share.ticks is not None and instrument is not None
    )
    work.warn(
        Tag.CRITICAL_SYSTEM,
        "protection_withheld",
        contract_id=now.contract_id,
        position=now.view.quantity,
        uncovered=now.uncovered,
        would_place=", ".join(levels) or "nothing: no stop is on record",
    )


def _flatten_what_a_stop_opened(work: Workbench, now: Situation) -> bool:
    """Take flat what a stop or an exit opened, unless an entry turns out to explain it."""
    book, record = work.book, now.record
    opened_ns = record.opened_ns
    if _opened_by_protection(work, record):
        opened_ns = opened_ns or work.now_ns
    if not opened_ns:
        return False
    if _is_explained(now):
        opened_ns = 0
    if opened_ns != record.opened_ns:
        book.protection.records[now.contract_id] = replace(record, opened_ns=opened_ns)
    if not opened_ns:
        return False
    if work.now_ns < opened_ns + SETTLE_NS:
        book.wake(Wake.PROTECTION, opened_ns + SETTLE_NS)
        return True
    work.alert(
        Severity.CRITICAL,
        AlertCode.STOP_OPENED_POSITION,
        f"A stop, a target or an exit filled when nothing was left to close, and opened "
        f"{now.view.quantity or now.view.ledger:+d} {now.contract_id}: that is taken flat.",
    )
    begin(
        work,
        cause="STOP_OPENED_POSITION: an order that was to close the position opened one",
        operator=OPERATOR,
        contract_id=now.contract_id,
        latches=False,
    )
    return True


def _is_explained(now: Situation) -> bool:
    """Say whether entries account for all that any witness says is held."""
    view, sign = now.view, now.record.sign
    held = max(now.quantity, view.ledger * sign, (view.differing or 0) * sign)
    return sum(lot.quantity for lot in now.record.active_lots) >= held


def _opened_by_protection(work: Workbench, record: ProtectionRecord) -> bool:
    """Say whether a trade of this step opened contracts that was to close some.

    The newest trades are taken back one by one, so the position before each of them is known.
    """
    book = work.book
    after = book.position(record.contract_id).ledger
    trades = (it for it in work.new_trades.values() if it.contract_id == record.contract_id)
    for trade in sorted(trades, key=lambda trade: trade.trade_id, reverse=True):
        if trade.voided:
            continue
        signed = trade.side.sign * trade.quantity
        if after * signed > 0 and is_to_close(book, trade.broker_order_id, record):
            return True
        after -= signed
    return False
