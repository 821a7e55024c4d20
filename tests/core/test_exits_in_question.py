"""Exits of contracts that only reads of one moment call gone: never a new position unseen."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.builders import MES, a_policy, a_position, a_quote, a_request
from tests.core.protection_world import LOST, TOLD, World
from tests.core.test_guardrails import around
from tests.core.test_guardrails import judged as assessed

from backstop.core.guardrails import Assessment, Exposure
from backstop.core.policy import SECOND_NS
from backstop.core.pre_trade import judge
from backstop.core.step import DecisionKind
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.events import ModifyRequested, OrderRequested
from backstop.domain.order import OrderType, Side
from backstop.entrypoints.http.position_view import position_rows

HELD = 3
MARKET = 2


class UntoldWorld(World):
    """A world in which one order, and its trades, are shown nowhere."""

    hidden: int | None = None

    def _trades(self) -> tuple[Any, ...]:
        return tuple(it for it in super()._trades() if it.broker_order_id != self.hidden)

    def _rows(self, statuses: tuple[int, ...]) -> tuple[Any, ...]:
        rows = super()._rows(statuses)
        return tuple(it for it in rows if it.broker_order_id != self.hidden)


def holding() -> UntoldWorld:
    """Return a world long with a stop at 4990, some time after the fill."""
    world = UntoldWorld(policy=a_policy(protects=True))
    world.start()
    world.enter(quantity=HELD, stop=4990)
    world.wait(6_000)
    return world


def in_question(world: World) -> int:
    return world.book.position(MES).in_question


def wrong_reads(left: int = 0) -> UntoldWorld:
    """Return a world that holds three, while reads of one moment show ``left`` of them."""
    world = holding()
    rows = (a_position(left),) if left else ()
    world.shown = lambda _: rows
    world.run_until(lambda: bool(in_question(world)), "the reads were believed")
    return world


def right_reads(left: int = 0) -> UntoldWorld:
    """Return a world in which somebody sold all but ``left``, and only reads tell of it."""
    world = holding()
    world.tell = lambda _: LOST
    world.hidden = world.manual(MARKET, Side.SELL, HELD - left)
    world.run_until(lambda: bool(in_question(world)), "the reads were believed")
    world.tell = lambda _: TOLD
    return world


def judged(world: World, side: Side, quantity: int) -> Assessment:
    wish = OrderRequested(
        utc_us=world.guard.utc_us,
        request=a_request(client_order_id="out", side=side, quantity=quantity),
        reference=a_quote(),
    )
    assessment = judge(world.book, wish, now_ns=world.guard.now_ns)
    assert assessment is not None
    return assessment


def refusals(world: World, side: Side, quantity: int) -> tuple[Denial, ...]:
    return judged(world, side, quantity).denials


# -- orders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [wrong_reads, right_reads])
def test_an_exit_of_contracts_in_question_waits_and_is_told_what_is_allowed(world: Any) -> None:
    (denial,) = refusals(world(), Side.SELL, HELD)

    assert denial.code is DenialCode.POSITION_IN_QUESTION
    assert (denial.value, denial.limit, denial.max_quantity) == ("3", "0", 0)
    for word in (
        "+3 were held",
        "+3 of them",
        "other way",
        "/close",
        "5 seconds",
        "Their stops stay",
    ):
        assert word in denial.message


def test_what_is_surely_held_can_be_sold_meanwhile_and_no_more() -> None:
    world = wrong_reads(left=1)

    assert refusals(world, Side.SELL, 1) == ()
    (denial,) = refusals(world, Side.SELL, 2)
    assert (denial.code, denial.max_quantity) == (DenialCode.POSITION_IN_QUESTION, 1)
    assert "order of up to 1" in denial.message


def test_the_exit_passes_as_soon_as_something_says_that_the_contracts_are_there() -> None:
    world = wrong_reads()
    world.shown = lambda rows: rows
    world.run_until(lambda: not in_question(world), "it is known", limit_ms=7_000)
    world.exit(HELD)
    world.wait(10_000)

    assert world.position() == 0
    assert world.stops() == []


def test_more_than_was_ever_held_and_orders_of_the_other_side_are_judged_as_entries() -> None:
    world = wrong_reads()

    beyond = {it.code for it in refusals(world, Side.SELL, HELD + 1)}
    assert DenialCode.PROTECTION_LEFTOVER in beyond
    assert DenialCode.POSITION_IN_QUESTION not in beyond
    added = {it.code for it in refusals(world, Side.BUY, 1)}
    assert DenialCode.PROTECTION_LEFTOVER in added
    assert DenialCode.POSITION_IN_QUESTION not in added


def test_a_position_the_other_way_is_no_absence() -> None:
    """A row that shows a short where a long was is a word of its own: its exit is an exit."""
    world = wrong_reads(left=-1)

    assert in_question(world) == HELD
    assert refusals(world, Side.BUY, 1) == ()


def test_a_target_of_the_bot_that_rests_is_not_moved_while_its_contracts_are_in_question() -> None:
    world = holding()
    name = world.enter(Side.SELL, HELD, stop=None, type=OrderType.LIMIT, limit_price=Decimal(5030))
    world.wait(6_000)
    world.shown = lambda _: ()
    world.run_until(lambda: bool(in_question(world)), "the reads were believed")
    decision = world.decide(
        ModifyRequested(
            utc_us=world.guard.utc_us,
            client_order_id=name,
            limit_ticks=5010 * 4,
            reference=a_quote(),
        )
    )

    assert decision.kind is DecisionKind.REFUSED
    assert {it.code for it in decision.denials} == {DenialCode.POSITION_IN_QUESTION}


def test_after_a_trade_since_those_reads_nothing_is_sure_until_a_row_or_a_read_tells() -> None:
    """One of one was sold, or one of three: its row is lost, so nobody knows what is left."""
    world = right_reads(left=1)
    world.tell = lambda what: LOST if "Position" in what else TOLD
    world.exit(1)
    world.run_until(lambda: world.position() == 0, "it is sold")
    world.wait(20)

    assert in_question(world)
    (denial,) = refusals(world, Side.SELL, 1)
    assert (denial.code, denial.max_quantity) == (DenialCode.POSITION_IN_QUESTION, 0)


@given(
    held=st.integers(-5, 5),
    gone=st.integers(-5, 5),
    exits=st.integers(0, 5),
    side=st.sampled_from(Side),
    quantity=st.integers(1, 12),
)
def test_no_order_that_passes_as_an_exit_opens_a_position_in_either_picture(
    held: int, gone: int, exits: int, side: Side, quantity: int
) -> None:
    exposure = Exposure(position=held, exits=exits, in_question=gone if held * gone >= 0 else 0)
    assessment = assessed(around(exposure=exposure), side=side, quantity=quantity)
    if assessment.denials or not assessment.reducing:
        return
    for left in (held, held + exposure.in_question):
        assert left * (left + side.sign * quantity) >= 0


# -- closes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantity", [None, 1, HELD])
@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("reads", [wrong_reads, right_reads])
def test_a_close_is_taken_on_and_never_opens_a_position(
    reads: Any, left: int, quantity: int | None
) -> None:
    world = reads(left)
    decision = world.close(quantity)
    assert decision.kind is DecisionKind.ACCEPTED, decision
    least = most = world.position()
    until_ns = world.guard.now_ns + 30 * SECOND_NS
    world.shown = lambda rows: rows
    while world.guard.now_ns < until_ns:
        world.wait(50)
        least, most = min(least, world.position()), max(most, world.position())

    wanted = HELD if quantity is None else quantity
    assert least >= 0
    assert world.position() == min(HELD if reads is wrong_reads else left, HELD - wanted)


def test_more_than_was_held_cannot_be_closed() -> None:
    decision = wrong_reads().close(HELD + 1)

    (denial,) = decision.denials
    assert (denial.code, denial.max_quantity) == (DenialCode.POSITION_FLIP, HELD)


# -- what is shown --------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [0, 1])
def test_what_is_in_question_is_shown_as_held_and_unknown_with_its_stop(left: int) -> None:
    world = wrong_reads(left)
    (row,) = position_rows(world.book, now_ns=world.guard.now_ns)

    assert (row.quantity, row.in_question, row.knowledge) == (HELD, HELD - left, "UNKNOWN")
    assert (row.protection, [it.quantity for it in row.stops]) == ("PROTECTED", [HELD])


def test_what_is_in_question_without_a_stop_is_not_shown_as_protected() -> None:
    world = UntoldWorld(policy=a_policy(protects=True, stop_required=False))
    world.start()
    world.enter(quantity=1, stop=None)
    world.wait(6_000)
    world.shown = lambda _: ()
    world.run_until(lambda: bool(in_question(world)), "the reads were believed")
    (row,) = position_rows(world.book, now_ns=world.guard.now_ns)

    assert (row.quantity, row.protection, row.stop) == (1, "UNPROTECTED", None)


def test_once_it_is_decided_the_row_is_flat_and_gone() -> None:
    world = right_reads()
    world.run_until(lambda: not in_question(world), "a later read says so too")

    assert position_rows(world.book, now_ns=world.guard.now_ns) == ()
