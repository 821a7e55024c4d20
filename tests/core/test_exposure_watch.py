"""Estimates that grow old, limits that the market breaks, and limits that do not hold at all."""

from decimal import Decimal

import pytest
from tests.core.builders import MES, Guard, a_guard_start, a_policy, a_request, an_instrument

from backstop.app.exposure_limits import exposure_limits
from backstop.core.bars import BAR_US, TRADING_DAY_S, market_age_s, outdated_utc_us
from backstop.core.correlation import CorrelationOrigin
from backstop.core.estimate_age import correlation_view, volatilities_now
from backstop.core.exposure import LimitName
from backstop.core.exposure_book import LIMIT_CHECKS
from backstop.core.pre_trade import judge
from backstop.core.step import Step
from backstop.core.trading_state import Condition, TradingState
from backstop.domain.commands import RaiseAlert
from backstop.domain.denial import DenialCode
from backstop.domain.events import (
    FamilyVolatility,
    OrderRequested,
    PairCorrelation,
    RiskEstimated,
)
from backstop.domain.order import Side
from backstop.domain.quote import Mark, Quote

MNQ = "CON.F.US.MNQ.Z26"
DAY_US = 24 * 3600 * 1_000_000
MONDAY_US = 1_790_000_000_000_000 // (7 * DAY_US) * (7 * DAY_US) + 4 * DAY_US
"""A Monday at midnight UTC, near the builders' first event."""

LIMITS = exposure_limits(
    risk_budget=Decimal(2000),
    max_correlation_exposure=Decimal("0.7"),
    es_nq_max_combined_exposure=Decimal(10_000),
    max_directional_share=Decimal(1),
    max_gross_exposure=Decimal(20_000),
)
"""L1 binds: 1400 dollars. A MES at 5000 and 1 % is 250, an MNQ at 20000 and 1.4 % is 560."""


def a_guard(**policy: object) -> Guard:
    guard = Guard(
        policy=a_policy(exposure_limits=LIMITS, symbols=("MES", "MNQ"), **policy), condenses=False
    )
    mnq = an_instrument(contract_id=MNQ, symbol="MNQ", name="MNQZ6", tick_value_micros=500_000)
    return guard.start(an_instrument(), mnq)


def estimated(
    guard: Guard, value: float | None, *, mes: int = 5000, origin: str = "MEASURED"
) -> Step:
    return guard.feed(
        RiskEstimated(
            utc_us=guard.utc_us,
            volatilities=(
                FamilyVolatility(family="ES", sigma_ppm=10_000, origin=origin),
                FamilyVolatility(family="NQ", sigma_ppm=14_000, origin="MEASURED"),
            ),
            correlations=(
                PairCorrelation(
                    first="ES",
                    second="NQ",
                    origin="MEASURED" if value is not None else "THIN",
                    value=value,
                    as_of_utc_us=guard.utc_us,
                ),
            ),
            marks=marks(mes),
        )
    )


def marks(mes: int = 5000) -> tuple[Mark, ...]:
    return (
        Mark(contract_id=MES, price=Decimal(mes)),
        Mark(contract_id=MNQ, price=Decimal(20_000)),
    )


def codes(guard: Guard, contract_id: str, side: Side, quantity: int) -> list[DenialCode]:
    price = Decimal(5000 if contract_id == MES else 20_000)
    wish = OrderRequested(
        utc_us=guard.utc_us,
        request=a_request(client_order_id="c9", symbol=contract_id, side=side, quantity=quantity),
        reference=Quote(contract_id=contract_id, bid=price, ask=price, last=price),
        marks=marks(),
    )
    found = judge(guard.book, wish, now_ns=guard.now_ns)
    assert found is not None
    return [denial.code for denial in found.denials]


# -- age -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [0, 1, 50, 93, 94, 95, 117, 118, 119, 141, 142, 143, 167])
def test_the_moment_at_which_a_figure_is_too_old_is_the_first_one(hours: int) -> None:
    since_us = MONDAY_US - 4 * DAY_US + hours * 3_600_000_000

    first_us = outdated_utc_us(since_us, TRADING_DAY_S)

    assert market_age_s(since_us, first_us) > TRADING_DAY_S
    assert market_age_s(since_us, first_us - 1) <= TRADING_DAY_S


def an_estimate(as_of_us: int) -> RiskEstimated:
    return RiskEstimated(
        utc_us=as_of_us,
        volatilities=(
            FamilyVolatility(
                family="ES", sigma_ppm=10_000, origin="MEASURED", as_of_utc_us=as_of_us
            ),
        ),
        correlations=(
            PairCorrelation(
                first="ES", second="NQ", origin="MEASURED", value=0.5, as_of_utc_us=as_of_us
            ),
        ),
    )


@pytest.mark.parametrize(
    ("later_us", "origin", "sigma_ppm"),
    [
        (0, CorrelationOrigin.MEASURED, 10_000),
        (DAY_US, CorrelationOrigin.MEASURED, 10_000),
        (DAY_US + 1_000_000, CorrelationOrigin.STALE, 55_000),
        (30 * DAY_US, CorrelationOrigin.STALE, 55_000),
        (-BAR_US, CorrelationOrigin.MEASURED, 10_000),
        (-BAR_US - 1, CorrelationOrigin.STALE, 55_000),
    ],
)
def test_an_estimate_counts_by_its_age_at_the_decision(
    later_us: int, origin: CorrelationOrigin, sigma_ppm: int
) -> None:
    estimate, now_us = an_estimate(MONDAY_US), MONDAY_US + later_us

    (volatility,) = volatilities_now(estimate, now_us)

    assert correlation_view(estimate, now_us).correlation("ES", "NQ").origin is origin
    assert volatility.sigma_ppm == sigma_ppm


