"""Held contracts for which no stop is on record: none is made up, but they are never just left.

At its limit such a position is one of three things. Something of ours that was only to close opened
it: nobody wants it, and it is closed. Its trader chose to go without. Or it is somebody else's, or
nobody can say whose: then a person is told, and entries are frozen until somebody has looked.

While the venue's rows, trades and reads differ about contracts that no stop covers, the account is
read; that has a deadline as well.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from backstop.core.book import Book, Wake
from backstop.core.bot_stops import tell_no_stop_in_time
from backstop.core.evidence import ask_for_audit
from backstop.core.expected_closes import is_claimed_close
from backstop.core.external_trading import ATTRIBUTION_NS
from backstop.core.lifecycle import MACHINE, latched
from backstop.core.naked_time import give_up
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.positions import PositionView
from backstop.core.protection_record import Episode, ProtectionRecord
from backstop.core.protection_situation import Situation
from backstop.core.step import Tag, Workbench
from backstop.core.trading_state import Latch, LatchKind
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerTrade
from backstop.domain.commands import Severity
from backstop.domain.external import ExternalPositionPolicy

DECLARE_NS = ATTRIBUTION_NS + SECOND_NS
"""Whose a position is may take as long to find out; the order of a bot may be registered late."""

DOUBT_NS = 500 * MILLISECOND_NS
"""Row, trade and order of one fill are told within some 50 ms: what differs longer is read."""

DOUBT_LIMIT_NS = 5 * SECOND_NS
"""Two reads decide within some 1.5 s; a doubt that lasts this long is told to a person."""


# -- nothing says where the stop should be -------------------------------------------------------


def settle_undetermined(work: Workbench, now: Situation) -> None:
    """Close, or declare, what has been without a stop for as long as it may be."""
    if opened_by_what_closes(work.book, now):
        give_up(
            work,
            now,
            code=AlertCode.STOP_OPENED_POSITION,
            why="an order that was to close a position opened it, so no stop is on record",
        )
        return
    policy = work.book.policy
    if policy.is_drop_copy and policy.external_position_policy is ExternalPositionPolicy.FLATTEN:
        tell_no_stop_in_time(work, now)
        why = "no stop came in time, and EXTERNAL_POSITION_POLICY is flatten"
        give_up(work, now, code=AlertCode.POSITION_NAKED, why=why)
        return
    due_ns = now.record.episode.wanted_ns + DECLARE_NS
    if work.now_ns < due_ns:
        work.book.wake(Wake.PROTECTION, due_ns)
        return
    if policy.external_position_policy is ExternalPositionPolicy.FLATTEN:
        # Nobody claimed it, and it is not found to be of others either: an exit that the exchange
        # took back, for example.
        why = "no stop is on record for them, and EXTERNAL_POSITION_POLICY is flatten"
        give_up(work, now, code=AlertCode.POSITION_NAKED, why=why)
        return
    _declare(work, now)


def _declare(work: Workbench, now: Situation) -> None:
    """Tell a person that contracts have no stop, and freeze entries until he has looked."""
    book, contract_id = work.book, now.contract_id
    book.protection.records[contract_id] = replace(
        now.record, declared=now.undetermined, episode=Episode()
    )
    work.warn(
        Tag.CRITICAL_SYSTEM,
        "position_unprotected",
        contract_id=contract_id,
        position=now.view.quantity,
        unprotected=now.undetermined,
    )
    if _is_told_as_external(book, now):
        return
    symbol = book.symbol_of(contract_id)
    _frozen(
        work,
        contract_id,
        f"{symbol}: {now.undetermined} of {now.view.quantity:+d} have no working stop, and none is "
        f"on record for them. {_why_none(book)} None is made up; set one with PUT "
        f"/v1/positions/{symbol}/protection, or close the position.",
    )


def _is_told_as_external(book: Book, now: Situation) -> bool:
    """Say whether entries wait for a person who was told whose it is, and that it has no stop."""
    external = book.external
    trades = _newest_first(book, now.contract_id)
    others = now.view.adjustment or any(it.broker_order_id in external.foreign for it in trades)
    return bool(others) and any(it.kind is LatchKind.EXTERNAL for it in book.latches)


def _why_none(book: Book) -> str:
    policy = book.policy
    if policy.default_stop_ticks is None:
        return "DEFAULT_STOP_TICKS is not set."
    if policy.external_position_policy is not ExternalPositionPolicy.PROTECT:
        return f"EXTERNAL_POSITION_POLICY={policy.external_position_policy}."
    return "The gateway lists no such contract, or no price of it is known."


def _frozen(work: Workbench, contract_id: str, message: str) -> None:
    symbol = work.book.symbol_of(contract_id)
    if work.book.policy.is_drop_copy:
        # What a bot does by itself is told; a freeze would only call its next orders wrong.
        work.alert(Severity.CRITICAL, AlertCode.POSITION_UNPROTECTED, message)
        return
    cause = f"a position in {symbol} has no stop ({contract_id})"
    latch = Latch(kind=LatchKind.UNPROTECTED, cause=cause, operator=MACHINE, utc_us=work.utc_us)
    latched(work, latch)
    work.alert(
        Severity.CRITICAL,
        AlertCode.POSITION_UNPROTECTED,
        f"{message} Entries are frozen until a person resumes with a name and a reason.",
    )


def opened_by_what_closes(book: Book, now: Situation) -> bool:
    """Say whether a stop, a target, an exit or a close of ours opened contracts that are held.

    The newest trades are taken back one by one, down to where the position began. A position that
    reads had to correct has another history than its trades tell: nothing is concluded then.
    """
    view, sign = now.view, now.record.sign
    if view.adjustment * sign > 0:
        return False
    after = view.ledger
    for trade in _newest_first(book, now.contract_id):
        if after * sign <= 0:
            return False
        signed = trade.side.sign * trade.quantity
        if signed * sign > 0 and is_to_close(book, trade.broker_order_id, now.record):
            return True
        after -= signed
    return False


def _newest_first(book: Book, contract_id: str) -> Iterator[BrokerTrade]:
    held = (it for it in book.trades.values() if it.contract_id == contract_id and not it.voided)
    yield from sorted(held, key=lambda trade: trade.trade_id, reverse=True)


def is_to_close(book: Book, broker_order_id: int, record: ProtectionRecord) -> bool:
    """Say whether an order is a stop, a target, an exit or a close of ours, which only close."""
    name = book.client_of_broker_id.get(broker_order_id)
    if name is not None and (book.orders[name].role is not None or book.orders[name].reduces_risk):
        return True
    held = book.venue_orders.get(broker_order_id)
    if held is not None and held.owner is not None:
        return True
    if broker_order_id in {*record.adopted, *record.leftovers}:
        return True
    return is_claimed_close(book, broker_order_id)


# -- the witnesses differ ------------------------------------------------------------------------


def follow_doubt(work: Workbench, contract_id: str) -> None:
    """Read the account while its witnesses differ about contracts that no stop covers.

    To close or to protect what may not be there could open a position, so reads decide. If they do
    not in time, a person is told.
    """
    book = work.book
    record, view = book.protection.record(contract_id), book.position(contract_id)
    if not _is_doubtful(book, view):
        if record.doubted_ns:
            book.protection.records[contract_id] = replace(record, doubted_ns=0, declared=0)
        return
    since_ns = record.doubted_ns or work.now_ns
    if since_ns != record.doubted_ns:
        book.protection.records[contract_id] = replace(record, doubted_ns=since_ns)
    if work.now_ns < since_ns + DOUBT_NS:
        book.wake(Wake.PROTECTION, since_ns + DOUBT_NS)
        return
    ask_for_audit(work)
    due_ns = since_ns + DOUBT_LIMIT_NS
    if work.now_ns < due_ns:
        book.wake(Wake.PROTECTION, due_ns)
    else:
        _tell_doubt(work, contract_id, view)


def _is_doubtful(book: Book, view: PositionView) -> bool:
    """Say whether witnesses differ, and stops do not cover what one of them speaks of."""
    read = view.quantity if view.differing is None else view.differing
    told = (view.quantity, view.ledger, read)
    if view.quantity == view.ledger == read:
        return False
    return any(held and book.stop_cover(view.contract_id, held) < abs(held) for held in told)


def _tell_doubt(work: Workbench, contract_id: str, view: PositionView) -> None:
    """Tell a person once; the freeze stays until somebody has looked."""
    record = work.book.protection.record(contract_id)
    if record.declared:
        return
    held = max(abs(view.quantity), abs(view.ledger), abs(view.differing or 0))
    work.book.protection.records[contract_id] = replace(record, declared=held)
    work.warn(Tag.CRITICAL_SYSTEM, "position_in_doubt", contract_id=contract_id)
    read = "none yet" if view.differing is None else f"{view.differing:+d}"
    _frozen(
        work,
        contract_id,
        f"{work.book.symbol_of(contract_id)}: rows of the venue say {view.quantity:+d}, its trades "
        f"add up to {view.ledger:+d}, the newest read that differs: {read}; working stops do not "
        "cover each of them. The account is read on until they agree.",
    )
