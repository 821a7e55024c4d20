"""Did what we sent really happen, once, at an acceptable price?"""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.builders import (
    START_NS,
    START_US,
    a_row,
    a_trade,
    an_intent,
    an_order,
)

from backstop.core.execution_verification import (
    ABSENCE_MIN_AGE_NS,
    ABSENCE_MIN_GAP_NS,
    LOOK_UP_PAUSES_NS,
    PENDING_POLL_NS,
    REPLY_LIMIT_NS,
    RESTART_GRACE_NS,
    TWINS_KEPT,
    Ask,
    after_restart,
    along,
    answered,
    dispatched,
    doubled,
    looked_up,
    on_time,
    reported,
    traded,
)
from backstop.core.policy import SECOND_NS
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.broker import BrokerStatus
from backstop.domain.events import Answer, OrderLookedUp, PlaceAnswered
from backstop.domain.order import OrderState, OrderType, Rejection

TIMEOUT_NS = 10 * SECOND_NS
TWO = (a_trade(), a_trade(trade_id=8))


def an_answer(answer: Answer, **changes: Any) -> PlaceAnswered:
    members: dict[str, Any] = {"utc_us": 1, "client_order_id": "c1", "answer": answer}
    return PlaceAnswered(**(members | changes))


def a_look_up(sent_ns: int, **changes: Any) -> OrderLookedUp:
    members: dict[str, Any] = {
        "utc_us": 1,
        "client_order_id": "c1",
        "sent_ns": sent_ns,
        "complete": True,
    }
    return OrderLookedUp(**(members | changes))


def a_limit_order(state: OrderState, **changes: Any) -> TrackedOrder:
    intent = an_intent(type=OrderType.LIMIT, limit_ticks=20_000)
    return an_order(state, intent=intent, **changes)


def a_sent_order(**changes: Any) -> TrackedOrder:
    members: dict[str, Any] = {"sent_ns": START_NS, "due_ns": START_NS + PENDING_POLL_NS}
    return an_order(OrderState.SENT, **(members | changes))


# -- sending -------------------------------------------------------------------------------------


def test_a_dispatched_order_is_sent_and_asked_about_soon() -> None:
    after = dispatched(an_order(), utc_us=1, now_ns=START_NS).order

    assert after.state is OrderState.SENT
    assert (after.sent_ns, after.due_ns) == (START_NS, START_NS + PENDING_POLL_NS)


def test_an_order_that_the_hub_showed_already_is_not_sent_back_to_sent() -> None:
    order = an_order(OrderState.WORKING)

    assert dispatched(order, utc_us=1, now_ns=START_NS).order is order


# -- answers -------------------------------------------------------------------------------------


def test_a_yes_makes_a_market_order_work_and_be_polled() -> None:
    after = answered(a_sent_order(), an_answer(Answer.YES, broker_order_id=100), now_ns=START_NS)

    assert after.order.state is OrderState.WORKING
    assert after.order.broker_order_id == 100
    assert after.order.due_ns == START_NS + PENDING_POLL_NS


def test_a_yes_lets_a_limit_order_rest() -> None:
    given = a_limit_order(OrderState.SENT, due_ns=7)
    after = answered(given, an_answer(Answer.YES, broker_order_id=100), now_ns=START_NS)

    assert after.order.state is OrderState.WORKING
    assert after.order.due_ns == 0


def test_a_yes_after_the_whole_fill_was_heard_changes_nothing() -> None:
    given = an_order(OrderState.FILLED, broker_order_id=100, venue=a_row(), fills=TWO)
    after = answered(given, an_answer(Answer.YES, broker_order_id=100), now_ns=START_NS)

    assert after.order.state is OrderState.FILLED
    assert after.order.due_ns == 0


def test_a_yes_without_an_order_id_is_no_proof() -> None:
    after = answered(a_sent_order(), an_answer(Answer.YES), now_ns=START_NS)

    assert after.order.state is OrderState.UNKNOWN
    assert after.ask is Ask.LOOK_UP


