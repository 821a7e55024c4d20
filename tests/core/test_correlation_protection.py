"""Limits L1 to L4: the worked figures, the situations of the trade, and the self-test."""

from collections.abc import Mapping
from decimal import Decimal

import pytest

from backstop.app.exposure_limits import exposure_limits
from backstop.core.correlation import CorrelationView
from backstop.core.correlation_protection import check_order, evaluate, self_test
from backstop.core.exposure import (
    ExposureLimits,
    FamilyExposure,
    Holding,
    LimitName,
    family_exposures,
)
from backstop.core.exposure_book import LIMIT_CHECKS, ExposureBook
from backstop.core.instrument_table import CONTRACTS
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.order import Side
from backstop.errors import DomainError

PRICES = {"ES": Decimal(6000), "NQ": Decimal(21000), "RTY": Decimal(2200), "CL": Decimal(70)}
SIGMA_PPM = {"ES": 10_000, "NQ": 14_000, "RTY": 12_000, "CL": 20_000}
UNKNOWN = CorrelationView()


def the_limits(
    *, budget: str = "10000", es_nq: str = "5000", gross: str | None = None, share: str = "0.5"
) -> ExposureLimits:
    return exposure_limits(
        risk_budget=Decimal(budget),
        max_correlation_exposure=Decimal("0.7"),
        es_nq_max_combined_exposure=Decimal(es_nq),
        max_directional_share=Decimal(share),
        max_gross_exposure=None if gross is None else Decimal(gross),
    )


LIMITS = the_limits()


def book(
    filled: Mapping[str, int] | None = None,
    *,
    buys: Mapping[str, int] | None = None,
    sells: Mapping[str, int] | None = None,
    prices: Mapping[str, Decimal | None] | None = None,
) -> tuple[FamilyExposure, ...]:
    """Every root of the four families at its price, holding what is named in contracts."""
    known = {**PRICES, **(prices or {})}
    return family_exposures(
        [
            Holding(
                symbol=symbol,
                price=known[profile.family],
                point_value_micros=profile.point_value_micros or 0,
                filled=(filled or {}).get(symbol, 0),
                pending_buys=(buys or {}).get(symbol, 0),
                pending_sells=(sells or {}).get(symbol, 0),
            )
            for symbol, profile in CONTRACTS.items()
            if profile.family in known
        ],
        SIGMA_PPM,
    )


def denials(
    exposures: tuple[FamilyExposure, ...],
    symbol: str,
    quantity: int,
    *,
    side: Side = Side.BUY,
    correlations: CorrelationView = UNKNOWN,
    limits: ExposureLimits = LIMITS,
) -> tuple[Denial, ...]:
    return check_order(exposures, correlations, limits, symbol=symbol, side=side, quantity=quantity)


def codes(refused: tuple[Denial, ...]) -> set[DenialCode]:
    return {denial.code for denial in refused}


# -- worked figures ----------------------------------------------------------------------------


def test_one_es_is_ten_mes_and_three_thousand_risk_dollars() -> None:
    report = evaluate(book({"ES": 1, "NQ": 1}), UNKNOWN, LIMITS)
    risks = {family.family: family.filled_micros for family in report.families}
    assert risks["ES"] == 3_000_000_000
    assert risks["NQ"] == 5_880_000_000
    tens = evaluate(book({"MES": 10, "MNQ": 10}), UNKNOWN, LIMITS)
    assert {family.family: family.filled_micros for family in tens.families} == risks


@pytest.mark.parametrize(
    ("symbol", "quantity", "largest"),
    [
        ("ES", 1, 1),
        ("ES", 2, 1),
        ("MES", 16, 16),
        ("MES", 17, 16),
        ("NQ", 1, 0),
        ("MNQ", 8, 8),
        ("MNQ", 9, 8),
    ],
)
@pytest.mark.parametrize("side", Side)
def test_single_orders_pass_up_to_the_combined_limit(
    symbol: str, quantity: int, largest: int, side: Side
) -> None:
    refused = denials(book(), symbol, quantity, side=side)
    if quantity <= largest:
        assert refused == ()
    else:
        (only,) = refused
        assert only.code is DenialCode.ES_NQ_COMBINED_EXPOSURE
        assert only.max_quantity == largest


