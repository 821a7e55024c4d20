"""A guard that stood still knows nothing: it reads the account before it lets in, or closes."""

from decimal import Decimal
from typing import Any

from tests.core.builders import MES, a_policy, replayed
from tests.core.protection_world import LOST, Request, World

from backstop.core.liquidation import READ_FIRST_NS
from backstop.core.policy import MILLISECOND_NS
from backstop.core.positions import Knowledge
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.commands import ClosePosition, RaiseAlert
from backstop.domain.events import CloseRequested, GuardStoodStill, LiquidationRequested

AFTER_MS = 60_000


def holding(**policy: Any) -> World:
    """Return a world that holds 2 MES with a stop that works."""
    members: dict[str, Any] = {"protects": True, "liquidate_after_ms": AFTER_MS}
    world = World(policy=a_policy(**(members | policy))).start()
    world.enter(stop=4990)
    world.wait(1_000)
    return world


def sleep(world: World, ms: int) -> None:
    """Suspend the machine; what the venue pushed meanwhile is lost."""
    tell, world.tell = world.tell, lambda _: LOST
    world.wait(ms, hears=False)
    world.tell = tell
    world.feed(GuardStoodStill(utc_us=world.guard.utc_us, unguarded_ms=ms, asleep_ms=ms))


def state(world: World) -> TradingState:
    return world.book.trading_state(world.guard.now_ns)


def test_entries_wait_until_the_account_was_read_again() -> None:
    world = holding()
    world.reads_fail = True
    sleep(world, 10_000)
    world.wait(1_000)

    assert state(world) is TradingState.RECOVERING
    assert world.book.position(MES).knowledge is Knowledge.STALE
    assert world.book.standstills == 1
    assert "GUARD_STOOD_STILL" in [alert.code for alert in world.sent_of(RaiseAlert)]

    world.reads_fail = False
    world.wait(10_000)
    assert state(world) is TradingState.ACTIVE
    assert world.book.position(MES).knowledge is Knowledge.KNOWN
    assert world.stops() == [(2, Decimal(4990))]
    assert not world.sent_of(ClosePosition)


def test_a_read_that_was_under_way_when_it_fell_asleep_proves_nothing() -> None:
    world = holding()
    world.book.audit.due_ns = world.guard.now_ns + 1
    world.wait(1)  # sent, not answered
    world.reads_fail = True
    sleep(world, 10_000)
    world.wait(500)

    assert not world.book.recovered


def test_what_closed_meanwhile_is_found_before_anything_is_done_about_it() -> None:
    """The stop filled while the machine slept: neither another stop nor a close is sent."""
    world = holding()
    tell, world.tell = world.tell, lambda _: LOST
    world.quote(4980)
    world.tell = tell
    sleep(world, 3 * AFTER_MS)
    world.wait(10_000)

    assert (world.position(), world.book.position(MES).quantity) == (0, 0)
    assert (world.placed(), world.sent_of(ClosePosition)) == ([], [])
    assert not world.book.latches


def test_a_position_that_was_left_alone_for_too_long_is_closed_after_a_read() -> None:
    world = holding()
    world.reads_fail = True
    sleep(world, AFTER_MS + 1)
    world.wait(10_000)
    assert not world.sent_of(ClosePosition), "not before the account was read"
    assert world.cover() == 2

    world.reads_fail = False
    world.wait(20_000)
    assert world.position() == 0
    assert LatchKind.LIQUIDATION in [latch.kind for latch in world.book.latches]
    assert state(world) is TradingState.HALTED


def test_a_shorter_sleep_leaves_the_position_to_its_stop() -> None:
    world = holding()
    sleep(world, AFTER_MS)
    world.wait(20_000)

    assert world.position() == 2
    assert not world.sent_of(ClosePosition)


def test_without_a_threshold_nothing_is_closed() -> None:
    world = holding(liquidate_after_ms=None)
    sleep(world, 10 * AFTER_MS)
    world.wait(20_000)

    assert world.position() == 2
    assert state(world) is TradingState.ACTIVE


