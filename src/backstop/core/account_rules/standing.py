"""Where the account stands: what the day brought, what may still be lost, where its floor is."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from backstop.core.account_rules.bookkeeping import open_micros
from backstop.core.account_rules.limits import TENTHS, AccountLimits
from backstop.core.account_rules.record import AccountRecord
from backstop.core.book import Book
from backstop.core.fillable import contracts_in_reach, reach_of
from backstop.core.instrument_table import CONTRACTS
from backstop.domain.quote import Mark

LARGEST_UNITS = {
    profile.family: max(it.units for it in CONTRACTS.values() if it.family == profile.family)
    for profile in CONTRACTS.values()
}
"""Units of the mini of each family; a contract with fewer of them is a micro."""

CONTRACT_TENTHS = {
    profile.symbol: profile.units * TENTHS // LARGEST_UNITS[profile.family]
    for profile in CONTRACTS.values()
}


class Range(Struct, frozen=True, kw_only=True):
    """The lowest and the highest position of a contract that pending orders can lead to."""

    low: int = 0
    high: int = 0


class FloorOrigin(StrEnum):
    """How the floor of the trailing loss is known."""

    OPERATOR = "OPERATOR"  # ACCOUNT_HIGH_CLOSE, and the closes that were seen since
    TRADES = "TRADES"  # every trade of the account adds up to its balance
    ASSUMED = "ASSUMED"  # nobody can say, so it is the highest that it can be


class Floor(Struct, frozen=True, kw_only=True):
    """The balance below which the account is lost, and how that is known."""

    micros: int
    origin: FloorOrigin
    high_close_micros: int | None


class Standing(Struct, frozen=True, kw_only=True):
    """The account at one moment; millionths of a dollar, None for what nobody can say.

    Attributes:
        realised_micros: of the day, costs taken off.
        open_micros: of what is held, at the prices that are known.
        unpriced: contracts that are held and have no price.
        balance_micros: reckoned: at the beginning of the day, and the trades since.
        floor: of the trailing loss; None: the account has none.
    """

    realised_micros: int
    open_micros: int
    unpriced: tuple[str, ...]
    balance_micros: int | None
    floor: Floor | None
    limits: AccountLimits

    @property
    def day_micros(self) -> int:
        """What the day has brought so far: realised, open and costs."""
        return self.realised_micros + self.open_micros

    @property
    def equity_micros(self) -> int | None:
        """The balance with what is open."""
        return None if self.balance_micros is None else self.balance_micros + self.open_micros

    @property
    def day_left_micros(self) -> int | None:
        """What may still be lost today; None: the day has no limit."""
        limit = self.limits.daily_loss_micros
        return None if limit is None else limit + self.day_micros

    @property
    def floor_left_micros(self) -> int | None:
        """What may still be lost before the floor; None: there is none, or nobody can say."""
        if self.floor is None or self.equity_micros is None:
            return None
        return self.equity_micros - self.floor.micros


def floor_of(book: Book, limits: AccountLimits) -> Floor | None:
    """Return the floor: so far below the best close, and never above the starting balance."""
    micros = _floor_micros(book.account_rules, limits)
    if micros is None:
        return None
    high, stated = _high_close_micros(book.account_rules, limits), limits.high_close_micros
    if high is None:
        return Floor(micros=micros, origin=FloorOrigin.ASSUMED, high_close_micros=None)
    origin = FloorOrigin.TRADES if stated is None else FloorOrigin.OPERATOR
    return Floor(micros=micros, origin=origin, high_close_micros=high)


def _floor_micros(record: AccountRecord, limits: AccountLimits) -> int | None:
    trailing, starting = limits.trailing_loss_micros, limits.starting_balance_micros
    if trailing is None or starting is None:
        return None
    high = _high_close_micros(record, limits)
    return starting if high is None else min(high - trailing, starting)


def _high_close_micros(record: AccountRecord, limits: AccountLimits) -> int | None:
    """Return the best balance that a day ended with; None: nobody can say."""
    stated, seen = limits.high_close_micros, record.high_close_micros
    if stated is None and not record.history_complete:
        return None
    return max(limits.starting_balance_micros or 0, stated or 0, seen or 0)


def least_left_micros(book: Book, limits: AccountLimits, open_micros: int) -> int | None:
    """Return what may still be lost before any limit of what a ``Standing`` says.

    None: there is no limit, or nobody can say where the account stands.
    """
    record = book.account_rules
    day, floor = record.day, _floor_micros(record, limits)
    net, left = day.gross_micros - day.costs_micros + open_micros, limits.daily_loss_micros
    if left is not None:
        left += net
    if floor is None or record.opening_micros is None:
        return left
    above = record.opening_micros + net - floor
    return above if left is None else min(left, above)


def standing(book: Book, limits: AccountLimits, marks: Iterable[Mark] | None = None) -> Standing:
    """Return where the account stands at ``marks``; None: at the prices that are on record."""
    prices: dict[str, Decimal]
    if marks is None:
        prices = {name: priced.price for name, priced in book.account_rules.prices.items()}
    else:
        prices = {mark.contract_id: mark.price for mark in marks}
    total, unpriced = 0, []
    for view in book.positions.values():
        brought = open_micros(book, view.contract_id, prices.get(view.contract_id))
        if brought is None:
            unpriced.append(view.contract_id)
        else:
            total += brought
    return standing_with(book, limits, open_micros=total, unpriced=tuple(unpriced))


def standing_with(
    book: Book, limits: AccountLimits, *, open_micros: int, unpriced: tuple[str, ...]
) -> Standing:
    """Return where the account stands with what is open, wherever that was summed."""
    record = book.account_rules
    opening, realised_micros = record.opening_micros, record.day.net_micros
    return Standing(
        realised_micros=realised_micros,
        open_micros=open_micros,
        unpriced=unpriced,
        balance_micros=None if opening is None else opening + realised_micros,
        floor=floor_of(book, limits),
        limits=limits,
    )


def history_wanted(book: Book) -> bool:
    """Say whether the floor depends on a history of the account that has not been read."""
    limits, record = book.account_limits, book.account_rules
    if limits is None or limits.trailing_loss_micros is None:
        return False
    if limits.high_close_micros is not None:
        return False
    return record.history_due or not record.history_complete


def tenths_of(symbol: str) -> int:
    """Return how many tenths of a mini one contract counts for; an unknown root is a mini."""
    return CONTRACT_TENTHS.get(symbol, TENTHS)


def position_tenths(ranges: Mapping[str, Range], book: Book) -> int:
    """Return what all contracts could come to at the worst, in tenths of a mini.

    Each contract counts by its larger side, whatever the others do.
    """
    return sum(
        max(abs(it.low), abs(it.high)) * tenths_of(book.symbol_of(contract_id))
        for contract_id, it in ranges.items()
    )


def ranges_of(book: Book) -> dict[str, Range]:
    """Return the range of every contract that is held or could be."""
    return {contract_id: range_of(book, contract_id) for contract_id in contracts_in_reach(book)}


def range_of(book: Book, contract_id: str) -> Range:
    """Return the range of one contract."""
    least, most = reach_of(book, contract_id)
    return Range(low=least, high=most)
