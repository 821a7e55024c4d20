"""An order smaller than any room that is left is looked at in full where it begins a new bet."""

from decimal import Decimal

from backstop.app.exposure_limits import exposure_limits
from backstop.core.correlation import CorrelationView
from backstop.core.exposure import FamilyExposure
from backstop.core.exposure_book import ExposureBook
from backstop.domain.denial import DenialCode
from backstop.domain.order import Side

LIMITS = exposure_limits(
    risk_budget=Decimal(10_000),
    max_correlation_exposure=Decimal("0.7"),
    es_nq_max_combined_exposure=Decimal(5000),
    max_directional_share=Decimal(1),
    max_gross_exposure=Decimal(100_000),
)


def test_a_small_bet_that_moves_with_two_others_is_refused() -> None:
    held = [
        FamilyExposure(
            family=family,
            unit_risk_micros=6_000_000_000,
            filled_units=1,
            net_if_buys_fill_units=1,
            net_if_sells_fill_units=1,
        )
        for family in ("CL", "GC")
    ]
    new = FamilyExposure(family="6E", unit_risk_micros=500_000_000)
    pairs = {("CL", "GC"): 0.0, ("6E", "CL"): 1.0, ("6E", "GC"): 1.0}
    book = ExposureBook(LIMITS, CorrelationView.measured(pairs), [*held, new])

    (denial,) = book.check(symbol="M6E", side=Side.BUY, quantity=1)

    assert denial.code is DenialCode.CORRELATION_EXPOSURE
    assert (denial.value, denial.limit, denial.max_quantity) == ("12500.00", "7000.00", 0)


def one_long(family: str, dollars: int, *, contracts: int = 1) -> FamilyExposure:
    return FamilyExposure(
        family=family,
        unit_risk_micros=dollars * 1_000_000,
        filled_units=contracts,
        net_if_buys_fill_units=contracts,
        net_if_sells_fill_units=contracts,
    )


def refused(book: ExposureBook, symbol: str) -> list[str | None]:
    """Return what one more contract would come to, where it is refused."""
    return [it.value for it in book.check(symbol=symbol, side=Side.BUY, quantity=1)]


def test_a_price_that_moved_leaves_another_bet_less_room() -> None:
    view = CorrelationView.measured({("6E", "GC"): 1.0})
    book = ExposureBook(LIMITS, view, [one_long("6E", 1000), one_long("GC", 1000)])
    assert refused(book, "M6E") == []

    book.update(one_long("GC", 5500))

    assert refused(book, "M6E") == ["7500.00"]
    book.update(one_long("GC", 1000))
    assert refused(book, "M6E") == []


def test_a_bet_that_began_since_has_what_all_others_add_against_it() -> None:
    pairs = {("CL", "GC"): 0.0, ("6E", "CL"): 1.0, ("6E", "GC"): 1.0}
    held = [one_long("CL", 3000), one_long("GC", 3000), one_long("6E", 600, contracts=0)]
    book = ExposureBook(LIMITS, CorrelationView.measured(pairs), held)

    book.update(one_long("6E", 600))

    assert refused(book, "M6E") == ["7200.00"]


def test_a_family_that_comes_after_a_move_counts_that_move_once() -> None:
    view = CorrelationView.measured({("6E", "GC"): 1.0})
    book = ExposureBook(LIMITS, view, [one_long("GC", 1000)])

    book.update(one_long("GC", 6000))
    book.update(one_long("6E", 500, contracts=0))

    assert refused(book, "M6E") == []
    book.update(one_long("6E", 1100, contracts=0))
    assert refused(book, "M6E") == ["7100.00"]
