"""An entry that is moved to another price is held to what a new one there would be held to."""

from decimal import Decimal
from typing import Any

import pytest
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
from tests.core.builders import MES, Guard, a_quote

from backstop.core.account_rules.limits import AccountLimits
from backstop.core.step import Decision, DecisionKind
from backstop.domain.denial import DenialCode
from backstop.domain.events import Answer, ModifyRequested
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
