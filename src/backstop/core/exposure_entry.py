"""One family in the exposure book: its range of risk, and what all others do to its bets."""

from msgspec import Struct

from backstop.core.correlated_risk import Direction, correlated_micros
from backstop.core.correlation import PairWeight
from backstop.core.exposure import FamilyExposure
from backstop.domain.order import Side


class Violation(Struct, frozen=True, kw_only=True):
    """One limit that an order would pass or push further: where, how much, how much is allowed."""

    subject: str
    value_micros: int
    limit_micros: int


class Row:
    """One family betting on one side: its size and what all others do to it."""

    __slots__ = ("adds", "hedges", "own_micros")

    def __init__(self) -> None:
        self.own_micros = 0
        self.adds = 0
        self.hedges = 0

    @property
    def value_micros(self) -> int:
        """What L1 compares with its limit."""
        return correlated_micros(self.own_micros, self.adds, self.hedges)

    def shift(self, before: int, after: int) -> None:
        """Replace one other family's contribution ``before`` by ``after``."""
        self.adds += max(after, 0) - max(before, 0)
        self.hedges += max(-after, 0) - max(-before, 0)

    def value_if_shifted(self, before: int, after: int) -> int:
        """Return the value that ``shift`` would lead to."""
        adds = self.adds + max(after, 0) - max(before, 0)
        hedges = self.hedges + max(-after, 0) - max(-before, 0)
        return correlated_micros(self.own_micros, adds, hedges)


class Entry:
    """One family in the book."""

    __slots__ = ("exposure", "high_micros", "long", "low_micros", "short", "weights")

    def __init__(self, exposure: FamilyExposure) -> None:
        self.long = Row()
        self.short = Row()
        self.weights: dict[str, PairWeight] = {}
        self.low_micros = 0
        self.high_micros = 0
        self.exposure = exposure

    def take(self, exposure: FamilyExposure) -> None:
        """Move to ``exposure``; the other families' rows are not touched."""
        risk = exposure.unit_risk_micros or 0
        self.exposure = exposure
        self.low_micros = exposure.net_if_sells_fill_units * risk
        self.high_micros = exposure.net_if_buys_fill_units * risk
        self.long.own_micros = max(0, self.high_micros)
        self.short.own_micros = max(0, -self.low_micros)

    @property
    def rows(self) -> tuple[tuple[Direction, Row], tuple[Direction, Row]]:
        """Both bets with their sides."""
        return (Direction.LONG, self.long), (Direction.SHORT, self.short)

    @property
    def gross_micros(self) -> int:
        """The larger side: a family ends on one of them."""
        return max(self.long.own_micros, self.short.own_micros)


class Change(Struct, frozen=True, kw_only=True):
    """One order as the limits see it: the range of one family's risk if it were accepted."""

    family: str
    low_micros: int
    high_micros: int


def reducible_units(exposure: FamilyExposure, side: Side) -> int:
    """Return how many units an order on ``side`` can take before it could open or flip.

    The exits that are pending already are taken off: the range holds them.
    """
    if side.sign > 0:
        return max(0, -exposure.net_if_buys_fill_units)
    return max(0, exposure.net_if_sells_fill_units)


def only_reduces(exposure: FamilyExposure, side: Side, units: int) -> bool:
    """Return whether ``units`` on ``side`` can do nothing but shrink the position."""
    return units <= reducible_units(exposure, side)


def change_by(exposure: FamilyExposure, side: Side, units: int) -> Change:
    """Return the range of risk that ``units`` more on ``side`` would lead to."""
    risk = exposure.unit_risk_micros or 0
    low, high = exposure.net_if_sells_fill_units, exposure.net_if_buys_fill_units
    if side.sign > 0:
        high += units
    else:
        low -= units
    return Change(family=exposure.family, low_micros=low * risk, high_micros=high * risk)


def worse(
    worst: Violation | None, subject: str, before_micros: int, value_micros: int, limit_micros: int
) -> Violation | None:
    """Return the larger violation; a value that does not grow is none, however large it is."""
    if value_micros <= limit_micros or value_micros <= before_micros:
        return worst
    if worst is not None and worst.value_micros >= value_micros:
        return worst
    return Violation(subject=subject, value_micros=value_micros, limit_micros=limit_micros)
