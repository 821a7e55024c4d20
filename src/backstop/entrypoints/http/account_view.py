"""Where the account stands against its own rules, for status pages."""

from msgspec import Struct

from backstop.core.account_rules.limits import AccountLimits, minis_text
from backstop.core.account_rules.standing import (
    FloorOrigin,
    position_tenths,
    ranges_of,
    standing,
)
from backstop.core.book import Book
from backstop.domain.numbers import money
from backstop.domain.utc import utc_text


class FloorView(Struct, frozen=True, kw_only=True):
    """The balance at which the account is lost, in dollars, and how that is known.

    ``remaining`` is null while the balance is not known.
    """

    floor: str
    origin: FloorOrigin
    high_close: str | None
    remaining: str | None


class LimitChangeView(Struct, frozen=True, kw_only=True):
    """A limit that was changed while the guard ran."""

    limit: str
    value: str
    operator: str
    reason: str
    since: str


class AccountView(Struct, frozen=True, kw_only=True):
    """The account and its rules, in dollars and minis; null for what is not limited, or not known.

    ``day`` is realised, open and costs together; ``open`` is at the prices that are on record, and
    ``unpriced`` names what is held without one. ``position`` is the worst that could be held, a
    micro being a tenth. ``locked`` says why the day is over, ``cool_down_s`` for how long entries
    still wait.
    """

    trade_date: str | None
    balance: str | None
    equity: str | None
    realised: str
    open: str
    day: str
    unpriced: tuple[str, ...]
    daily_loss_limit: str | None
    daily_loss_remaining: str | None
    trailing_loss_limit: str | None
    floor: FloorView | None
    position: str
    max_position: str | None
    locked: str | None
    firm_liquidated: bool
    losing_stops_in_a_row: int
    cool_down_s: int | None
    changed_limits: tuple[LimitChangeView, ...]


def account_view(book: Book, *, now_ns: int) -> AccountView:
    """Return where the account stands."""
    limits, record = book.account_limits or AccountLimits(), book.account_rules
    now = standing(book, limits)
    today = book.trade_date
    cooling = now_ns < record.cool_until_ns
    return AccountView(
        trade_date=today or None,
        balance=_dollars(now.balance_micros),
        equity=_dollars(now.equity_micros),
        realised=f"{money(now.realised_micros):f}",
        open=f"{money(now.open_micros):f}",
        day=f"{money(now.day_micros):f}",
        unpriced=tuple(book.symbol_of(it) for it in now.unpriced),
        daily_loss_limit=_dollars(limits.daily_loss_micros),
        daily_loss_remaining=_dollars(now.day_left_micros),
        trailing_loss_limit=_dollars(limits.trailing_loss_micros),
        floor=None
        if now.floor is None
        else FloorView(
            floor=f"{money(now.floor.micros):f}",
            origin=now.floor.origin,
            high_close=_dollars(now.floor.high_close_micros),
            remaining=_dollars(now.floor_left_micros),
        ),
        position=minis_text(position_tenths(ranges_of(book), book)),
        max_position=None
        if limits.max_position_tenths is None
        else minis_text(limits.max_position_tenths),
        locked=record.lock_cause if today and record.locked_on == today else None,
        firm_liquidated=bool(today) and record.firm_closed_on == today,
        losing_stops_in_a_row=record.stops_in_a_row,
        cool_down_s=(record.cool_until_ns - now_ns) // 1_000_000_000 + 1 if cooling else None,
        changed_limits=_changes(book),
    )


def _changes(book: Book) -> tuple[LimitChangeView, ...]:
    settings = book.policy.account_limits or AccountLimits()
    return tuple(
        LimitChangeView(
            limit=str(name),
            value=minis_text(change.value)
            if name.member == "max_position_tenths"
            else f"{money(change.value):f}",
            operator=change.operator,
            reason=change.reason,
            since=utc_text(change.utc_us),
        )
        for name, change in book.account_rules.changes.items()
        if getattr(settings, name.member) == change.setting
    )


def _dollars(amount_micros: int | None) -> str | None:
    return None if amount_micros is None else f"{money(amount_micros):f}"
