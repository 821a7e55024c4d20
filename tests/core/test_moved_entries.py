"""An entry that is moved to another price is held to what a new one there would be held to."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.account_world import (
    DOLLAR,
    FIFTY,
    a_guard,
    buy,
    codes,
    denial,
    limits,
    result,
    wish,
)
from tests.core.builders import MES, Guard, a_quote, a_request

from backstop.app.exposure_limits import exposure_limits
from backstop.core.account_rules.limits import AccountLimits
from backstop.core.book import Entry
from backstop.core.step import Decision, DecisionKind
from backstop.domain.clock import ClockReading
from backstop.domain.denial import DenialCode
from backstop.domain.events import (
    Answer,
    CloseRequested,
    FamilyVolatility,
    HaltRequested,
    ModifyRequested,
    RiskEstimated,
)
from backstop.domain.order import OrderType
from backstop.domain.quote import Mark

DAILY = limits(daily_loss_micros=1_000 * DOLLAR)


def a_resting_entry(rules: AccountLimits = DAILY, **policy: Any) -> Guard:
    """Return a guard with four MES to be bought at 4990, stopped out at 4985: 110 dollars."""
    guard = a_guard(rules, **policy)
    resting = {"type": OrderType.LIMIT, "limit_price": Decimal(4990)}
    accepted = wish(
        guard,
        client_order_id="c1",
        quantity=4,
        stop_loss_price=Decimal(4985),
        take_profit_price=Decimal(5010),
        **resting,
    )
    assert accepted.kind is DecisionKind.ACCEPTED, accepted
    guard.dispatch("c1")
    guard.answer(Answer.YES, 101, client_order_id="c1")
    guard.row(broker_order_id=101, quantity=4, **resting)
    return guard


def moved(guard: Guard, price: str | int, *, age_ms: int = 0, **changes: Any) -> Decision:
    event = ModifyRequested(
        utc_us=guard.utc_us,
        client_order_id="c1",
        limit_ticks=int(Decimal(price) * 4),
        reference=a_quote(),
        marks=(Mark(contract_id=MES, price=Decimal(5000), age_ms=age_ms),),
        **changes,
    )
    decision = guard.feed(event).decision
    assert decision is not None
    return decision


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        (DAILY, DenialCode.DAILY_LOSS_BUFFER),
        (
            limits(trailing_loss_micros=1_000 * DOLLAR, high_close_micros=FIFTY),
            DenialCode.MAX_LOSS_BUFFER,
        ),
    ],
)
def test_an_entry_is_not_moved_to_where_it_could_lose_what_is_left(
    rules: AccountLimits, code: DenialCode
) -> None:
    """300 left; at 5000 each may lose 60 ticks and 2 of slippage, 77.50: three of them fit."""
    guard = a_resting_entry(rules)
    result(guard, 1, -700)

    refused = denial(moved(guard, 5000), code)
    assert (refused.value, refused.limit, refused.max_quantity) == ("310", "300", 3)
    assert moved(guard, 5000, quantity=3).kind is DecisionKind.ACCEPTED
    assert moved(guard, "4999.25").kind is DecisionKind.ACCEPTED


def test_an_entry_may_always_be_moved_to_where_it_loses_less() -> None:
    guard = a_resting_entry()
    result(guard, 1, -930)

    assert DenialCode.DAILY_LOSS_BUFFER in codes(moved(guard, 4991))
    assert moved(guard, 4989).kind is DecisionKind.ACCEPTED


def test_without_a_price_of_what_is_held_an_entry_is_moved_to_no_larger_loss() -> None:
    guard = a_resting_entry()
    buy(guard, 1, 2, 5000)

    assert codes(moved(guard, 4991, age_ms=60_000)) == [DenialCode.STALE_VALUATION]
    assert moved(guard, 4989, age_ms=60_000).kind is DecisionKind.ACCEPTED


def test_an_entry_is_not_moved_to_where_its_reward_is_too_small() -> None:
    guard = a_resting_entry(min_r_multiple=Decimal(2))

    refused = denial(moved(guard, 4995), DenialCode.R_MULTIPLE_TOO_LOW)
    assert (refused.value, refused.limit) == ("1.5", "2")
    assert moved(guard, 4993).kind is DecisionKind.ACCEPTED


def test_an_entry_is_not_moved_to_where_it_is_worth_too_much() -> None:
    guard = a_resting_entry(max_order_notional_micros=99_900 * DOLLAR)

    refused = denial(moved(guard, 4996), DenialCode.NOTIONAL_TOO_LARGE)
    assert refused.max_quantity == 3
    assert moved(guard, 4995).kind is DecisionKind.ACCEPTED


def test_moves_to_more_risk_count_among_the_entries_of_a_second() -> None:
    guard = a_resting_entry(max_orders_per_second=2)
    guard.timer(after_ms=1000)
    assert [moved(guard, price).kind for price in (4991, 4992)] == [DecisionKind.ACCEPTED] * 2

    refused = denial(moved(guard, 4993), DenialCode.RATE_TOO_HIGH)
    entry = wish(guard, client_order_id="c2", quantity=1, stop_loss_price=Decimal(4985))

    assert (refused.value, refused.limit) == ("3", "2")
    assert codes(entry) == [DenialCode.RATE_TOO_HIGH]
    assert moved(guard, 4989).kind is DecisionKind.ACCEPTED, "away from the market"
    guard.timer(after_ms=1000)
    assert moved(guard, 4993).kind is DecisionKind.ACCEPTED


def test_an_entry_that_was_moved_is_no_double_of_another() -> None:
    guard = a_resting_entry()
    guard.timer(after_ms=1000)
    assert moved(guard, 4991).kind is DecisionKind.ACCEPTED
    alike = {"quantity": 4, "type": OrderType.LIMIT, "limit_price": Decimal(4991)}
    legs = {"stop_loss_price": Decimal(4985), "take_profit_price": Decimal(5010)}

    entry = wish(guard, client_order_id="c2", **alike, **legs)

    assert DenialCode.DUPLICATE_ORDER not in codes(entry)


# -- more risk takes the whole way, less risk the short one ----------------------------------------


def in_trouble(guard: Guard) -> list[DenialCode]:
    """Let everything go wrong that keeps a new entry out, and return its refusals."""
    clock = guard.book.venue_clock
    off = ClockReading(
        read_ns=guard.now_ns,
        ours_utc_us=guard.utc_us,
        earliest_utc_us=guard.utc_us + 10_000_000,
        latest_utc_us=guard.utc_us + 11_000_000,
    )
    clock.readings, clock.is_off = (off,), True
    guard.book.entries.extend(
        Entry(accepted_ns=guard.now_ns, request=a_request(client_order_id=f"n{number}"))
        for number in range(10)
    )
    guard.feed(
        CloseRequested(utc_us=guard.utc_us, contract_id=MES, reason="enough", operator="ann")
    )
    guard.feed(HaltRequested(utc_us=guard.utc_us, reason="rain", operator="ann"))
    refused = wish(
        guard,
        client_order_id="c2",
        quantity=4,
        type=OrderType.LIMIT,
        limit_price=Decimal(4991),
        stop_loss_price=Decimal(4985),
        take_profit_price=Decimal(5010),
        age_ms=60_000,
    )
    return codes(refused)


def test_a_move_that_takes_on_risk_hears_what_a_new_order_there_would_hear() -> None:
    guard = a_resting_entry()
    buy(guard, 1, 1, 5000)
    guard.book.policy = replace(guard.book.policy, symbols=("NQ",))

    new = in_trouble(guard)

    assert {
        DenialCode.STATE_HALTED,
        DenialCode.INSTRUMENT_NOT_ALLOWED,
        DenialCode.RATE_TOO_HIGH,
        DenialCode.CLOCK_OFFSET,
        DenialCode.POSITION_CLOSING,
    } <= set(new)
    assert codes(moved(guard, 4991, age_ms=60_000)) == new


def test_a_move_that_takes_risk_away_passes_whatever_keeps_entries_out() -> None:
    guard = a_resting_entry()
    buy(guard, 1, 1, 5000)
    in_trouble(guard)

    assert moved(guard, 4989, age_ms=60_000).kind is DecisionKind.ACCEPTED
    assert moved(guard, 4989, quantity=1).kind is DecisionKind.ACCEPTED
    assert codes(moved(guard, 4985)) == [DenialCode.BRACKET_STOP_SIDE]


def test_a_limit_that_may_already_be_lower_is_not_moved_back_up_as_less_risk() -> None:
    """It is on its way from 4990 to 4986: to 4988 is more than it may have by now."""
    guard = a_resting_entry()
    assert moved(guard, "4986.25").kind is DecisionKind.ACCEPTED
    in_trouble(guard)

    assert DenialCode.STATE_HALTED in codes(moved(guard, 4988))


def test_an_order_is_not_counted_twice_when_it_is_moved() -> None:
    """Four are allowed in all, and four are what it is."""
    guard = a_resting_entry(limits(max_position_tenths=4), max_orders_per_second=1)

    assert moved(guard, 4991).kind is DecisionKind.ACCEPTED
    assert codes(wish(guard, client_order_id="c2", quantity=1)) == [
        DenialCode.RATE_TOO_HIGH,
        DenialCode.POSITION_TOO_LARGE,
    ]


def test_the_exposure_of_an_order_that_moves_counts_once_and_a_broken_limit_keeps_it() -> None:
    limit = exposure_limits(
        risk_budget=Decimal(10_000),
        max_correlation_exposure=Decimal("0.7"),
        es_nq_max_combined_exposure=Decimal(1000),
        max_directional_share=Decimal(1),
        max_gross_exposure=Decimal(5000),
    )
    guard = a_guard(limits(), exposure_limits=limit)
    measured = FamilyVolatility(family="ES", sigma_ppm=10_000, origin="MEASURED")
    guard.feed(RiskEstimated(utc_us=guard.utc_us, volatilities=(measured,), correlations=()))
    resting = {"type": OrderType.LIMIT, "limit_price": Decimal(4990)}
    assert wish(guard, quantity=4, **resting).kind is DecisionKind.ACCEPTED
    guard.dispatch()
    guard.answer(Answer.YES, 101)
    guard.row(broker_order_id=101, quantity=4, **resting)

    assert moved(guard, 4991).kind is DecisionKind.ACCEPTED
    # The market doubles its swings: what rests is too much by now.
    measured = FamilyVolatility(family="ES", sigma_ppm=20_000, origin="MEASURED")
    guard.feed(RiskEstimated(utc_us=guard.utc_us, volatilities=(measured,), correlations=()))
    refused = denial(moved(guard, 4992), DenialCode.ES_NQ_COMBINED_EXPOSURE)
    assert refused.max_quantity == 2
    assert moved(guard, 4992, quantity=2).kind is DecisionKind.ACCEPTED
    assert moved(guard, 4989).kind is DecisionKind.ACCEPTED
