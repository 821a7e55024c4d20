"""The exact worst case, the exact largest quantity, and the book that keeps running sums."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from backstop.core.correlated_risk import Direction, worst_contribution, worst_contributions
from backstop.core.correlation import (
    Correlation,
    CorrelationOrigin,
    CorrelationView,
    PairWeight,
)
from backstop.core.correlation_protection import check_order, evaluate
from backstop.core.exposure import ExposureLimits, FamilyExposure, LimitName
from backstop.core.exposure_book import ExposureBook
from backstop.core.instrument_table import PPM, contract_profile
from backstop.domain.order import Side

FAMILIES = ("ES", "NQ", "CL")
PAIRS = (("ES", "NQ"), ("ES", "CL"), ("NQ", "CL"))
ROOTS = {"ES": "MES", "NQ": "MNQ", "CL": "MCL"}

correlations_of_pairs = st.builds(
    Correlation,
    origin=st.sampled_from(CorrelationOrigin),
    value=st.none() | st.integers(-1000, 1000).map(lambda thousandths: thousandths / 1000),
)
views = st.builds(
    lambda values: CorrelationView(dict(zip(PAIRS, values, strict=True))),
    st.tuples(*[correlations_of_pairs] * 3),
)


@st.composite
def exposures_of(draw: st.DrawFn, family: str, widest: int = 3) -> FamilyExposure:
    filled = draw(st.integers(-4, 4))
    return FamilyExposure(
        family=family,
        unit_risk_micros=draw(st.integers(1, 7)),
        filled_units=filled,
        net_if_buys_fill_units=filled + draw(st.integers(0, widest)),
        net_if_sells_fill_units=filled - draw(st.integers(0, widest)),
    )


books = st.tuples(*[exposures_of(family) for family in FAMILIES])
limits_of = st.builds(
    ExposureLimits,
    correlation_micros=st.integers(1, 60),
    es_nq_combined_micros=st.integers(1, 60),
    directional_micros=st.integers(1, 60),
    gross_micros=st.integers(1, 90),
)


def literal_effect(view: CorrelationView, one: str, other: str, sides: int) -> Fraction:
    """What ``other`` does to ``one`` per unit of its size, read from the words of the rule.

    ``sides`` is +1 when both bet the same way and -1 when not.
    """
    known = view.correlation(one, other)
    floor = Fraction(85, 100) if {one, other} == {"ES", "NQ"} else Fraction(0)
    if known.origin is not CorrelationOrigin.MEASURED or known.value is None:
        return Fraction(1) if sides > 0 else Fraction(0)
    measured = Fraction(repr(known.value))
    if sides * measured > 0:
        return max(abs(measured), floor)
    if sides > 0 and floor:
        return floor
    return -abs(measured) / 2


def literal_sum(risks: dict[str, int], one: str, view: CorrelationView) -> Fraction:
    """L1 of ``one`` for positions that are certain."""
    own = risks[one]
    if own == 0:
        return Fraction(0)
    adds, hedges = Fraction(0), Fraction(0)
    for other, risk in risks.items():
        if other == one or risk == 0:
            continue
        effect = literal_effect(view, one, other, 1 if own * risk > 0 else -1) * abs(risk)
        adds += max(effect, Fraction(0))
        hedges += max(-effect, Fraction(0))
    return abs(own) + adds - min(hedges, Fraction(abs(own), 2))


def literal_readings(
    risks: dict[str, int], view: CorrelationView
) -> dict[tuple[LimitName, str], Fraction]:
    """Every limit's value for positions that are certain."""
    two = {family: risks[family] for family in ("ES", "NQ")}
    return {
        **{(LimitName.CORRELATION, one): literal_sum(risks, one, view) for one in risks},
        **{(LimitName.ES_NQ_COMBINED, one): literal_sum(two, one, view) for one in two},
        (LimitName.DIRECTIONAL, "LONG"): Fraction(sum(max(0, risk) for risk in risks.values())),
        (LimitName.DIRECTIONAL, "SHORT"): Fraction(sum(max(0, -risk) for risk in risks.values())),
        (LimitName.GROSS, "ALL"): Fraction(sum(abs(risk) for risk in risks.values())),
    }


