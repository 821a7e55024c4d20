"""What one guard had latched, the next one holds as well, whatever the disk took of it."""

import msgspec
import pytest
from tests.core.builders import MES, Guard, a_guard_start, a_policy
from tests.core.liquidation_world import World

from backstop.core.standing_latches import standing_latches
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.commands import ClosePosition
from backstop.domain.events import HaltRequested, LatchesHandedOver, ResumeRequested
from backstop.domain.standing_latch import StandingLatch

HALT = StandingLatch(kind="HALT", cause="the news", operator="eve", utc_us=7)


def handed(guard: Guard, *latches: StandingLatch) -> None:
    guard.feed(LatchesHandedOver(utc_us=guard.utc_us, latches=latches))


def test_what_is_latched_is_what_the_next_guard_latches() -> None:
    before = Guard().start()
    before.feed(HaltRequested(utc_us=before.utc_us, reason="the news", operator="eve"))
    told = standing_latches(before.book)
    guard = Guard().start()
    handed(guard, *told)

    assert guard.book.latches == before.book.latches
    assert guard.book.trading_state(guard.now_ns) is TradingState.HALTED
    assert guard.alerts() == ["HALTED"]
    assert standing_latches(guard.book) == told


def test_what_the_record_has_already_is_not_put_on_twice() -> None:
    guard = Guard().start()
    guard.feed(HaltRequested(utc_us=guard.utc_us, reason="the news", operator="eve"))
    latches = guard.book.latches
    handed(guard, HALT)

    assert guard.book.latches == latches
    assert guard.alerts() == ["HALTED"]


def test_nothing_is_told_of_what_a_person_has_lifted() -> None:
    guard = Guard().start()
    handed(guard, HALT)
    guard.feed(ResumeRequested(utc_us=guard.utc_us, reason="seen", operator="adam"))

    assert standing_latches(guard.book) == ()


@pytest.mark.parametrize("kind", list(LatchKind))
def test_each_kind_comes_back_as_it_was(kind: LatchKind) -> None:
    guard = Guard().start()
    handed(guard, msgspec.structs.replace(HALT, kind=str(kind), contract_id=MES))
    (latch,) = guard.book.latches

    assert (latch.kind, latch.contract_id, latch.utc_us) == (kind, MES, 7)


def test_a_kind_that_only_another_version_knows_halts() -> None:
    guard = Guard().start()
    handed(guard, msgspec.structs.replace(HALT, kind="OF_TOMORROW"))

    assert guard.book.trading_state(guard.now_ns) is TradingState.HALTED


def test_a_liquidation_that_no_disk_took_goes_on_and_is_not_begun_again_when_it_is_over() -> None:
    before = World().hold(2).start()
    before.liquidate()
    told = standing_latches(before.guard.book)
    world = World().hold(2).start()
    handed(world.guard, *told)
    (name,) = world.guard.book.liquidations
    world.run(lambda: world.flat(name))

    assert [it.liquidates for it in told] == [True]
    assert len([it for it in world.sent if isinstance(it, ClosePosition)]) == 1
    assert {it.liquidates for it in standing_latches(world.guard.book)} == {False}
    handed(world.guard, *standing_latches(world.guard.book))
    assert list(world.guard.book.liquidations) == [name]


def test_a_liquidation_that_the_record_has_is_joined() -> None:
    world = World().hold(2).start()
    name = world.liquidate()
    run = world.liquidation(name)
    world.guard.feed(a_guard_start(utc_us=world.guard.utc_us))
    handed(world.guard, *standing_latches(world.guard.book))

    assert list(world.guard.book.liquidations) == [name]
    assert world.liquidation(name).causes == run.causes


def test_a_rehearsal_is_no_liquidation_to_go_on_with() -> None:
    world = World(guard=Guard(policy=a_policy(dry_run=True))).hold(2).start()
    world.liquidate()

    assert [it.liquidates for it in standing_latches(world.guard.book)] == [False]
