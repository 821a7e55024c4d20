"""Refuses what the account's own rules do not permit: size, losses, a day that is over.

Exits never come here; ``pre_trade`` lets them pass before.
"""

from collections.abc import Iterable

from backstop.core.account_rules.limits import AccountLimits, minis_text
from backstop.core.account_rules.record import AccountRecord
from backstop.core.account_rules.risk import (
    contract_pending_micros,
    order_risk_micros,
    working_risk_micros,
)
from backstop.core.account_rules.standing import (
    FloorOrigin,
    Standing,
    least_left_micros,
    standing_with,
    tenths_of,
)
from backstop.core.account_rules.standing_sums import sums_now
from backstop.core.account_rules.sums import AccountSums
from backstop.core.book import Book
from backstop.core.tracked_order import TrackedOrder
from backstop.core.trading_state import Condition
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.numbers import money
from backstop.domain.order import OrderIntent
from backstop.domain.quote import Mark

HOW_TO_STATE_THE_FLOOR = (
    "set ACCOUNT_HIGH_CLOSE to the account's best end-of-day balance, as the firm shows it"
)


def account_denials(
    book: Book,
    intent: OrderIntent,
    entry_ticks: int | None,
    marks: tuple[Mark, ...],
    *,
    now_ns: int,
    utc_us: int,
    prices_known: bool = True,
    instead_of: TrackedOrder | None = None,
) -> tuple[Denial, ...]:
    """Return the rules of the account that an entry would break.

    Args:
        book: what is held, pending and lost so far.
        intent: the entry.
        entry_ticks: where it is expected to fill.
        marks: prices of what is held, with their ages.
        now_ns: monotonic time.
        utc_us: our time of day, which says how fresh a market has to be.
        prices_known: False: nobody can say where it would fill or be stopped out.
        instead_of: an entry of its side and contract that it replaces. Where it could lose no
            more than that one can, which is at the venue, no limit on losses keeps it.
    """
    limits = book.account_limits
    if limits is None:
        return ()
    blocks = _standing_blocks(book, now_ns)
    if intent.quantity < 1:
        return blocks
    sums = sums_now(book, limits, marks, utc_us)
    counted = 0 if instead_of is None else instead_of.open_quantity
    blocks += _position(sums, intent, limits, counted=counted)
    if not prices_known:
        return blocks
    return (*blocks, *_losses(book, intent, entry_ticks, limits, sums, instead_of=instead_of))


def _standing_blocks(book: Book, now_ns: int) -> tuple[Denial, ...]:
    conditions = book.account_rules.conditions(book.trade_date, now_ns)
    return tuple(_blocked(book.account_rules, conditions, now_ns)) if conditions else ()


def _blocked(
    record: AccountRecord, conditions: tuple[Condition, ...], now_ns: int
) -> Iterable[Denial]:
    if Condition.DAILY_LOSS_LOCK in conditions:
        yield Denial(
            code=DenialCode.DAILY_LOSS_LOCKED,
            message=f"{record.lock_cause}: no entry before 17:00 Chicago; exits pass",
            max_quantity=0,
        )
    if Condition.FIRM_LIQUIDATED in conditions:
        yield Denial(
            code=DenialCode.FIRM_LIQUIDATED,
            message="the firm has closed positions of this account by itself: no entry before "
            "17:00 Chicago; exits pass",
            max_quantity=0,
        )
    if Condition.COOL_DOWN in conditions:
        left_s = (record.cool_until_ns - now_ns) // 1_000_000_000 + 1
        yield Denial(
            code=DenialCode.COOL_DOWN,
            message=f"{record.stops_in_a_row} losing stops in a row: entries wait for {left_s} s "
            "more; exits pass",
            value=str(record.stops_in_a_row),
            max_quantity=0,
        )


# -- how much is held ------------------------------------------------------------------------------


def _position(
    sums: AccountSums, intent: OrderIntent, limits: AccountLimits, *, counted: int
) -> tuple[Denial, ...]:
    """Judge the size; ``counted`` contracts of the order are in the sums already."""
    limit = limits.max_position_tenths
    if limit is None:
        return ()
    mine, weight = sums.part(intent.contract_id), tenths_of(intent.symbol)
    others = sums.tenths - mine.tenths
    # Of an order that turns a position, what it opens on its own side is judged.
    before = (mine.high if intent.side.sign > 0 else -mine.low) - counted
    after = before + intent.quantity
    room = max(0, limit - others) // weight
    if after <= room:
        return ()
    reached = others + after * weight
    return (
        Denial(
            code=DenialCode.POSITION_TOO_LARGE,
            message=f"with everything that could fill, {minis_text(reached)} minis would be held "
            f"(a micro is a tenth); {minis_text(limit)} are allowed",
            value=minis_text(reached),
            limit=minis_text(limit),
            max_quantity=max(0, room - before),
        ),
    )


