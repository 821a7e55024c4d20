"""Which prices of positions are worth a record: those that change what the account may still do."""

from backstop.core.account_rules.limits import AccountLimits
from backstop.core.account_rules.standing import Standing, standing
from backstop.core.book import Book
from backstop.core.guardrails import stale_after_ns
from backstop.core.market_hours import is_busy
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.domain.quote import Mark

RENEW_NS = 5 * SECOND_NS
"""A price that moved is recorded anew this often, however little it moved."""

SHARE = 50
"""And at once when it moves what is left of a limit by this part of the limit."""


def is_fresh(book: Book, mark: Mark, utc_us: int) -> bool:
    """Say whether a price is young enough to decide upon in its market at ``utc_us``."""
    busy = is_busy(book.hours, book.symbol_of(mark.contract_id), utc_us)
    return mark.age_ms <= stale_after_ns(book.policy, busy=busy) // MILLISECOND_NS


def held_marks(book: Book, marks: tuple[Mark, ...], *, utc_us: int) -> tuple[Mark, ...]:
    """Return the fresh prices of what is held; none while no limit depends on them."""
    limits = book.account_limits
    if limits is None or not limits.bounds_losses:
        return ()
    return tuple(
        mark
        for mark in marks
        if book.position(mark.contract_id).quantity and is_fresh(book, mark, utc_us)
    )


def is_price_news(book: Book, marks: tuple[Mark, ...], *, now_ns: int) -> bool:
    """Say whether ``marks``, of what is held, tell something that the book should know."""
    limits, prices = book.account_limits, book.account_rules.prices
    if limits is None or not marks:
        return False
    moved = [
        it
        for it in marks
        if it.contract_id not in prices or prices[it.contract_id].price != it.price
    ]
    if not moved:
        return False
    if any(_is_old(book, mark, now_ns) for mark in moved):
        return True
    before, now = standing(book, limits), standing(book, limits, marks)
    return _matters(limits, before, now)


def _is_old(book: Book, mark: Mark, now_ns: int) -> bool:
    held = book.account_rules.prices.get(mark.contract_id)
    return held is None or now_ns - held.as_of_ns >= RENEW_NS


def _matters(limits: AccountLimits, before: Standing, now: Standing) -> bool:
    least = min(it for it in (limits.daily_loss_micros, limits.trailing_loss_micros) if it)
    if abs(now.open_micros - before.open_micros) * SHARE >= least:
        return True
    return any(
        left is not None and left <= 0 for left in (now.day_left_micros, now.floor_left_micros)
    )
