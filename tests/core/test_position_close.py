"""Closing a position, or a part of it, for a bot: no latch, never more than was asked for."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import MES, Guard, a_guard_start, a_policy
from tests.core.liquidation_world import Fate, World

from backstop.core.liquidation import LiquidationState
from backstop.core.policy import MILLISECOND_NS
from backstop.core.positions import LATE_ROW_NS
from backstop.core.step import Decision, DecisionKind
from backstop.domain.commands import CancelOrder, ClosePosition
from backstop.domain.denial import DenialCode
from backstop.domain.events import Answer, CloseRefusal, CloseRequested
from backstop.domain.order import OrderType, Side


def close(world: World, quantity: int | None = None) -> Decision:
    guard = world.guard
    result = guard.feed(
        CloseRequested(
            utc_us=guard.utc_us,
            contract_id=MES,
            reason="out",
            operator="bot",
            quantity=quantity,
        ),
        after_ms=0,
    )
    for command in result.commands:
        world.receive(command)
    assert result.decision is not None
    return result.decision


def done(world: World, decision: Decision, *, limit_s: int = 60) -> LiquidationState:
    name = decision.liquidation_id
    assert name is not None
    world.run(lambda: world.flat(name), limit_s=limit_s)
    assert world.flat(name)
    assert world.doubled == []
    return world.liquidation(name).state


def test_a_full_close_takes_the_contract_flat_with_its_own_orders_and_latches_nothing() -> None:
    world = World().hold(2, stop=False)
    foreign = world.order(Side.BUY, 1, OrderType.LIMIT)
    world.start()

    assert done(world, close(world)) is LiquidationState.FLAT
    assert world.holds == [str(foreign)]
    assert world.sent_of(CancelOrder) == []
    assert world.guard.book.latches == ()


@pytest.mark.parametrize("held", [3, -3])
def test_a_part_is_closed_once_and_leaves_the_rest_and_every_order(held: int) -> None:
    world = World().hold(held).start()

    assert done(world, close(world, 2)) is LiquidationState.DONE
    assert world.positions[MES] == held - 2 * (1 if held > 0 else -1)
    assert [it.quantity for it in world.sent_of(ClosePosition)] == [2]
    assert world.sent_of(CancelOrder) == []


def test_a_part_as_large_as_the_position_is_all_of_it() -> None:
    world = World().hold(2, stop=False).start()

    assert done(world, close(world, 2)) is LiquidationState.FLAT
    assert world.positions[MES] == 0


def test_more_than_is_open_is_refused_with_the_largest_quantity_that_passes() -> None:
    world = World().hold(2).start()
    decision = close(world, 3)

    assert decision.kind is DecisionKind.REFUSED
    assert [(it.code, it.max_quantity) for it in decision.denials] == [
        (DenialCode.POSITION_FLIP, 2)
    ]
    assert decision.would_send == ()
    assert world.sent_of(ClosePosition) == []


def test_what_other_exits_will_close_cannot_be_closed_again() -> None:
    guard = Guard().start()
    guard.trade(broker_order_id=900, quantity=3)
    guard.position_row(3)
    guard.working(side=Side.SELL, quantity=1, type=OrderType.LIMIT, limit_price=Decimal(5010))
    decision = close(World(guard=guard), 3)

    assert [it.max_quantity for it in decision.denials] == [2]


def test_a_part_without_an_answer_is_not_asked_for_again() -> None:
    """A second request would close more than was wanted, if the first arrived after all."""
    world = World(fates=[Fate(answer=Answer.UNKNOWN, arrives=False)]).hold(3).start()

    assert done(world, close(world, 1)) is LiquidationState.DONE
    assert world.positions[MES] == 3
    assert len(world.sent_of(ClosePosition)) == 1
    assert "CLOSE_INCOMPLETE" in world.guard.alerts()


@pytest.mark.parametrize(
    "fate",
    [
        Fate(answer=Answer.NOT_SENT),
        Fate(answer=Answer.NO, refusal=CloseRefusal.NOT_NOW),
        Fate(answer=Answer.NO, refusal=CloseRefusal.UNSTATED),
        Fate(answer=Answer.NO, refusal=CloseRefusal.REJECTED),
    ],
)
def test_a_part_that_certainly_did_not_arrive_is_asked_for_again(fate: Fate) -> None:
    world = World(fates=[fate]).hold(3).start()

    assert done(world, close(world, 1)) is LiquidationState.DONE
    assert world.positions[MES] == 2
    assert "CLOSE_INCOMPLETE" not in world.guard.alerts()


def test_a_part_that_rests_is_cancelled_and_a_person_told() -> None:
    world = World(fates=[Fate(fills=1)]).hold(3).start()

    assert done(world, close(world, 2)) is LiquidationState.DONE
    assert world.positions[MES] == 2
    assert "CLOSE_INCOMPLETE" in world.guard.alerts()


def test_a_part_that_the_stop_closed_first_is_not_closed_again() -> None:
    world = World(fates=[Fate(answer=Answer.NO, refusal=CloseRefusal.NOT_NOW)]).hold(3).start()
    (stop,) = world.orders
    decision = close(world, 1)
    world.fill(stop, 1)

    assert done(world, decision) is LiquidationState.DONE
    assert world.positions[MES] == 2
    assert len(world.sent_of(ClosePosition)) == 1


def test_one_part_at_a_time_and_a_full_close_takes_it_over() -> None:
    world = World().hold(3, stop=False).start()
    first = close(world, 1)
    second = close(world, 1)
    whole = close(world)

    assert second.kind is DecisionKind.NOT_POSSIBLE
    assert whole.liquidation_id == first.liquidation_id
    assert done(world, whole) is LiquidationState.FLAT
    assert world.positions[MES] == 0


def test_a_close_during_a_liquidation_joins_it() -> None:
    world = World(fates=[Fate(answer=Answer.NOT_SENT)]).hold(3).start()
    name = world.liquidate()

    assert close(world).liquidation_id == name
    assert close(world, 1).liquidation_id == name


def test_a_contract_that_is_proven_flat_needs_no_close() -> None:
    world = World().hold(1, stop=False).start()
    done(world, close(world))
    decision = close(world)

    assert (decision.kind, decision.liquidation_id) == (DecisionKind.ACCEPTED, None)


def test_in_dry_run_the_gate_refuses_and_the_request_is_shown() -> None:
    world = World(guard=Guard(policy=a_policy(dry_run=True))).hold(3).start()
    decision = close(world, 2)

    assert [it.code for it in decision.denials] == [DenialCode.GATE_DRY_RUN]
    assert decision.would_send == (
        ClosePosition(account_id=42, contract_id=MES, quantity=2, reason="out"),
    )
    assert world.sent_of(ClosePosition) == []
    assert world.guard.book.liquidations == {}


# -- an exit that is asked for twice ---------------------------------------------------------------


def closed_and_told_late(**out: Any) -> Guard:
    """Return a guard whose exit of 2 has filled, and whose row then says what was before it."""
    guard = Guard().start()
    guard.working(quantity=2)
    guard.trade(quantity=2)
    guard.working(101, client_order_id="out", **out)
    guard.trade(trade_id=8, broker_order_id=101, **out)
    guard.position_row(2)
    return guard


def test_a_second_exit_on_a_row_from_before_the_first_is_refused_for_a_moment() -> None:
    out: dict[str, Any] = {"side": Side.SELL, "quantity": 2}
    guard = closed_and_told_late(**out)

    refused = guard.submit(client_order_id="again", **out)
    guard.timer(after_ms=LATE_ROW_NS // MILLISECOND_NS)
    accepted = guard.submit(client_order_id="at-last", **out)

    assert guard.position() == 2, "it may be so, and is protected"
    assert [denial.code for denial in refused.denials] == [DenialCode.POSITION_FLIP]
    assert accepted.kind is DecisionKind.ACCEPTED


def test_a_new_process_does_not_wait_by_the_clock_of_the_old_one() -> None:
    guard = closed_and_told_late(side=Side.SELL, quantity=2)
    assert guard.book.position(MES).closed_unseen(guard.now_ns) == 2

    guard.feed(a_guard_start(utc_us=guard.utc_us))

    assert guard.book.position(MES).closed_unseen(0) == 0
