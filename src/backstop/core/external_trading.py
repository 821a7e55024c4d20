"""Who traded? Fills and positions that are not ours are counted at once and named within seconds.

Whatever the venue says about the position counts and is protected from the first evidence; only
whose it was may wait. An order that nothing of ours explains by then is external: entries are
frozen until a person resumes, and the policy says what becomes of the position. Reads decide that
were sent after the first sight; while they fail, or while an order of ours is of unknown fate,
entries wait and nobody is accused.
"""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from backstop.core.account_rules.watch import firm_liquidated
from backstop.core.book import Book, Wake
from backstop.core.contract_end import is_settlement, tell_settled
from backstop.core.expected_closes import counted_trades, forget_old_closes, is_own_close
from backstop.core.external_record import Adjustment, Sighting
from backstop.core.external_words import act_words, bought, position_words
from backstop.core.foreign_orders import row_found, tag_words, watch_foreign_orders
from backstop.core.lifecycle import MACHINE, latched
from backstop.core.policy import SECOND_NS
from backstop.core.step import Tag, Workbench
from backstop.core.trading_state import Latch, LatchKind
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerTrade
from backstop.domain.commands import Severity
from backstop.domain.external import ExternalPositionPolicy

ATTRIBUTION_NS = 5 * SECOND_NS
"""How long an order may stay without an owner: answers, look-ups and registrations take a while."""

LOOK_AGAIN_NS = SECOND_NS
"""Pause between looks at what could not be attributed in time."""

SIGHTINGS_KEPT = 512
"""Orders without an owner at one time; more of them are judged before their time."""

FOREIGN_KEPT = 512
"""Orders of others that are remembered as such; an older one that trades again is found anew."""


class Flattening(Struct, frozen=True, kw_only=True):
    """A contract that the policy takes flat, and why."""

    contract_id: str
    cause: str


# -- what every step does about it ---------------------------------------------------------------


def watch_others(work: Workbench) -> tuple[Flattening, ...]:
    """Notice what is not ours, judge it when its time has come; return what is to be taken flat."""
    book, record = work.book, work.book.external
    told = work.touched_venue_orders or work.new_trades or work.adjustments
    if not told and not record.is_busy and Wake.EXTERNAL not in book.wakes:
        return ()
    book.woken(Wake.EXTERNAL, work.now_ns)
    forget_old_closes(work)
    flatten = [*_noticed(work)]
    if record.sightings or record.adjusted or record.in_doubt:
        flatten.extend(_attributed(work))
    watch_foreign_orders(work)
    return tuple(flatten)


def _noticed(work: Workbench) -> Iterator[Flattening]:
    """Remember orders and adjustments that nobody has named."""
    book, record = work.book, work.book.external
    for number in work.touched_venue_orders:
        held = book.venue_orders.get(number)
        # What neither works nor belongs to a program leaves nothing to judge: its trades do.
        if held is not None and (held.row.status.is_live or held.row.custom_tag):
            _sight(work, number, held.row.contract_id, traded=False)
    for trade in work.new_trades.values():
        if trade.broker_order_id in record.foreign and not _is_ours(work, trade.broker_order_id):
            yield from _traded_again(work, trade)
        elif not trade.voided:
            _sight(work, trade.broker_order_id, trade.contract_id, traded=True)
    for contract_id, delta in work.adjustments.items():
        before = book.position(contract_id).adjustment - delta
        record.adjusted.setdefault(contract_id, Adjustment(before=before, seen_ns=work.now_ns))


def _sight(work: Workbench, number: int, contract_id: str, *, traded: bool) -> None:
    record = work.book.external
    if _is_ours(work, number):
        record.foreign.pop(number, None)  # registered after all
        return
    if number in record.foreign:
        row_found(work, number)  # which may come after its first trades
        return
    held = record.sightings.get(number)
    urgent = traded and work.recovering
    if held is None:
        held = Sighting(contract_id=contract_id, seen_ns=work.now_ns, urgent=urgent)
    record.sightings[number] = replace(held, urgent=held.urgent or urgent)


