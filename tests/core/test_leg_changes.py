"""Legs that are asked for by their distance from the fill, and what their bots may do with them."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import MES, Guard, a_policy, a_quote, an_instrument

from backstop.core.order_numbers import OFFSET_TICKS_MAX
from backstop.core.step import Decision, DecisionKind
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import CancelOrder, ModifyOrder, PlaceOrder
from backstop.domain.denial import DenialCode
from backstop.domain.events import HaltRequested, LegChangeRequested, ModifyRequested
from backstop.domain.order import OrderState, OrderType, Side
from backstop.domain.quote import Quote

TICK = Decimal("0.25")
ENTRY, STOP, TARGET = 100, 101, 102
FILL = Decimal(5001)
"""A point above the offer that the order was judged by: the venue filled it worse."""


def codes(decision: Decision) -> list[DenialCode]:
    return [denial.code for denial in decision.denials]


def a_guard(**policy: Any) -> Guard:
    return Guard(policy=a_policy(**({"stop_required": True} | policy))).start()


def leg(guard: Guard, number: int, **changes: Any) -> None:
    """Have the venue show a leg of the entry."""
    stop = number == STOP
    tag = guard.order().custom_tag + ("-SL" if stop else "-TP")
    members: dict[str, Any] = {
        "broker_order_id": number,
        "side": Side.SELL,
        "type": OrderType.STOP if stop else OrderType.LIMIT,
        "custom_tag": tag,
        "parent_order_id": ENTRY,
        "status": BrokerStatus.SUSPENDED,
        "updated_utc_us": guard.utc_us,
    }
    guard.row(**(members | changes))


def a_held_position(**policy: Any) -> Guard:
    """Return a guard with two contracts from an entry with both legs, measured from its fill."""
    guard = a_guard(**policy)
    guard.working(ENTRY, stop_loss_offset_ticks=-40, take_profit_offset_ticks=80)
    leg(guard, STOP)
    leg(guard, TARGET)
    guard.trade(quantity=2, price=FILL)
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    guard.position_row(2)
    leg(guard, STOP, status=BrokerStatus.OPEN, stop_price=FILL - 40 * TICK)
    leg(guard, TARGET, status=BrokerStatus.OPEN, limit_price=FILL + 80 * TICK)
    assert guard.state() is OrderState.FILLED
    return guard


def change(guard: Guard, number: int, price: Decimal | None = None) -> Decision:
    ticks = None if price is None else int(price / TICK)
    wish = LegChangeRequested(utc_us=guard.utc_us, broker_order_id=number, ticks=ticks)
    decision = guard.feed(wish).decision
    assert decision is not None
    return decision


# -- asked for -----------------------------------------------------------------------------------


def test_offsets_leave_as_they_were_asked_for_and_are_judged_from_the_expected_entry() -> None:
    guard = a_guard()

    decision = guard.submit(stop_loss_offset_ticks=-40, take_profit_offset_ticks=80)

    assert decision.kind is DecisionKind.ACCEPTED
    (sent,) = guard.commands_of(PlaceOrder)
    assert (sent.stop_loss_offset_ticks, sent.take_profit_offset_ticks) == (-40, 80)
    intent = guard.order().intent
    assert (intent.stop_loss_ticks, intent.take_profit_ticks) == (20_000 - 40, 20_000 + 80)
    assert decision.assessment is not None
    assert decision.assessment.r_multiple == "2.0"


@pytest.mark.parametrize(
    ("side", "members", "code"),
    [
        (Side.BUY, {"stop_loss_offset_ticks": 40}, DenialCode.BRACKET_STOP_SIDE),
        (Side.SELL, {"stop_loss_offset_ticks": -40}, DenialCode.BRACKET_STOP_SIDE),
        (Side.BUY, {"stop_loss_offset_ticks": -3}, DenialCode.BRACKET_TOO_CLOSE),
        (
            Side.BUY,
            {"stop_loss_offset_ticks": -40, "take_profit_offset_ticks": -40},
            DenialCode.BRACKET_TARGET_SIDE,
        ),
        (
            Side.BUY,
            {"stop_loss_offset_ticks": -40, "stop_loss_price": Decimal(4990)},
            DenialCode.PRICE_UNEXPECTED,
        ),
        (
            Side.BUY,
            {"stop_loss_offset_ticks": -OFFSET_TICKS_MAX - 1},
            DenialCode.PRICE_INVALID,
        ),
        (Side.BUY, {"take_profit_offset_ticks": 40}, DenialCode.STOP_REQUIRED),
    ],
)
def test_an_offset_on_the_wrong_side_too_near_or_absurd_is_refused(
    side: Side, members: dict[str, Any], code: DenialCode
) -> None:
    guard = a_guard()

    decision = guard.submit(side=side, **members)

    assert decision.kind is DecisionKind.REFUSED
    assert code in codes(decision)
    assert guard.commands_of(PlaceOrder) == []


def test_without_a_market_price_an_offset_is_still_a_stop() -> None:
    guard = a_guard()
    nothing = Quote(contract_id=MES, bid=None, ask=None, last=None)

    decision = guard.submit(nothing, stop_loss_offset_ticks=-40)

    assert DenialCode.STALE_REFERENCE in codes(decision)
    assert DenialCode.STOP_REQUIRED not in codes(decision)


def test_a_leg_stays_where_the_venue_measured_it_from_the_fill() -> None:
    guard = a_held_position()

    assert guard.commands_of(ModifyOrder) == []
    (lot,) = guard.book.protection.records[MES].lots
    assert lot.stop_ticks == int((FILL - 40 * TICK) / TICK)
    assert lot.target_ticks == int((FILL + 80 * TICK) / TICK)


def test_a_leg_that_was_asked_for_by_its_price_is_still_moved_there() -> None:
    guard = a_guard()
    guard.working(ENTRY, stop_loss_price=Decimal(4990))
    leg(guard, STOP)
    guard.trade(quantity=2, price=FILL)
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    guard.position_row(2)
    leg(guard, STOP, status=BrokerStatus.OPEN, stop_price=FILL - 40 * TICK)

    (move,) = guard.commands_of(ModifyOrder)
    assert move.stop_price == Decimal(4990)


def test_a_moved_entry_takes_its_measured_legs_along() -> None:
    guard = a_guard()
    guard.working(ENTRY, type=OrderType.LIMIT, limit_price=Decimal(4990), stop_loss_offset_ticks=-8)
    guard.row(type=OrderType.LIMIT, limit_price=Decimal(4990))

    # Ten points lower: a stop that stayed two points below 4990 would lie above the new price.
    wish = ModifyRequested(
        utc_us=guard.utc_us, client_order_id="c1", limit_ticks=19_920, reference=a_quote()
    )
    lower = guard.feed(wish).decision
    assert lower is not None
    assert lower.kind is DecisionKind.ACCEPTED, lower
    higher = guard.feed(
        ModifyRequested(
            utc_us=guard.utc_us, client_order_id="c1", limit_ticks=19_980, reference=a_quote()
        )
    ).decision
    assert higher is not None
    assert higher.kind is DecisionKind.ACCEPTED, higher


# -- moved and taken away ------------------------------------------------------------------------


def test_a_stop_is_moved_towards_the_market_in_every_state() -> None:
    guard = a_held_position()
    guard.feed(HaltRequested(utc_us=guard.utc_us, reason="test", operator="ada"))
    nearer = FILL - 30 * TICK

    decision = change(guard, STOP, nearer)

    assert decision.kind is DecisionKind.ACCEPTED
    (move,) = guard.commands_of(ModifyOrder)
    assert (move.broker_order_id, move.stop_price) == (STOP, nearer)
    leg(guard, STOP, status=BrokerStatus.OPEN, stop_price=nearer)
    (lot,) = guard.book.protection.records[MES].lots
    assert lot.stop_ticks == int(nearer / TICK)


def test_a_stop_is_moved_away_only_while_entries_are_possible() -> None:
    guard = a_held_position()
    farther = FILL - 60 * TICK
    assert change(guard, STOP, farther).kind is DecisionKind.ACCEPTED

    halted = a_held_position()
    halted.feed(HaltRequested(utc_us=halted.utc_us, reason="test", operator="ada"))
    refused = change(halted, STOP, farther)

    assert codes(refused) == [DenialCode.STATE_HALTED]
    assert halted.commands_of(ModifyOrder) == []


def test_the_stop_that_a_position_needs_is_not_cancelled() -> None:
    guard = a_held_position()

    refused = change(guard, STOP)

    assert codes(refused) == [DenialCode.PROTECTION_REQUIRED]
    assert guard.commands_of(CancelOrder) == []


def test_a_stop_without_a_position_is_cancelled() -> None:
    guard = a_held_position()
    guard.trade(trade_id=8, broker_order_id=900, side=Side.SELL, quantity=2, price=FILL)
    guard.position_row(0)
    before = len(guard.commands_of(CancelOrder))

    decision = change(guard, STOP)

    assert decision.kind is DecisionKind.ACCEPTED
    assert len(guard.commands_of(CancelOrder)) == before + 1


def test_a_target_is_moved_and_cancelled_and_stays_away() -> None:
    guard = a_held_position()
    farther = FILL + 100 * TICK
    assert change(guard, TARGET, farther).kind is DecisionKind.ACCEPTED
    (move,) = guard.commands_of(ModifyOrder)
    assert (move.broker_order_id, move.limit_price) == (TARGET, farther)

    assert change(guard, TARGET).kind is DecisionKind.ACCEPTED
    (cancel,) = guard.commands_of(CancelOrder)
    assert cancel.broker_order_id == TARGET
    leg(guard, TARGET, status=BrokerStatus.CANCELLED)
    guard.timer(after_ms=2_000)
    placed = guard.commands_of(PlaceOrder)
    assert len(placed) == 1, "the entry, and no target in place of the one that went"


def test_a_trailing_leg_is_asked_for_and_its_venue_alone_moves_it() -> None:
    guard = a_guard(protects=True)
    guard.working(ENTRY, stop_loss_offset_ticks=-40, stop_loss_trails=True)
    (sent,) = guard.commands_of(PlaceOrder)
    assert (sent.stop_loss_offset_ticks, sent.stop_loss_trails) == (-40, True)
    guard.trade(quantity=2, price=FILL)
    guard.row(status=BrokerStatus.FILLED, filled_quantity=2)
    guard.position_row(2)
    for level in (FILL - 40 * TICK, FILL - 10 * TICK):
        leg(
            guard,
            STOP,
            type=OrderType.TRAILING_STOP,
            status=BrokerStatus.OPEN,
            stop_price=level,
        )

    refused = change(guard, STOP, FILL - 5 * TICK)

    assert codes(refused) == [DenialCode.ORDER_NOT_SUPPORTED]
    assert guard.commands_of(ModifyOrder) == []
    (lot,) = guard.book.protection.records[MES].lots
    assert lot.stop_ticks == int((FILL - 10 * TICK) / TICK), "where the venue had moved it"
    leg(guard, STOP, type=OrderType.TRAILING_STOP, status=BrokerStatus.CANCELLED)
    guard.timer(after_ms=2_000)
    instead = guard.commands_of(PlaceOrder)[-1]
    assert (instead.type, instead.stop_price) == (OrderType.STOP, FILL - 10 * TICK)


def test_a_leg_that_waits_for_its_entry_is_left_alone() -> None:
    guard = a_guard()
    guard.working(
        ENTRY,
        type=OrderType.LIMIT,
        limit_price=Decimal(4990),
        stop_loss_offset_ticks=-40,
        take_profit_offset_ticks=80,
    )
    leg(guard, STOP)
    leg(guard, TARGET)

    assert codes(change(guard, STOP)) == [DenialCode.PROTECTION_REQUIRED]
    assert codes(change(guard, STOP, Decimal(4985))) == [DenialCode.PROTECTION_REQUIRED]
    assert codes(change(guard, TARGET, Decimal(5100))) == [DenialCode.PROTECTION_REQUIRED]
    assert change(guard, TARGET).kind is DecisionKind.ACCEPTED


def test_what_is_no_leg_or_has_ended_or_no_price_is_said_so() -> None:
    guard = a_held_position()

    assert change(guard, 999).kind is DecisionKind.UNKNOWN_ORDER
    assert change(guard, ENTRY).kind is DecisionKind.UNKNOWN_ORDER
    assert codes(change(guard, STOP, Decimal(-1))) == [DenialCode.PRICE_INVALID]
    leg(guard, TARGET, status=BrokerStatus.FILLED, filled_quantity=2)
    assert change(guard, TARGET).kind is DecisionKind.NOT_POSSIBLE


def test_with_a_closed_gate_nothing_leaves() -> None:
    guard = Guard(policy=a_policy(dry_run=True)).start(an_instrument())
    sent = guard.submit(stop_loss_offset_ticks=-40)

    assert codes(sent) == [DenialCode.GATE_DRY_RUN]