def test_an_estimate_out_of_the_record_is_worth_nothing_after_three_days() -> None:
    guard = a_guard()
    estimated(guard, 0.0)
    assert codes(guard, MES, Side.BUY, 5) == []

    guard.now_ns += 5 * 24 * 3600 * 1_000_000_000
    guard.feed(a_guard_start(utc_us=guard.utc_us))

    assert DenialCode.CORRELATION_EXPOSURE in codes(guard, MES, Side.BUY, 5)


# -- a breach without a trade --------------------------------------------------------------------


def holding_both(**policy: object) -> Guard:
    """Hold 4 MES and 1 MNQ: 1000 and 560 dollars, alone within 1400, together not always."""
    guard = a_guard(**policy)
    guard.position_row(4)
    guard.position_row(1, contract_id=MNQ, position_id=10, average_price=Decimal(20_000))
    return guard


def test_a_correlation_that_jumps_is_told_once_and_refuses_adds_and_closes_nothing() -> None:
    guard = holding_both()
    for contract_id in (MES, MNQ):
        assert guard.book.position(contract_id).quantity
    limits = exposure_limits(
        risk_budget=Decimal(2100),
        max_correlation_exposure=Decimal("0.7"),
        es_nq_max_combined_exposure=Decimal(10_000),
        max_directional_share=Decimal(1),
        max_gross_exposure=Decimal(20_000),
    )
    guard.book.policy = a_policy(exposure_limits=limits, symbols=("MES", "MNQ"))
    # ES and NQ on one side count at least 0.85: 1000 + 0.85 x 560 = 1476 is above 1470.
    before = len(guard.commands)
    estimated(guard, 0.3, mes=4900)  # 980 + 476 = 1456
    assert [it for it in guard.commands[before:] if hasattr(it, "code")] == []

    estimated(guard, 0.95, mes=4900)  # 980 + 532 = 1512
    estimated(guard, 0.95, mes=4900)

    assert guard.alerts().count("EXPOSURE_LIMIT_BROKEN") == 1
    assert list(guard.book.breaches_told) == [LimitName.CORRELATION]
    assert not guard.book.liquidating
    assert DenialCode.CORRELATION_EXPOSURE in codes(guard, MES, Side.BUY, 1)
    assert codes(guard, MES, Side.SELL, 4) == []
    estimated(guard, 0.3, mes=4900)
    assert guard.book.breaches_told == {}
    estimated(guard, 0.95, mes=4900)
    assert guard.alerts().count("EXPOSURE_LIMIT_BROKEN") == 2


def test_a_breach_closes_what_is_held_only_where_that_was_asked_for() -> None:
    guard = holding_both(liquidates_breaches=True)

    estimated(guard, 0.95)

    assert guard.alerts().count("EXPOSURE_LIMIT_BROKEN") == 1
    assert len(guard.book.liquidating) == 1
    (run,) = guard.book.liquidations.values()
    assert "CORRELATION of ES stands at 1532.00 risk dollars; 1400.00" in run.causes[0].text


def test_a_limit_that_was_tightened_is_not_laid_to_the_market_alone() -> None:
    guard = holding_both(liquidates_breaches=False)

    estimated(guard, 0.95)

    (told,) = [
        it
        for it in guard.commands
        if isinstance(it, RaiseAlert) and it.code == "EXPOSURE_LIMIT_BROKEN"
    ]
    assert told.message.startswith("Without any trade CORRELATION of ES stands at 1532.00")
    assert "the market has moved, or a setting has" in told.message


@pytest.mark.parametrize(("value", "origin"), [(None, "MEASURED"), (0.95, "STRESS_STALE")])
def test_nothing_is_closed_because_something_is_not_known(value: float | None, origin: str) -> None:
    guard = holding_both(liquidates_breaches=True)

    estimated(guard, value, origin=origin)

    assert guard.alerts().count("EXPOSURE_LIMIT_BROKEN") == 1
    assert not guard.book.liquidations


# -- limits that do not hold ---------------------------------------------------------------------


@pytest.mark.parametrize("limit", LimitName)
def test_a_limit_that_lets_everything_through_keeps_entries_out(
    limit: LimitName, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setitem(LIMIT_CHECKS, limit, lambda _book, _change: None)
        guard = a_guard()
        estimated(guard, 0.0)

        assert guard.book.trading_state(guard.now_ns) is TradingState.REDUCING
        assert str(Condition.LIMIT_BROKEN) in guard.book.state_reasons(guard.now_ns)
        assert list(guard.book.broken_limits) == [limit]
        assert guard.alerts() == ["LIMIT_BROKEN"]
        assert DenialCode.STATE_REDUCING in codes(guard, MES, Side.BUY, 1)
        guard.position_row(1)
        assert codes(guard, MES, Side.SELL, 1) == []
    guard.feed(a_guard_start(utc_us=guard.utc_us))
    assert not guard.book.broken_limits


def test_limits_that_hold_let_entries_through() -> None:
    guard = a_guard()
    estimated(guard, 0.0)

    assert guard.book.trading_state(guard.now_ns) is TradingState.ACTIVE
    assert guard.alerts() == []
