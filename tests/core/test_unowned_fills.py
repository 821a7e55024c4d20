"""A fill whose order the venue lists nowhere speaks against the absence of an order of ours."""

from typing import Any

import pytest
from tests.core.builders import NQ, Guard

from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import LookUpOrder
from backstop.domain.events import Answer
from backstop.domain.order import OrderState, Side

NUMBER = 777
"""What the venue calls the order of the fill."""


def of_unknown_fate() -> Guard:
    guard = Guard().start()
    guard.submit()
    guard.dispatch()
    guard.answer(Answer.UNKNOWN)
    return guard


def searched_in_vain(guard: Guard) -> None:
    """Let complete searches come back that do not show the order, until long after the limit."""
    for _ in range(6):
        guard.audit(after_ms=15_000, positions=None)
        guard.look_up()


def test_an_order_is_not_taken_for_absent_while_a_fill_may_be_its_own() -> None:
    guard = of_unknown_fate()
    guard.trade(broker_order_id=NUMBER, quantity=2)
    searched_in_vain(guard)

    assert guard.state() is OrderState.UNKNOWN


def test_the_venue_is_asked_for_the_order_of_the_fill() -> None:
    guard = of_unknown_fate()
    guard.trade(broker_order_id=NUMBER, quantity=2)
    searched_in_vain(guard)
    guard.timer(after_ms=20_000)

    assert guard.commands_of(LookUpOrder)[-1].broker_order_id == NUMBER


def test_the_row_of_that_number_says_whose_fill_it_is() -> None:
    guard = of_unknown_fate()
    guard.trade(broker_order_id=NUMBER, quantity=2)
    searched_in_vain(guard)
    guard.row(
        broker_order_id=NUMBER,
        custom_tag=guard.order().custom_tag,
        status=BrokerStatus.FILLED,
        filled_quantity=2,
    )

    assert guard.state() is OrderState.FILLED
    assert guard.order().broker_order_id == NUMBER


def test_once_the_row_names_somebody_else_absence_can_be_proven() -> None:
    guard = of_unknown_fate()
    guard.trade(broker_order_id=NUMBER, quantity=2)
    searched_in_vain(guard)
    guard.row(broker_order_id=NUMBER, custom_tag="human-1", status=BrokerStatus.FILLED)
    searched_in_vain(guard)

    assert guard.state() is OrderState.NOT_SUBMITTED


@pytest.mark.parametrize(
    "changes",
    [{"side": Side.SELL}, {"contract_id": NQ}, {"voided": True}],
    ids=["other side", "other contract", "voided"],
)
def test_a_fill_that_cannot_be_its_own_proves_nothing(changes: dict[str, Any]) -> None:
    guard = of_unknown_fate()
    guard.trade(**({"broker_order_id": NUMBER, "quantity": 2} | changes))
    searched_in_vain(guard)

    assert guard.state() is OrderState.NOT_SUBMITTED
