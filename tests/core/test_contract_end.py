"""A month that has ended is told as that: closes are not repeated, settlements not blamed."""

from typing import Any

import pytest
from tests.core.builders import MES, Guard, a_position, an_instrument
from tests.core.liquidation_world import Fate, World

from backstop.core.contract_end import TRIES_MAX
from backstop.core.liquidation import LiquidationState
from backstop.core.policy import SECOND_NS
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import ClosePosition, RaiseAlert, Severity
from backstop.domain.events import Answer, CloseRefusal, CloseRequested, SessionsScheduled
from backstop.domain.order import OrderType, Side
from backstop.domain.session import ContractEnd

ENDED = Fate(answer=Answer.NO, refusal=CloseRefusal.ENDED)
SETTLEMENT, STOP = 900, 901


def told(guard: Guard, code: str) -> list[RaiseAlert]:
    """Return the alerts of one code, reminders left out."""
    alerts: list[RaiseAlert] = guard.commands_of(RaiseAlert)
    return [alert for alert in alerts if alert.code == code and not alert.repeat]


# -- closes of a month that takes no orders --------------------------------------------------------


def test_a_close_that_an_ended_month_refuses_is_a_person_s_turn_after_a_few_tries() -> None:
    world = World(fates=[ENDED] * 50).hold(2).start()
    name = world.liquidate()
    world.run(lambda: False, limit_s=300)

    assert len(world.sent_of(ClosePosition)) == TRIES_MAX
    (alert,) = told(world.guard, "CONTRACT_EXPIRED")
    assert alert.severity is Severity.CRITICAL
    assert f"+2 {MES}" in alert.message
    assert world.liquidation(name).state is LiquidationState.ESCALATED
    assert told(world.guard, "LIQUIDATION_FLAT") == []


def test_a_dead_month_costs_no_more_calls_than_an_account_that_nothing_is_done_about() -> None:
    """The account is read every five seconds anyway: a run that rests adds nothing to that."""
    counts = []
    for liquidates in (False, True):
        world = World(fates=[ENDED] * 50).hold(2).start()
        if liquidates:
            world.liquidate()
        world.run(lambda: False, limit_s=120)
        before = _calls(world)
        world.run(lambda: False, limit_s=480)
        counts.append(_calls(world) - before)

    assert counts[1] <= counts[0] + 1, "the one try of these minutes"


def _calls(world: World) -> int:
    return sum(not isinstance(command, RaiseAlert) for command in world.sent)


def test_it_ends_flat_once_two_reads_show_that_the_venue_has_settled_the_position() -> None:
    world = World(fates=[ENDED] * 50).hold(2).start()
    name = world.liquidate()
    world.run(lambda: bool(told(world.guard, "CONTRACT_EXPIRED")), limit_s=60)
    world.positions[MES] = 0
    world.run(lambda: world.liquidation(name).state is LiquidationState.FLAT, limit_s=60)

    assert world.liquidation(name).state is LiquidationState.FLAT
    assert len(world.sent_of(ClosePosition)) == TRIES_MAX


def test_a_month_that_takes_orders_again_is_closed_for_whoever_asks_again() -> None:
    world = World(fates=[ENDED] * TRIES_MAX).hold(2).start()
    name = world.liquidate()
    world.run(lambda: bool(told(world.guard, "CONTRACT_EXPIRED")), limit_s=60)
    assert world.liquidate() == name
    world.run(lambda: world.liquidation(name).state is LiquidationState.FLAT, limit_s=60)

    assert world.liquidation(name).state is LiquidationState.FLAT
    assert world.positions[MES] == 0


def test_a_venue_that_was_mistaken_is_asked_again_ever_more_rarely() -> None:
    world = World(fates=[ENDED] * (TRIES_MAX + 2)).hold(2).start()
    name = world.liquidate()
    world.run(lambda: bool(told(world.guard, "CONTRACT_EXPIRED")), limit_s=60)
    told_ns = world.guard.now_ns
    world.run(lambda: not world.positions[MES], limit_s=3 * 3600)

    assert 4_000 <= (world.guard.now_ns - told_ns) // SECOND_NS <= 4_300, "10 + 20 + 40 minutes"
    world.run(lambda: world.liquidation(name).state is LiquidationState.FLAT, limit_s=60)
    assert world.liquidation(name).state is LiquidationState.FLAT
    assert len(told(world.guard, "CONTRACT_EXPIRED")) == 1


def test_a_close_that_a_bot_asks_for_is_tried_again_as_well() -> None:
    world = World(fates=[ENDED] * TRIES_MAX).hold(2).start()
    wish = CloseRequested(utc_us=world.guard.utc_us, contract_id=MES, reason="roll", operator="bot")
    world.feed(wish)
    world.run(lambda: bool(told(world.guard, "CONTRACT_EXPIRED")), limit_s=60)
    world.feed(wish)
    world.run(lambda: world.positions[MES] == 0, limit_s=60)

    assert world.positions[MES] == 0


