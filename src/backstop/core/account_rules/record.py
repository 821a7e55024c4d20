"""What is remembered of an account's money: the day so far, its floor, its locks."""

from dataclasses import dataclass, field
from decimal import Decimal

from msgspec import Struct

from backstop.core.account_rules.limits import LimitChange, LimitName
from backstop.core.noted import Noted
from backstop.core.realised import RealisedResult
from backstop.core.trading_state import Condition

STOPS_KEPT = 64
"""Losing stops that are remembered so that none counts twice; their trades come within seconds."""


class Basis(Struct, frozen=True, kw_only=True):
    """What a position cost: signed contracts, and signed millionths of a dollar at entry prices.

    ``venue_average`` is the average price, in points, that the venue stated last.
    """

    quantity: int = 0
    cost_micros: int = 0
    venue_average: Decimal | None = None


class Priced(Struct, frozen=True, kw_only=True):
    """The last price of a contract that is on record, in points, and since when; monotonic."""

    price: Decimal
    as_of_ns: int


@dataclass(slots=True)
class AccountRecord:
    """The money of one account.

    Attributes:
        day_date: the trading day that is counted, an ISO date; empty before one was told.
        day_from_utc_us: the venue's time at which the trading day began; 0: not known yet.
        day_ends_utc_us: our time at which it ends; 0: not known.
        day_is_measured: ``day_from_utc_us`` took the venue's own clock into account.
        day: what the trades of the day brought.
        day_let_go: the part of it whose trades have left the book.
        opening_micros: the balance at the beginning of the day; None: not known yet.
        is_quiet: nothing of the account moved since the last complete read.
        balance_is_new: the venue told the balance after the last trade.
        bases: what each contract's position cost.
        prices: of contracts that are held.
        high_close_micros: the best end-of-day balance that was seen; None: none was.
        history_complete: the account's whole history was seen, so that this is the best of all.
        history_due: days went by that nobody saw; the history is to be read again.
        locked_on: the trading day in which the daily loss limit was reached.
        lock_cause: in words.
        firm_closed_on: the trading day in which the firm closed positions by itself.
        stops: orders of losing stops that were counted.
        stops_in_a_row: losing stops since the last winning trade.
        cool_until_utc_us: until when entries wait after them, for people and across restarts.
        cool_until_ns: the same in monotonic time of this process.
        changes: limits that were changed while it traded.
    """

    day_date: str = ""
    day_from_utc_us: int = 0
    day_ends_utc_us: int = 0
    day_is_measured: bool = False
    day: RealisedResult = field(default_factory=RealisedResult)
    day_let_go: RealisedResult = field(default_factory=RealisedResult)
    opening_micros: int | None = None
    is_quiet: bool = False
    balance_is_new: bool = False
    bases: Noted[Basis] = field(default_factory=Noted)
    prices: dict[str, Priced] = field(default_factory=dict)
    high_close_micros: int | None = None
    history_complete: bool = False
    history_due: bool = False
    locked_on: str = ""
    lock_cause: str = ""
    firm_closed_on: str = ""
    stops: dict[int, None] = field(default_factory=dict)
    stops_in_a_row: int = 0
    cool_until_utc_us: int = 0
    cool_until_ns: int = 0
    changes: dict[LimitName, LimitChange] = field(default_factory=dict)

    def conditions(self, trade_date: str, now_ns: int) -> tuple[Condition, ...]:
        """Return what of it blocks entries at ``now_ns``, in the trading day ``trade_date``."""
        if not (self.locked_on or self.firm_closed_on) and now_ns >= self.cool_until_ns:
            return ()
        found: list[Condition] = []
        if self.locked_on and self.locked_on == trade_date:
            found.append(Condition.DAILY_LOSS_LOCK)
        if self.firm_closed_on and self.firm_closed_on == trade_date:
            found.append(Condition.FIRM_LIQUIDATED)
        if now_ns < self.cool_until_ns:
            found.append(Condition.COOL_DOWN)
        return tuple(found)

    def entry_barred(self, trade_date: str) -> str | None:
        """Return why no entry may stay at the venue; None while one may."""
        if self.locked_on and self.locked_on == trade_date:
            return self.lock_cause
        if self.firm_closed_on and self.firm_closed_on == trade_date:
            return "the firm has closed the account for today"
        return None

    def restart(self, *, now_ns: int, utc_us: int) -> None:
        """Begin anew in another process: its monotonic time is another, and prices are old."""
        self.prices.clear()
        self.is_quiet = False
        left_us = max(0, self.cool_until_utc_us - utc_us)
        self.cool_until_ns = now_ns + left_us * 1000 if left_us else 0