def outcomes(exposures: Sequence[FamilyExposure]) -> list[dict[str, int]]:
    """The risk of each family for every subset of fills."""
    ranges = [
        range(exposure.net_if_sells_fill_units, exposure.net_if_buys_fill_units + 1)
        for exposure in exposures
    ]
    return [
        {
            exposure.family: units * (exposure.unit_risk_micros or 0)
            for exposure, units in zip(exposures, nets, strict=True)
        }
        for nets in product(*ranges)
    ]


@settings(deadline=None, max_examples=150)
@given(books, views, limits_of)
def test_every_reading_is_the_largest_over_all_subsets_of_fills(
    exposures: tuple[FamilyExposure, ...], view: CorrelationView, limits: ExposureLimits
) -> None:
    """The bound is safe, no outcome exceeds it, and tight, one outcome reaches it."""
    literal = [literal_readings(risks, view) for risks in outcomes(exposures)]
    for reading in evaluate(exposures, view, limits).readings:
        worst = max(values[reading.limit, reading.subject] for values in literal)
        assert reading.value_micros == -(-worst.numerator // worst.denominator), reading


def with_order(
    exposures: Sequence[FamilyExposure], symbol: str, side: Side, quantity: int
) -> tuple[FamilyExposure, ...]:
    contract = contract_profile(symbol)
    units = quantity * contract.units
    return tuple(
        exposure
        if exposure.family != contract.family
        else FamilyExposure(
            family=exposure.family,
            unit_risk_micros=exposure.unit_risk_micros,
            filled_units=exposure.filled_units,
            net_if_buys_fill_units=exposure.net_if_buys_fill_units + units * (side is Side.BUY),
            net_if_sells_fill_units=exposure.net_if_sells_fill_units - units * (side is Side.SELL),
        )
        for exposure in exposures
    )


def bet_values(
    exposures: Sequence[FamilyExposure], view: CorrelationView, limits: ExposureLimits
) -> dict[tuple[LimitName, str, str], int]:
    """Every limit's value; L1 and L2 apart for the long and the short bet of each family."""
    values: dict[tuple[LimitName, str, str], int] = {
        (reading.limit, reading.subject, ""): reading.value_micros
        for reading in evaluate(exposures, view, limits).readings
        if reading.limit in {LimitName.DIRECTIONAL, LimitName.GROSS}
    }
    for position, exposure in enumerate(exposures):
        low, high = exposure.net_if_sells_fill_units, exposure.net_if_buys_fill_units
        for name, bet_low, bet_high in (
            ("long", max(0, low), max(0, high)),
            ("short", min(0, low), min(0, high)),
        ):
            seen = list(exposures)
            seen[position] = FamilyExposure(
                family=exposure.family,
                unit_risk_micros=exposure.unit_risk_micros,
                filled_units=bet_low,
                net_if_buys_fill_units=bet_high,
                net_if_sells_fill_units=bet_low,
            )
            for reading in evaluate(seen, view, limits).readings:
                if reading.subject == exposure.family:
                    values[reading.limit, reading.subject, name] = reading.value_micros
    return values


def broken_limits(
    before: Sequence[FamilyExposure],
    after: Sequence[FamilyExposure],
    view: CorrelationView,
    limits: ExposureLimits,
) -> set[LimitName]:
    """The limits that ``after`` passes, and passes by more than ``before``, by full evaluation."""
    allowed = {
        reading.limit: reading.limit_micros for reading in evaluate(after, view, limits).readings
    }
    old = bet_values(before, view, limits)
    return {
        key[0]
        for key, value in bet_values(after, view, limits).items()
        if value > allowed[key[0]] and value > old[key]
    }


def only_reduces(exposure: FamilyExposure, side: Side, units: int) -> bool:
    if side is Side.BUY:
        return exposure.filled_units < 0 and exposure.net_if_buys_fill_units + units <= 0
    return exposure.filled_units > 0 and exposure.net_if_sells_fill_units - units >= 0


@settings(deadline=None, max_examples=150)
@given(
    books,
    views,
    limits_of,
    st.tuples(st.sampled_from(FAMILIES), st.sampled_from(Side), st.integers(1, 9)),
)
def test_an_order_is_refused_by_exactly_the_limits_it_breaks_with_the_exact_largest_quantity(
    exposures: tuple[FamilyExposure, ...],
    view: CorrelationView,
    limits: ExposureLimits,
    order: tuple[str, Side, int],
) -> None:
    family, side, quantity = order
    symbol = ROOTS[family]
    held = exposures[FAMILIES.index(family)]
    broken_at = [
        set()
        if only_reduces(held, side, lots)
        else broken_limits(exposures, with_order(exposures, symbol, side, lots), view, limits)
        for lots in range(1, quantity + 1)
    ]
    refused = check_order(exposures, view, limits, symbol=symbol, side=side, quantity=quantity)
    codes = {denial.code: denial.max_quantity for denial in refused}
    assert codes == {
        name.denial_code: max(
            (lots for lots in range(1, quantity + 1) if name not in broken_at[lots - 1]), default=0
        )
        for name in broken_at[-1]
    }


@given(st.integers(-PPM, PPM), st.integers(-PPM, PPM), st.integers(), st.integers())
def test_both_contributions_at_once_are_those_of_each_side(
    same_ppm: int, opposite_ppm: int, one: int, other: int
) -> None:
    weight = PairWeight(same_side_ppm=same_ppm, opposite_side_ppm=opposite_ppm)
    low, high = sorted((one, other))

    assert worst_contributions(weight, low, high) == (
        worst_contribution(weight, Direction.LONG, low, high),
        worst_contribution(weight, Direction.SHORT, low, high),
    )


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.sampled_from(FAMILIES).flatmap(exposures_of), max_size=12),
    books,
    views,
    limits_of,
)
def test_running_sums_equal_a_fresh_book_after_any_updates(
    updates: list[FamilyExposure],
    start: tuple[FamilyExposure, ...],
    view: CorrelationView,
    limits: ExposureLimits,
) -> None:
    kept = ExposureBook(limits, view, start)
    latest = {exposure.family: exposure for exposure in start}
    for number, exposure in enumerate(updates):
        kept.update(exposure)
        latest[exposure.family] = exposure
        if number % 2:  # what moves is sometimes asked about before the next one does
            symbol, side = ROOTS[exposure.family], list(Side)[number // 2 % 2]
            order = {"symbol": symbol, "side": side, "quantity": 1 + number % 5}
            fresh = ExposureBook(limits, view, latest.values())
            assert kept.check(**order) == fresh.check(**order)  # type: ignore[arg-type]
    assert kept.exposures == tuple(latest.values())
    fresh = ExposureBook(limits, view, latest.values())
    for symbol, side, quantity in product(ROOTS.values(), Side, (1, 5)):
        order = {"symbol": symbol, "side": side, "quantity": quantity}
        assert kept.check(**order) == fresh.check(**order)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=60)
