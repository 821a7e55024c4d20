"""Keeps the sums of an account up to date, so that a decision walks neither orders nor positions.

What a contract contributes is worked out by ``contract_part`` alone, whether it is one that changed
or all of them are summed from scratch; and it follows from the book, the prices and the limits. So
it makes no difference when, or for what, the sums were used before.
"""

from collections.abc import Iterable
from decimal import Decimal

from backstop.core.account_rules.bookkeeping import open_micros
from backstop.core.account_rules.limits import AccountLimits
from backstop.core.account_rules.risk import contract_pending_micros
from backstop.core.account_rules.standing import range_of, tenths_of
from backstop.core.account_rules.sums import AccountSums, ContractPart
from backstop.core.book import Book
from backstop.core.fillable import contracts_in_reach
from backstop.core.freshness import stale_after_ns
from backstop.core.market_hours import is_busy, same_busyness
from backstop.core.policy import MILLISECOND_NS
from backstop.domain.quote import Mark


def contract_part(
    book: Book, contract_id: str, limits: AccountLimits, price: Decimal | None
) -> ContractPart:
    """Return what one contract contributes; ``price`` in points, None when none is fresh."""
    reach = range_of(book, contract_id)
    return ContractPart(
        low=reach.low,
        high=reach.high,
        tenths=max(abs(reach.low), abs(reach.high)) * tenths_of(book.symbol_of(contract_id)),
        open_micros=open_micros(book, contract_id, price),
        pending_micros=contract_pending_micros(book, contract_id, limits, price),
    )


def sums_now(
    book: Book, limits: AccountLimits, marks: tuple[Mark, ...], utc_us: int
) -> AccountSums:
    """Return the sums that hold now, at those of ``marks`` that are fresh; to be read only."""
    sums = book.account_sums
    if not _holds(sums, book, limits, utc_us):
        return _begun(book, limits, marks, utc_us)
    if book.changed.version != sums.seen or marks is not sums.marks:
        changed = book.changed.since(sums.seen)
        if changed is None:
            return _begun(book, limits, marks, utc_us)
        made_for, sums.made_for = sums.made_for, None  # what interrupts this has them begun anew
        for contract_id in changed:
            # Its instrument may be another.
            sums.price_age_ms.pop(contract_id, None)
        contracts = dict.fromkeys(changed)
        contracts |= _take_prices(sums, book, marks, utc_us, anew=contracts)
        sums.seen = book.changed.version
        for contract_id in contracts:
            sums.put(contract_id, _part(sums, book, limits, contract_id))
        sums.made_for = made_for
    return sums


def _holds(sums: AccountSums, book: Book, limits: AccountLimits, utc_us: int) -> bool:
    """Say whether everything but contracts and prices is as when the sums were made."""
    if sums.made_for is None:
        return False
    policy, limits_then, plan = sums.made_for
    return (
        policy is book.policy
        and (limits_then is limits or limits_then == limits)
        and plan is book.hours.plan
        and sums.since_utc_us <= utc_us < sums.until_utc_us
    )


def _begun(book: Book, limits: AccountLimits, marks: tuple[Mark, ...], utc_us: int) -> AccountSums:
    """Make every part from scratch."""
    since_utc_us, until_utc_us = same_busyness(book.hours, utc_us)
    sums = AccountSums(
        made_for=(book.policy, limits, book.hours.plan),
        since_utc_us=since_utc_us,
        until_utc_us=until_utc_us,
        seen=book.changed.version,
    )
    _take_prices(sums, book, marks, utc_us, anew=())
    for contract_id in dict.fromkeys((*book.positions, *contracts_in_reach(book))):
        sums.put(contract_id, _part(sums, book, limits, contract_id))
    book.account_sums = sums
    return sums


def _part(sums: AccountSums, book: Book, limits: AccountLimits, contract_id: str) -> ContractPart:
    return contract_part(book, contract_id, limits, sums.prices.get(contract_id))


def _take_prices(
    sums: AccountSums,
    book: Book,
    marks: tuple[Mark, ...],
    utc_us: int,
    *,
    anew: Iterable[str],
) -> dict[str, None]:
    """Take over the prices that are fresh; return the contracts whose price is another now.

    ``anew`` are contracts whose price is looked at again also when ``marks`` are those of before.
    """
    known, looked_at = sums.marks_of, []
    changed: dict[str, None] = {}
    if marks is not sums.marks:
        looked_at = [mark for mark in marks if known.get(mark.contract_id) is not mark]
        sums.marks = marks
        known.update((mark.contract_id, mark) for mark in looked_at)
        if len(known) != len(marks):
            named = {mark.contract_id for mark in marks}
            changed = dict.fromkeys(it for it in known if it not in named)
            for contract_id in changed:
                del known[contract_id]
                sums.prices.pop(contract_id, None)
    looked_at += [mark for it in anew if (mark := known.get(it)) is not None]
    for mark in looked_at:
        contract_id = mark.contract_id
        fresh = mark.age_ms <= _age_limit_ms(sums, book, contract_id, utc_us)
        price = mark.price if fresh else None
        if price != sums.prices.get(contract_id):
            changed[contract_id] = None
            if price is None:
                del sums.prices[contract_id]
            else:
                sums.prices[contract_id] = price
    return changed


def _age_limit_ms(sums: AccountSums, book: Book, contract_id: str, utc_us: int) -> int:
    limit_ms = sums.price_age_ms.get(contract_id)
    if limit_ms is None:
        busy = is_busy(book.hours, book.symbol_of(contract_id), utc_us)
        limit_ms = stale_after_ns(book.policy, busy=busy) // MILLISECOND_NS
        sums.price_age_ms[contract_id] = limit_ms
    return limit_ms