# -- how much may still be lost --------------------------------------------------------------------


def _losses(
    book: Book,
    intent: OrderIntent,
    entry_ticks: int | None,
    limits: AccountLimits,
    sums: AccountSums,
    *,
    instead_of: TrackedOrder | None = None,
) -> tuple[Denial, ...]:
    if not limits.bounds_losses:
        return ()
    price = sums.prices.get(intent.contract_id)
    if price is None and entry_ticks is not None:
        price = book.instruments[intent.contract_id].price(entry_ticks)
    each = order_risk_micros(book, intent, entry_ticks, limits, price=price)
    if instead_of is not None and instead_of.is_shown and each is not None:
        before = working_risk_micros(book, instead_of, limits, price=price)
        if before is not None and each <= before:
            return ()
    opening_micros = book.account_rules.opening_micros
    if sums.unpriced or (limits.trailing_loss_micros is not None and opening_micros is None):
        # In the order of the book, whenever it was that each of them lost its price.
        what = ", ".join(book.symbol_of(it) for it in book.positions if it in sums.unpriced)
        return (
            Denial(
                code=DenialCode.STALE_VALUATION,
                message=f"what {what} would bring is not known: no fresh price"
                if what
                else "the balance of the account is not known yet",
                max_quantity=0,
            ),
        )
    pending = _pending(book, sums, intent.contract_id, limits, but=instead_of)
    if pending is None or each is None:
        return (
            Denial(
                code=DenialCode.STALE_VALUATION,
                message=f"what {intent.symbol} could lose is not known: no price",
                max_quantity=0,
            ),
        )
    lost = pending + each * intent.quantity
    least_left = least_left_micros(book, limits, sums.open_micros)
    if least_left is None or lost < least_left:
        return ()
    now = standing_with(book, limits, open_micros=sums.open_micros, unpriced=())
    return tuple(
        _too_much(code, left, why, pending=pending, each=each, quantity=intent.quantity)
        for code, left, why in _buffers(now)
        if lost >= left
    )


def _pending(
    book: Book,
    sums: AccountSums,
    contract_id: str,
    limits: AccountLimits,
    *,
    but: TrackedOrder | None,
) -> int | None:
    """Return what is still to be lost in all that is held or could fill; None: nobody can say.

    ``but`` is an order of the contract that does not count.
    """
    if but is None:
        return None if sums.unbounded else sums.pending_micros
    without = contract_pending_micros(
        book, contract_id, limits, sums.prices.get(contract_id), but=but
    )
    if without is None or any(it != contract_id for it in sums.unbounded):
        return None
    return sums.pending_micros - (sums.part(contract_id).pending_micros or 0) + without


def _buffers(now: Standing) -> Iterable[tuple[DenialCode, int, str]]:
    if now.day_left_micros is not None:
        yield DenialCode.DAILY_LOSS_BUFFER, now.day_left_micros, "may still be lost today"
    if now.floor is not None and now.floor_left_micros is not None:
        why = f"lie above the floor of {money(now.floor.micros):f}"
        if now.floor.origin is FloorOrigin.ASSUMED:
            why += f", which is the strictest there can be: {HOW_TO_STATE_THE_FLOOR}"
        yield DenialCode.MAX_LOSS_BUFFER, now.floor_left_micros, why


def _too_much(
    code: DenialCode, left: int, why: str, *, pending: int, each: int, quantity: int
) -> Denial:
    value, limit = f"{money(pending + each * quantity):f}", f"{money(left):f}"
    # The largest that stays below what is left; what it is worth exactly is too much already.
    most = max(0, -(-(left - pending) // each) - 1) if each else 0
    return Denial(
        code=code,
        message=f"stopped out with slippage and fees this order could lose "
        f"{money(each * quantity):f} dollars, and all that is open {money(pending):f}; "
        f"{limit} {why}",
        value=value,
        limit=limit,
        max_quantity=min(most, quantity - 1),
    )
