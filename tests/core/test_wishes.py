"""What bots ask for, and the decision that each wish gets."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import (
    MES,
    Guard,
    a_policy,
    a_quote,
    a_request,
    an_instrument,
    an_intent,
)

from backstop.core.guardrails import Assessment
from backstop.core.pre_trade import judge
from backstop.core.step import DecisionKind
from backstop.core.wishes import place_command, reference_price
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import CancelOrder, ModifyOrder, PlaceOrder
from backstop.domain.denial import DenialCode
from backstop.domain.events import Answer, CancelRequested, ModifyRequested, OrderRequested
from backstop.domain.instrument import PRICE_LIMIT_TICKS
from backstop.domain.order import OrderState, OrderType, Side, custom_tag
from backstop.domain.quote import Quote


def codes(decision: Any) -> list[DenialCode]:
    return [denial.code for denial in decision.denials]


# -- new orders ----------------------------------------------------------------------------------


def test_an_accepted_order_is_intended_and_its_request_may_leave() -> None:
    guard = Guard().start()
    decision = guard.submit(stop_loss_price=Decimal(4990))

    assert decision.kind is DecisionKind.ACCEPTED
    assert guard.state() is OrderState.INTENDED
    (placed,) = guard.commands_of(PlaceOrder)
    assert placed.custom_tag == guard.order().custom_tag == custom_tag(guard.order().intent)
    assert placed.stop_loss_offset_ticks == -40


def test_the_same_wish_again_is_the_same_order() -> None:
    guard = Guard().start()
    guard.submit()
    again = guard.submit()

    assert again.kind is DecisionKind.REPEATED
    assert again.order == guard.order()
    assert len(guard.commands_of(PlaceOrder)) == 1


def test_the_same_name_with_another_body_is_a_conflict() -> None:
    guard = Guard().start()
    guard.submit()
    other = guard.submit(quantity=1, stop_loss_price=Decimal("4990.50"))

    assert other.kind is DecisionKind.CONFLICT
    assert "quantity is 2 there, and 1 here" in other.message
    assert "stop_loss_price is unset there, and 4990.5 here" in other.message
    assert "side" not in other.message
    assert len(guard.commands_of(PlaceOrder)) == 1


def test_a_symbol_that_no_contract_goes_by_is_said_to_be_unknown() -> None:
    assert Guard().start().submit(symbol="CL").kind is DecisionKind.UNKNOWN_SYMBOL


def test_a_refused_order_leaves_no_trace_but_its_reasons() -> None:
    guard = Guard(policy=a_policy(dry_run=True, stop_required=True)).start()
    decision = guard.submit()

    assert decision.kind is DecisionKind.REFUSED
    assert codes(decision) == [DenialCode.GATE_DRY_RUN, DenialCode.STOP_REQUIRED]
    assert guard.book.orders == {}
    assert guard.commands_of(PlaceOrder) == []


def test_a_second_equal_order_within_the_window_is_a_duplicate() -> None:
    guard = Guard().start()
    guard.submit()

    assert codes(guard.submit(client_order_id="c2")) == [DenialCode.DUPLICATE_ORDER]
    assert codes(guard.submit(client_order_id="c2", symbol=MES)) == [DenialCode.DUPLICATE_ORDER]
    assert codes(guard.submit(client_order_id="c2", quantity=1)) == []


def test_an_equal_order_after_the_window_is_another_one() -> None:
    guard = Guard().start()
    guard.submit()
    guard.timer(after_ms=1000)

    assert codes(guard.submit(client_order_id="c2")) == []
    assert len(guard.book.entries) == 1, "older entries are forgotten"


def test_entries_are_counted_within_any_second() -> None:
    guard = Guard(policy=a_policy(max_orders_per_second=2)).start()
    guard.submit(quantity=1)
    guard.submit(client_order_id="c2", quantity=2)

    assert codes(guard.submit(client_order_id="c3", quantity=3)) == [DenialCode.RATE_TOO_HIGH]
    guard.timer(after_ms=1000)
    assert codes(guard.submit(client_order_id="c3", quantity=3)) == []


def test_an_exit_passes_where_an_entry_does_not() -> None:
    """Working and unknown exits leave less to close; an exit is no entry and is not counted."""
    guard = Guard(policy=a_policy(stop_required=True, symbols=())).start()
    guard.position_row(3)
    guard.trade(quantity=3)

    assert guard.submit(side=Side.SELL, quantity=2).kind is DecisionKind.ACCEPTED
    guard.answer(Answer.UNKNOWN)
    assert guard.state() is OrderState.UNKNOWN
    assert guard.submit(client_order_id="c2", side=Side.SELL, quantity=2).denials
    assert guard.submit(client_order_id="c3", side=Side.SELL, quantity=1).denials == ()
    assert len(guard.book.entries) == 0


def test_a_what_if_says_the_same_and_changes_nothing() -> None:
    guard = Guard().start()
    before = guard.history[-1]

    asked = OrderRequested(utc_us=guard.utc_us, request=a_request(), reference=a_quote())
    found = judge(guard.book, asked, now_ns=guard.now_ns)

    assert found is not None
    assert found.denials == ()
    assert guard.history[-1] is before
    guard.submit()
    again = judge(guard.book, asked, now_ns=guard.now_ns)
    assert again is not None
    assert again.denials == (), "an order is no duplicate of itself"
    other = OrderRequested(utc_us=guard.utc_us, request=a_request(symbol="CL"))
    assert judge(guard.book, other, now_ns=guard.now_ns) is None


# -- on the wire ---------------------------------------------------------------------------------


def an_assessment(*, reducing: bool = False, **intent: Any) -> Assessment:
    return Assessment(
        intent=an_intent(**intent), denials=(), gate=None, reducing=reducing, entry_ticks=20_000
    )


def test_levels_become_signed_offsets_from_the_entry() -> None:
    given = an_assessment(side=Side.SELL, stop_loss_ticks=20_040, take_profit_ticks=19_900)
    command = place_command(given, an_instrument())

    assert (command.stop_loss_offset_ticks, command.take_profit_offset_ticks) == (40, -100)
    assert command.custom_tag == custom_tag(given.intent)
    assert not command.reduces_risk


def test_an_exit_says_that_it_may_use_the_reserve_of_calls() -> None:
    assert place_command(an_assessment(reducing=True), an_instrument()).reduces_risk


def test_a_trailing_stop_sends_its_first_level_as_trail_price() -> None:
    trailing = an_assessment(type=OrderType.TRAILING_STOP, stop_ticks=20_001)
    plain = an_assessment(type=OrderType.STOP, stop_ticks=20_001)

    sent = [place_command(given, an_instrument()) for given in (trailing, plain)]

    assert [(it.stop_price, it.trail_price) for it in sent] == [
        (None, Decimal("5000.25")),
        (Decimal("5000.25"), None),
    ]


@pytest.mark.parametrize(
    ("intent", "quote", "expected"),
    [
        (an_intent(type=OrderType.LIMIT, limit_ticks=20_000), a_quote(), Decimal(5000)),
        (an_intent(type=OrderType.STOP, stop_ticks=20_004), a_quote(), Decimal(5001)),
        (an_intent(), a_quote(), Decimal(5000)),
        (an_intent(side=Side.SELL), a_quote(), Decimal("4999.75")),
        (an_intent(), a_quote(ask=None, last=Decimal(4990)), Decimal(4990)),
        (an_intent(), None, None),
        (an_intent(type=OrderType.TRAILING_STOP, stop_ticks=20_004), a_quote(), None),
    ],
)
def test_a_fill_is_measured_against_the_level_or_the_touch(
    intent: Any, quote: Quote | None, expected: Decimal | None
) -> None:
    assert reference_price(intent, an_instrument(), quote) == expected


# -- cancels and changes ---------------------------------------------------------------------------


def cancel(guard: Guard, client_order_id: str = "c1") -> Any:
    wish = CancelRequested(utc_us=guard.utc_us, client_order_id=client_order_id, reason="enough")
    return guard.feed(wish).decision


def change(guard: Guard, client_order_id: str = "c1", **members: Any) -> Any:
    asked = {"reference": a_quote()} | members
    wish = ModifyRequested(utc_us=guard.utc_us, client_order_id=client_order_id, **asked)
    return guard.feed(wish).decision


def a_resting_limit(**changes: Any) -> Guard:
    guard = Guard(**changes).start()
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(4990), quantity=3)
    return guard


def test_a_working_order_can_be_cancelled() -> None:
    guard = a_resting_limit()

    assert cancel(guard).kind is DecisionKind.ACCEPTED
    (command,) = guard.commands_of(CancelOrder)
    assert (command.broker_order_id, command.reason) == (100, "enough")
    assert guard.state() is OrderState.WORKING, "accepted is not cancelled"


def test_a_working_order_can_be_made_smaller_and_moved() -> None:
    guard = a_resting_limit()

    decision = change(guard, quantity=2, limit_ticks=19_950)

    assert decision.kind is DecisionKind.ACCEPTED
    (command,) = guard.commands_of(ModifyOrder)
    assert (command.quantity, command.limit_price) == (2, Decimal("4987.50"))
    assert command.stop_price is None


def test_the_trigger_of_a_stop_order_can_be_moved() -> None:
    guard = Guard().start()
    guard.working(type=OrderType.STOP, stop_price=Decimal(5010))

    assert change(guard, stop_ticks=20_100).kind is DecisionKind.ACCEPTED
    assert guard.commands_of(ModifyOrder)[0].stop_price == Decimal(5025)


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({}, "nothing to change"),
        ({"quantity": 4}, "lowered from 3, not raised"),
        ({"quantity": 0}, "above the 0 contracts"),
        ({"quantity": -1}, "above the 0 contracts"),
        ({"stop_ticks": 20_000}, "stop price of a LIMIT order"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(members: dict[str, Any], why: str) -> None:
    guard = a_resting_limit()
    decision = change(guard, **members)

    assert decision.kind is DecisionKind.NOT_POSSIBLE
    assert why in decision.message
    assert guard.commands_of(ModifyOrder) == []


@pytest.mark.parametrize("type_", [OrderType.STOP, OrderType.TRAILING_STOP])
def test_a_price_that_the_type_does_not_have_is_refused(type_: OrderType) -> None:
    guard = Guard().start()
    guard.working(type=type_, stop_price=Decimal(5010))

    assert change(guard, limit_ticks=1).kind is DecisionKind.NOT_POSSIBLE
    if type_ is OrderType.TRAILING_STOP:
        assert change(guard, stop_ticks=1).kind is DecisionKind.NOT_POSSIBLE


@pytest.mark.parametrize("ticks", [0, -20, PRICE_LIMIT_TICKS + 1])
@pytest.mark.parametrize(
    ("type_", "price", "level"),
    [
        (OrderType.LIMIT, "limit_price", "limit_ticks"),
        (OrderType.STOP, "stop_price", "stop_ticks"),
    ],
)
def test_an_order_is_not_moved_to_what_is_no_price(
    type_: OrderType, price: str, level: str, ticks: int
) -> None:
    guard = Guard().start()
    guard.working(type=type_, **{price: Decimal(5000)})

    decision = change(guard, **{level: ticks})

    assert decision.kind is DecisionKind.REFUSED
    assert codes(decision) == [DenialCode.PRICE_INVALID]
    assert guard.commands_of(ModifyOrder) == []


@pytest.mark.parametrize(
    ("side", "ticks", "code"),
    [
        (Side.BUY, 19_960, DenialCode.BRACKET_STOP_SIDE),
        (Side.BUY, 19_963, DenialCode.BRACKET_TOO_CLOSE),
        (Side.BUY, 20_040, DenialCode.BRACKET_TARGET_SIDE),
        (Side.SELL, 20_040, DenialCode.BRACKET_STOP_SIDE),
        (Side.SELL, 19_960, DenialCode.BRACKET_TARGET_SIDE),
    ],
)
def test_an_entry_is_not_moved_past_its_own_stop_or_target(
    side: Side, ticks: int, code: DenialCode
) -> None:
    """The legs are set to the asked levels after the fill: a stop beyond it would trigger."""
    guard = Guard().start()
    guard.working(
        side=side,
        type=OrderType.LIMIT,
        limit_price=Decimal(5000),
        stop_loss_price=Decimal(5000 - 10 * side.sign),
        take_profit_price=Decimal(5000 + 10 * side.sign),
    )

    decision = change(guard, limit_ticks=ticks)

    assert decision.kind is DecisionKind.REFUSED
    assert codes(decision) == [code]
    assert guard.commands_of(ModifyOrder) == []
    assert change(guard, limit_ticks=20_000 - 20 * side.sign).kind is DecisionKind.ACCEPTED


def test_a_quantity_cannot_be_lowered_to_what_is_filled() -> None:
    guard = a_resting_limit()
    guard.trade(quantity=2)

    assert change(guard, quantity=2).kind is DecisionKind.NOT_POSSIBLE


def test_a_quantity_that_was_lowered_is_not_raised_again() -> None:
    guard = a_resting_limit()
    guard.row(type=OrderType.LIMIT, quantity=1)

    assert change(guard, quantity=2).kind is DecisionKind.NOT_POSSIBLE


@pytest.mark.parametrize("wish", [cancel, change])
def test_only_a_known_living_order_with_a_number_can_be_changed(wish: Any) -> None:
    guard = Guard().start()
    assert wish(guard, "nobody").kind is DecisionKind.UNKNOWN_ORDER

    guard.submit()
    assert "broker's id is not known" in wish(guard).message

    guard.answer(Answer.YES, 100)
    guard.row(status=BrokerStatus.CANCELLED)
    assert wish(guard).kind is DecisionKind.NOT_POSSIBLE
    assert "CANCELLED" in wish(guard).message


def test_a_closed_gate_sends_no_cancel() -> None:
    guard = a_resting_limit()
    guard.book.policy = a_policy(dry_run=True)

    decision = cancel(guard)

    assert decision.kind is DecisionKind.NOT_POSSIBLE
    assert guard.commands_of(CancelOrder) == []


def test_a_stop_that_protects_does_not_stand_in_the_way_of_an_exit() -> None:
    """A standing stop counted as an exit would refuse the very exit that is needed."""
    guard = Guard(policy=a_policy(stop_required=True)).start()
    guard.position_row(2)
    guard.trade(quantity=2, broker_order_id=77)
    stop = guard.working(
        client_order_id="stop", side=Side.SELL, type=OrderType.STOP, stop_price=Decimal(4990)
    )
    assert stop.state is OrderState.WORKING

    assert guard.submit(client_order_id="out", side=Side.SELL, quantity=2).denials == ()


def test_an_entry_is_not_moved_while_no_new_exposure_is_taken_on() -> None:
    guard = a_resting_limit()
    guard.account(can_trade=False)

    refused = change(guard, limit_ticks=19_990)

    assert codes(refused) == [DenialCode.STATE_REDUCING]
    assert guard.commands_of(ModifyOrder) == []
    assert change(guard, quantity=1).kind is DecisionKind.ACCEPTED, "less is always possible"


def test_a_stale_account_is_named_beside_the_state_and_no_exit_waits_for_it() -> None:
    guard = Guard().start()
    guard.position_row(1)
    guard.trade(broker_order_id=77)
    guard.audit()
    guard.timer(after_ms=15_001)

    refused = guard.submit()

    assert codes(refused) == [DenialCode.STATE_REDUCING, DenialCode.STALE_ACCOUNT]
    assert refused.denials[1].value == "15002"
    assert guard.submit(client_order_id="out", side=Side.SELL, quantity=1).denials == ()


def test_an_exit_is_moved_in_every_state() -> None:
    guard = Guard().start()
    guard.position_row(2)
    guard.trade(quantity=2, broker_order_id=77)
    guard.working(side=Side.SELL, type=OrderType.LIMIT, limit_price=Decimal(5010))
    guard.row(side=Side.SELL, type=OrderType.LIMIT, limit_price=Decimal(5010))
    guard.account(can_trade=False)

    assert change(guard, limit_ticks=20_020).kind is DecisionKind.ACCEPTED