@given(
    views,
    limits_of,
    st.tuples(*[st.integers(1, 7)] * 3),
    st.lists(
        st.tuples(
            st.sampled_from(FAMILIES),
            st.sampled_from(Side),
            st.integers(1, 4),
            st.sampled_from(["fill", "cancel", "leave"]),
        ),
        max_size=14,
    ),
)
def test_no_interleaving_of_entries_fills_and_cancels_passes_a_limit(
    view: CorrelationView,
    limits: ExposureLimits,
    risks: tuple[int, int, int],
    story: list[tuple[str, Side, int, str]],
) -> None:
    """Sides hold whatever happens; sums with hedges hold while nobody closes a hedge."""
    book = {
        family: FamilyExposure(family=family, unit_risk_micros=risk)
        for family, risk in zip(FAMILIES, risks, strict=True)
    }
    reduced = False
    for family, side, quantity, fate in story:
        exposures = tuple(book.values())
        order = {"symbol": ROOTS[family], "side": side, "quantity": quantity}
        if check_order(exposures, view, limits, **order):  # type: ignore[arg-type]
            continue
        reduced |= only_reduces(book[family], side, quantity)
        (pending,) = with_order((book[family],), ROOTS[family], side, quantity)
        if fate == "leave":
            book[family] = pending
        elif fate == "fill":
            signed = side.sign * quantity
            old = book[family]
            book[family] = FamilyExposure(
                family=family,
                unit_risk_micros=old.unit_risk_micros,
                filled_units=old.filled_units + signed,
                net_if_buys_fill_units=old.net_if_buys_fill_units + signed,
                net_if_sells_fill_units=old.net_if_sells_fill_units + signed,
            )
        report = evaluate(tuple(book.values()), view, limits)
        for reading in report.breaches:
            assert reduced, reading
            assert reading.limit in {LimitName.CORRELATION, LimitName.ES_NQ_COMBINED}
