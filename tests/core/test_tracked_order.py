"""One order of ours, and what rows and trades make of it."""

from decimal import Decimal
from fractions import Fraction
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.builders import START_US, a_row, a_trade, an_order

from backstop.core.tracked_order import (
    TRANSITIONS_KEPT,
    final_quantity,
    moved,
    newer_row,
    settled,
)
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.order import ORDER_TRANSITIONS, TERMINAL_STATES, OrderState
from backstop.errors import InvalidTransitionError

# -- what is open, filled, missing ---------------------------------------------------------------


def test_an_order_of_unknown_fate_counts_in_full() -> None:
    assert an_order(OrderState.UNKNOWN).open_quantity == 2


def test_what_is_filled_is_no_longer_open() -> None:
    order = an_order(OrderState.PARTIALLY_FILLED, venue=a_row(), fills=(a_trade(),))

    assert (order.filled_quantity, order.open_quantity) == (1, 1)


@pytest.mark.parametrize("state", sorted(TERMINAL_STATES))
def test_a_finished_order_has_nothing_open(state: OrderState) -> None:
    order = an_order(state)

    assert order.is_terminal
    assert order.open_quantity == 0


def test_the_venues_size_counts_once_it_is_known() -> None:
    """A quantity that was lowered at the venue must not block an exit for ever."""
    lowered = an_order(OrderState.WORKING, venue=a_row(quantity=1))
    raised = an_order(OrderState.WORKING, venue=a_row(quantity=5))

    assert (lowered.open_quantity, raised.open_quantity) == (1, 5)
    assert (final_quantity(lowered), final_quantity(an_order())) == (1, 2)


def test_a_row_without_a_size_neither_fills_the_order_nor_closes_it() -> None:
    """Nothing is filled without trades, and what may fill counts in full."""
    order = an_order(OrderState.WORKING, broker_order_id=100, venue=a_row(quantity=0))

    assert settled(order, cause="venue OPEN", utc_us=START_US).state is OrderState.WORKING
    assert order.open_quantity == 2


def test_a_filled_row_without_its_filled_quantity_waits_for_the_trades() -> None:
    row = a_row(status=BrokerStatus.FILLED, filled_quantity=0)
    told = an_order(OrderState.WORKING, broker_order_id=100, venue=row)
    shown = replace(told, fills=(a_trade(quantity=2),))

    assert told.lacks_trades
    assert settled(told, cause="venue FILLED", utc_us=START_US).state is OrderState.WORKING
    assert settled(shown, cause="trade 7", utc_us=START_US).state is OrderState.FILLED


def test_an_overfilled_order_has_less_than_nothing_open_and_says_zero() -> None:
    order = an_order(OrderState.WORKING, fills=(a_trade(quantity=3),))

    assert order.open_quantity == 0


def test_the_average_price_is_exact() -> None:
    fills = (
        a_trade(price=Decimal("5000.25"), quantity=1),
        a_trade(trade_id=8, price=Decimal("5001.00"), quantity=2),
    )

    assert an_order(fills=fills).average_price == Fraction(60009, 12)
    assert an_order().average_price is None
    assert an_order(fills=(a_trade(quantity=0),)).average_price is None


def test_voided_trades_count_as_seen_when_trades_are_missed() -> None:
    row = a_row(status=BrokerStatus.FILLED, filled_quantity=2)

    assert an_order(venue=row, fills=(a_trade(),)).lacks_trades
    assert not an_order(venue=row, fills=(a_trade(),), voided_quantity=1).lacks_trades
    assert not an_order(venue=None).lacks_trades


# -- transitions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("from_state", sorted(OrderState))
def test_only_what_the_table_allows_happens(from_state: OrderState) -> None:
    for to_state in OrderState:
        order = an_order(from_state)
        if to_state is from_state:
            assert moved(order, to_state, cause="test", utc_us=1) is order
        elif to_state in ORDER_TRANSITIONS[from_state]:
            after = moved(order, to_state, cause="test", utc_us=1)
            assert after.state is to_state
            assert after.transitions[-1].from_state is from_state
        else:
            with pytest.raises(InvalidTransitionError, match="cannot become"):
                moved(order, to_state, cause="test", utc_us=1)


