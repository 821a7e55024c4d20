"""A change of a resting order stays with it until the venue shows it; so do the words of a no."""

from typing import Any

import pytest
from tests.core.builders import a_quote
from tests.core.protection_world import Request, World, with_a_resting_entry

from backstop.core.asked_changes import AskedChange
from backstop.core.order_moves import LATE_NS
from backstop.core.policy import MILLISECOND_NS
from backstop.core.step import DecisionKind
from backstop.domain.commands import ModifyOrder
from backstop.domain.events import Answer, ModifyRequested

LOST_BEFORE = Request(arrives=False, answered=False)


def change(world: World, name: str, **members: Any) -> None:
    wish = ModifyRequested(
        utc_us=world.guard.utc_us, client_order_id=name, reference=a_quote(), **members
    )
    decision = world.decide(wish)
    assert decision.kind is DecisionKind.ACCEPTED, decision


def kept(world: World, name: str) -> AskedChange | None:
    return world.book.orders[name].change


def fated(world: World, fate: Request) -> None:
    world.request = lambda it: fate if isinstance(it, ModifyOrder) else Request()


def test_what_is_asked_for_stays_until_it_is_shown() -> None:
    world, name = with_a_resting_entry()

    change(world, name, limit_ticks=4979 * 4, quantity=1)
    found = kept(world, name)
    assert found is not None
    assert (found.limit_ticks, found.quantity, found.unanswered) == (4979 * 4, 1, 1)
    world.wait(500)

    assert kept(world, name) is None


@pytest.mark.parametrize(
    ("fate", "answer", "words"),
    [
        (Request(refused="Invalid limit price"), Answer.NO, "Invalid limit price"),
        (Request(leaves=False, arrives=False), Answer.NOT_SENT, ""),
    ],
)
def test_a_no_stays_with_its_words_until_the_next_change(
    fate: Request, answer: Answer, words: str
) -> None:
    world, name = with_a_resting_entry()
    fated(world, fate)

    change(world, name, limit_ticks=4979 * 4)
    world.wait(60_000)

    found = kept(world, name)
    assert found is not None
    assert found.is_refused
    assert (found.answer, found.message) == (answer, words)
    world.request = lambda _: Request()
    change(world, name, limit_ticks=4978 * 4)
    world.wait(500)
    assert kept(world, name) is None


def test_of_silence_reads_tell_what_came() -> None:
    world, name = with_a_resting_entry()
    fated(world, LOST_BEFORE)

    change(world, name, limit_ticks=4979 * 4)
    world.wait(1_000)
    found = kept(world, name)
    assert found is not None
    assert (found.answer, found.is_refused) == (Answer.UNKNOWN, False)
    world.wait(LATE_NS // MILLISECOND_NS + 10_000)

    assert kept(world, name) is None


def test_another_process_reads_what_came_of_it() -> None:
    world, name = with_a_resting_entry()
    fated(world, LOST_BEFORE)

    change(world, name, limit_ticks=4979 * 4)
    world.restart()
    found = kept(world, name)
    assert found is not None
    assert (found.answer, found.unanswered) == (Answer.UNKNOWN, 0)
    world.wait(LATE_NS // MILLISECOND_NS + 10_000)

    assert kept(world, name) is None
