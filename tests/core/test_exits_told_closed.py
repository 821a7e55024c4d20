"""Exits of contracts that a row says are closed, by a fill whose trade is late: never a flip."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.builders import (
    MES,
    Guard,
    a_guard_start,
    a_policy,
    a_position,
    a_quote,
    a_request,
)
from tests.core.protection_world import LOST, TOLD, Delivery, World
from tests.core.test_guardrails import around
from tests.core.test_guardrails import judged as assessed

from backstop.core.fills_to_come import closes_to_come
from backstop.core.guardrails import Assessment, Exposure
from backstop.core.order_waits import has_to_wait
from backstop.core.policy import SECOND_NS
from backstop.core.pre_trade import judge
from backstop.core.step import Decision, DecisionKind
from backstop.domain.alert_code import AlertCode
from backstop.domain.broker import BrokerOrder, BrokerStatus
from backstop.domain.commands import ClosePosition
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.events import (
    Answer,
    CloseRefusal,
    CloseRequested,
    OrderRequested,
    PositionCloseAnswered,
)
from backstop.domain.order import OrderRequest, Side

HELD = 3
MARKET = 2
LATE_MS = 3_000


def holding() -> World:
    """Return a world long with a stop at 4990, some time after the fill."""
    world = World(policy=a_policy(protects=True)).start()
    world.enter(quantity=HELD, stop=4990)
    world.wait(6_000)
    return world


def rows_alone(world: World, *, late_ms: int = LATE_MS) -> World:
    """Let orders be told of at once, trades late, and positions by reads alone."""
    delays = {
        "GatewayUserTrade": Delivery(copies_ms=(late_ms,)),
        "GatewayUserPosition": LOST,
    }
    world.tell = lambda target: delays.get(target, TOLD)
    return world


def sold_by_somebody(quantity: int) -> World:
    """Return a world in which the row alone tells of a sale on the firm's page."""
    world = rows_alone(holding())
    world.manual(MARKET, Side.SELL, quantity)
    world.wait(20)
    assert (world.position(), world.book.position(MES).quantity) == (HELD - quantity, HELD)
    return world


def stopped_out() -> World:
    """Return a world in which the row alone tells that the stop has filled."""
    world = rows_alone(holding())
    world.quote(4990)
    world.wait(20)
    assert (world.position(), world.book.position(MES).quantity) == (0, HELD)
    return world


def wrongly_told() -> World:
    """Return a world in which the row of the stop says that it has filled, and it has not."""
    world = holding()
    world.reads_fail = True
    (stop,) = (row["id"] for row in world.orders() if row["leg"] == "STOP_LOSS")

    def filled(row: BrokerOrder) -> BrokerOrder:
        if row.broker_order_id != stop:
            return row
        return replace(row, status=BrokerStatus.FILLED, filled_quantity=row.quantity)

    world.distort = filled
    world.move(stop, stop=4991)
    world.wait(20)
    assert world.position() == HELD
    world.distort = lambda row: row
    world.reads_fail = False
    return world


def an_exit(quantity: int, **changes: Any) -> OrderRequest:
    return a_request(client_order_id="out", side=Side.SELL, quantity=quantity, **changes)


def judged(world: World, quantity: int) -> Assessment:
    wish = OrderRequested(utc_us=world.guard.utc_us, request=an_exit(quantity), reference=a_quote())
    assessment = judge(world.book, wish, now_ns=world.guard.now_ns)
    assert assessment is not None
    return assessment


def refusals(world: World, quantity: int) -> tuple[Denial, ...]:
    return judged(world, quantity).denials


# -- orders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [stopped_out, wrongly_told])
def test_an_exit_of_what_a_row_says_is_closed_is_refused_and_told_what_is_allowed(
    told: Any,
) -> None:
    (denial,) = refusals(told(), HELD)

    assert denial.code is DenialCode.POSITION_IN_QUESTION
    assert (denial.value, denial.limit, denial.max_quantity) == ("3", "0", 0)
    for word in ("+3 are held", "3 of them are closed", "other way", "/close", "trade"):
        assert word in denial.message


def test_what_no_row_says_is_closed_can_be_sold_meanwhile_and_no_more() -> None:
    world = sold_by_somebody(2)

    assert refusals(world, 1) == ()
    (denial,) = refusals(world, 2)
    assert (denial.code, denial.max_quantity) == (DenialCode.POSITION_IN_QUESTION, 1)
    assert "order of up to 1" in denial.message