def test_a_move_forgets_how_often_the_old_state_was_asked_about() -> None:
    after = moved(an_order(attempts=5), OrderState.SENT, cause="test", utc_us=1)

    assert after.attempts == 0


def test_the_history_in_memory_is_bounded() -> None:
    order = an_order(OrderState.WORKING)
    for count in range(TRANSITIONS_KEPT):
        order = moved(order, OrderState.PARTIALLY_FILLED, cause="trade", utc_us=count)
        order = moved(order, OrderState.WORKING, cause="void", utc_us=count)

    assert len(order.transitions) == TRANSITIONS_KEPT


# -- which row to believe ------------------------------------------------------------------------


def test_the_first_row_is_believed() -> None:
    assert newer_row(None, a_row()) == a_row()


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (a_row(status=BrokerStatus.OPEN), a_row(status=BrokerStatus.CANCELLED)),
        (a_row(filled_quantity=0, quantity=3), a_row(filled_quantity=1)),
        (a_row(updated_utc_us=START_US), a_row(updated_utc_us=START_US + 1, quantity=1)),
        (a_row(status=BrokerStatus.SUSPENDED), a_row(status=BrokerStatus.OPEN)),
        (a_row(status=BrokerStatus.PENDING), a_row(status=BrokerStatus.OPEN)),
        (a_row(status=BrokerStatus.NONE), a_row(status=BrokerStatus.SUSPENDED)),
    ],
)
def test_of_two_rows_the_newer_one_wins_in_whatever_order_they_come(
    older: BrokerOrder, newer: BrokerOrder
) -> None:
    assert newer_row(older, newer) == newer_row(newer, older) == newer


def test_a_later_row_that_leaves_the_fill_out_moves_the_price_and_keeps_the_fill() -> None:
    held = a_row(filled_quantity=1, limit_price=Decimal(1))
    moved_since = a_row(updated_utc_us=START_US + 1, limit_price=Decimal(2))

    for believed in (newer_row(held, moved_since), newer_row(moved_since, held)):
        assert (believed.filled_quantity, believed.limit_price) == (1, Decimal(2))


def test_what_either_row_leaves_out_is_kept() -> None:
    hub = a_row(status=BrokerStatus.FILLED, filled_quantity=2, filled_price=Decimal(5000))
    rest = a_row(
        custom_tag="t",
        parent_order_id=1,
        linked_order_id=2,
        stop_price=Decimal(1),
        limit_price=Decimal(2),
        raw="{}",
    )
    nameless = replace(hub, type=None)

    for both in (newer_row(nameless, rest), newer_row(rest, nameless)):
        assert both == replace(
            rest, status=BrokerStatus.FILLED, filled_quantity=2, filled_price=Decimal(5000)
        )


@st.composite
def _progress(draw: st.DrawFn) -> list[BrokerOrder]:
    """Draw the rows of one order as the venue states them, some without a moved update time."""
    filled, updated, rows = 0, START_US, [a_row(status=BrokerStatus.PENDING)]
    for _ in range(draw(st.integers(0, 3))):
        filled += draw(st.integers(0, 1))
        updated += draw(st.integers(0, 1))
        rows.append(a_row(filled_quantity=filled, updated_utc_us=updated))
    if draw(st.booleans()):
        rows.append(
            a_row(status=BrokerStatus.CANCELLED, filled_quantity=filled, updated_utc_us=updated)
        )
    return rows


@given(_progress())
def test_rows_end_in_the_same_belief_in_every_order(rows: list[BrokerOrder]) -> None:
    ends = set()
    for order in permutations(rows):
        held: BrokerOrder | None = None
        for row in order:
            held = newer_row(held, row)
        assert held is not None
        ends.add((held.status, held.filled_quantity))

    assert len(ends) == 1