def test_a_no_rejects_with_the_venues_words() -> None:
    fact = an_answer(Answer.NO, broker_order_id=100, code=2, message="Not enough margin.")
    after = answered(a_sent_order(), fact, now_ns=START_NS).order

    assert after.state is OrderState.REJECTED
    assert (after.venue_code, after.venue_message) == (2, "Not enough margin.")
    assert after.rejection is Rejection.UNSTATED
    assert after.due_ns == 0


@pytest.mark.parametrize("first", ["answer", "row"])
def test_the_kind_of_a_no_is_kept_whether_the_answer_or_the_row_comes_first(first: str) -> None:
    fact = an_answer(
        Answer.NO, broker_order_id=100, code=2, message="closed", rejection=Rejection.TRANSIENT
    )
    row = a_row(status=BrokerStatus.REJECTED)
    order = a_sent_order()
    for step in ("answer", "row") if first == "answer" else ("row", "answer"):
        if step == "answer":
            order = answered(order, fact, now_ns=START_NS).order
        else:
            order = reported(order, row, utc_us=0).order

    assert order.state is OrderState.REJECTED
    assert order.rejection is Rejection.TRANSIENT


def test_a_row_alone_says_that_it_was_rejected_and_not_why() -> None:
    row = a_row(status=BrokerStatus.REJECTED)
    after = reported(an_order(OrderState.UNKNOWN), row, utc_us=0).order

    assert after.state is OrderState.REJECTED
    assert after.rejection is Rejection.UNSTATED


def test_an_order_that_comes_back_to_life_was_not_rejected() -> None:
    given = an_order(OrderState.REJECTED, rejection=Rejection.PERMANENT)
    after = traded(given, TWO, cause="trades", utc_us=0).order

    assert after.state is OrderState.FILLED
    assert after.rejection is None


def test_a_no_outweighs_a_row_that_was_only_pending() -> None:
    pending = a_row(status=BrokerStatus.PENDING)
    given = an_order(OrderState.WORKING, broker_order_id=100, venue=pending)

    after = answered(given, an_answer(Answer.NO, broker_order_id=100), now_ns=START_NS)

    assert after.order.state is OrderState.REJECTED


@pytest.mark.parametrize("answer", [Answer.NO, Answer.NOT_SENT, Answer.UNKNOWN])
def test_an_answer_does_not_outweigh_what_the_venue_showed(answer: Answer) -> None:
    given = an_order(OrderState.WORKING, broker_order_id=100, venue=a_row())

    assert answered(given, an_answer(answer), now_ns=START_NS).order == given


def test_what_never_left_this_machine_was_not_submitted() -> None:
    after = answered(a_sent_order(), an_answer(Answer.NOT_SENT), now_ns=START_NS).order

    assert after.state is OrderState.NOT_SUBMITTED
    assert after.due_ns == 0


@pytest.mark.parametrize("state", [OrderState.INTENDED, OrderState.SENT])
def test_silence_is_not_a_rejection(state: OrderState) -> None:
    after = answered(an_order(state), an_answer(Answer.UNKNOWN), now_ns=START_NS)

    assert after.order.state is OrderState.UNKNOWN
    assert after.ask is Ask.LOOK_UP
    assert after.order.open_quantity == 2


def test_an_id_in_an_answer_that_proves_nothing_names_nothing() -> None:
    """A gateway that is still thinking may name an id; the fate of the order is unknown still."""
    given_order = a_sent_order()

    when = answered(
        given_order, an_answer(Answer.UNKNOWN, broker_order_id=100), now_ns=START_NS + SECOND_NS
    )

    assert when.order.state is OrderState.UNKNOWN
    assert when.order.broker_order_id is None
    assert when.ask is Ask.LOOK_UP
    assert when.order.due_ns > START_NS + SECOND_NS


def test_a_second_silence_changes_nothing() -> None:
    given = an_order(OrderState.UNKNOWN, due_ns=9)

    assert answered(given, an_answer(Answer.UNKNOWN), now_ns=START_NS).order == given


# -- one tag, two orders -------------------------------------------------------------------------


def test_a_tag_in_use_proves_that_an_earlier_request_arrived() -> None:
    fact = an_answer(Answer.NO, broker_order_id=101, tag_in_use=True)
    after = answered(a_sent_order(), fact, now_ns=START_NS)

    assert after.order.state is OrderState.UNKNOWN
    assert after.order.refused_twins == (101,)
    assert after.order.broker_order_id is None
    assert after.ask is Ask.LOOK_UP