def test_a_stop_that_went_meanwhile_is_put_back_after_the_read() -> None:
    world = holding()
    tell, world.tell = world.tell, lambda _: LOST
    world.take_away()
    world.tell = tell
    sleep(world, 10_000)
    woke_ns = world.guard.now_ns
    world.run_until(lambda: world.cover() == 2, "covered")

    assert world.guard.now_ns - woke_ns < 2_000 * MILLISECOND_NS
    assert world.position() == 2


def test_a_liquidation_that_it_slept_through_reads_before_it_goes_on() -> None:
    world = holding()
    world.request = lambda it: (
        Request(refused="not now") if isinstance(it, ClosePosition) else Request()
    )
    world.decide(LiquidationRequested(utc_us=world.guard.utc_us, operator="ann", reason="enough"))
    world.run_until(lambda: not world.book.closes[MES].needs_look, "the next close may be sent")
    asked = len(world.sent_of(ClosePosition))
    world.reads_fail = True
    sleep(world, 10_000)
    world.wait(10_000)
    assert len(world.sent_of(ClosePosition)) == asked

    world.reads_fail = False
    world.request = lambda _: Request()
    world.wait(60_000)
    assert world.position() == 0


def liquidate(world: World) -> None:
    world.decide(LiquidationRequested(utc_us=world.guard.utc_us, operator="ann", reason="enough"))


def test_a_liquidation_that_is_asked_for_after_a_sleep_reads_first() -> None:
    """The stop filled while the machine slept: there is nothing to close."""
    world = holding()
    tell, world.tell = world.tell, lambda _: LOST
    world.quote(4980)
    world.tell = tell
    sleep(world, 10_000)
    liquidate(world)
    world.wait(60_000)

    assert world.sent_of(ClosePosition) == []
    assert (world.position(), world.book.position(MES).quantity) == (0, 0)


def test_a_liquidation_closes_without_a_read_when_none_answers_for_too_long() -> None:
    world = holding()
    world.reads_fail = True
    sleep(world, 10_000)
    liquidate(world)
    world.wait(READ_FIRST_NS // MILLISECOND_NS - 1_000)
    assert world.sent_of(ClosePosition) == []

    world.wait(7_000)
    assert len(world.sent_of(ClosePosition)) == 1
    assert world.position() == 0
    world.wait(60_000)
    assert len(world.sent_of(ClosePosition)) == 1, "the next one waits until a read shows the first"


def test_a_part_is_not_closed_without_a_read_however_long_it_takes() -> None:
    """What was held may be less by now, and more of it would go than was asked for."""
    world = holding()
    world.reads_fail = True
    sleep(world, 10_000)
    world.decide(
        CloseRequested(
            utc_us=world.guard.utc_us, contract_id=MES, quantity=1, reason="r", operator="ann"
        )
    )
    world.wait(60_000)
    assert world.sent_of(ClosePosition) == []

    world.reads_fail = False
    world.wait(20_000)
    assert world.position() == 1


def test_a_position_that_was_naked_when_it_fell_asleep_is_read_before_it_is_closed() -> None:
    """Somebody may have put a stop there meanwhile, or closed it."""
    world = holding()
    world.take_away()
    world.wait(20)
    world.reads_fail = True
    sleep(world, 10_000)
    world.wait(3_000)
    assert (world.placed(), world.sent_of(ClosePosition)) == ([], [])
    assert "POSITION_NAKED" in [alert.code for alert in world.sent_of(RaiseAlert)]

    world.reads_fail = False
    world.run_until(lambda: world.cover() == 2, "covered")
    assert world.position() == 2


def test_a_replay_makes_the_same_of_it() -> None:
    world = holding()
    sleep(world, 2 * AFTER_MS)
    world.wait(10_000)

    book, steps = replayed(world.policy, world.guard.history)

    assert book == world.book
    assert steps == world.guard.steps
