"""What nobody guarded for too long is taken flat by the next guard, after it read the account."""

from typing import Any

import pytest
from tests.core.builders import MES, a_policy
from tests.core.protection_world import World

from backstop.core.left_alone import is_too_long
from backstop.core.liquidation import LiquidationState
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.commands import ClosePosition, RaiseAlert
from backstop.domain.events import GuardStarted, GuardStoodStill, StopKind

AFTER_MS = 60_000
TOO_LONG: dict[str, Any] = {"stop": StopKind.CRASH, "downtime_ms": AFTER_MS + 1}


def holding(after_ms: int | None = AFTER_MS, **policy: Any) -> World:
    """Return a world that holds 2 MES with a stop that works."""
    world = World(policy=a_policy(protects=True, liquidate_after_ms=after_ms, **policy)).start()
    world.enter(stop=4990)
    world.wait(1_000)
    return world


def test_open_positions_are_taken_flat_and_latched_by_the_next_guard() -> None:
    world = holding()
    world.restart(**TOO_LONG)
    world.wait(3_000)

    assert world.position() == 0
    assert [row for row in world.orders() if row["status"] == "OPEN"] == []
    (run,) = world.book.liquidations.values()
    assert run.state is LiquidationState.FLAT
    assert "no guard for 60.0 s" in run.causes[0].text
    assert [latch.kind for latch in world.book.latches] == [LatchKind.LIQUIDATION]
    assert world.book.trading_state(world.guard.now_ns) is TradingState.HALTED
    assert [close.quantity for close in world.sent_of(ClosePosition)] == [None]


@pytest.mark.parametrize(
    "start",
    [
        {"stop": StopKind.CRASH, "downtime_ms": AFTER_MS},
        {"stop": StopKind.CRASH, "downtime_ms": None},
        {"stop": StopKind.CLEAN, "downtime_ms": 10 * AFTER_MS},
        {"stop": StopKind.UNKNOWN, "downtime_ms": 10 * AFTER_MS},
        {"stop": StopKind.FIRST, "downtime_ms": None},
    ],
)
def test_a_short_downtime_a_clean_stop_and_what_nobody_knows_are_none(start: Any) -> None:
    world = holding()
    world.restart(**start)
    world.wait(3_000)

    assert world.position() == 2
    assert world.book.liquidations == {}
    assert world.cover() == 2


def test_nothing_is_closed_before_the_account_was_read() -> None:
    """The stop at the venue protects meanwhile; what is held may have changed since."""
    world = holding()
    world.reads_fail = True
    world.restart(**TOO_LONG)
    world.wait(10_000)
    assert world.book.liquidations == {}
    assert world.cover() == 2

    world.reads_fail = False
    world.wait(20_000)

    assert world.position() == 0


def test_an_account_that_proves_flat_is_not_latched() -> None:
    world = holding()
    world.restart_after(
        lambda: world.exchange.close_position(world.policy.account_id, MES), **TOO_LONG
    )
    world.wait(10_000)

    assert world.book.liquidations == {}
    assert world.book.trading_state(world.guard.now_ns) is not TradingState.HALTED


def test_a_second_crash_before_the_account_is_read_forgets_nothing() -> None:
    world = holding()
    world.reads_fail = True
    world.restart(**TOO_LONG)
    world.wait(500)
    world.reads_fail = False
    world.restart(stop=StopKind.CRASH, downtime_ms=AFTER_MS + 600)  # since it was last guarded
    world.wait(3_000)

    assert world.position() == 0


@pytest.mark.parametrize(("stop", "left"), [(StopKind.CRASH, 0), (StopKind.CLEAN, 2)])
def test_what_a_process_owed_is_owed_by_the_one_after_its_crash(stop: StopKind, left: int) -> None:
    """It waited for a broker that could not be reached: no downtime, and no end of one either."""
    world = holding()
    world.reads_fail = True
    world.restart(**TOO_LONG)
    world.wait(5_000)
    world.reads_fail = False
    world.restart(stop=stop, downtime_ms=200)
    world.wait(3_000)

    assert world.position() == left


@pytest.mark.parametrize("stop", [StopKind.CLEAN, StopKind.FIRST, StopKind.CRASH])
def test_a_process_ends_as_the_one_before_until_it_hears_of_the_account(stop: StopKind) -> None:
    """One that nobody let in, or that nobody answered, was no guard of the account."""
    world = holding()
    world.reads_fail = True
    world.restart(stop=stop)
    world.wait(10_000)
    unheard = world.book.ends_as
    world.reads_fail = False
    world.wait(10_000)

    assert (unheard, world.book.ends_as) == (stop, StopKind.CRASH)


@pytest.mark.parametrize(("stop", "left"), [(StopKind.CRASH, 0), (StopKind.CLEAN, 2)])
def test_a_suspend_before_the_account_was_read_leaves_alone_what_a_crash_left(
    stop: StopKind, left: int
) -> None:
    world = holding()
    world.reads_fail = True
    world.restart(stop=stop)
    world.wait(1_000)
    world.feed(
        GuardStoodStill(
            utc_us=world.guard.utc_us, unguarded_ms=AFTER_MS + 1, asleep_ms=AFTER_MS + 1
        )
    )
    world.reads_fail = False
    world.wait(20_000)

    assert world.position() == left


def test_nothing_is_owed_by_a_guard_that_never_liquidates() -> None:
    world = holding()
    world.reads_fail = True
    world.restart(**TOO_LONG)
    world.reads_fail = False
    world.policy = a_policy(protects=True, liquidate_after_ms=None)
    world.restart(stop=StopKind.CRASH, downtime_ms=200)
    world.wait(3_000)

    assert world.position() == 2


def test_a_later_read_after_a_late_entry_does_not_liquidate_any_more() -> None:
    world = World(policy=a_policy(protects=True, liquidate_after_ms=AFTER_MS)).start()
    world.restart(**TOO_LONG)
    world.run_until(lambda: world.book.recovered, "recovered")
    world.enter(stop=4990)
    world.wait(8_000)

    assert world.position() == 2
    assert world.book.liquidations == {}


def test_with_the_gate_closed_it_says_what_it_would_do() -> None:
    world = holding()
    world.policy = a_policy(protects=True, liquidate_after_ms=AFTER_MS, dry_run=True, execute=False)
    world.restart(**TOO_LONG)
    world.wait(3_000)

    assert world.position() == 2
    assert "LIQUIDATION_NOT_SENT" in [it.code for it in world.sent_of(RaiseAlert)]


def test_recovery_that_is_switched_off_is_named_at_each_start() -> None:
    off = ("DISASTER_RECOVERY_ENABLE",)
    world = World(policy=a_policy(liquidate_after_ms=None, unprotected=off)).start()

    fact, _, told = world.guard.history[0]

    assert isinstance(fact, GuardStarted)
    named = [note for note in told.notes if note.name == "never_liquidated_when_left_alone"]
    assert [note.fields for note in named] == [{"switched_off": "DISASTER_RECOVERY_ENABLE"}]


def test_a_record_of_before_and_a_guard_without_recovery_never_do_it() -> None:
    world = holding(after_ms=None)
    world.restart(**TOO_LONG)
    world.wait(3_000)

    assert world.position() == 2
    assert not is_too_long(StopKind.CRASH, 10 * AFTER_MS, after_ms=None)