def test_a_tag_in_use_without_an_order_id_proves_the_same() -> None:
    after = answered(a_sent_order(), an_answer(Answer.NO, tag_in_use=True), now_ns=START_NS)

    assert after.order.state is OrderState.UNKNOWN
    assert after.order.refused_twins == ()


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (OrderState.REJECTED, BrokerStatus.REJECTED),
        (OrderState.WORKING, BrokerStatus.PENDING),
    ],
)
def test_the_row_of_a_twin_that_was_mistaken_for_the_order_is_given_up(
    state: OrderState, status: BrokerStatus
) -> None:
    twin = a_row(broker_order_id=101, status=status)
    given = an_order(state, broker_order_id=101, venue=twin, sent_ns=5)
    fact = an_answer(Answer.NO, broker_order_id=101, tag_in_use=True)

    after = answered(given, fact, now_ns=START_NS).order

    assert after.state is OrderState.UNKNOWN
    assert (after.broker_order_id, after.venue) == (None, None)
    assert after.sent_ns == START_NS, "an older request's time says nothing"


def test_a_refused_twin_does_not_shake_an_order_that_is_known() -> None:
    given = an_order(OrderState.WORKING, broker_order_id=100, venue=a_row())
    fact = an_answer(Answer.NO, broker_order_id=101, tag_in_use=True)

    after = answered(given, fact, now_ns=START_NS).order

    assert after == replace(given, refused_twins=(101,))


def test_an_order_that_was_filled_is_not_given_up_for_its_number() -> None:
    given = an_order(OrderState.FILLED, broker_order_id=100, venue=a_row(), fills=TWO)
    fact = an_answer(Answer.NO, broker_order_id=100, tag_in_use=True)

    assert answered(given, fact, now_ns=START_NS).order.fills == TWO


def test_a_tag_in_use_reopens_an_order_that_seemed_never_to_have_arrived() -> None:
    given = an_order(OrderState.NOT_SUBMITTED)
    after = answered(given, an_answer(Answer.NO, tag_in_use=True), now_ns=START_NS)

    assert after.order.state is OrderState.UNKNOWN


def test_a_rejected_row_with_our_tag_is_a_twin_when_ours_is_another() -> None:
    given = an_order(OrderState.WORKING, broker_order_id=100, venue=a_row())
    twin = a_row(broker_order_id=101, status=BrokerStatus.REJECTED)

    after = doubled(given, twin, utc_us=1, now_ns=START_NS)

    assert after is not None
    assert after.order == replace(given, refused_twins=(101,))
    again = doubled(after.order, twin, utc_us=1, now_ns=START_NS)
    assert again is not None
    assert again.order == after.order


def test_the_living_order_replaces_the_twin_that_was_heard_of_first() -> None:
    twin = a_row(broker_order_id=101, status=BrokerStatus.REJECTED)
    given = an_order(OrderState.REJECTED, broker_order_id=101, venue=twin)

    after = doubled(given, a_row(broker_order_id=100), utc_us=1, now_ns=START_NS)

    assert after is not None
    assert after.order.state is OrderState.WORKING
    assert after.order.broker_order_id == 100
    assert after.order.refused_twins == (101,)


def test_two_living_orders_with_one_tag_are_no_twins() -> None:
    given = an_order(OrderState.WORKING, broker_order_id=100, venue=a_row())

    assert doubled(given, a_row(broker_order_id=101), utc_us=1, now_ns=START_NS) is None


def test_remembered_twins_are_bounded() -> None:
    order = a_sent_order()
    for number in range(TWINS_KEPT + 5):
        fact = an_answer(Answer.NO, broker_order_id=number + 1, tag_in_use=True)
        order = answered(order, fact, now_ns=START_NS).order

    assert len(order.refused_twins) == TWINS_KEPT


# -- rows and trades -----------------------------------------------------------------------------


def test_a_row_finds_an_order_of_unknown_fate_and_ends_its_search() -> None:
    given = an_order(OrderState.UNKNOWN, lookups=1, first_absent_ns=7)
    after = reported(given, a_row(), utc_us=1)

    assert after.order.state is OrderState.WORKING
    assert (after.order.lookups, after.order.first_absent_ns) == (0, 0)
    assert after.ask is Ask.NOTHING