def _attributed(work: Workbench) -> Iterator[Flattening]:
    """Judge what has waited long enough, and set the time of the next look."""
    book, record = work.book, work.book.external
    record.in_doubt = False
    surplus = max(0, len(record.sightings) - SIGHTINGS_KEPT)
    for place, (number, sighting) in enumerate(list(record.sightings.items())):
        due_ns = sighting.seen_ns + ATTRIBUTION_NS
        if _is_ours(work, number):
            del record.sightings[number]
        elif (
            place < surplus
            or _is_the_bot_s(book, number)
            or (work.now_ns >= due_ns and not _may_be_ours(book, number))
        ):
            del record.sightings[number]
            yield from _found(work, number, sighting.contract_id)
        else:
            _wait(work, due_ns, blocks=sighting.urgent and not _is_past(book, number))
    for contract_id, adjustment in list(record.adjusted.items()):
        due_ns = adjustment.seen_ns + ATTRIBUTION_NS
        unexplained = book.position(contract_id).adjustment - adjustment.before
        decided = work.now_ns >= due_ns and not _may_be_explained(book, contract_id)
        if unexplained and not decided:
            _wait(work, due_ns, blocks=True)
            continue
        del record.adjusted[contract_id]
        if unexplained:
            yield from _adjusted(work, contract_id, unexplained)


def _wait(work: Workbench, due_ns: int, *, blocks: bool) -> None:
    """Look again when it is due; what is overdue blocks entries until it can be said."""
    overdue = work.now_ns >= due_ns
    work.book.external.in_doubt |= blocks or overdue
    work.book.wake(Wake.EXTERNAL, work.now_ns + LOOK_AGAIN_NS if overdue else due_ns)


# -- whose is it? --------------------------------------------------------------------------------


def _is_ours(work: Workbench, number: int) -> bool:
    """Say whether the venue's order ``number`` is an order of ours, a leg of one, or our close."""
    book = work.book
    if number in book.client_of_broker_id:
        return True
    held = book.venue_orders.get(number)
    if held is not None and held.owner is not None:
        return True
    return is_own_close(work, number)


def _is_the_bot_s(book: Book, number: int) -> bool:
    """Say whether an order is one of a bot that trades by itself: nobody is accused then.

    What was sent from here bears our tag, so the row alone tells.
    """
    return book.policy.is_drop_copy and number in book.venue_orders


def _may_be_ours(book: Book, number: int) -> bool:
    """Say whether it is too early to call an order that of somebody else.

    The account must have been read since, and of an order of which only trades are known, no order
    of ours may be under way or of unknown fate that could be it.
    """
    sighting = book.external.sightings[number]
    if book.audit.complete_sent_ns <= sighting.seen_ns:
        return True
    if number in book.venue_orders:
        return False
    trades = tuple(counted_trades(book, number))
    return any(
        order.broker_order_id is None
        and order.intent.contract_id == sighting.contract_id
        and any(order.intent.side is trade.side for trade in trades)
        for order in book.live_orders()
    )


def _may_be_explained(book: Book, contract_id: str) -> bool:
    """Say whether trades of ours may still come that explain an adjusted position."""
    if book.audit.complete_sent_ns <= book.external.adjusted[contract_id].seen_ns:
        return True
    return any(
        order.intent.contract_id == contract_id
        and (order.broker_order_id is None or order.lacks_trades)
        for order in book.live_orders()
    )


def _is_past(book: Book, number: int) -> bool:
    """Say whether an order was over before anybody guarded the account, and left nothing."""
    since_us = book.external.guarding_since_utc_us
    held = book.venue_orders.get(number)
    if held is not None and held.row.status.is_live:
        return False
    trades = tuple(counted_trades(book, number))
    return all(
        trade.created_utc_us < since_us and not book.position(trade.contract_id).quantity
        for trade in trades
    )


# -- it is not ours ------------------------------------------------------------------------------