@pytest.mark.parametrize(
    ("correlation", "refusals"),
    [
        (0.3, set()),
        (0.85, set()),
        (0.86, {DenialCode.ES_NQ_COMBINED_EXPOSURE}),
        (1.0, {DenialCode.ES_NQ_COMBINED_EXPOSURE}),
    ],
)
def test_one_es_and_four_mnq_pass_only_while_the_sum_stays_below_five_thousand(
    correlation: float, refusals: set[DenialCode]
) -> None:
    view = CorrelationView.measured({("ES", "NQ"): correlation})
    assert codes(denials(book({"ES": 1}), "MNQ", 4, correlations=view)) == refusals


def test_the_pair_comes_to_4999_and_4902_at_the_floor() -> None:
    view = CorrelationView.measured({("ES", "NQ"): 0.5})
    report = evaluate(book({"ES": 1, "MNQ": 4}), view, LIMITS)
    combined = {
        reading.subject: reading.value_micros
        for reading in report.readings
        if reading.limit is LimitName.ES_NQ_COMBINED
    }
    assert combined == {"ES": 4_999_200_000, "NQ": 4_902_000_000}


def test_a_hedge_counts_only_when_measured() -> None:
    measured = CorrelationView.measured({("ES", "NQ"): 0.85})
    held = book({"ES": 1})
    assert denials(held, "NQ", 1, side=Side.SELL, correlations=measured) == ()
    refused = denials(held, "NQ", 1, side=Side.SELL)
    assert codes(refused) == {DenialCode.ES_NQ_COMBINED_EXPOSURE}
    assert refused[0].value == "5880.00"


def test_a_refusal_names_limit_value_and_the_largest_quantity_that_passes() -> None:
    (refused,) = denials(book(), "ES", 2)
    assert refused.code is DenialCode.ES_NQ_COMBINED_EXPOSURE
    assert (refused.value, refused.limit, refused.max_quantity) == ("6000.00", "5000.00", 1)
    assert refused.message == (
        "ES and NQ taken together would come to 6000.00 risk dollars; 5000.00 are allowed, and "
        "the largest quantity that passes is 1"
    )


# -- correlation and concentration -------------------------------------------------------------


def test_the_third_leg_of_one_bet_is_refused_until_another_is_flat() -> None:
    """Long 2 MES and 2 MNQ: 2 M2K are one too many; without the MES the same order passes."""
    view = CorrelationView.measured({("ES", "NQ"): 0.93, ("ES", "RTY"): 0.88, ("NQ", "RTY"): 0.88})
    # MES 2 = 600, MNQ 2 = 1176, one M2K = 132. NQ's sum: 1176 + 0.93 * 600 + 0.88 * 132 * q.
    limits = the_limits(budget="2700")
    both = book({"MES": 2, "MNQ": 2})
    refused = denials(both, "M2K", 2, correlations=view, limits=limits)
    assert codes(refused) == {DenialCode.CORRELATION_EXPOSURE}
    assert refused[0].max_quantity == 1
    assert denials(both, "M2K", 1, correlations=view, limits=limits) == ()
    assert denials(book({"MNQ": 2}), "M2K", 2, correlations=view, limits=limits) == ()


def test_a_hedged_pair_is_a_small_cluster_and_still_counts_in_gross() -> None:
    view = CorrelationView.measured({("ES", "NQ"): 0.93})
    held = book({"MES": -2})
    wide = the_limits(gross="1776", share="1")
    narrow = the_limits(gross="1775.99", share="1")
    assert denials(held, "MNQ", 2, correlations=view, limits=wide) == ()
    refused = denials(held, "MNQ", 2, correlations=view, limits=narrow)
    assert codes(refused) == {DenialCode.GROSS_EXPOSURE}
    assert refused[0].max_quantity == 1


