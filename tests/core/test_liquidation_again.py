"""Flat by the word of reads alone: it takes a later one, and what comes back is closed as well."""

import pytest
from msgspec.structs import replace
from tests.core.builders import MES, a_policy, replayed
from tests.core.protection_world import Request, World

from backstop.core.liquidation import Liquidation, LiquidationState
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.positions import LATER_NS
from backstop.domain.commands import CancelOrder, ClosePosition, Command
from backstop.domain.events import LiquidationRequested, ResumeRequested
from backstop.domain.order import Side

MARKET = 2


def refuses_closes(command: Command) -> Request:
    return Request(refused="no") if isinstance(command, ClosePosition) else Request()


def lying(*, closes: bool = False) -> World:
    """Return a world long of which no list of positions tells, and that closes nothing."""
    world = World().start()
    world.enter(quantity=3, stop=4990)
    world.wait(6_000)
    world.naked_ns = 0
    world.shown = lambda _: ()
    if not closes:
        world.request = refuses_closes
    return world


def liquidate(world: World, contract_id: str | None = None) -> str:
    fact = LiquidationRequested(
        utc_us=world.guard.utc_us, reason="test", operator="Jo", contract_id=contract_id
    )
    decision = world.decide(fact)
    assert decision.liquidation_id is not None
    return decision.liquidation_id


def run_of(world: World, name: str) -> Liquidation:
    return world.book.liquidations[name]


def heal(world: World) -> None:
    world.shown = lambda rows: rows
    world.request = lambda _: Request()


def test_empty_lists_alone_are_no_proof_of_flat_within_a_moment() -> None:
    world = lying()
    begun_ns = world.guard.now_ns
    name = liquidate(world)
    world.wait(LATER_NS // MILLISECOND_NS - 500)

    assert run_of(world, name).state is LiquidationState.CLOSING
    assert world.stops(), "its stop stays as long"
    world.run_until(lambda: run_of(world, name).is_finished, "a later read agrees")
    assert world.guard.now_ns - begun_ns < 20 * SECOND_NS


def test_a_position_that_lists_hid_for_a_moment_is_closed_under_its_stop() -> None:
    world = lying()
    name = liquidate(world)
    world.wait(3_000)
    heal(world)
    world.run_until(lambda: run_of(world, name).is_finished, "it is over")

    assert run_of(world, name).state is LiquidationState.FLAT
    assert (world.position(), world.naked_ns) == (0, 0)


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("contract_id", [None, MES])
def test_what_is_there_again_while_the_latch_stands_is_taken_flat_again(
    contract_id: str | None, *, restarts: bool
) -> None:
    world = lying()
    first = liquidate(world, contract_id)
    world.run_until(lambda: run_of(world, first).is_finished, "it is over by lists that lie")
    assert world.position() == 3
    if restarts:
        world.restart()
    heal(world)
    world.run_until(lambda: not world.position(), "closed", limit_ms=10_000)
    world.wait(10_000)

    _, again = world.book.liquidations.values()
    assert again.state is LiquidationState.FLAT
    assert again.contract_id == contract_id
    assert first in again.causes[0].text
    assert not world.stops()
    assert replayed(world.policy, world.guard.history)[0] == world.book


def test_a_rehearsal_closes_nothing_because_of_a_liquidation_that_a_person_has_resumed() -> None:
    """Its latch is not that of the one before: what is held was entered since, and stays."""
    world = World().start()
    world.enter(quantity=3, stop=4990)
    world.wait(2_000)
    first = liquidate(world)
    world.run_until(lambda: run_of(world, first).is_finished, "it is over")
    world.decide(ResumeRequested(utc_us=world.guard.utc_us, operator="Jo", reason="seen"))
    world.enter(quantity=2, stop=4990)
    world.wait(6_000)
    sending = world.book.policy
    world.book.policy = replace(sending, dry_run=True)
    rehearsed = liquidate(world)
    world.book.policy = sending
    world.wait(15_000)

    assert list(world.book.liquidations) == [first, rehearsed]
    assert world.position() == 2


def test_a_close_that_the_venue_took_needs_no_later_read() -> None:
    """The trade is lost for once, and every row: an order that the venue took is a witness too."""
    world = lying(closes=True)
    begun_ns = world.guard.now_ns
    name = liquidate(world)
    world.run_until(lambda: run_of(world, name).is_finished, "it is over")

    assert world.guard.now_ns - begun_ns < 4 * SECOND_NS
    assert world.sent_of(CancelOrder)


def test_what_others_hold_is_theirs_also_once_their_trades_have_left_the_book() -> None:
    policy = a_policy(protects=True, default_stop_ticks=40, archives=True)
    world = World(policy=policy).start()
    world.enter(quantity=3, stop=4990)
    world.wait(2_000)
    name = liquidate(world)
    world.run_until(lambda: run_of(world, name).is_finished, "it is over")
    world.manual(MARKET, Side.BUY, 2)
    world.wait(15_000)
    newest = run_of(world, name).newest_trade_id
    assert newest is not None
    for _ in range(80):
        for side in (Side.BUY, Side.SELL):
            world.manual(MARKET, side, 1)
            world.wait(2_000)
        if (world.book.forgotten_trade_id or 0) > newest + 2:
            break
    else:
        raise AssertionError("nothing has left the book")
    world.manual(MARKET, Side.BUY, 1)
    world.wait(6_000)

    assert (world.position(), list(world.book.liquidations)) == (3, [name])


@pytest.mark.parametrize("resumes", [False, True])
def test_what_others_trade_after_it_is_left_to_the_policy_for_others(*, resumes: bool) -> None:
    world = World(policy=a_policy(protects=True, default_stop_ticks=40)).start()
    world.enter(quantity=3, stop=4990)
    world.wait(2_000)
    name = liquidate(world)
    world.run_until(lambda: run_of(world, name).is_finished, "it is over")
    if resumes:
        resumed = ResumeRequested(utc_us=world.guard.utc_us, operator="Jo", reason="seen")
        world.decide(resumed)
    world.manual(MARKET, Side.BUY, 2)
    world.wait(15_000)

    assert world.position() == 2
    assert list(world.book.liquidations) == [name]