def _found(work: Workbench, number: int, contract_id: str) -> Iterator[Flattening]:
    """Say that an order is of somebody else, and what follows from what it did."""
    book, record = work.book, work.book.external
    record.foreign[number] = None
    if len(record.foreign) > FOREIGN_KEPT:
        del record.foreign[next(iter(record.foreign))]
    row_found(work, number)
    trades = tuple(counted_trades(book, number))
    if not trades or _is_past(book, number):
        return
    held = book.venue_orders.get(number)
    tag = None if held is None else held.row.custom_tag
    what = f"order {number} ({tag_words(book, tag)}) {bought(trades)} that Backstop did not ask for"
    if _is_firm_s(book, number, trades):
        firm_liquidated(work)
        work.alert(
            Severity.CRITICAL,
            AlertCode.FIRM_LIQUIDATION,
            f"{book.symbol_of(contract_id)}: {what} on an account that may not trade any more: the "
            f"firm closes it. {position_words(book, contract_id)}",
        )
        return
    if is_settlement(work, contract_id, trades):
        tell_settled(work, contract_id, what)
        return
    if not book.policy.is_drop_copy:
        yield from _frozen(work, contract_id, what)


def _traded_again(work: Workbench, trade: BrokerTrade) -> Iterator[Flattening]:
    """Freeze again when an order that is known as somebody else's goes on after a resume."""
    if trade.voided or work.book.policy.is_drop_copy or _is_frozen(work.book, trade.contract_id):
        return
    if _is_firm_s(work.book, trade.broker_order_id, (trade,)):
        return
    if is_settlement(work, trade.contract_id, (trade,)):
        return
    what = f"order {trade.broker_order_id}, known not to be Backstop's, {bought((trade,))} more"
    yield from _frozen(work, trade.contract_id, what)


def _adjusted(work: Workbench, contract_id: str, unexplained: int) -> Iterator[Flattening]:
    what = f"two fresh reads of the account show {unexplained:+d} that no trade explains"
    if is_settlement(work, contract_id):
        tell_settled(work, contract_id, what)
        return
    if not work.book.policy.is_drop_copy:
        yield from _frozen(work, contract_id, what)
        return
    symbol = work.book.symbol_of(contract_id)
    work.alert(
        Severity.CRITICAL,
        AlertCode.EXTERNAL_POSITION,
        f"{symbol}: {what}. {position_words(work.book, contract_id)} It counts and is protected "
        "like all that the bot holds.",
    )


def _frozen(work: Workbench, contract_id: str, what: str) -> Iterator[Flattening]:
    """Freeze entries, tell a person, and hand on what the policy wants."""
    book = work.book
    known = _is_frozen(book, contract_id)
    _latch(work, _cause(book, contract_id))
    symbol = book.symbol_of(contract_id)
    work.alert(
        Severity.WARNING if known else Severity.CRITICAL,
        AlertCode.EXTERNAL_POSITION,
        f"{symbol}: {what}. {position_words(book, contract_id)} Entries are frozen until a person "
        f"resumes with a name and a reason. {act_words(book, contract_id)}",
    )
    work.warn(Tag.CRITICAL_SYSTEM, "external_position", contract_id=contract_id, message=what)
    policy = book.policy.external_position_policy
    if policy is ExternalPositionPolicy.FLATTEN and book.position(contract_id).quantity:
        yield Flattening(contract_id=contract_id, cause=f"external position: {what}")


def _latch(work: Workbench, cause: str) -> None:
    latch = Latch(kind=LatchKind.EXTERNAL, cause=cause, operator=MACHINE, utc_us=work.utc_us)
    latched(work, latch)


def _cause(book: Book, contract_id: str) -> str:
    """Return the cause of the freeze: the same for everything in one contract."""
    return f"{book.symbol_of(contract_id)} was traded by somebody else ({contract_id})"


def _is_frozen(book: Book, contract_id: str) -> bool:
    cause = _cause(book, contract_id)
    return any(it.kind is LatchKind.EXTERNAL and it.cause == cause for it in book.latches)


def _is_firm_s(book: Book, number: int, trades: tuple[BrokerTrade, ...]) -> bool:
    """Say whether ``trades`` are how a firm closes a position on an account that it locked."""
    held = book.venue_orders.get(number)
    named = held is not None and bool(held.row.custom_tag)
    locked = book.account is not None and not book.account.can_trade
    moved = sum(trade.side.sign * trade.quantity for trade in trades)
    before = book.position(trades[0].contract_id).quantity - moved
    return locked and not named and before * moved < 0
