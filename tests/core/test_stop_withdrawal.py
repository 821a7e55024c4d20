"""To take a stop away is no cut of risk: what is refused, and what is possible all the same."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.builders import MES, Guard, a_policy, a_position, a_row

from backstop.core.book import UNLISTED_READS_MAX, Search, Wake
from backstop.core.execution_verification import REPLY_LIMIT_NS
from backstop.core.leftovers import ASK_AGAIN_NS
from backstop.core.order_moves import LATE_NS
from backstop.core.policy import MILLISECOND_NS
from backstop.core.protection_record import Change
from backstop.core.repeated_requests import CANCEL_PAUSE_MAX_NS
from backstop.core.step import Decision, DecisionKind
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import CancelOrder, ClosePosition, ModifyOrder
from backstop.domain.denial import DenialCode
from backstop.domain.events import (
    Answer,
    CancelAnswered,
    CancelRequested,
    CloseRequested,
    ModifyAnswered,
    ModifyRequested,
    PositionCloseAnswered,
)
from backstop.domain.order import OrderState, OrderType, Side

LEVEL = Decimal(4990)
LATE_MS = LATE_NS // MILLISECOND_NS
SURE_MS = (REPLY_LIMIT_NS + LATE_NS) // MILLISECOND_NS
"""By then no request of before can still arrive."""
TICKS = 19_960


def a_guard(position: int = 2, **policy: Any) -> Guard:
    """Return a guard with a position that trades and rows agree on, and a stop may be missing."""
    guard = Guard(policy=a_policy(**({"stop_required": True} | policy))).start()
    guard.position_row(position)
    side = Side.BUY if position > 0 else Side.SELL
    guard.trade(quantity=abs(position), side=side, broker_order_id=900)
    return guard


def a_stop(
    guard: Guard, name: str = "stop", number: int = 100, *, quantity: int = 2, **row: Any
) -> None:
    """Have a sell stop of ours work at the venue."""
    guard.working(
        number,
        client_order_id=name,
        side=Side.SELL,
        type=OrderType.STOP,
        quantity=quantity,
        stop_price=LEVEL,
    )
    guard.row(
        **(
            {
                "broker_order_id": number,
                "side": Side.SELL,
                "type": OrderType.STOP,
                "quantity": quantity,
                "stop_price": LEVEL,
            }
            | row
        )
    )


def cancel(guard: Guard, name: str = "stop") -> Decision:
    wish = CancelRequested(utc_us=guard.utc_us, client_order_id=name, reason="enough")
    decision = guard.feed(wish).decision
    assert decision is not None
    return decision


def change(guard: Guard, name: str = "stop", **members: Any) -> Decision:
    wish = ModifyRequested(utc_us=guard.utc_us, client_order_id=name, **members)
    decision = guard.feed(wish).decision
    assert decision is not None
    return decision


def codes(decision: Decision) -> list[DenialCode]:
    return [denial.code for denial in decision.denials]


def cancelled(guard: Guard, number: int = 100) -> bool:
    return number in {command.broker_order_id for command in guard.commands_of(CancelOrder)}


# -- the only stop ---------------------------------------------------------------------------------


def test_the_only_stop_of_a_position_cannot_be_cancelled() -> None:
    guard = a_guard()
    a_stop(guard)

    refused = cancel(guard)

    assert refused.kind is DecisionKind.REFUSED
    assert codes(refused) == [DenialCode.PROTECTION_REQUIRED]
    assert (refused.denials[0].value, refused.denials[0].limit) == ("0", "2")
    assert "cover 0 of the 2 contracts of MES" in refused.denials[0].message
    assert not cancelled(guard)


@pytest.mark.parametrize(("quantity", "passes"), [(3, True), (2, True), (1, False)])
def test_a_stop_can_be_cancelled_while_the_others_cover_the_position(
    quantity: int, *, passes: bool
) -> None:
    guard = a_guard()
    a_stop(guard)
    guard.row(broker_order_id=300, side=Side.SELL, type=OrderType.STOP, quantity=quantity)

    decision = cancel(guard)

    assert (decision.kind is DecisionKind.ACCEPTED) is passes
    assert cancelled(guard) is passes


@pytest.mark.parametrize(
    ("own", "other", "passes"),
    [
        (4990, 4989, False),
        (4990, 4990, True),
        (4990, 4991, True),
        (4990, None, True),
        (None, None, True),
        (None, 4991, False),
    ],
)
def test_where_entries_are_refused_a_stop_makes_room_only_for_one_that_is_as_near(
    own: int | None, other: int | None, *, passes: bool
) -> None:
    """One that trails may not say where it is: it may be the nearest."""
    guard = a_guard()
    a_stop(guard, type=OrderType.TRAILING_STOP, stop_price=None if own is None else Decimal(own))
    level = None if other is None else Decimal(other)
    stop: dict[str, Any] = {"side": Side.SELL, "type": OrderType.TRAILING_STOP, "quantity": 2}
    guard.row(broker_order_id=300, stop_price=level, **stop)
    guard.account(can_trade=False)

    decision = cancel(guard)

    assert (codes(decision) == []) is passes
    assert cancelled(guard) is passes


@pytest.mark.parametrize(("gone", "passes"), [("nearest", False), ("middle", False), ("far", True)])
def test_stops_that_cover_together_make_room_for_what_lies_behind_all_of_them(
    gone: str, *, passes: bool
) -> None:
    guard = a_guard()
    levels = {"nearest": (1, 4992), "middle": (1, 4991), "far": (2, 4990)}
    for number, (name, (quantity, level)) in enumerate(levels.items(), start=100):
        a_stop(guard, name, number, quantity=quantity, stop_price=Decimal(level))
    guard.account(can_trade=False)

    assert (cancel(guard, gone).kind is DecisionKind.ACCEPTED) is passes


def test_a_stop_that_does_not_work_yet_is_needed_as_well() -> None:
    """It is the one that is coming: without it nothing covers the position."""
    guard = a_guard()
    a_stop(guard, status=BrokerStatus.PENDING)

    assert codes(cancel(guard)) == [DenialCode.PROTECTION_REQUIRED]


@pytest.mark.parametrize("lists", [1, UNLISTED_READS_MAX + 1])
def test_another_stop_that_no_list_shows_does_not_cover(lists: int) -> None:
    """After one list it may be gone already; what is taken away on its account stays away."""
    guard = a_guard()
    a_stop(guard)
    guard.row(broker_order_id=300, side=Side.SELL, type=OrderType.STOP)
    guard.book.unlisted[300] = lists

    assert codes(cancel(guard)) == [DenialCode.PROTECTION_REQUIRED]


def test_nor_does_one_of_ours_that_the_newest_list_lacks() -> None:
    guard = a_guard()
    a_stop(guard)
    a_stop(guard, "other", 200)
    guard.book.missing["other"] = Search(times=1)

    assert codes(cancel(guard)) == [DenialCode.PROTECTION_REQUIRED]
    del guard.book.missing["other"]
    assert cancel(guard).kind is DecisionKind.ACCEPTED


def test_a_position_that_only_its_trades_know_of_is_protected_as_well() -> None:
    guard = a_guard()
    a_stop(guard)
    guard.position_row(0)

    assert codes(cancel(guard)) == [DenialCode.PROTECTION_REQUIRED]


def test_the_stop_of_a_short_position_is_needed_likewise() -> None:
    guard = a_guard(-2)
    stop: dict[str, Any] = {"side": Side.BUY, "type": OrderType.STOP, "stop_price": Decimal(5010)}
    guard.working(client_order_id="stop", **stop)
    guard.row(**stop)

    assert codes(cancel(guard)) == [DenialCode.PROTECTION_REQUIRED]


def test_two_stops_cannot_both_be_cancelled_because_each_counts_on_the_other() -> None:
    guard = a_guard()
    a_stop(guard)
    a_stop(guard, "other", 200)

    assert cancel(guard).kind is DecisionKind.ACCEPTED
    assert codes(cancel(guard, "other")) == [DenialCode.PROTECTION_REQUIRED]
    assert not cancelled(guard, 200)


@pytest.mark.parametrize(
    ("answer", "after_ms", "listed", "passes"),
    [
        (Answer.NO, SURE_MS + 200, True, True),
        (Answer.NO, SURE_MS - 200, True, False),
        (Answer.NO, SURE_MS + 200, False, False),
        (Answer.YES, SURE_MS + 200, True, False),
        (Answer.UNKNOWN, SURE_MS + 200, True, False),
        (Answer.NOT_SENT, SURE_MS + 200, True, False),
        (None, SURE_MS + 200, True, False),
    ],
)
def test_a_stop_of_which_the_cancel_was_refused_covers_again_once_a_read_shows_that_it_stays(
    answer: Answer | None, after_ms: int, *, listed: bool, passes: bool
) -> None:
    """A no alone may be about an order that is over; all the rest is asked for again."""
    guard = a_guard()
    a_stop(guard)
    a_stop(guard, "other", 200)
    rows = (guard.order("stop").venue, guard.order("other").venue)
    live = tuple(row for row in rows[0 if listed else 1 :] if row is not None)
    cancel(guard)
    if answer is not None:
        guard.feed(CancelAnswered(utc_us=guard.utc_us, broker_order_id=100, answer=answer))
    assert codes(cancel(guard, "other")) == [DenialCode.PROTECTION_REQUIRED]

    guard.audit(after_ms=after_ms, positions=(a_position(2),), live_orders=live)

    assert (cancel(guard, "other").kind is DecisionKind.ACCEPTED) is passes


def test_a_stop_that_is_to_stay_after_all_may_still_go_by_what_was_asked_before() -> None:
    """Its cancel was lost on its way, and is not made again because the position has grown."""
    guard = a_guard()
    a_stop(guard)
    a_stop(guard, "other", 200)
    cancel(guard)
    guard.feed(CancelAnswered(utc_us=guard.utc_us, broker_order_id=100, answer=Answer.UNKNOWN))
    guard.trade(trade_id=8, broker_order_id=901, quantity=2)
    guard.position_row(4)
    guard.timer(after_ms=CANCEL_PAUSE_MAX_NS // MILLISECOND_NS)
    assert len(guard.commands_of(CancelOrder)) == 1
    guard.trade(trade_id=9, broker_order_id=902, quantity=2, side=Side.SELL)
    guard.position_row(2)

    assert codes(cancel(guard, "other")) == [DenialCode.PROTECTION_REQUIRED]


@pytest.mark.parametrize(("size", "passes"), [(0, False), (1, False), (2, True)])
def test_a_stop_that_the_guard_is_cutting_counts_as_what_will_be_left_of_it(
    size: int, *, passes: bool
) -> None:
    guard = a_guard()
    a_stop(guard)
    a_stop(guard, "other", 200)
    asked = Change(contract_id=MES, quantity=size, asked_ns=guard.now_ns)
    guard.book.protection.changes[200] = asked

    assert (cancel(guard).kind is DecisionKind.ACCEPTED) is passes


def test_a_stop_that_the_guard_cancelled_does_not_cover_again_because_nothing_shows_its_end() -> (
    None
):
    guard = a_guard()
    a_stop(guard)
    a_stop(guard, "other", 200)
    asked = Change(contract_id=MES, quantity=0, asked_ns=guard.now_ns, answer=Answer.YES)
    guard.book.protection.changes[200] = asked
    guard.book.wake(Wake.PROTECTION, guard.now_ns + ASK_AGAIN_NS)
    guard.timer(after_ms=ASK_AGAIN_NS // MILLISECOND_NS)
    assert 200 not in guard.book.protection.changes

    assert codes(cancel(guard)) == [DenialCode.PROTECTION_REQUIRED]


@pytest.mark.parametrize(
    ("answer", "passes"),
    [(None, False), (Answer.YES, False), (Answer.UNKNOWN, False), (Answer.NO, True)],
)
def test_two_stops_cannot_both_be_made_smaller_because_each_counts_on_the_other(
    answer: Answer | None, *, passes: bool
) -> None:
    guard = a_guard(3)
    a_stop(guard)
    guard.row(broker_order_id=200, side=Side.SELL, type=OrderType.STOP, quantity=1)
    a_stop(guard, "other", 300, quantity=1)
    assert change(guard, quantity=1).kind is DecisionKind.ACCEPTED
    if answer is not None:
        guard.feed(ModifyAnswered(utc_us=guard.utc_us, broker_order_id=100, answer=answer))

    assert (cancel(guard, "other").kind is DecisionKind.ACCEPTED) is passes


def beside_one_that_may_become_smaller() -> Guard:
    """Return a guard with three contracts and a stop of three, which may have shrunk to one.

    Another one, of two contracts, is to go.
    """
    guard = a_guard(3)
    a_stop(guard, quantity=3)
    a_stop(guard, "other", 300)
    assert change(guard, quantity=1).kind is DecisionKind.ACCEPTED
    answered(guard, Answer.UNKNOWN)
    return guard


def answered(guard: Guard, answer: Answer) -> None:
    guard.feed(ModifyAnswered(utc_us=guard.utc_us, broker_order_id=100, answer=answer))


@pytest.mark.parametrize("members", [{"quantity": 2}, {"stop_ticks": TICKS + 4}])
@pytest.mark.parametrize("answer", Answer)
def test_the_answer_to_a_later_change_says_nothing_of_a_size_of_unknown_fate(
    answer: Answer, members: dict[str, Any]
) -> None:
    """The first request may still arrive, and then a part of the position would have no stop."""
    guard = beside_one_that_may_become_smaller()
    assert change(guard, **members).kind is DecisionKind.ACCEPTED
    assert codes(cancel(guard, "other")) == [DenialCode.PROTECTION_REQUIRED]

    answered(guard, answer)

    assert codes(cancel(guard, "other")) == [DenialCode.PROTECTION_REQUIRED]


@pytest.mark.parametrize(("after_ms", "passes"), [(LATE_MS - 200, False), (LATE_MS + 200, True)])
def test_a_size_of_unknown_fate_counts_until_a_read_can_show_what_came_of_it(
    after_ms: int, *, passes: bool
) -> None:
    guard = beside_one_that_may_become_smaller()
    stops = (guard.order("stop").venue, guard.order("other").venue)
    live = tuple(row for row in stops if row is not None)
    guard.audit(after_ms=after_ms, positions=(a_position(3),), live_orders=live)

    assert (cancel(guard, "other").kind is DecisionKind.ACCEPTED) is passes


def test_a_size_that_is_shown_does_not_count_as_the_smaller_one_that_was_refused() -> None:
    guard = a_guard(3)
    a_stop(guard, quantity=3)
    a_stop(guard, "other", 300)
    assert change(guard, quantity=2).kind is DecisionKind.ACCEPTED
    answered(guard, Answer.YES)
    guard.row(side=Side.SELL, type=OrderType.STOP, quantity=2, stop_price=LEVEL)
    assert change(guard, quantity=1).kind is DecisionKind.ACCEPTED
    assert codes(change(guard, "other", quantity=1)) == [DenialCode.PROTECTION_REQUIRED]
    answered(guard, Answer.NO)

    assert change(guard, "other", quantity=1).kind is DecisionKind.ACCEPTED


@pytest.mark.parametrize(("answer", "at_once"), [(Answer.UNKNOWN, False), (Answer.NOT_SENT, True)])
def test_a_cancel_without_a_clear_answer_does_not_spend_the_calls_that_reads_need(
    answer: Answer, *, at_once: bool
) -> None:
    """Of an order that is gone the venue says nothing clearer, however often it is asked."""
    guard = a_guard()
    a_stop(guard)
    asked = Change(contract_id=MES, quantity=0, asked_ns=guard.now_ns)
    guard.book.protection.changes[100] = asked
    guard.feed(CancelAnswered(utc_us=guard.utc_us, broker_order_id=100, answer=answer))

    assert (guard.book.protection.changes[100].asked_ns < asked.asked_ns) is at_once


def test_a_stop_of_a_position_that_is_not_covered_can_still_be_moved_nearer() -> None:
    guard = a_guard(3)
    a_stop(guard)

    assert change(guard, stop_ticks=TICKS + 4).kind is DecisionKind.ACCEPTED
    assert change(guard, quantity=2, stop_ticks=TICKS).kind is DecisionKind.ACCEPTED


# -- what can be cancelled -------------------------------------------------------------------------


def test_a_stop_without_a_position_can_be_cancelled() -> None:
    guard = Guard(policy=a_policy()).start()
    a_stop(guard)

    assert cancel(guard).kind is DecisionKind.ACCEPTED


def test_a_stop_on_the_side_of_the_position_is_an_entry_and_can_be_cancelled() -> None:
    guard = a_guard()
    stop: dict[str, Any] = {"type": OrderType.STOP, "stop_price": Decimal(5010), "quantity": 1}
    guard.working(client_order_id="stop", stop_loss_price=LEVEL, **stop)
    guard.row(**stop)

    assert cancel(guard).kind is DecisionKind.ACCEPTED


def test_a_target_is_no_stop_and_can_be_cancelled() -> None:
    guard = a_guard()
    target: dict[str, Any] = {"side": Side.SELL, "type": OrderType.LIMIT}
    guard.working(client_order_id="target", limit_price=Decimal(5010), **target)

    assert cancel(guard, "target").kind is DecisionKind.ACCEPTED


@pytest.mark.parametrize(
    ("quantity", "answer", "passes"),
    [(2, Answer.YES, True), (1, Answer.YES, False), (2, Answer.UNKNOWN, False)],
)
def test_a_position_that_is_being_closed_at_the_market_needs_no_stop(
    quantity: int, answer: Answer, *, passes: bool
) -> None:
    guard = a_guard()
    a_stop(guard)
    guard.submit(client_order_id="out", side=Side.SELL, quantity=quantity)
    guard.dispatch("out")
    guard.answer(answer, 101 if answer is Answer.YES else None, client_order_id="out")

    assert (cancel(guard).kind is DecisionKind.ACCEPTED) is passes


@pytest.mark.parametrize(
    ("answer", "passes"),
    [(None, False), (Answer.YES, True), (Answer.UNKNOWN, False), (Answer.NO, False)],
)
def test_a_close_counts_once_the_venue_has_taken_it(answer: Answer | None, *, passes: bool) -> None:
    """One of unknown fate may never have arrived: then nothing but the stop is left."""
    guard = a_guard()
    a_stop(guard)
    guard.feed(CloseRequested(utc_us=guard.utc_us, contract_id=MES, reason="out", operator="bot"))
    assert guard.commands_of(ClosePosition)
    if answer is not None:
        guard.feed(PositionCloseAnswered(utc_us=guard.utc_us, contract_id=MES, answer=answer))

    assert (cancel(guard).kind is DecisionKind.ACCEPTED) is passes


def test_a_close_that_reads_have_counted_closes_nothing_of_what_is_left() -> None:
    """Its trades were lost: the two contracts that are left have nothing but this stop."""
    guard = a_guard(5)
    a_stop(guard)
    guard.submit(client_order_id="out", side=Side.SELL, quantity=3)
    guard.dispatch("out")
    guard.answer(Answer.YES, 101, client_order_id="out")
    live = (a_row(broker_order_id=100, side=Side.SELL, type=OrderType.STOP, stop_price=LEVEL),)
    for after_ms in (5_000, 400):
        guard.audit(after_ms=after_ms, positions=(a_position(2),), live_orders=live)
    assert guard.book.position(MES).adjustment == -3

    assert codes(cancel(guard)) == [DenialCode.PROTECTION_REQUIRED]


def test_a_part_that_was_closed_closes_nothing_of_what_is_left() -> None:
    """Its trade is on record, and no read has come since: the rest needs its stop."""
    guard = a_guard(2)
    a_stop(guard)
    guard.feed(
        CloseRequested(
            utc_us=guard.utc_us, contract_id=MES, reason="out", operator="bot", quantity=1
        )
    )
    guard.feed(PositionCloseAnswered(utc_us=guard.utc_us, contract_id=MES, answer=Answer.YES))
    guard.trade(trade_id=8, broker_order_id=950, side=Side.SELL, quantity=1)
    guard.position_row(1)

    assert codes(cancel(guard)) == [DenialCode.PROTECTION_REQUIRED]
    out = guard.submit(client_order_id="rest", side=Side.SELL, quantity=1, stop_loss_price=None)
    assert out.kind is DecisionKind.ACCEPTED, "all that is left can be closed"


def test_what_a_close_has_done_counts_also_where_one_before_it_was_lost() -> None:
    """Its order seems to be of the lost one; it is done, and what fills after it needs a stop."""
    guard = a_guard(3)
    a_stop(guard, quantity=3)
    guard.feed(CloseRequested(utc_us=guard.utc_us, contract_id=MES, reason="out", operator="bot"))
    close_answered = PositionCloseAnswered(
        utc_us=guard.utc_us, contract_id=MES, answer=Answer.UNKNOWN
    )
    guard.feed(close_answered)
    stop = guard.order("stop").venue
    assert stop is not None
    while len(guard.commands_of(ClosePosition)) < 2:
        guard.audit(positions=(a_position(3),), live_orders=(stop,), after_ms=1_500)
    guard.feed(replace(close_answered, utc_us=guard.utc_us, answer=Answer.YES))
    guard.trade(trade_id=8, broker_order_id=950, side=Side.SELL, quantity=3)
    guard.trade(trade_id=9, broker_order_id=901, quantity=1)
    guard.position_row(1)

    assert codes(cancel(guard)) == [DenialCode.PROTECTION_REQUIRED]


def test_where_positions_may_go_without_a_stop_it_is_judged_like_an_entry() -> None:
    guard = a_guard(stop_required=False)
    a_stop(guard)
    guard.account(can_trade=False)
    assert codes(cancel(guard)) == [DenialCode.STATE_REDUCING]
    guard.account(can_trade=True)

    assert cancel(guard).kind is DecisionKind.ACCEPTED
    assert cancelled(guard)


# -- smaller, nearer, farther ----------------------------------------------------------------------


def test_a_stop_cannot_be_made_smaller_than_what_it_has_to_cover() -> None:
    guard = a_guard(3)
    a_stop(guard, quantity=3)
    guard.row(broker_order_id=300, side=Side.SELL, type=OrderType.STOP, quantity=1)

    assert codes(change(guard, quantity=1)) == [DenialCode.PROTECTION_REQUIRED]
    assert guard.commands_of(ModifyOrder) == []
    assert change(guard, quantity=2).kind is DecisionKind.ACCEPTED


def test_a_stop_is_moved_nearer_in_every_state_and_away_only_while_entries_are_possible() -> None:
    """Away from the market the loss grows: that is new exposure, whatever the order is called."""
    guard = a_guard()
    a_stop(guard)
    guard.account(can_trade=False)

    assert change(guard, stop_ticks=TICKS + 4).kind is DecisionKind.ACCEPTED
    assert change(guard, stop_ticks=TICKS).kind is DecisionKind.ACCEPTED
    assert codes(change(guard, stop_ticks=TICKS - 1)) == [DenialCode.STATE_REDUCING]
    guard.account(can_trade=True)
    assert change(guard, stop_ticks=TICKS - 1).kind is DecisionKind.ACCEPTED


def test_away_counts_from_where_the_stop_stands_now() -> None:
    guard = a_guard()
    a_stop(guard)
    guard.row(
        side=Side.SELL,
        type=OrderType.STOP,
        stop_price=LEVEL + 5,
        updated_utc_us=guard.utc_us,
    )
    guard.account(can_trade=False)

    assert codes(change(guard, stop_ticks=TICKS)) == [DenialCode.STATE_REDUCING]
    assert guard.state("stop") is OrderState.WORKING
    assert guard.position(MES) == 2
