"""What the venue says is booked once, whichever way it comes."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import ACCOUNT, START_US, Guard, a_quote, a_request, a_row, a_trade

from backstop.core.policy import MILLISECOND_NS
from backstop.core.positions import Knowledge
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import AuditAccount, LookUpOrder
from backstop.domain.events import Answer, OrderRegistered, TimerFired
from backstop.domain.order import LegRole, OrderState, OrderType, Side


def a_leg(guard: Guard, **changes: Any) -> dict[str, Any]:
    members: dict[str, Any] = {
        "broker_order_id": 101,
        "custom_tag": guard.order().custom_tag + "-SL",
        "side": Side.SELL,
        "type": OrderType.STOP,
        "stop_price": Decimal(4990),
    }
    return members | changes


# -- trades --------------------------------------------------------------------------------------


def test_the_same_trade_from_every_side_counts_once() -> None:
    guard = Guard().start()
    guard.working()
    guard.trade()
    guard.trade()
    guard.audit(trades=(a_trade(),), live_orders=(a_row(),))
    guard.condenses = False
    guard.audit(trades=(a_trade(),), live_orders=(a_row(),))

    assert guard.order().filled_quantity == 1
    assert guard.position() == 1
    assert guard.book.counters.duplicate_trades == 2


@pytest.mark.parametrize("first", ["hub", "read"])
def test_the_costs_of_a_trade_do_not_depend_on_who_told_it_first(first: str) -> None:
    """Only the hub states commissions."""
    guard = Guard().start()
    guard.working()
    for teller in ("hub", "read") if first == "hub" else ("read", "hub"):
        if teller == "hub":
            guard.trade(commissions_micros=250_000)
        else:
            guard.audit(trades=(a_trade(),), live_orders=(a_row(),))
    row = [row for step in guard.steps for row in step.fill_rows][-1]

    assert guard.order().fills[0].commissions_micros == 250_000
    assert row.commission == "0.62"
    assert guard.position() == 1


def test_a_proof_is_made_again_with_the_costs_that_came_late() -> None:
    guard = Guard().start()
    guard.working(quantity=1)
    guard.audit(trades=(a_trade(),), live_orders=(a_row(quantity=1),))
    proven = guard.steps[-1].proofs_due
    guard.trade(commissions_micros=250_000)

    assert (proven, guard.steps[-1].proofs_due) == (("c1",), ("c1",))


def test_a_trade_that_came_before_its_order_was_known_fills_it_later() -> None:
    guard = Guard().start()
    guard.submit()
    guard.dispatch()
    guard.trade(quantity=2)
    assert guard.position() == 2
    assert guard.state() is OrderState.SENT

    guard.answer(Answer.YES, 100)

    assert guard.state() is OrderState.FILLED


def test_a_voided_trade_is_taken_back_everywhere() -> None:
    guard = Guard().start()
    guard.working()
    guard.trade(quantity=2)
    guard.trade(quantity=2, voided=True)

    assert guard.position() == 0
    assert guard.order().filled_quantity == 0
    assert guard.state() is OrderState.WORKING


def test_a_void_before_its_trade_leaves_no_trace_of_either() -> None:
    guard = Guard().start()
    guard.working()
    guard.trade(voided=True)
    guard.trade()

    assert guard.position() == 0
    assert guard.order().filled_quantity == 0


def test_a_void_takes_back_what_was_counted_whatever_its_row_says() -> None:
    guard = Guard().start()
    guard.working()
    guard.trade(quantity=2)
    guard.trade(quantity=5, side=Side.SELL, broker_order_id=3, voided=True)

    assert guard.position() == 0
    assert guard.order().filled_quantity == 0


def test_a_trade_of_an_order_nobody_heard_of_counts_and_is_looked_into() -> None:
    guard = Guard().start()
    guard.trade(broker_order_id=555)

    assert guard.position() == 1
    assert guard.book.audit.asked


def test_a_trade_of_a_foreign_order_that_is_known_needs_no_look() -> None:
    guard = Guard().start()
    guard.row(broker_order_id=555)
    guard.trade(broker_order_id=555)

    assert not guard.book.audit.asked


def test_more_than_was_ordered_is_believed_and_alarms_once() -> None:
    guard = Guard().start()
    guard.working()
    guard.trade(quantity=2)
    guard.trade(trade_id=8, quantity=2)
    guard.trade(trade_id=9, quantity=1)

    assert guard.position() == 5
    assert guard.order().filled_quantity == 5
    assert guard.alerts().count("OVERFILL") == 1


# -- rows ----------------------------------------------------------------------------------------


def test_a_row_finds_its_order_by_tag_before_the_answer_came() -> None:
    guard = Guard().start()
    guard.submit()
    guard.row(custom_tag=guard.order().custom_tag)

    assert guard.state() is OrderState.WORKING
    assert guard.order().broker_order_id == 100


def test_a_row_without_tag_is_taken_over_once_the_answer_names_it() -> None:
    guard = Guard().start()
    guard.submit()
    guard.row(status=BrokerStatus.CANCELLED)
    assert 100 in guard.book.venue_orders

    guard.answer(Answer.YES, 100)

    assert guard.state() is OrderState.CANCELLED
    assert guard.book.venue_orders == {}


def test_what_a_row_without_tag_said_is_not_lost_when_a_late_row_names_it() -> None:
    guard = Guard().start()
    guard.submit()
    guard.row(status=BrokerStatus.CANCELLED)
    guard.row(custom_tag=guard.order().custom_tag)

    assert guard.state() is OrderState.CANCELLED
    assert guard.book.live_venue == {}


def test_rows_of_a_refused_twin_are_no_rows_of_the_order() -> None:
    guard = Guard().start()
    tag = {"custom_tag": guard.working().custom_tag}
    guard.row(broker_order_id=101, status=BrokerStatus.REJECTED, **tag)
    guard.row(broker_order_id=101, status=BrokerStatus.REJECTED, **tag)

    assert guard.state() is OrderState.WORKING
    assert guard.order().refused_twins == (101,)
    assert guard.alerts() == []


def test_the_living_order_wins_over_the_twin_heard_of_first() -> None:
    guard = Guard().start()
    guard.submit()
    tag = {"custom_tag": guard.order().custom_tag}
    guard.row(broker_order_id=101, status=BrokerStatus.REJECTED, **tag)
    assert guard.state() is OrderState.REJECTED
    guard.trade(broker_order_id=100)

    guard.row(broker_order_id=100, **tag)

    assert guard.state() is OrderState.PARTIALLY_FILLED
    assert guard.book.client_of_broker_id == {100: "c1"}


def test_two_living_orders_with_one_tag_are_both_held_and_reported_once() -> None:
    guard = Guard().start()
    tag = {"custom_tag": guard.working().custom_tag}
    guard.row(broker_order_id=101, **tag)
    guard.row(broker_order_id=101, updated_utc_us=START_US + 9, **tag)

    assert guard.order().broker_order_id == 100
    assert 101 in guard.book.live_venue
    assert guard.alerts().count("ORDER_DOUBLED") == 1


def test_a_row_that_cannot_follow_is_refused_and_counted() -> None:
    guard = Guard().start()
    guard.working()
    guard.row(status=BrokerStatus.CANCELLED)
    guard.row(status=BrokerStatus.EXPIRED)

    assert guard.order().state is OrderState.CANCELLED
    assert guard.book.counters.contradictions == 1
    assert guard.alerts() == ["CONTRADICTION"]


def test_a_voided_trade_counts_off_even_where_the_state_cannot_follow() -> None:
    """Refused by the venue, filled all the same, and the fill voided: no state fits all three."""
    guard = Guard().start()
    guard.working()
    guard.row(status=BrokerStatus.REJECTED)
    guard.trade()
    guard.trade(trade_id=8)
    guard.trade(trade_id=8, voided=True)
    assert guard.state() is OrderState.CANCELLED

    guard.trade(voided=True)

    assert guard.order().filled_quantity == 0
    assert guard.book.counters.contradictions == 1


def test_rows_of_another_account_are_counted_and_nothing_else() -> None:
    guard = Guard().start()
    other = {"account_id": ACCOUNT + 1}
    guard.row(**other)
    guard.trade(**other)
    guard.position_row(3, **other)

    assert guard.book.venue_orders == {}
    assert guard.book.trades == {}
    assert guard.book.positions == {}
    assert guard.book.counters.foreign_accounts == 3


# -- legs ----------------------------------------------------------------------------------------


def test_a_leg_is_known_by_its_tag_before_its_entry_has_a_number() -> None:
    guard = Guard().start()
    guard.submit()
    guard.row(**a_leg(guard))
    guard.row(**a_leg(guard, broker_order_id=102, custom_tag=guard.order().custom_tag + "-TP"))

    stop, target = guard.book.venue_orders[101], guard.book.venue_orders[102]
    assert (stop.owner, stop.role) == ("c1", LegRole.STOP_LOSS)
    assert (target.owner, target.role) == ("c1", LegRole.TAKE_PROFIT)


@pytest.mark.parametrize(
    ("type_", "role"),
    [
        (OrderType.STOP, LegRole.STOP_LOSS),
        (OrderType.TRAILING_STOP, LegRole.STOP_LOSS),
        (OrderType.LIMIT, LegRole.TAKE_PROFIT),
    ],
)
def test_a_leg_without_tag_is_known_by_its_parent(type_: OrderType, role: LegRole) -> None:
    guard = Guard().start()
    guard.working()
    guard.row(**a_leg(guard, custom_tag=None, parent_order_id=100, type=type_))

    leg = guard.book.venue_orders[101]
    assert (leg.owner, leg.role) == ("c1", role)


def test_a_leg_heard_of_before_its_parent_is_claimed_when_the_parent_is_known() -> None:
    guard = Guard().start()
    guard.submit()
    guard.row(**a_leg(guard, custom_tag=None, parent_order_id=100))
    guard.row(broker_order_id=300)
    assert [leg.owner for leg in guard.book.live_venue_orders()] == [None, None]

    guard.answer(Answer.YES, 100)

    assert [leg.owner for leg in guard.book.live_venue_orders()] == ["c1", None]


def test_the_suffix_of_a_stranger_makes_no_leg() -> None:
    guard = Guard().start()
    guard.row(broker_order_id=101, custom_tag="theirs-SL")

    assert guard.book.venue_orders[101].owner is None


def test_the_same_leg_row_again_is_no_news() -> None:
    guard = Guard().start()
    guard.working()
    guard.row(**a_leg(guard))

    assert guard.row(**a_leg(guard)).order_rows == ()


def test_a_leg_that_ends_is_no_longer_live() -> None:
    guard = Guard().start()
    guard.working()
    guard.row(**a_leg(guard))
    assert list(guard.book.live_venue) == [101]

    guard.row(**a_leg(guard, status=BrokerStatus.FILLED))

    assert list(guard.book.live_venue) == []


# -- positions -----------------------------------------------------------------------------------


def test_a_row_that_no_trade_explains_has_the_account_read() -> None:
    guard = Guard().start()
    guard.position_row(2)

    assert guard.position() == 2
    assert guard.book.audit.asked
    guard.trade(quantity=2)
    assert guard.book.position(a_row().contract_id).is_agreed


def test_a_difference_that_two_reads_confirm_is_believed_and_told() -> None:
    guard = Guard().start()
    guard.position_row(2)
    guard.trade(quantity=2)

    guard.audit(positions=(), after_ms=2000)
    assert guard.position() == 2
    guard.audit(positions=(), after_ms=2000)

    assert guard.position() == 0
    assert guard.book.counters.adjustments == 1
    assert guard.alerts() == ["POSITION_ADJUSTED"]


def test_a_contract_that_a_complete_read_did_not_name_is_known_to_be_flat() -> None:
    guard = Guard().start()

    assert guard.book.position("CON.F.US.CLE.Z26").knowledge is Knowledge.KNOWN
    assert Guard().book.position("CON.F.US.CLE.Z26").knowledge is Knowledge.UNKNOWN


# -- early reads slow down -------------------------------------------------------------------------


def test_reads_that_settle_nothing_are_repeated_ever_more_slowly() -> None:
    """The venue says two were filled and never shows the trades: it still counts our calls."""
    guard = Guard().start()
    guard.working()
    row = a_row(status=BrokerStatus.FILLED, filled_quantity=2)
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    before, sent = guard.now_ns, []
    while guard.now_ns < before + 60_000_000_000:
        result = guard.until_due()
        if any(isinstance(command, AuditAccount) for command in result.commands):
            sent.append(guard.now_ns)
            guard.audit(after_ms=100, orders=(row,))

    assert len(sent) < 20
    assert sent[1] - sent[0] < sent[-1] - sent[-2]


# -- searches ------------------------------------------------------------------------------------


def unanswered(guard: Guard, name: str, **changes: Any) -> None:
    """Send an order of which no answer comes."""
    decision = guard.submit(client_order_id=name, **changes)
    assert decision.order is not None, decision
    guard.dispatch(name)


def searched(guard: Guard, *, after_ms: int) -> list[str]:
    result = guard.feed(TimerFired(utc_us=guard.utc_us), after_ms=after_ms)
    return [it.client_order_id for it in result.commands if isinstance(it, LookUpOrder)]


def test_orders_that_are_searched_at_about_one_time_are_searched_together() -> None:
    """One search shows all of them, and the venue counts our calls."""
    guard = Guard().start()
    unanswered(guard, "c1")
    guard.now_ns += 100 * MILLISECOND_NS
    unanswered(guard, "c2", quantity=1)
    guard.now_ns += 280 * MILLISECOND_NS
    unanswered(guard, "c3", quantity=3)

    assert searched(guard, after_ms=10) == []
    assert searched(guard, after_ms=108) == ["c1", "c2"]
    assert searched(guard, after_ms=300) == []
    assert searched(guard, after_ms=90) == ["c3", "c1", "c2"]
    assert searched(guard, after_ms=240) == []


def test_nobody_is_searched_along_with_an_order_that_rests() -> None:
    guard = Guard().start()
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(4990))
    unanswered(guard, "c2", quantity=1)

    assert searched(guard, after_ms=499) == []


def test_what_is_asked_for_by_its_number_is_asked_for_in_its_own_time() -> None:
    """That takes a call of its own, which no other search spares."""
    guard = Guard().start()
    unanswered(guard, "c1")
    guard.feed(
        OrderRegistered(
            utc_us=guard.utc_us,
            request=a_request(client_order_id="c2", quantity=1),
            custom_tag="",
            broker_order_id=100,
            reference=a_quote(),
        )
    )

    assert searched(guard, after_ms=499) == ["c1"]
    assert searched(guard, after_ms=2) == ["c2"]
