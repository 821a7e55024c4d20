"""Contract months that have ended: what the venue refuses for them, and how it settles them.

A venue takes no orders for such a month, so a close of it cannot work: it is tried a few times,
then a person is told, and it is tried ever more rarely. What the venue does itself, it does
as a person would by hand: with an order that bears no tag, or with no order at all.
"""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from backstop.core.book import Book
from backstop.core.clock_readings import now_us
from backstop.core.liquidation import DOUBLINGS_MAX, CloseAttempt, Liquidation
from backstop.core.policy import SECOND_NS
from backstop.core.step import Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerOrder, BrokerStatus, BrokerTrade
from backstop.domain.commands import Severity

TRIES_MAX = 3
"""Closes of an ended month in a row: one refusal may be a mistake, three are the venue's word."""

AGAIN_NS = 600 * SECOND_NS
AGAIN_MAX_NS = 6 * 3600 * SECOND_NS
"""Pauses after them, doubled each time: should the venue have been mistaken, it gets closed yet."""

TOGETHER_US = 60_000_000
"""Orders that expired so shortly before a trade, or after it, ended for the same reason."""


def is_given_up(attempt: CloseAttempt) -> bool:
    """Say whether the venue has said often enough that it takes no orders for the month."""
    return attempt.is_refused_for_good and attempt.times >= TRIES_MAX


def rests_until_ns(attempt: CloseAttempt) -> int:
    """Return before when a close is not tried again; 0: the month is not known to have ended."""
    if not is_given_up(attempt):
        return 0
    doublings = min(attempt.times - TRIES_MAX, DOUBLINGS_MAX)
    return attempt.sent_ns + min(AGAIN_NS << doublings, AGAIN_MAX_NS)


def try_again(work: Workbench, contract_id: str | None) -> None:
    """Let what was given up be tried anew for somebody who asks; None: in every contract."""
    closes = work.book.closes
    for name, attempt in closes.items():
        if contract_id in {None, name} and is_given_up(attempt):
            closes[name] = replace(attempt, times=1, told_ended=False)


def tell_ended(
    work: Workbench, run: Liquidation, contract_id: str, position: int
) -> CloseAttempt | None:
    """Tell a person, once, that a position is held in a month for which no orders are taken.

    Returns the newest request to close it; None while there was none.
    """
    attempt = work.book.closes.get(contract_id)
    if attempt is None or attempt.told_ended or not is_given_up(attempt) or not position:
        return attempt
    attempt = replace(attempt, told_ended=True)
    work.book.closes[contract_id] = attempt
    work.alert(
        Severity.CRITICAL,
        AlertCode.CONTRACT_EXPIRED,
        f"{position:+d} {contract_id} cannot be closed: the venue takes no orders for this "
        "contract month (ContractNotActive). It is tried only every ten minutes, and ever more "
        "rarely. The venue settles it, or it is closed on the trading platform; "
        f"{run.liquidation_id} ends once two reads show it gone.",
    )
    return attempt


def is_settlement(work: Workbench, contract_id: str, trades: Sequence[BrokerTrade] = ()) -> bool:
    """Say whether the venue settled a position because its contract month has ended.

    Args:
        work: the step in which it is asked.
        contract_id: of the position.
        trades: of one order that nobody here asked for; none: the position went without any.
    """
    book = work.book
    rows = (book.venue_orders.get(trade.broker_order_id) for trade in trades)
    tagged = any(held is not None and held.row.custom_tag for held in rows)
    if tagged or book.position(contract_id).quantity:
        return False
    return _is_over(work, contract_id, trades) or _expired_with(book, contract_id, trades)


def tell_settled(work: Workbench, contract_id: str, what: str) -> None:
    """Tell a person that the venue closed a position; nothing is frozen, for nobody traded."""
    work.alert(
        Severity.WARNING,
        AlertCode.CONTRACT_EXPIRED,
        f"{contract_id}: {what}. The contract month has ended: the venue settled the position, and "
        "it is flat now. Trade the next month.",
    )


def _is_over(work: Workbench, contract_id: str, trades: Sequence[BrokerTrade]) -> bool:
    """Say whether the venue takes no orders for the month, or the calendar says it is over."""
    book = work.book
    instrument, attempt = book.instruments.get(contract_id), book.closes.get(contract_id)
    refused = attempt is not None and attempt.is_refused_for_good
    if refused or (instrument is not None and not instrument.active):
        return True
    end = book.hours.ends.get(contract_id)
    if end is None or end.ends_utc_us is None:
        return False
    return min((it.created_utc_us for it in trades), default=now_us(work)) >= end.ends_utc_us


def _expired_with(book: Book, contract_id: str, trades: Sequence[BrokerTrade]) -> bool:
    """Say whether orders of the contract expired at the time of ``trades``, or at all without any.

    No order of this venue has a time in force: it expires with its month.
    """
    expired = [
        row
        for row in _rows(book)
        if row.contract_id == contract_id and row.status is BrokerStatus.EXPIRED
    ]
    if not trades:
        return bool(expired)
    at_us = trades[0].created_utc_us
    return any(abs(row.updated_utc_us - at_us) <= TOGETHER_US for row in expired)


def _rows(book: Book) -> Iterator[BrokerOrder]:
    for held in book.venue_orders.values():
        yield held.row
    for order in book.orders.values():
        if order.venue is not None:
            yield order.venue