def test_a_fill_of_which_the_trades_are_missing_has_the_account_read() -> None:
    row = a_row(status=BrokerStatus.FILLED, filled_quantity=2)
    after = reported(a_sent_order(), row, utc_us=1)

    assert after.order.state is OrderState.WORKING
    assert after.ask is Ask.AUDIT


def test_a_moved_level_is_kept_with_the_time_of_the_row_that_shows_it() -> None:
    limit = a_limit_order(OrderState.WORKING, reference_price=Decimal(5000))
    stop = an_order(
        OrderState.WORKING,
        intent=an_intent(type=OrderType.STOP, stop_ticks=1),
        reference_price=Decimal(5000),
    )
    market = an_order(OrderState.WORKING, reference_price=Decimal(5000))
    row = a_row(limit_price=Decimal(5010), stop_price=Decimal(5020), updated_utc_us=START_US)

    after = [reported(it, row, utc_us=1).order for it in (limit, stop, market)]

    seen = [[(it.price, it.utc_us) for it in order.levels_seen.seen] for order in after]
    assert seen == [[(Decimal(5010), START_US)], [(Decimal(5020), START_US)], []]
    assert {order.reference_price for order in after} == {Decimal(5000)}  # as it was sent


def test_trades_that_add_up_fill_the_order() -> None:
    given = an_order(OrderState.WORKING, broker_order_id=100, due_ns=5)
    after = traded(given, reversed(TWO), cause="trade", utc_us=1)

    assert after.order.state is OrderState.FILLED
    assert after.order.fills == TWO
    assert after.order.due_ns == 0


def test_the_same_trades_again_change_nothing() -> None:
    given = an_order(OrderState.FILLED, broker_order_id=100, fills=TWO)

    assert traded(given, TWO, cause="trade", utc_us=1).order is given


def test_a_voided_trade_is_taken_back() -> None:
    given = an_order(OrderState.FILLED, broker_order_id=100, venue=a_row(), fills=TWO)
    trades = (TWO[0], replace(TWO[1], voided=True))

    after = traded(given, trades, cause="void", utc_us=1).order

    assert after.state is OrderState.PARTIALLY_FILLED
    assert (after.filled_quantity, after.voided_quantity) == (1, 1)


# -- absence -------------------------------------------------------------------------------------

LATE_NS = START_NS + REPLY_LIMIT_NS + ABSENCE_MIN_AGE_NS


def an_unknown_order(**changes: Any) -> TrackedOrder:
    return an_order(OrderState.UNKNOWN, **({"sent_ns": START_NS} | changes))


def test_two_complete_late_reads_apart_from_each_other_prove_absence() -> None:
    once = looked_up(an_unknown_order(), a_look_up(LATE_NS), now_ns=LATE_NS).order
    assert once.state is OrderState.UNKNOWN
    assert once.due_ns == LATE_NS + LOOK_UP_PAUSES_NS[0]

    later_ns = LATE_NS + ABSENCE_MIN_GAP_NS
    twice = looked_up(once, a_look_up(later_ns), now_ns=later_ns).order

    assert twice.state is OrderState.NOT_SUBMITTED
    assert twice.due_ns == 0
    assert twice.lookups == 2


def test_a_second_read_soon_after_the_first_proves_nothing() -> None:
    once = looked_up(an_unknown_order(), a_look_up(LATE_NS), now_ns=LATE_NS).order
    soon_ns = LATE_NS + ABSENCE_MIN_GAP_NS - 1

    assert looked_up(once, a_look_up(soon_ns), now_ns=soon_ns).order.state is OrderState.UNKNOWN


@pytest.mark.parametrize(
    "fact",
    [
        a_look_up(LATE_NS - 1),
        a_look_up(LATE_NS, complete=False),
        a_look_up(LATE_NS, orders=(a_row(broker_order_id=55, custom_tag="x-SL"),)),
    ],
    ids=["too early", "incomplete", "a leg of it is there"],
)
def test_an_early_or_incomplete_read_does_not_count(fact: OrderLookedUp) -> None:
    after = looked_up(an_unknown_order(), fact, now_ns=LATE_NS).order

    assert after.lookups == 0
    assert after.due_ns > LATE_NS