# -- what evidence proves ------------------------------------------------------------------------

FILLED_ROW = a_row(status=BrokerStatus.FILLED, filled_quantity=2)
TWO = (a_trade(), a_trade(trade_id=8))


@pytest.mark.parametrize(
    ("state", "evidence", "expected"),
    [
        (OrderState.SENT, {}, OrderState.SENT),
        (OrderState.SENT, {"broker_order_id": 100}, OrderState.WORKING),
        (OrderState.UNKNOWN, {"venue": a_row()}, OrderState.WORKING),
        # Not the venue's word but its trades make a fill.
        (OrderState.SENT, {"venue": FILLED_ROW}, OrderState.WORKING),
        (
            OrderState.WORKING,
            {"venue": FILLED_ROW, "fills": TWO[:1]},
            OrderState.PARTIALLY_FILLED,
        ),
        (OrderState.WORKING, {"venue": FILLED_ROW, "fills": TWO}, OrderState.FILLED),
        (OrderState.WORKING, {"venue": a_row(), "fills": TWO}, OrderState.FILLED),
        (OrderState.WORKING, {"venue": a_row(quantity=1), "fills": TWO[:1]}, OrderState.FILLED),
        (
            OrderState.WORKING,
            {"venue": a_row(status=BrokerStatus.CANCELLED)},
            OrderState.CANCELLED,
        ),
        (
            OrderState.WORKING,
            {"venue": a_row(status=BrokerStatus.CANCELLED, filled_quantity=1)},
            OrderState.WORKING,
        ),
        (
            OrderState.PARTIALLY_FILLED,
            {"venue": a_row(status=BrokerStatus.CANCELLED, filled_quantity=1), "fills": TWO[:1]},
            OrderState.CANCELLED,
        ),
        (OrderState.WORKING, {"venue": a_row(status=BrokerStatus.EXPIRED)}, OrderState.EXPIRED),
        (OrderState.SENT, {"venue": a_row(status=BrokerStatus.REJECTED)}, OrderState.REJECTED),
        # A trade outweighs a refusal.
        (
            OrderState.REJECTED,
            {"venue": a_row(status=BrokerStatus.REJECTED), "fills": TWO},
            OrderState.FILLED,
        ),
        (
            OrderState.SENT,
            {"venue": a_row(status=BrokerStatus.REJECTED), "fills": TWO[:1]},
            OrderState.CANCELLED,
        ),
        # A refused order that the venue shows open works; one that is merely pending does not.
        (OrderState.REJECTED, {"venue": a_row()}, OrderState.WORKING),
        (OrderState.REJECTED, {"venue": a_row(status=BrokerStatus.PENDING)}, OrderState.REJECTED),
        (OrderState.REJECTED, {"broker_order_id": 100}, OrderState.REJECTED),
        # A finished order stays finished while its late trades are fetched.
        (
            OrderState.CANCELLED,
            {"venue": a_row(status=BrokerStatus.CANCELLED, filled_quantity=1)},
            OrderState.CANCELLED,
        ),
        (OrderState.CANCELLED, {"venue": FILLED_ROW, "fills": TWO}, OrderState.FILLED),
        # All of its trades were voided.
        (OrderState.FILLED, {"venue": a_row()}, OrderState.WORKING),
        (OrderState.FILLED, {"venue": FILLED_ROW, "voided_quantity": 2}, OrderState.CANCELLED),
        # Its tag is seen after all.
        (OrderState.NOT_SUBMITTED, {"venue": a_row()}, OrderState.WORKING),
    ],
)
def test_rows_and_trades_together_prove_a_state(
    state: OrderState, evidence: dict[str, Any], expected: OrderState
) -> None:
    after = settled(an_order(state, **evidence), cause="test", utc_us=1)

    assert after.state is expected
