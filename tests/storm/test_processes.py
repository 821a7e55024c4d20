"""Watchdog, guard and liquidation as processes of the simulated computer: each does its part."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from backstop.adapters.projectx.wire import WireOrderType
from backstop.domain.alert_code import AlertCode
from backstop.emergency.right_to_send import lock_of_account
from backstop.errors import AlreadyRunningError
from backstop.storm.coverage import ALERTS
from backstop.storm.machine import PROCESSES_KEPT, NumberedProcess
from backstop.storm.network import HOST, PORT
from backstop.storm.plan import plan_of
from backstop.storm.seed_run import simulated
from backstop.storm.terms import Hours, Terms, terms_of
from backstop.storm.venue import ACCOUNT_ID
from backstop.storm.world import World

SEED = 20
NEVER_S = 1e9
READY_S = 15.0


def play(story: Callable[[World], Awaitable[None]], *, terms: Terms | None = None) -> World:
    """Let a story happen to a guard that nobody trades through."""

    async def act(world: World) -> None:
        await world.begin()
        await asyncio.sleep(READY_S)
        await story(world)
        await world.end()

    plan = replace(plan_of(SEED), pause_s=NEVER_S)
    world = simulated(plan, act, terms=terms or quiet_terms())
    assert world.safety.violations == []
    return world


def quiet_terms() -> Terms:
    terms = terms_of(SEED, stops_are_needed=True)
    plain = {"DRY_RUN": False, "EXECUTE": True, "DEFAULT_STOP_TICKS": 60}
    return replace(terms, hours=Hours.QUIET, settings={**plain, "BACKSTOP_CALENDAR": "always-open"})


def hold_one(world: World) -> str:
    """Have somebody buy one contract by hand; return it."""
    contract_id = world.venue.contract_ids["MES"]
    outcome = world.venue.exchange.place_manual(
        ACCOUNT_ID, contract_id, type=WireOrderType.MARKET, side=0, size=1
    )
    assert outcome.order_id is not None
    world.safety.foreign_orders.add(outcome.order_id)
    return contract_id


def alerts(world: World) -> set[str]:
    return set(world.reached().get(ALERTS, ()))


def lives(process: NumberedProcess | None) -> bool:
    return process is not None and process.alive


def test_a_killed_guard_is_started_again_by_the_same_watchdog() -> None:
    async def story(world: World) -> None:
        watchdog = world.host.watchdog
        world.host.kill(down_s=0.0)
        await asyncio.sleep(READY_S)
        assert world.host.watchdog is watchdog
        assert world.host.guard is not None

    world = play(story)
    assert world.host.starts == 2
    assert AlertCode.GUARD_RESTARTED in alerts(world)


def test_a_frozen_guard_is_killed_and_another_one_started() -> None:
    async def story(world: World) -> None:
        frozen = world.host.process
        world.host.freeze()
        await asyncio.sleep(READY_S)
        assert not lives(frozen)
        assert lives(world.host.process)

    assert AlertCode.GUARD_KILLED in alerts(play(story))


@pytest.mark.parametrize("how", ["kill_watchdog", "freeze_watchdog"])
def test_a_guard_without_its_watchdog_starts_another_one(how: str) -> None:
    async def story(world: World) -> None:
        before, guard = world.host.watchdog, world.host.process
        getattr(world.host, how)()
        await asyncio.sleep(2 * READY_S)
        assert not lives(before)
        assert lives(world.host.watchdog)
        assert world.host.process is guard
        assert not world.host.guard.book.links.watchdog_lost  # type: ignore[union-attr]

    assert AlertCode.WATCHDOG_LOST in alerts(play(story))


def test_an_account_left_alone_is_taken_flat_by_a_process_with_a_session_of_its_own() -> None:
    async def story(world: World) -> None:
        contract_id = hold_one(world)
        await asyncio.sleep(READY_S)
        assert world.truth.stop_cover(contract_id) == 1  # the guard gave it a stop
        for _ in range(100):  # whoever is started dies, for longer than a minute
            world.host.kill(down_s=0.0)
            await asyncio.sleep(1.0)
            if not world.truth.positions[contract_id]:
                break
        assert world.truth.positions[contract_id] == 0
        assert world.host.acts_alone
        await asyncio.sleep(2 * READY_S)
        assert world.host.guard is not None
        assert world.host.guard.book.latches  # the next guard knows of it

    found = alerts(play(story))
    assert {AlertCode.LIQUIDATION_DUE, AlertCode.LIQUIDATION_ENDED_FLAT} <= found
    assert AlertCode.GUARD_CRASH_LOOP in found


def test_a_second_process_does_not_get_the_right_to_send() -> None:
    async def story(world: World) -> None:
        refused: list[str] = []

        async def take() -> None:
            try:
                lock_of_account(f"{HOST}:{PORT}", ACCOUNT_ID).acquire()
            except AlreadyRunningError as error:
                refused.append(str(error))

        number = world.host.process.number  # type: ignore[union-attr]
        world.machine.inside(world.machine.new_process("another"), take)
        await asyncio.sleep(1.0)
        assert [f"process {number}" in text for text in refused] == [True]

    play(story)


def test_a_killed_liquidation_is_not_unwound_while_the_others_live() -> None:
    async def story(world: World) -> None:
        for _ in range(2):  # the second is started when the first is dead
            world.host.liquidate("a test", lambda _outcome: None, guard_lives=True)
            world.host.kill_all(down_s=0.0)
        for _ in range(PROCESSES_KEPT):
            world.machine.new_process("another")
        await asyncio.sleep(READY_S)
        gc.collect()

    play(story)


def test_a_killed_guard_has_no_more_to_say_when_it_is_buried() -> None:
    async def story(world: World) -> None:
        world.host.kill(down_s=0.0)
        await asyncio.sleep(READY_S)

    assert play(story).story.counts["guard closed_badly"] == 0


def test_the_market_keeps_its_hours() -> None:
    terms = quiet_terms()
    closes = replace(
        terms,
        hours=Hours.BREAK,
        start_utc_us=1_773_262_800_000_000 - 40_000_000,  # 40 s before 16:00 in Chicago
        settings={**terms.settings, "BACKSTOP_CALENDAR": "cme"},
    )

    async def story(world: World) -> None:
        contract_id = world.venue.contract_ids["MES"]
        assert world.venue.trades(contract_id)
        await asyncio.sleep(2 * READY_S)
        assert not world.venue.trades(contract_id)
        refused = world.venue.exchange.place_manual(
            ACCOUNT_ID, contract_id, type=WireOrderType.MARKET, side=0, size=1
        )
        assert refused.code != 0

    play(story, terms=closes)


def test_a_guard_that_another_watchdog_took_over_ends_when_it_is_told_to() -> None:
    async def story(world: World) -> None:
        world.host.kill_watchdog()
        await asyncio.sleep(15.0)

    world = play(story)

    assert {"WATCHDOG_LOST"} <= alerts(world)
    assert "GUARD_KILLED" not in alerts(world)
