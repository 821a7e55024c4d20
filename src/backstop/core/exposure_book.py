"""All exposures with their running sums, so that one more order is judged without a walk.

The book keeps, per family and side, the sum of what all others add and hedge. An update and a
check cost the same at 4 and at 500 families while the order is smaller than the least room that
any family has for sure. Otherwise the sums are brought to what has moved, one step per family for
each that did, and each family is looked at once.
"""

from collections.abc import Callable, Iterable

from backstop.core.correlated_risk import (
    Direction,
    correlated_micros,
    worst_contribution,
    worst_contributions,
)
from backstop.core.correlation import CorrelationView
from backstop.core.exposure import ExposureLimits, FamilyExposure, LimitName, dollars
from backstop.core.exposure_drift import Drift
from backstop.core.exposure_entry import (
    Change,
    Entry,
    Violation,
    change_by,
    only_reduces,
    reducible_units,
    worse,
)
from backstop.core.instrument_table import ES_FAMILY, NQ_FAMILY, contract_profile
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.order import Side
from backstop.errors import DomainError

ES_NQ_FAMILIES = (ES_FAMILY, NQ_FAMILY)


class ExposureBook:
    """Every family's exposure, and the decision whether one more order fits the limits."""

    def __init__(
        self,
        limits: ExposureLimits,
        correlations: CorrelationView,
        exposures: Iterable[FamilyExposure] = (),
    ) -> None:
        self._limits = limits
        self._correlations = correlations
        self._entries: dict[str, Entry] = {}
        self._unpriced: set[str] = set()
        self._long_micros = 0
        self._short_micros = 0
        self._gross_micros = 0
        # What moved since the sums were brought up to date; the least room that any bet had left
        # under L1 then, or when it was made since; and whether nothing happened after that.
        self._drift = Drift()
        self._least_room_micros = limits.correlation_micros
        self._is_settled = False
        self._room_micros: int | None = None  # of any limit, at least; None: not worked out
        self._rebuild(exposures)

    @property
    def exposures(self) -> tuple[FamilyExposure, ...]:
        """Every family's exposure, in the order in which they came."""
        return tuple(entry.exposure for entry in self._entries.values())

    def exposure_of(self, family: str) -> FamilyExposure:
        """Return the exposure of a family that the book holds."""
        return self._entries[family].exposure

    def update(self, exposure: FamilyExposure) -> None:
        """Put ``exposure`` in the place of what the book holds of its family."""
        self.update_all((exposure,))

    def update_all(self, exposures: Iterable[FamilyExposure]) -> None:
        """Do so with several."""
        for exposure in exposures:
            self._put(exposure)

    def check(self, *, symbol: str, side: Side, quantity: int) -> tuple[Denial, ...]:
        """Return why an order is refused, one denial per limit; nothing if it may go.

        What only reduces its family passes, and so does what leaves a limit as it stands, also
        one that the market has already broken.

        Args:
            symbol: the exchange's root; its family must be in the book, with a price.
            side: side of the order.
            quantity: contracts.

        Raises:
            DomainError: the quantity is not positive.
        """
        if quantity < 1:
            raise DomainError(f"An order of {quantity} contracts of {symbol} cannot be judged.")
        contract = contract_profile(symbol)
        entry = self._entries.get(contract.family)
        if entry is None or entry.exposure.unit_risk_micros is None or self._unpriced:
            return self._unvalued(entry, symbol, side, quantity)
        exposure = entry.exposure
        units = quantity * contract.units
        if only_reduces(exposure, side, units) or self._is_small(entry, side, units):
            return ()
        change = change_by(exposure, side, units)
        denials = []
        for limit, violation_of in LIMIT_CHECKS.items():
            violation = violation_of(self, change)
            if violation is not None:
                largest = self._largest_passing(entry, side, quantity, contract.units, violation_of)
                denials.append(_denial(limit, violation, largest))
        return tuple(denials)

    def _is_small(self, entry: Entry, side: Side, units: int) -> bool:
        """Say whether an order is too small for any limit to be reached by it.

        To make a bet larger that is there already adds at most its own risk to any value: no weight
        is above one, and of a hedge half counts. A bet that is not there yet brings what others add
        to it, so it is looked at in full.
        """
        own = entry.long.own_micros if side.sign > 0 else entry.short.own_micros
        if not own:
            return False
        risk_micros = units * (entry.exposure.unit_risk_micros or 0)
        if risk_micros <= self._least_room():
            return True
        if self._is_settled:
            return False
        self._settle()
        return risk_micros <= self._least_room()

    # -- the four limits: one function each ------------------------------------------------------

    def correlation_violation(self, change: Change) -> Violation | None:
        """L1: every family with its same bets, less its hedges."""
        self._settle()
        limit = self._limits.correlation_micros
        entry = self._entries[change.family]
        worst: Violation | None = None
        for row, own in (
            (entry.long, max(0, change.high_micros)),
            (entry.short, max(0, -change.low_micros)),
        ):
            if own > row.own_micros:
                value = correlated_micros(own, row.adds, row.hedges)
                if value > limit:
                    worst = worse(worst, change.family, row.value_micros, value, limit)
        growth = max(change.high_micros - entry.high_micros, entry.low_micros - change.low_micros)
        # No weight is above one, so no other family's sum grows by more than the order itself.
        if growth <= self._least_room_micros:
            return worst
        for family, weight in entry.weights.items():
            for direction, row in self._entries[family].rows:
                if row.own_micros == 0:
                    continue
                before = worst_contribution(weight, direction, entry.low_micros, entry.high_micros)
                after = worst_contribution(weight, direction, change.low_micros, change.high_micros)
                if after != before:
                    value = row.value_if_shifted(before, after)
                    if value > limit:
                        worst = worse(worst, family, row.value_micros, value, limit)
        return worst

    def es_nq_violation(self, change: Change) -> Violation | None:
        """L2: the formula of L1 over ES and NQ alone, the larger of the two."""
        if change.family not in ES_NQ_FAMILIES:
            return None
        limit = self._limits.es_nq_combined_micros
        after = self._es_nq_values(change)
        if all(value <= limit for value in after.values()):
            return None
        before = self._es_nq_values(None)
        worst: Violation | None = None
        for key, value in after.items():
            worst = worse(worst, key[0], before[key], value, limit)
        return worst

    def directional_violation(self, change: Change) -> Violation | None:
        """L3: all longs, all shorts."""
        limit = self._limits.directional_micros
        entry = self._entries[change.family]
        longs = self._long_micros - entry.long.own_micros + max(0, change.high_micros)
        shorts = self._short_micros - entry.short.own_micros + max(0, -change.low_micros)
        if longs <= limit and shorts <= limit:
            return None
        worst = worse(None, Direction.LONG, self._long_micros, longs, limit)
        return worse(worst, Direction.SHORT, self._short_micros, shorts, limit)

    def gross_violation(self, change: Change) -> Violation | None:
        """L4: every family at its larger side, whatever that side is."""
        entry = self._entries[change.family]
        size = max(0, change.high_micros, -change.low_micros)
        gross = self._gross_micros - entry.gross_micros + size
        return worse(None, "ALL", self._gross_micros, gross, self._limits.gross_micros)

    def largest(self) -> dict[LimitName, Violation]:
        """Return the largest value of each limit as it stands, whether it is above it or not."""
        self._settle()
        correlated = [
            (row.value_micros, family)
            for family, entry in self._entries.items()
            for _, row in entry.rows
        ]
        es_nq = [(value, family) for (family, _), value in self._es_nq_values(None).items()]
        sides = [(self._long_micros, "LONG"), (self._short_micros, "SHORT")]
        limits = self._limits
        return {
            name: Violation(subject=subject, value_micros=value, limit_micros=limit)
            for name, (value, subject), limit in (
                (
                    LimitName.CORRELATION,
                    max(correlated, default=(0, "")),
                    limits.correlation_micros,
                ),
                (LimitName.ES_NQ_COMBINED, max(es_nq), limits.es_nq_combined_micros),
                (LimitName.DIRECTIONAL, max(sides), limits.directional_micros),
                (LimitName.GROSS, (self._gross_micros, "ALL"), limits.gross_micros),
            )
        }

    # -- keeping the sums ------------------------------------------------------------------------

    def _rebuild(self, exposures: Iterable[FamilyExposure]) -> None:
        self._entries = {}
        self._unpriced = set()
        self._long_micros = self._short_micros = self._gross_micros = 0
        self._drift.forget()
        for exposure in exposures:
            self._put(exposure)
            self._tell_all()
        self._settle()

    def _put(self, exposure: FamilyExposure) -> None:
        """Take ``exposure``; what it does to all others is told to their sums when that matters."""
        entry = self._entries.get(exposure.family) or self._enter(exposure)
        before = (entry.low_micros, entry.high_micros)
        long_before, short_before = entry.long.own_micros, entry.short.own_micros
        self._long_micros -= long_before
        self._short_micros -= short_before
        self._gross_micros -= entry.gross_micros
        entry.take(exposure)
        self._long_micros += entry.long.own_micros
        self._short_micros += entry.short.own_micros
        self._gross_micros += entry.gross_micros
        self._unpriced.discard(exposure.family)
        if exposure.unit_risk_micros is None and not exposure.is_flat:
            self._unpriced.add(exposure.family)
        now = (entry.low_micros, entry.high_micros)
        if now == before:
            return
        self._drift.note(exposure.family, before, now)
        self._is_settled, self._room_micros = False, None
        for own_before, row in ((long_before, entry.long), (short_before, entry.short)):
            if row.own_micros and not own_before:
                # A new bet has what all others add against it from the start.
                room_micros = self._limits.correlation_micros - row.value_micros
                self._least_room_micros = min(self._least_room_micros, room_micros)

    def _enter(self, exposure: FamilyExposure) -> Entry:
        entry = Entry(exposure)
        for family, other in self._entries.items():
            weight = self._correlations.weight(exposure.family, family)
            entry.weights[family] = weight
            other.weights[exposure.family] = weight
            # The same range that the sums of all others hold of it.
            held = self._drift.told.get(family, (other.low_micros, other.high_micros))
            to_long, to_short = worst_contributions(weight, *held)
            entry.long.shift(0, to_long)
            entry.short.shift(0, to_short)
        self._entries[exposure.family] = entry
        return entry

    def _tell_all(self) -> None:
        """Bring the sums of all to the ranges of risk as they are now."""
        for family, (low, high) in self._drift.told.items():
            moved = self._entries[family]
            for name, weight in moved.weights.items():
                other = self._entries[name]
                long_before, short_before = worst_contributions(weight, low, high)
                to_long, to_short = worst_contributions(weight, moved.low_micros, moved.high_micros)
                other.long.shift(long_before, to_long)
                other.short.shift(short_before, to_short)
        self._drift.forget()

    def _settle(self) -> None:
        """Know the least room exactly."""
        if self._is_settled:
            return
        self._tell_all()
        limit = self._limits.correlation_micros
        self._least_room_micros = min(
            (
                limit - row.value_micros
                for entry in self._entries.values()
                for row in (entry.long, entry.short)
                if row.own_micros
            ),
            default=limit,
        )
        self._is_settled, self._room_micros = True, None

    def _least_room(self) -> int:
        """Return the room that is left under every limit for sure: no less is left.

        No weight is above one, so no sum of L1 moved by more than all ranges of risk together.
        """
        if self._room_micros is None:
            limits = self._limits
            self._room_micros = min(
                self._least_room_micros - self._drift.micros,
                limits.es_nq_combined_micros - max(self._es_nq_values(None).values()),
                limits.directional_micros - max(self._long_micros, self._short_micros),
                limits.gross_micros - self._gross_micros,
            )
        return self._room_micros

    def _es_nq_values(self, change: Change | None) -> dict[tuple[str, Direction], int]:
        """Return L2's value of each family and side, with ``change`` in place of its family."""
        ranges = {}
        for family in ES_NQ_FAMILIES:
            entry = self._entries.get(family)
            if change is not None and family == change.family:
                ranges[family] = (change.low_micros, change.high_micros)
            elif entry is not None:
                ranges[family] = (entry.low_micros, entry.high_micros)
            else:
                ranges[family] = (0, 0)
        weight = self._correlations.weight(*ES_NQ_FAMILIES)
        values = {}
        for family, other in (ES_NQ_FAMILIES, ES_NQ_FAMILIES[::-1]):
            low, high = ranges[family]
            for direction, own in ((Direction.LONG, high), (Direction.SHORT, -low)):
                effect = worst_contribution(weight, direction, *ranges[other])
                values[family, direction] = correlated_micros(
                    max(0, own), max(0, effect), max(0, -effect)
                )
        return values

    # -- refusing --------------------------------------------------------------------------------

    def _largest_passing(
        self,
        entry: Entry,
        side: Side,
        quantity: int,
        units: int,
        violation_of: "LimitCheck",
    ) -> int:
        """Return the largest quantity below ``quantity`` that passes; what passes is a prefix."""
        passes, fails = 0, quantity
        while fails - passes > 1:
            middle = (passes + fails) // 2
            change = change_by(entry.exposure, side, middle * units)
            if (
                only_reduces(entry.exposure, side, middle * units)
                or violation_of(self, change) is None
            ):
                passes = middle
            else:
                fails = middle
        return passes

    def _unvalued(
        self, entry: Entry | None, symbol: str, side: Side, quantity: int
    ) -> tuple[Denial, ...]:
        """Refuse what would add to risk that cannot be put into dollars."""
        contract = contract_profile(symbol)
        reducing = 0
        if entry is not None:
            reducing = reducible_units(entry.exposure, side) // contract.units
            if quantity <= reducing:
                return ()
        priced = entry is not None and entry.exposure.unit_risk_micros is not None
        families = sorted(self._unpriced if priced else self._unpriced | {contract.family})
        return (
            Denial(
                code=DenialCode.CORRELATION_EXPOSURE,
                message=f"The risk of {', '.join(families)} is not known because there is no "
                "usable price, so no exposure may be added. Reducing orders pass.",
                limit=dollars(self._limits.correlation_micros),
                max_quantity=reducing,
            ),
        )


LimitCheck = Callable[[ExposureBook, Change], Violation | None]

LIMIT_CHECKS: dict[LimitName, LimitCheck] = {
    LimitName.CORRELATION: ExposureBook.correlation_violation,
    LimitName.ES_NQ_COMBINED: ExposureBook.es_nq_violation,
    LimitName.DIRECTIONAL: ExposureBook.directional_violation,
    LimitName.GROSS: ExposureBook.gross_violation,
}
"""The one function that enforces each limit; the self-test and every decision go through it."""


_WHAT = {
    LimitName.CORRELATION: "{} with everything that moves with it",
    LimitName.ES_NQ_COMBINED: "ES and NQ taken together",
    LimitName.DIRECTIONAL: "all {} risk",
    LimitName.GROSS: "all risk, long and short,",
}


def _denial(limit: LimitName, violation: Violation, max_quantity: int) -> Denial:
    value, allowed = dollars(violation.value_micros), dollars(violation.limit_micros)
    return Denial(
        code=limit.denial_code,
        message=f"{_WHAT[limit].format(violation.subject)} would come to {value} risk dollars; "
        f"{allowed} are allowed, and the largest quantity that passes is {max_quantity}",
        limit=allowed,
        value=value,
        max_quantity=max_quantity,
    )