def test_a_search_that_shows_only_the_refused_twin_does_not_show_the_order() -> None:
    given = an_unknown_order(refused_twins=(101,))
    fact = a_look_up(LATE_NS, orders=(a_row(broker_order_id=101),))

    assert looked_up(given, fact, now_ns=LATE_NS).order.lookups == 1


def test_absence_says_nothing_about_an_order_that_is_known() -> None:
    given = an_order(OrderState.WORKING, broker_order_id=100)

    assert looked_up(given, a_look_up(LATE_NS), now_ns=LATE_NS).order is given


def test_the_pauses_between_searches_grow_to_a_limit() -> None:
    order, pauses = an_unknown_order(), []
    for _ in range(6):
        order = looked_up(order, a_look_up(START_NS, complete=False), now_ns=START_NS).order
        pauses.append(order.due_ns - START_NS)

    assert pauses == [*LOOK_UP_PAUSES_NS, LOOK_UP_PAUSES_NS[-1], LOOK_UP_PAUSES_NS[-1]]


# -- deadlines -----------------------------------------------------------------------------------


def test_an_unanswered_order_is_asked_about_before_it_counts_as_unknown() -> None:
    now_ns = START_NS + PENDING_POLL_NS
    after = on_time(a_sent_order(), utc_us=1, now_ns=now_ns, timeout_ns=TIMEOUT_NS)

    assert after.order.state is OrderState.SENT
    assert after.ask is Ask.LOOK_UP
    assert now_ns < after.order.due_ns <= START_NS + REPLY_LIMIT_NS


def test_an_order_unanswered_beyond_every_deadline_is_unknown() -> None:
    now_ns = START_NS + REPLY_LIMIT_NS
    after = on_time(a_sent_order(), utc_us=1, now_ns=now_ns, timeout_ns=TIMEOUT_NS)

    assert after.order.state is OrderState.UNKNOWN
    assert after.order.sent_ns == START_NS
    assert after.ask is Ask.LOOK_UP


def test_the_last_poll_of_a_sent_order_is_at_its_limit() -> None:
    given = a_sent_order(attempts=9)
    now_ns = START_NS + REPLY_LIMIT_NS - 1
    after = on_time(given, utc_us=1, now_ns=now_ns, timeout_ns=TIMEOUT_NS).order

    assert after.due_ns == START_NS + REPLY_LIMIT_NS


def test_an_unknown_order_is_searched_and_never_sent_again() -> None:
    given = an_unknown_order(due_ns=START_NS)
    after = on_time(given, utc_us=1, now_ns=START_NS, timeout_ns=TIMEOUT_NS)

    assert after.ask is Ask.LOOK_UP
    assert after.order.due_ns == START_NS + REPLY_LIMIT_NS


@pytest.mark.parametrize(
    "order",
    [
        an_order(OrderState.WORKING, broker_order_id=100, due_ns=START_NS),
        a_limit_order(
            OrderState.WORKING,
            broker_order_id=100,
            venue=a_row(filled_quantity=1),
            due_ns=START_NS,
        ),
    ],
    ids=["market", "limit that lacks a trade"],
)
def test_an_order_that_should_be_done_is_polled_ever_more_slowly(order: TrackedOrder) -> None:
    pauses = []
    for _ in range(6):
        after = on_time(order, utc_us=1, now_ns=order.due_ns, timeout_ns=TIMEOUT_NS)
        assert after.ask is Ask.LOOK_UP
        pauses.append((after.order.due_ns - order.due_ns) / PENDING_POLL_NS)
        order = after.order

    assert pauses == [1, 2, 4, 8, 16, 20]


def test_a_resting_order_may_rest() -> None:
    given = a_limit_order(OrderState.WORKING, venue=a_row(), due_ns=START_NS)
    after = on_time(given, utc_us=1, now_ns=START_NS, timeout_ns=TIMEOUT_NS)

    assert after.order.due_ns == 0
    assert after.ask is Ask.NOTHING


