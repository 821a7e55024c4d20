"""How large an order may be, and how far from the market its price."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.builders import (
    MES,
    Guard,
    a_policy,
    a_quote,
    a_request,
    an_instrument,
    an_intent,
)

from backstop.core.order_limits import FAR_TIMES, collar_denials, size_denials
from backstop.core.step import Decision, DecisionKind
from backstop.domain.denial import DenialCode
from backstop.domain.events import ModifyRequested
from backstop.domain.order import OrderType, Side
from backstop.domain.quote import Quote

PERCENT_PPM = 10_000
MES_AT_5000_MICROS = 25_000_000_000
"""What one MES at 5000 is worth: 5000 points of 5 dollars."""


def codes(decision: Decision) -> list[DenialCode]:
    return [denial.code for denial in decision.denials]


# -- size ------------------------------------------------------------------------------------------


def test_a_notional_in_the_quantity_field_is_refused_by_both_limits() -> None:
    guard = Guard(policy=a_policy(max_order_notional_micros=30_000_000_000_000)).start()

    decision = guard.submit(quantity=58_000_000)

    assert codes(decision) == [DenialCode.SIZE_TOO_LARGE, DenialCode.NOTIONAL_TOO_LARGE]
    worth = decision.denials[1]
    assert (worth.value, worth.limit) == ("1450000000000", "30000000")
    assert worth.max_quantity == 1200


@given(
    quantity=st.integers(1, 10_000),
    limit_micros=st.integers(1, 10**15),
    price_ticks=st.integers(1, 100_000),
)
def test_the_largest_quantity_that_is_named_passes_and_one_more_does_not(
    quantity: int, limit_micros: int, price_ticks: int
) -> None:
    policy = a_policy(max_order_quantity=100_000, max_order_notional_micros=limit_micros)

    def refused(contracts: int) -> bool:
        intent = an_intent(quantity=contracts)
        return bool(size_denials(intent, price_ticks, an_instrument(), policy))

    found = size_denials(an_intent(quantity=quantity), price_ticks, an_instrument(), policy)

    for denial in found:
        most = denial.max_quantity
        assert most is not None
        assert most < quantity
        assert most == 0 or not refused(most)
        assert refused(most + 1)


def test_an_order_worth_exactly_the_limit_passes() -> None:
    policy = a_policy(max_order_notional_micros=2 * MES_AT_5000_MICROS)

    assert size_denials(an_intent(quantity=2), 20_000, an_instrument(), policy) == ()
    assert size_denials(an_intent(quantity=3), 20_000, an_instrument(), policy) != ()


# -- collar ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "side", "price", "refused"),
    [
        # The touch is 5000 for a buy and 4999.75 for a sell; the collar 5 percent, or 50.
        (OrderType.LIMIT, Side.BUY, "5250", False),
        (OrderType.LIMIT, Side.BUY, "5250.25", True),
        (OrderType.LIMIT, Side.BUY, "2500", False),
        (OrderType.LIMIT, Side.BUY, "2499.75", True),
        (OrderType.LIMIT, Side.SELL, "4750", False),
        (OrderType.LIMIT, Side.SELL, "4749.75", True),
        (OrderType.LIMIT, Side.SELL, "7499.50", False),
        (OrderType.LIMIT, Side.SELL, "7500", True),
        (OrderType.STOP, Side.BUY, "4750", False),
        (OrderType.STOP, Side.BUY, "4749.75", True),
        (OrderType.STOP, Side.BUY, "7500", False),
        (OrderType.STOP, Side.BUY, "7500.25", True),
        (OrderType.STOP, Side.SELL, "5249.50", False),
        (OrderType.STOP, Side.SELL, "5250", True),
        (OrderType.TRAILING_STOP, Side.BUY, "7500.25", True),
    ],
)
def test_a_price_that_costs_money_is_held_closer_than_one_that_has_to_be_reached(
    type_: OrderType, side: Side, price: str, *, refused: bool
) -> None:
    guard = Guard(policy=a_policy(price_collar_ppm=5 * PERCENT_PPM)).start()
    member = "limit_price" if type_ is OrderType.LIMIT else "stop_price"

    decision = guard.submit(type=type_, side=side, **{member: Decimal(price)})

    assert codes(decision) == ([DenialCode.PRICE_COLLAR] if refused else [])


def test_a_refusal_names_the_prices_that_are_allowed() -> None:
    policy = a_policy(price_collar_ppm=5 * PERCENT_PPM)
    wild = an_intent(type=OrderType.LIMIT, limit_ticks=200_000)

    (denial,) = collar_denials(wild, an_instrument(), a_quote(), policy)

    assert denial.value == "50000"
    assert denial.limit == "2500 to 5250"


@given(
    ticks=st.integers(1, 60_000),
    ppm=st.integers(1, 100 * PERCENT_PPM),
    side=st.sampled_from(Side),
    type_=st.sampled_from([OrderType.LIMIT, OrderType.STOP, OrderType.TRAILING_STOP]),
)
def test_whatever_passes_the_collar_is_within_its_wider_reach(
    ticks: int, ppm: int, side: Side, type_: OrderType
) -> None:
    members = {"limit_ticks" if type_ is OrderType.LIMIT else "stop_ticks": ticks}
    intent = an_intent(type=type_, side=side, **members)
    policy = a_policy(price_collar_ppm=ppm)
    touch = a_quote().touch(side)
    assert touch is not None

    away = abs(an_instrument().price(ticks) - touch)
    passes = not collar_denials(intent, an_instrument(), a_quote(), policy)

    if passes:
        assert away <= touch * ppm * FAR_TIMES / 1_000_000
    else:
        assert away > touch * ppm / 1_000_000


def test_an_exit_may_name_any_price() -> None:
    guard = Guard(policy=a_policy(price_collar_ppm=PERCENT_PPM)).start()
    guard.position_row(2)

    decision = guard.submit(side=Side.SELL, type=OrderType.LIMIT, limit_price=Decimal(1))

    assert decision.kind is DecisionKind.ACCEPTED


# -- a price that is moved -------------------------------------------------------------------------


def a_resting_entry(**policy: Any) -> Guard:
    guard = Guard(policy=a_policy(price_collar_ppm=5 * PERCENT_PPM, **policy)).start()
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(4990))
    return guard


def moved(guard: Guard, ticks: int, reference: Quote | None) -> Decision:
    result = guard.feed(
        ModifyRequested(
            utc_us=guard.utc_us, client_order_id="c1", limit_ticks=ticks, reference=reference
        )
    )
    assert result.decision is not None
    return result.decision


def test_an_entry_is_not_moved_where_a_new_one_would_be_refused() -> None:
    guard = a_resting_entry()

    assert codes(moved(guard, 21_001, a_quote())) == [DenialCode.PRICE_COLLAR]
    assert moved(guard, 20_004, a_quote()).kind is DecisionKind.ACCEPTED


@pytest.mark.parametrize("reference", [None, a_quote(age_ms=30_001), Quote(contract_id=MES)])
def test_without_a_fresh_market_an_entry_stays_where_it_is(reference: Quote | None) -> None:
    decision = moved(a_resting_entry(), 20_000, reference)

    assert codes(decision) == [DenialCode.STALE_REFERENCE]


def test_an_exit_is_moved_without_a_look_at_the_market() -> None:
    guard = Guard(policy=a_policy(price_collar_ppm=PERCENT_PPM)).start()
    guard.position_row(2)
    guard.working(side=Side.SELL, type=OrderType.LIMIT, limit_price=Decimal(5010))

    assert moved(guard, 40_000, None).kind is DecisionKind.ACCEPTED


def test_a_request_that_names_no_price_has_none_to_judge() -> None:
    assert a_request().limit_price is None
    assert collar_denials(an_intent(), an_instrument(), a_quote(), a_policy()) == ()
