"""A cancel that got no clear answer is made again until its order is over, or the venue says no."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.protection_world import Request, World, with_a_resting_entry

from backstop.core.asked_changes import AskedCancel
from backstop.core.cancels_followed import NEW_WISH_NS
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.core.repeated_requests import CANCEL_PAUSE_MAX_NS
from backstop.core.step import DecisionKind
from backstop.domain.commands import CancelOrder
from backstop.domain.events import Answer, JournalRecovered, LegChangeRequested
from backstop.domain.order import OrderState, OrderType, Side

LOST_BEFORE = Request(arrives=False, answered=False)
LOST_AFTER = Request(answered=False)
NOT_SENT = Request(leaves=False, arrives=False)
FORGOTTEN = Request(forgotten=True)


def first(fate: Request, times: int = 1) -> Callable[[Any], Request]:
    """Return the fate of the first cancels; those that come later get through."""
    left = [fate] * times

    def decide(command: Any) -> Request:
        return left.pop() if left and isinstance(command, CancelOrder) else Request()

    return decide


def asked(world: World, name: str) -> AskedCancel:
    found = world.book.orders[name].cancel
    assert found is not None
    return found


@pytest.mark.parametrize("fate", [LOST_BEFORE, NOT_SENT, FORGOTTEN])
@pytest.mark.parametrize("times", [1, 3])
def test_it_is_asked_for_again_until_the_order_is_over(fate: Request, times: int) -> None:
    world, name = with_a_resting_entry()
    world.request = first(fate, times)

    assert world.cancel(name).kind is DecisionKind.ACCEPTED
    world.wait(1_000)
    assert world.book.orders[name].state is OrderState.WORKING
    world.wait(20_000)

    assert world.book.orders[name].state is OrderState.CANCELLED
    assert len(world.sent_of(CancelOrder)) == times + 1


def test_one_that_worked_without_an_answer_is_not_asked_for_again() -> None:
    world, name = with_a_resting_entry()
    world.request = first(LOST_AFTER)

    world.cancel(name)
    world.wait(20_000)

    assert world.book.orders[name].state is OrderState.CANCELLED
    assert len(world.sent_of(CancelOrder)) == 1


def test_a_clear_no_is_kept_with_the_order_and_ends_the_asking() -> None:
    world, name = with_a_resting_entry()
    world.request = lambda it: Request(refused="Nope" if isinstance(it, CancelOrder) else "")

    world.cancel(name)
    world.wait(30_000)

    assert len(world.sent_of(CancelOrder)) == 1
    found = asked(world, name)
    assert (found.answer, found.message) == (Answer.NO, "Nope")


def test_what_is_asked_for_ever_is_asked_ever_more_slowly() -> None:
    world, name = with_a_resting_entry()
    world.request = lambda it: LOST_BEFORE if isinstance(it, CancelOrder) else Request()

    world.cancel(name)
    world.wait(120_000)

    most = 4 + 120_000_000_000 // CANCEL_PAUSE_MAX_NS
    assert 10 <= len(world.sent_of(CancelOrder)) <= most
    assert asked(world, name).answer is Answer.UNKNOWN
    assert world.guard.alerts().count("ORDER_STAYS") == 1


def test_a_person_is_told_once_although_its_bot_keeps_asking_too() -> None:
    world, name = with_a_resting_entry()
    world.request = lambda it: LOST_BEFORE if isinstance(it, CancelOrder) else Request()

    for _ in range(60):
        world.cancel(name)
        world.wait(1_000)

    assert world.guard.alerts().count("ORDER_STAYS") == 1


def test_a_bot_that_asks_once_more_puts_nothing_off() -> None:
    world, name = with_a_resting_entry()
    world.request = lambda it: LOST_BEFORE if isinstance(it, CancelOrder) else Request()
    world.cancel(name)
    world.wait(200)
    due_ns = asked(world, name).due_ns

    world.cancel(name)

    assert asked(world, name).due_ns == due_ns


def test_what_was_refused_long_ago_is_another_wish() -> None:
    world, name = with_a_resting_entry()
    world.request = lambda it: Request(refused="Nope" if isinstance(it, CancelOrder) else "")
    world.cancel(name)
    world.wait(NEW_WISH_NS // MILLISECOND_NS + 1_000)

    world.cancel(name)
    world.wait(1_000)

    assert asked(world, name).times == 1
    assert "ORDER_STAYS" not in world.guard.alerts()


def test_a_process_that_sends_nothing_asks_for_nothing_again() -> None:
    world, name = with_a_resting_entry()
    world.request = lambda it: LOST_BEFORE if isinstance(it, CancelOrder) else Request()
    world.cancel(name)
    world.wait(1_000)
    sent = len(world.sent_of(CancelOrder))

    world.restart()
    world.book.policy = replace(world.policy, dry_run=True, execute=False)
    world.wait(30_000)

    assert asked(world, name).due_ns, "it is still to be over"
    assert len(world.sent_of(CancelOrder)) == sent


def test_another_process_goes_on_asking() -> None:
    world, name = with_a_resting_entry()
    world.request = first(LOST_BEFORE)

    world.cancel(name)
    world.wait(50)
    world.restart()
    world.wait(10_000)

    assert world.book.orders[name].state is OrderState.CANCELLED


@pytest.mark.parametrize(("fate", "at_once"), [(NOT_SENT, True), (LOST_BEFORE, False)])
def test_what_could_not_be_recorded_leaves_as_soon_as_the_disk_is_back(
    fate: Request, *, at_once: bool
) -> None:
    """Once: what is under way then is not asked for a second time."""
    world, name = with_a_resting_entry()
    world.request = lambda it: fate if isinstance(it, CancelOrder) else Request()
    world.cancel(name)
    world.wait(12_000)
    sent = len(world.sent_of(CancelOrder))
    assert asked(world, name).due_ns > world.guard.now_ns + 4 * SECOND_NS

    recovered = JournalRecovered(
        utc_us=world.guard.utc_us,
        began_utc_us=world.guard.utc_us - 15_000_000,
        reason="No space left on device.",
        decisions=7,
        first_seq=41,
        last_seq=52,
    )
    world.feed(recovered)
    world.feed(recovered)

    assert len(world.sent_of(CancelOrder)) == sent + at_once


def test_a_target_of_a_bracket_is_asked_for_again_too() -> None:
    world = World().start()
    world.enter(quantity=2, stop=4990, take_profit_price=Decimal(5020))
    world.wait(1_100)
    (target,) = (it for it in world.orders() if it["leg"] == "TAKE_PROFIT")
    world.request = first(LOST_BEFORE)

    wish = LegChangeRequested(utc_us=world.guard.utc_us, broker_order_id=target["id"], ticks=None)
    assert world.decide(wish).kind is DecisionKind.ACCEPTED
    world.wait(15_000)

    assert world.targets() == []
    assert world.cover() == world.position() == 2


def test_a_stop_that_came_to_be_needed_meanwhile_stays() -> None:
    """It was one too many when its bot let go of it; then somebody took the other one away."""
    world = World().start()
    world.enter(quantity=2, stop=4990)
    world.wait(1_100)
    levels: dict[str, Any] = {"type": OrderType.STOP, "stop_price": Decimal(4985)}
    own = world.enter(Side.SELL, 2, stop=None, **levels)
    world.wait(20)
    world.request = first(LOST_BEFORE)
    decision = world.cancel(own)
    assert decision.kind is DecisionKind.ACCEPTED, decision

    world.take_away()
    world.wait(20_000)

    assert world.cover() >= world.position() == 2