@pytest.mark.parametrize(
    "order",
    [
        an_order(OrderState.WORKING, due_ns=START_NS + 1),
        an_order(OrderState.WORKING),
        an_order(OrderState.FILLED, due_ns=START_NS),
    ],
    ids=["not due", "never due", "finished"],
)
def test_nothing_is_asked_before_its_time(order: TrackedOrder) -> None:
    assert on_time(order, utc_us=1, now_ns=START_NS, timeout_ns=TIMEOUT_NS).order is order


# -- along with another one ----------------------------------------------------------------------


def asked_along(order: TrackedOrder, *, now_ns: int = START_NS) -> bool:
    after = along(order, utc_us=1, now_ns=now_ns, timeout_ns=TIMEOUT_NS)
    assert (after.ask is Ask.LOOK_UP) or after.order is order
    return after.ask is Ask.LOOK_UP


@pytest.mark.parametrize(
    ("order", "pause_ns"),
    [
        (an_order(OrderState.UNKNOWN, attempts=1), LOOK_UP_PAUSES_NS[0]),
        (an_order(OrderState.UNKNOWN, attempts=9), LOOK_UP_PAUSES_NS[-1]),
        (a_sent_order(), PENDING_POLL_NS),
        (a_sent_order(attempts=3), 4 * PENDING_POLL_NS),
        (an_order(OrderState.WORKING, broker_order_id=100, attempts=99), TIMEOUT_NS),
        (
            a_limit_order(OrderState.WORKING, venue=a_row(filled_quantity=1), attempts=1),
            PENDING_POLL_NS,
        ),
    ],
    ids=[
        "unknown",
        "unknown for long",
        "sent",
        "sent long since",
        "at the market",
        "lacks a trade",
    ],
)
def test_an_order_is_looked_for_along_with_another_after_half_its_pause(
    order: TrackedOrder, pause_ns: int
) -> None:
    assert asked_along(replace(order, due_ns=START_NS + pause_ns // 2))
    assert not asked_along(replace(order, due_ns=START_NS + pause_ns // 2 + 1))


def test_an_order_whose_search_is_under_way_is_not_searched_along() -> None:
    under_way = an_unknown_order(due_ns=START_NS + REPLY_LIMIT_NS, attempts=9)

    assert not asked_along(under_way)
    assert not asked_along(under_way, now_ns=START_NS + 10 * SECOND_NS)


@pytest.mark.parametrize(
    "order",
    [
        a_limit_order(OrderState.WORKING, venue=a_row(), due_ns=START_NS),
        an_order(OrderState.WORKING, broker_order_id=100),
        an_order(OrderState.FILLED, due_ns=START_NS),
    ],
    ids=["rests", "never due", "finished"],
)
def test_what_needs_no_search_is_not_searched_along(order: TrackedOrder) -> None:
    assert not asked_along(order)


def test_a_search_along_does_not_come_too_soon_to_prove_absence() -> None:
    """It would be lost on the order, and the next one comes a whole pause later."""
    once = an_unknown_order(lookups=1, first_absent_ns=LATE_NS, attempts=9)
    soon_ns, later_ns = LATE_NS + ABSENCE_MIN_GAP_NS - 1, LATE_NS + ABSENCE_MIN_GAP_NS

    assert not asked_along(replace(once, due_ns=soon_ns + 1), now_ns=soon_ns)
    assert asked_along(replace(once, due_ns=later_ns + 1), now_ns=later_ns)


# -- restart -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [OrderState.INTENDED, OrderState.SENT, OrderState.UNKNOWN])
def test_what_was_under_way_is_of_unknown_fate_after_a_restart(state: OrderState) -> None:
    given = an_order(state, sent_ns=9**18, due_ns=9**18, lookups=1, first_absent_ns=9**18)
    after = after_restart(given, utc_us=1, now_ns=START_NS).order

    assert after.state is OrderState.UNKNOWN
    assert (after.sent_ns, after.due_ns) == (START_NS, START_NS + RESTART_GRACE_NS)
    assert (after.lookups, after.first_absent_ns) == (0, 0)


def test_a_working_order_works_on_after_a_restart() -> None:
    given = an_order(OrderState.WORKING, broker_order_id=100, venue=a_row(), due_ns=9**18)
    after = after_restart(given, utc_us=1, now_ns=START_NS).order

    assert after.state is OrderState.WORKING
    assert after.due_ns == 0
