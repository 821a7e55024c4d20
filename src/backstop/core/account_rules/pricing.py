"""Which prices of positions are worth a record: those that change what the account may still do."""

from backstop.core.account_rules.standing import FloorOrigin, standing
from backstop.core.book import Book
from backstop.core.freshness import stale_after_ns
from backstop.core.market_hours import is_busy
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.trading_state import LatchKind
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
    """Return the fresh prices of what is held."""
    return tuple(
        mark
        for mark in marks
        if book.position(mark.contract_id).quantity and is_fresh(book, mark, utc_us)
    )


def reaches_a_limit(book: Book, marks: tuple[Mark, ...]) -> bool:
    """Say whether at ``marks``, of what is held, a limit is reached that was not acted upon."""
    limits = book.account_limits
    if limits is None or not marks or not book.recovered or not book.trade_date:
        return False
    now = standing(book, limits, marks)
    locked = book.account_rules.locked_on == book.trade_date
    latched = any(latch.kind is LatchKind.DRAWDOWN for latch in book.latches)
    assumed = now.floor is not None and now.floor.origin is FloorOrigin.ASSUMED
    return (not locked and _is_used_up(now.day_left_micros)) or (
        not latched and not assumed and _is_used_up(now.floor_left_micros)
    )


def _is_used_up(left_micros: int | None) -> bool:
    return left_micros is not None and left_micros <= 0


def is_price_news(book: Book, marks: tuple[Mark, ...], *, now_ns: int) -> bool:
    """Say whether ``marks``, of what is held, tell something that the book should know.

    Without a limit on losses nothing hangs on them but what people and bots are shown.
    """
    limits, prices = book.account_limits, book.account_rules.prices
    moved = [
        mark
        for mark in marks
        if (held := prices.get(mark.contract_id)) is None or held.price != mark.price
    ]
    if not moved:
        return False
    if any(_is_due(book, mark, now_ns) for mark in moved):
        return True
    if limits is None or not limits.bounds_losses:
        return False
    change = standing(book, limits, marks).open_micros - standing(book, limits).open_micros
    least = min(it for it in (limits.daily_loss_micros, limits.trailing_loss_micros) if it)
    return abs(change) * SHARE >= least


def _is_due(book: Book, mark: Mark, now_ns: int) -> bool:
    held = book.account_rules.prices.get(mark.contract_id)
    return held is None or now_ns - held.as_of_ns >= RENEW_NS