def test_a_jump_of_correlation_blocks_adds_and_lets_exits_go() -> None:
    held = book({"MES": 9, "RTY": 1, "M2K": 11})
    limits = the_limits(budget="5500", gross="20000")
    low = CorrelationView.measured({("ES", "RTY"): 0.3})
    high = CorrelationView.measured({("ES", "RTY"): 0.95})
    assert evaluate(held, low, limits).breaches == ()
    assert denials(held, "MES", 1, correlations=low, limits=limits) == ()

    report = evaluate(held, high, limits)
    assert {reading.subject for reading in report.breaches} == {"ES", "RTY"}
    assert all(reading.headroom_micros < 0 for reading in report.breaches)
    refused = denials(held, "MES", 1, correlations=high, limits=limits)
    assert DenialCode.CORRELATION_EXPOSURE in codes(refused)
    assert refused[0].max_quantity == 0
    assert denials(held, "MES", 9, side=Side.SELL, correlations=high, limits=limits) == ()
    assert denials(held, "RTY", 1, side=Side.SELL, correlations=high, limits=limits) == ()


def test_a_breach_blocks_only_what_increases_it() -> None:
    """Oil that moves with nothing may be bought while the index bets are over their limit."""
    view = CorrelationView.measured(
        {("CL", "ES"): 0.0, ("CL", "NQ"): 0.0, ("CL", "RTY"): 0.0, ("ES", "RTY"): 0.95}
    )
    limits = the_limits(budget="5500", gross="20000")
    held = book({"MES": 9, "RTY": 1, "M2K": 11})
    assert evaluate(held, view, limits).breaches != ()
    assert denials(held, "MCL", 1, correlations=view, limits=limits) == ()


def test_a_perfect_hedge_takes_off_no_more_than_half() -> None:
    view = CorrelationView.measured({("CL", "RTY"): -0.9})
    report = evaluate(book({"RTY": 1, "CL": 5}), view, LIMITS)
    values = {
        reading.subject: reading.value_micros
        for reading in report.readings
        if reading.limit is LimitName.CORRELATION
    }
    assert values["RTY"] == 1_320_000_000 // 2
    assert values["CL"] == 7_000_000_000 - 9 * 1_320_000_000 // 20


def test_a_negative_correlation_does_not_carry_longs_over_the_directional_limit() -> None:
    """The sum of one side is the stress in which every correlation is +1."""
    view = CorrelationView.measured({("CL", "RTY"): -0.9})
    held = book({"CL": 6})  # 8400 long, its hedge below
    refused = denials(held, "RTY", 2, correlations=view)
    assert codes(refused) == {DenialCode.CONCENTRATION_DIRECTIONAL}
    assert (refused[0].value, refused[0].max_quantity) == ("11040.00", 1)


def test_an_unfilled_order_never_hedges() -> None:
    view = CorrelationView.measured({("ES", "NQ"): 0.85})
    held = book({"ES": 1}, sells={"ES": 1})
    # The sell of NQ is hedged by the long ES only as far as no pending sell can take it away.
    refused = denials(held, "NQ", 1, side=Side.SELL, correlations=view)
    assert DenialCode.ES_NQ_COMBINED_EXPOSURE in codes(refused)
    pending_only = book(buys={"ES": 1})
    refused = denials(pending_only, "NQ", 1, side=Side.SELL, correlations=view)
    assert DenialCode.ES_NQ_COMBINED_EXPOSURE in codes(refused)


def test_orders_on_both_sides_do_not_cancel() -> None:
    held = book(buys={"MES": 10}, sells={"MES": 10})
    assert denials(held, "MES", 6) == ()
    assert denials(held, "MES", 7)[0].max_quantity == 6
    assert denials(held, "MES", 7, side=Side.SELL)[0].max_quantity == 6
    readings = evaluate(held, UNKNOWN, LIMITS).readings
    (gross,) = (it for it in readings if it.limit is LimitName.GROSS)
    assert gross.value_micros == 3_000_000_000  # only one of the two sides can come true


def test_es_and_nq_stay_one_bet_when_they_measure_as_opposites() -> None:
    view = CorrelationView.measured({("ES", "NQ"): -0.4})
    assert codes(denials(book({"ES": 1}), "MNQ", 5, correlations=view)) == {
        DenialCode.ES_NQ_COMBINED_EXPOSURE
    }


# -- what reduces ------------------------------------------------------------------------------