def test_a_new_process_tries_it_again_a_few_times_and_no_more() -> None:
    world = World(fates=[ENDED] * 50).hold(2).start()
    world.liquidate()
    world.run(lambda: bool(told(world.guard, "CONTRACT_EXPIRED")), limit_s=60)
    world.restart()
    world.run(lambda: False, limit_s=300)

    assert len(world.sent_of(ClosePosition)) <= 2 * TRIES_MAX
    assert len(told(world.guard, "CONTRACT_EXPIRED")) == 1


# -- positions that the venue settles --------------------------------------------------------------


def holding(quantity: int = 2) -> Guard:
    """Return a guard that holds a position with a stop of its own order beside it."""
    guard = Guard().start()
    guard.working(quantity=quantity)
    guard.row(status=BrokerStatus.FILLED, quantity=quantity, filled_quantity=quantity)
    guard.trade(quantity=quantity)
    guard.audit(positions=(a_position(quantity),))
    guard.audit(positions=(a_position(quantity),))
    return guard


def expire_stop(guard: Guard, **changes: Any) -> None:
    stop = {
        "broker_order_id": STOP,
        "custom_tag": None,
        "parent_order_id": 100,
        "type": OrderType.STOP,
        "side": Side.SELL,
        "quantity": 2,
        "status": BrokerStatus.EXPIRED,
        "updated_utc_us": guard.utc_us,
    }
    guard.row(**(stop | changes))


def settle(guard: Guard, quantity: int = 2, **changes: Any) -> None:
    """Let the venue close it with an order of its own, and let the reads after that show it."""
    row = {
        "broker_order_id": SETTLEMENT,
        "custom_tag": None,
        "status": BrokerStatus.FILLED,
        "side": Side.SELL,
        "quantity": quantity,
        "filled_quantity": quantity,
        "updated_utc_us": guard.utc_us,
    }
    guard.row(**(row | changes))
    guard.trade(
        trade_id=SETTLEMENT,
        broker_order_id=SETTLEMENT,
        side=Side.SELL,
        quantity=quantity,
        created_utc_us=guard.utc_us,
    )
    held = guard.position()
    positions = (a_position(held),) if held else ()
    guard.audit(after_ms=6_000, positions=positions)
    guard.audit(after_ms=1_000, positions=positions)


def external(guard: Guard) -> bool:
    return any(latch.kind is LatchKind.EXTERNAL for latch in guard.book.latches)


def ends(guard: Guard, *, after_s: int) -> None:
    """Let the calendar say that the month ends at so many seconds from now."""
    end_us = guard.utc_us + after_s * 1_000_000
    end = ContractEnd(
        contract_id=MES,
        last_date="2026-12-18",
        entries_until_utc_us=end_us,
        flat_by_utc_us=end_us,
        ends_utc_us=end_us,
    )
    guard.feed(SessionsScheduled(utc_us=guard.utc_us, sessions=(), contract_ends=(end,)))


def test_a_position_that_is_settled_as_its_orders_expire_is_not_somebody_else_s_trading() -> None:
    guard = holding()
    expire_stop(guard)
    settle(guard)

    assert not external(guard)
    assert told(guard, "EXTERNAL_POSITION") == []
    (alert,) = told(guard, "CONTRACT_EXPIRED")
    assert alert.severity is Severity.WARNING
    assert "sold 2" in alert.message
    assert guard.book.trading_state(guard.now_ns) is TradingState.ACTIVE


def test_the_calendar_s_end_of_the_month_explains_a_settlement_as_well() -> None:
    guard = holding()
    ends(guard, after_s=-1)
    settle(guard)

    assert not external(guard)
    assert len(told(guard, "CONTRACT_EXPIRED")) == 1


def test_a_month_that_the_gateway_calls_inactive_explains_it_too() -> None:
    guard = holding()
    guard.book.instruments[MES] = an_instrument(active=False)
    settle(guard)

    assert not external(guard)


def test_a_position_that_goes_without_a_trade_when_the_month_ends_is_settled() -> None:
    guard = holding()
    expire_stop(guard)
    for _ in range(4):
        guard.audit(after_ms=3_000, positions=())

    assert guard.position() == 0
    assert not external(guard)
    assert len(told(guard, "CONTRACT_EXPIRED")) == 1


@pytest.mark.parametrize(
    "why",
    ["before the end", "long after", "a tag", "a part", "no end at all"],
)
def test_what_a_settlement_does_not_explain_stays_somebody_else_s_trading(why: str) -> None:
    guard = holding()
    match why:
        case "before the end":
            ends(guard, after_s=3_600)
            settle(guard)
        case "long after":
            expire_stop(guard)
            guard.now_ns += 3_600 * SECOND_NS
            guard.audit(positions=(a_position(2),))
            settle(guard)
        case "a tag":
            expire_stop(guard)
            settle(guard, custom_tag="other-bot-1")
        case "a part":
            expire_stop(guard)
            settle(guard, 1)
        case _:
            settle(guard)

    assert external(guard)
    assert told(guard, "CONTRACT_EXPIRED") == []