def test_with_its_trade_the_exit_is_judged_by_what_is_held() -> None:
    world = sold_by_somebody(2)
    world.wait(LATE_MS)
    name = world.exit(1)
    world.wait(LATE_MS + 10_000)

    assert world.book.orders[name].filled_quantity == 1
    assert (world.position(), world.stops()) == (0, [])


def test_an_exit_of_what_was_closed_after_all_is_no_exit() -> None:
    world = stopped_out()
    world.wait(LATE_MS)

    assessment = judged(world, HELD)
    assert not assessment.reducing
    assert DenialCode.POSITION_IN_QUESTION not in {it.code for it in assessment.denials}


def test_an_order_of_more_than_is_held_by_any_word_is_judged_as_ever() -> None:
    beyond = {it.code for it in refusals(stopped_out(), HELD + 1)}

    assert DenialCode.POSITION_FLIP in beyond
    assert DenialCode.POSITION_IN_QUESTION not in beyond


def test_the_exit_passes_within_seconds_where_the_row_was_wrong() -> None:
    world = wrongly_told()
    world.run_until(lambda: not refusals(world, HELD), "it passes", limit_ms=10_000)
    world.exit(HELD)
    world.wait(10_000)

    assert (world.position(), world.stops()) == (0, [])


def test_an_exit_of_ours_that_its_row_says_has_filled_is_counted_once() -> None:
    world = rows_alone(holding())
    world.exit(1)
    world.wait(20)
    assert (world.position(), world.book.position(MES).quantity) == (2, HELD)

    assert refusals(world, 2) == ()
    assert {it.code for it in refusals(world, 3)} == {DenialCode.POSITION_FLIP}


def test_a_fill_that_adds_to_the_position_takes_no_exit_away() -> None:
    world = rows_alone(holding())
    world.manual(MARKET, Side.BUY, 1)
    world.wait(20)

    assert closes_to_come(world.book, world.book.position(MES)) == 0
    assert refusals(world, HELD) == ()


def test_an_order_waits_a_moment_for_the_trade_of_a_row() -> None:
    world = sold_by_somebody(2)
    now_ns = world.guard.now_ns

    assert has_to_wait(world.book, an_exit(2), now_ns=now_ns)
    assert not has_to_wait(world.book, an_exit(1), now_ns=now_ns)
    world.wait(LATE_MS)
    assert not has_to_wait(world.book, an_exit(1), now_ns=world.guard.now_ns)


@given(
    held=st.integers(-5, 5),
    exits=st.integers(0, 5),
    told=st.integers(0, 5),
    side=st.sampled_from(Side),
    quantity=st.integers(1, 12),
)
def test_no_order_that_passes_as_an_exit_turns_the_position_in_either_picture(
    held: int, exits: int, told: int, side: Side, quantity: int
) -> None:
    told = min(told, abs(held))
    exposure = Exposure(position=held, exits=exits, closes_to_come=told)
    assessment = assessed(around(exposure=exposure), side=side, quantity=quantity)
    if assessment.denials or not assessment.reducing:
        return
    sign = 1 if held > 0 else -1
    for left in (held, held - sign * told):
        assert left * (left - sign * exits + side.sign * quantity) >= 0


# -- closes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [stopped_out, wrongly_told])
def test_a_close_is_taken_on_and_ends_flat(told: Any) -> None:
    world = told()
    decision = world.close()
    assert decision.kind is DecisionKind.ACCEPTED
    least, until_ns = world.position(), world.guard.now_ns + 30 * SECOND_NS
    while world.guard.now_ns < until_ns:
        world.wait(50)
        least = min(least, world.position())

    assert (least, world.position(), world.stops()) == (0, 0, [])


