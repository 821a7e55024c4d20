"""What the evidence says of an execution, and how far its price was from what was asked for."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.builders import (
    a_row,
    a_trade,
    an_instrument,
    an_intent,
    an_order,
)

from backstop.core.execution_verdict import Verdict, slippage_ticks, verify
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.broker import BrokerStatus
from backstop.domain.order import OrderState, Side


def judged(order: TrackedOrder, *, expected: int = 2) -> tuple[Verdict, str]:
    found = verify(
        order, an_instrument(), expected_quantity=expected, max_slippage_ticks=Decimal(2)
    )
    return found.verdict, found.reason


def filled_at(*prices: str, **changes: Any) -> TrackedOrder:
    fills = tuple(a_trade(trade_id=n, price=Decimal(p)) for n, p in enumerate(prices))
    members: dict[str, Any] = {"fills": fills, "reference_price": Decimal(5000)}
    return an_order(OrderState.FILLED, **(members | changes))


@pytest.mark.parametrize(
    ("order", "expected", "verdict", "reason"),
    [
        (filled_at("5000", "5000.25"), 2, Verdict.VERIFIED, "2 trades, 0.5 adverse ticks"),
        (filled_at("4999", "4999"), 2, Verdict.VERIFIED, "-4 adverse ticks"),
        (
            filled_at("5000.25"),
            1,
            Verdict.VERIFIED,
            "1 contract proven by 1 trade, 1 adverse tick",
        ),
        (filled_at("5000.50", "5000.50"), 2, Verdict.VERIFIED, "2 adverse ticks"),
        (filled_at("5000.50", "5000.75"), 2, Verdict.BREACH, "2.5 adverse ticks, 2 allowed"),
        (
            filled_at("5000", "5000", reference_price=None),
            2,
            Verdict.VERIFIED,
            "the reference price is UNKNOWN: no quote was fresh when it was sent",
        ),
        (filled_at("5000", "5000"), 1, Verdict.REFUTED, "2 contracts filled, 1 expected"),
        (filled_at("5000", "5000"), 3, Verdict.REFUTED, "FILLED with 2 of 3 contracts"),
        (
            an_order(OrderState.REJECTED, venue_message="Not enough margin."),
            2,
            Verdict.REFUTED,
            "REJECTED with 0 of 2 contracts: Not enough margin.",
        ),
        (an_order(OrderState.UNKNOWN), 2, Verdict.UNKNOWN, "UNKNOWN with 0 of 2 contracts proven"),
        (
            an_order(
                OrderState.CANCELLED,
                venue=a_row(status=BrokerStatus.CANCELLED, filled_quantity=2),
            ),
            2,
            Verdict.UNKNOWN,
            "CANCELLED with 0 of 2 contracts proven",
        ),
    ],
)
def test_the_verdict_follows_the_evidence_and_says_why(
    order: TrackedOrder, expected: int, verdict: Verdict, reason: str
) -> None:
    found, why = judged(order, expected=expected)

    assert found is verdict
    assert reason in why


@given(
    st.lists(st.integers(19_000, 21_000), min_size=1, max_size=5),
    st.integers(19_000, 21_000),
)
def test_slippage_is_exact_and_adverse_to_the_side(fills: list[int], reference: int) -> None:
    instrument = an_instrument()
    order = filled_at(
        *(str(instrument.price(ticks)) for ticks in fills),
        reference_price=instrument.price(reference),
    )

    slippage = slippage_ticks(order, instrument)

    assert slippage == Fraction(sum(fills), len(fills)) - reference


def test_a_seller_suffers_from_lower_prices() -> None:
    order = filled_at("4999.50", intent=an_intent(side=Side.SELL))

    assert slippage_ticks(order, an_instrument()) == 2
