"""The clock of a naked position: when it starts, what stops it, and what happens at its end."""

from decimal import Decimal
from typing import Any

import pytest
from tests.core.builders import MES, Guard, a_policy, a_trade
from tests.core.protection_world import Request, World

from backstop.core.engine import next_deadline_ns
from backstop.core.naked_time import GRACE_NS, LATE_NS, NAKED_LIMIT_NS, RESTART_LIMIT_NS
from backstop.core.policy import MILLISECOND_NS
from backstop.domain.commands import ClosePosition, PlaceOrder, RaiseAlert
from backstop.domain.order import OrderType, Side

LIMIT_MS = NAKED_LIMIT_NS // MILLISECOND_NS
STOP: dict[str, Any] = {
    "broker_order_id": 101,
    "parent_order_id": 100,
    "side": Side.SELL,
    "type": OrderType.STOP,
    "stop_price": Decimal(4990),
}


def a_naked_guard() -> Guard:
    """Return a guard that has just heard of a fill of 2 with a stop at 4990, and of no leg."""
    guard = Guard(policy=a_policy(protects=True)).start()
    guard.working(stop_loss_price=Decimal(4990))
    guard.trade(quantity=2)
    return guard


def closes(guard: Guard) -> int:
    return len(guard.commands_of(ClosePosition))


def test_the_clock_starts_with_the_first_evidence_of_the_fill() -> None:
    guard = Guard(policy=a_policy(protects=True)).start()
    guard.working(stop_loss_price=Decimal(4990))
    guard.row(filled_quantity=2)
    evident_ns = guard.now_ns
    guard.trade(quantity=2)
    guard.position_row(2)

    assert guard.book.position(MES).naked_since_ns == evident_ns, "the row of the order was first"


def test_the_longest_time_is_kept_for_the_position_and_for_ever() -> None:
    guard = a_naked_guard()
    guard.row(**STOP)
    first_ns = guard.book.protection.naked_max_ns
    assert first_ns == guard.book.protection.record(MES).naked_max_ns == 1 * MILLISECOND_NS

    guard.trade(trade_id=8, broker_order_id=900, side=Side.SELL, quantity=2)

    assert guard.book.protection.record(MES).naked_max_ns == 0, "another position begins anew"
    assert guard.book.protection.naked_max_ns == first_ns


@pytest.mark.parametrize("late_ms", [0, LATE_NS // MILLISECOND_NS])
def test_only_a_timer_closes_for_it_fires_when_all_that_came_was_heard(late_ms: int) -> None:
    """The word of the stop waits behind another fact when the limit has passed."""
    guard = a_naked_guard()
    guard.now_ns += (LIMIT_MS + late_ms) * MILLISECOND_NS
    guard.position_row(2)
    assert closes(guard) == 0
    guard.row(**STOP)
    guard.timer()

    assert closes(guard) == 0
    assert guard.book.position(MES).naked_since_ns == 0


def test_at_the_limit_the_timer_closes() -> None:
    guard = a_naked_guard()
    since_ns = guard.now_ns
    while not closes(guard):
        guard.until_due()

    assert guard.now_ns == since_ns + NAKED_LIMIT_NS


def test_a_limit_that_is_noticed_late_gives_the_sockets_a_moment_once() -> None:
    guard = a_naked_guard()
    guard.timer(after_ms=5_000)
    assert closes(guard) == 0, "the process stood still, not the venue"
    assert next_deadline_ns(guard.book) <= guard.now_ns + GRACE_NS

    guard.timer(after_ms=GRACE_NS // MILLISECOND_NS)
    assert closes(guard) == 1


def test_a_stop_that_is_heard_of_in_that_moment_keeps_the_position() -> None:
    guard = a_naked_guard()
    guard.timer(after_ms=5_000)
    guard.row(**STOP)
    guard.timer(after_ms=10_000)

    assert closes(guard) == 0


def test_after_a_start_the_limit_runs_from_the_first_complete_read() -> None:
    """The stop takes most of a second, and the read before it took most of two."""
    world = World().start()
    world.enter(stop=4990)
    world.wait(500)
    world.take_away()
    world.wait(10)
    world.reads_fail = True
    world.restart(down_ms=10)
    world.wait(RESTART_LIMIT_NS // MILLISECOND_NS - 200)
    world.reads_fail = False
    world.request = lambda command: Request(ms=400 if isinstance(command, PlaceOrder) else 5)
    world.run_until(lambda: bool(world.stops()), "a stop", limit_ms=6_000)
    world.wait(3_000)

    assert world.sent_of(ClosePosition) == []
    assert world.stops() == [(2, Decimal(4990))]


def test_what_the_first_read_of_a_start_finds_bare_has_the_limit_of_a_start() -> None:
    """Somebody cancelled the stop while nobody watched; a new one takes more than a second."""
    world = World().start()
    world.enter(stop=4990)
    world.wait(500)
    world.request = lambda command: Request(ms=1_300 if isinstance(command, PlaceOrder) else 5)
    world.restart_after(world.take_away)
    world.run_until(lambda: bool(world.stops()), "a stop", limit_ms=6_000)
    world.wait(3_000)

    assert world.sent_of(ClosePosition) == []
    assert world.stops() == [(2, Decimal(4990))]


def test_a_position_that_nobody_wanted_protected_has_no_limit_until_somebody_does() -> None:
    world = World().start()
    world.enter(stop=None)
    world.wait(20 * LIMIT_MS)
    assert world.sent_of(ClosePosition) == []
    world.request = lambda command: Request(ms=300 if isinstance(command, PlaceOrder) else 5)
    world.protect(stop=4990)
    world.wait(2_000)

    assert world.position() == 2
    assert world.stops() == [(2, Decimal(4990))]


def test_each_close_names_the_cause_and_the_time() -> None:
    guard = a_naked_guard()
    while not closes(guard):
        guard.until_due()

    (alert,) = guard.commands_of(RaiseAlert)
    assert alert.code == "POSITION_NAKED"
    assert "2 of +2" in alert.message
    assert "1000 ms" in alert.message
    (run,) = guard.book.liquidations.values()
    assert run.causes[0].operator == "backstop"
    assert not run.latches


def test_a_voided_fill_stops_the_clock() -> None:
    guard = a_naked_guard()
    guard.trade(quantity=2, voided=True)
    assert a_trade().trade_id == 7

    assert guard.book.position(MES).naked_since_ns == 0