@pytest.mark.parametrize("told", [stopped_out, wrongly_told])
def test_however_often_a_bot_asks_before_the_trade_is_here_the_position_never_turns(
    told: Any,
) -> None:
    world = told()
    for _ in range(LATE_MS // 50 - 1):
        wish = OrderRequested(utc_us=world.guard.utc_us, request=an_exit(HELD), reference=a_quote())
        world.decide(wish)
        world.wait(50)
        assert world.position() >= 0


def told_to_close(answer: Answer = Answer.YES, *, quantity: int | None = None) -> Guard:
    """Return a guard long 3 that has asked for a close, and heard nothing but ``answer``."""
    guard = Guard().start()
    hold(guard)
    ask_to_close(guard, quantity=quantity)
    close_answered(guard, answer)
    return guard


def hold(guard: Guard, **trade: int) -> None:
    guard.trade(**({"broker_order_id": 900, "quantity": HELD} | trade))
    guard.position_row(HELD)
    guard.audit(positions=(a_position(HELD),), after_ms=6_000)


def ask_to_close(guard: Guard, *, quantity: int | None = None) -> None:
    guard.feed(
        CloseRequested(
            utc_us=guard.utc_us, contract_id=MES, reason="out", operator="bot", quantity=quantity
        )
    )


def close_answered(
    guard: Guard, answer: Answer, because: CloseRefusal = CloseRefusal.NO_POSITION
) -> None:
    refusal = because if answer is Answer.NO else None
    told = PositionCloseAnswered(
        utc_us=guard.utc_us, contract_id=MES, answer=answer, refusal=refusal
    )
    guard.feed(told, after_ms=50)


def exits(guard: Guard) -> Decision:
    return guard.submit(side=Side.SELL, quantity=HELD, stop_loss_price=None)


def exits_rest(guard: Guard, client_order_id: str) -> Decision:
    return guard.submit(
        client_order_id=client_order_id, side=Side.SELL, quantity=1, stop_loss_price=None
    )


@pytest.mark.parametrize("asked_again", [False, True])
def test_an_exit_is_refused_while_a_close_that_was_taken_may_have_done_its_work(
    *, asked_again: bool
) -> None:
    """One read lacks the position and nothing else tells of it: that proves neither."""
    guard = told_to_close()
    guard.audit(after_ms=3_000)
    assert guard.position() == HELD
    if asked_again:
        assert len(guard.commands_of(ClosePosition)) == 2
        close_answered(guard, Answer.NO)  # it has no such position

    decision = exits(guard)
    assert decision.kind is DecisionKind.REFUSED
    assert DenialCode.POSITION_FLIP in {it.code for it in decision.denials}


def test_an_exit_is_let_through_once_a_read_shows_that_a_close_did_nothing() -> None:
    guard = told_to_close()
    guard.audit(positions=(a_position(HELD),), after_ms=3_000)
    close_answered(guard, Answer.NO)

    assert exits(guard).kind is DecisionKind.ACCEPTED


def test_a_read_that_may_be_older_than_a_close_does_not_show_that_it_did_nothing() -> None:
    """The picture of a flat position may lag; then the venue says that it has no such position."""
    guard = told_to_close()
    guard.audit(positions=(a_position(HELD),), after_ms=600)
    assert len(guard.commands_of(ClosePosition)) == 2
    close_answered(guard, Answer.NO)
    assert exits(guard).kind is DecisionKind.REFUSED

    guard.audit(positions=(a_position(HELD),), after_ms=1_300)
    close_answered(guard, Answer.NO)
    assert exits(guard).kind is DecisionKind.ACCEPTED


def test_a_later_read_that_no_request_waits_for_shows_that_a_close_did_nothing() -> None:
    guard = told_to_close()
    guard.audit(positions=(a_position(HELD),), after_ms=600)
    close_answered(guard, Answer.NO)
    guard.audit(positions=(a_position(HELD),), after_ms=300)
    close_answered(guard, Answer.NO)
    assert exits(guard).kind is DecisionKind.REFUSED

    guard.audit(positions=(a_position(HELD),), after_ms=300)
    guard.audit(positions=(a_position(HELD),), after_ms=900)
    close_answered(guard, Answer.NO)
    assert exits(guard).kind is DecisionKind.ACCEPTED


def test_an_exit_is_let_through_when_the_venue_refused_the_close() -> None:
    assert exits(told_to_close(Answer.NO)).kind is DecisionKind.ACCEPTED


def test_an_exit_is_refused_where_a_read_shows_less_than_is_believed() -> None:
    """A close that filled in part did something: an exit of all of it would open the other side."""
    guard = told_to_close()
    guard.audit(positions=(a_position(1),), after_ms=1_500)
    close_answered(guard, Answer.NO, CloseRefusal.NOT_NOW)
    assert exits(guard).kind is DecisionKind.REFUSED

    guard.audit(positions=(a_position(1),), after_ms=1_500)
    close_answered(guard, Answer.NO, CloseRefusal.NOT_NOW)
    out = guard.submit(client_order_id="rest", side=Side.SELL, quantity=1, stop_loss_price=None)
    assert out.kind is DecisionKind.ACCEPTED


def test_an_exit_of_the_rest_is_refused_while_a_close_of_all_may_have_closed_that_too() -> None:
    """The reads that show the rest may be from before the close, and what is gone another's work.

    Then the venue says that it has no such position.
    """
    guard = told_to_close()
    for _ in range(2):
        guard.audit(positions=(a_position(1),), after_ms=350)
    assert guard.position() == 1
    assert len(guard.commands_of(ClosePosition)) == 2
    close_answered(guard, Answer.NO)
    decision = exits_rest(guard, "too early")
    assert decision.kind is DecisionKind.REFUSED
    assert DenialCode.POSITION_FLIP in {it.code for it in decision.denials}

    guard.audit(positions=(a_position(1),), after_ms=1_300)
    close_answered(guard, Answer.NO)
    assert exits_rest(guard, "shown").kind is DecisionKind.ACCEPTED


def test_an_exit_is_let_through_of_the_rest_that_no_close_was_for() -> None:
    """Two of three were to be closed, and are gone; then the rest is to go as well."""
    guard = told_to_close(quantity=HELD - 1)
    guard.position_row(1)
    ask_to_close(guard)
    guard.audit(positions=(a_position(1),), after_ms=450)
    assert len(guard.commands_of(ClosePosition)) == 2
    close_answered(guard, Answer.NO, CloseRefusal.NOT_NOW)
    assert exits_rest(guard, "rest").kind is DecisionKind.ACCEPTED


def test_an_exit_is_let_through_of_what_was_bought_while_a_close_did_all_its_work() -> None:
    guard = told_to_close()
    guard.trade(trade_id=20, broker_order_id=950, side=Side.SELL, quantity=HELD)
    guard.trade(trade_id=30, broker_order_id=960, quantity=1)
    guard.position_row(1)
    guard.audit(positions=(a_position(1),), after_ms=450)
    assert len(guard.commands_of(ClosePosition)) == 2
    close_answered(guard, Answer.NO, CloseRefusal.NOT_NOW)
    assert exits_rest(guard, "new").kind is DecisionKind.ACCEPTED


def test_a_part_is_not_over_by_a_read_that_may_be_older_than_its_close() -> None:
    """It may have closed one contract: then an exit of all three opens the other side."""
    guard = told_to_close(quantity=1)
    guard.audit(positions=(a_position(HELD),), after_ms=450)
    assert exits(guard).kind is DecisionKind.REFUSED
    assert AlertCode.CLOSE_INCOMPLETE not in guard.alerts()

    guard.audit(positions=(a_position(HELD),), after_ms=1_000)
    assert AlertCode.CLOSE_INCOMPLETE in guard.alerts()
    assert not guard.book.liquidating
    assert exits(guard).kind is DecisionKind.ACCEPTED


def test_a_part_is_not_over_by_one_read_that_shows_that_it_was_closed() -> None:
    """Two say so before the position counts as smaller: until then three would be closed of two."""
    guard = told_to_close(quantity=1)
    guard.audit(positions=(a_position(HELD - 1),), after_ms=1_500)
    assert exits(guard).kind is DecisionKind.REFUSED

    guard.audit(positions=(a_position(HELD - 1),), after_ms=1_000)
    assert not guard.book.liquidating
    assert guard.position() == HELD - 1
    assert AlertCode.CLOSE_INCOMPLETE not in guard.alerts()


def test_what_a_close_of_long_ago_did_is_not_taken_for_one_that_was_under_way_at_a_crash() -> None:
    """The new process knows neither answer nor order of it: it may be filling now."""
    guard = told_to_close()
    guard.trade(trade_id=20, broker_order_id=950, side=Side.SELL, quantity=HELD)
    guard.position_row(0)
    for _ in range(3):
        guard.audit(after_ms=1_500)
    assert not guard.book.liquidating
    hold(guard, trade_id=30, broker_order_id=960)
    ask_to_close(guard)
    assert exits(guard).kind is DecisionKind.REFUSED

    guard.feed(a_guard_start(utc_us=guard.utc_us, downtime_ms=500), after_ms=500)
    out = guard.submit(client_order_id="again", side=Side.SELL, quantity=HELD, stop_loss_price=None)
    assert out.kind is DecisionKind.REFUSED
    assert DenialCode.POSITION_FLIP in {it.code for it in out.denials}