@pytest.mark.parametrize("quantity", [1, 4])
def test_what_reduces_passes_though_every_limit_is_broken(quantity: int) -> None:
    tiny = the_limits(budget="1", es_nq="1")
    held = book({"ES": 4, "NQ": -4})
    assert denials(held, "ES", quantity, side=Side.SELL, limits=tiny) == ()
    assert denials(held, "MES", quantity * 10, side=Side.SELL, limits=tiny) == ()
    assert denials(held, "NQ", quantity, limits=tiny) == ()


def test_what_goes_beyond_the_position_is_judged_as_an_entry() -> None:
    held = book({"ES": 1})
    assert denials(held, "ES", 2, side=Side.SELL) == ()  # ends 1 short
    (refused,) = denials(held, "ES", 3, side=Side.SELL)
    assert refused.max_quantity == 2


def test_pending_exits_use_up_the_room_to_reduce() -> None:
    tiny = the_limits(budget="1", es_nq="1")
    held = book({"ES": 3}, sells={"ES": 2})
    assert denials(held, "ES", 1, side=Side.SELL, limits=tiny) == ()
    refused = denials(held, "ES", 2, side=Side.SELL, limits=tiny)
    assert {denial.max_quantity for denial in refused} == {1}


# -- what cannot be valued ---------------------------------------------------------------------


def test_a_position_without_a_price_blocks_every_entry_and_no_exit() -> None:
    held = book({"CL": 2, "ES": 1}, prices={"CL": None})
    (refused,) = denials(held, "MES", 1)
    assert refused.code is DenialCode.CORRELATION_EXPOSURE
    assert refused.max_quantity == 0
    assert "CL" in refused.message
    assert denials(held, "ES", 1, side=Side.SELL) == ()
    assert denials(held, "CL", 2, side=Side.SELL) == ()
    assert denials(held, "CL", 3, side=Side.SELL)[0].max_quantity == 2
    assert evaluate(held, UNKNOWN, LIMITS).unpriced == ("CL",)


def test_a_price_that_comes_back_lets_entries_go_again() -> None:
    kept = ExposureBook(LIMITS, UNKNOWN, book({"CL": 1}, prices={"CL": None}))
    assert kept.check(symbol="MES", side=Side.SELL, quantity=1) != ()
    for exposure in book({"CL": 1}):
        kept.update(exposure)
    assert kept.check(symbol="MES", side=Side.SELL, quantity=1) == ()


def test_a_flat_family_without_a_price_hinders_no_other() -> None:
    exposures = book({"ES": 1}, prices={"CL": None})
    assert denials(exposures, "MES", 1) == ()
    assert denials(exposures, "MCL", 1)[0].max_quantity == 0


def test_a_family_that_is_not_in_the_book_is_refused() -> None:
    (refused,) = denials(book(), "GC", 1)
    assert (refused.code, refused.max_quantity) == (DenialCode.CORRELATION_EXPOSURE, 0)


@pytest.mark.parametrize("quantity", [0, -1])
def test_a_quantity_that_is_none_is_an_error(quantity: int) -> None:
    with pytest.raises(DomainError, match=f"{quantity} contracts of ES"):
        denials(book(), "ES", quantity)


# -- the self-test -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [
        LIMITS,
        the_limits(budget="30000", es_nq="15000"),
        the_limits(share="1"),
        the_limits(es_nq="1000000"),
        ExposureLimits(
            correlation_micros=1, es_nq_combined_micros=1, directional_micros=1, gross_micros=1
        ),
    ],
)
def test_every_limit_refuses_its_synthetic_order(limits: ExposureLimits) -> None:
    assert self_test(limits) == ()


@pytest.mark.parametrize("limit", LimitName)
def test_a_limit_that_does_not_refuse_is_named(
    limit: LimitName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMIT_CHECKS, limit, lambda _book, _change: None)
    assert self_test(LIMITS) == (limit,)


@pytest.mark.parametrize("limit", LimitName)
def test_a_limit_that_looks_at_buys_only_is_named(
    limit: LimitName, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = LIMIT_CHECKS[limit]
    monkeypatch.setitem(
        LIMIT_CHECKS,
        limit,
        lambda book, change: sound(book, change) if change.high_micros > 0 else None,
    )
    assert limit in self_test(LIMITS)
