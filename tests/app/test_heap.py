"""Garbage of the guard's process: collected at quiet moments, and what stays is frozen."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from tests.app.desk import until

from backstop.app.heap import LOOKS_MAX, NEVER, HeapKeeper

HOURS = 3600.0


class Node:
    """Something that can be part of a cycle."""

    def __init__(self) -> None:
        self.other: Node | None = None


def a_cycle() -> tuple[Node, "weakref.ref[Node]"]:
    one, two = Node(), Node()
    one.other, two.other = two, one
    return one, weakref.ref(one)


def garbage() -> "weakref.ref[Node]":
    """Return a reference to a cycle that nobody holds any more."""
    return a_cycle()[1]


@pytest.fixture(autouse=True)
def heap_of_the_tests() -> Iterator[None]:
    yield
    gc.unfreeze()


@asynccontextmanager
async def keeping(**changes: Any) -> AsyncIterator[HeapKeeper]:
    members: dict[str, Any] = {
        "steps": lambda: 0,
        "nothing_open": lambda: False,
        "every_s": 0.0,
        "whole_every_s": HOURS,
    }
    keeper = HeapKeeper(**(members | changes))
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def another(keeper: HeapKeeper) -> None:
    """Wait until it has begun and ended one more collection."""
    seen = keeper.collections
    await until(lambda: keeper.collections >= seen + 2, "a collection")


async def test_garbage_goes_and_what_stays_is_frozen() -> None:
    async with keeping() as keeper:
        kept, _ = a_cycle()
        dead = garbage()
        await another(keeper)

        assert dead() is None
        assert gc.get_freeze_count() > 0
        assert not any(found is kept for found in gc.get_objects()), "never looked through again"


async def test_python_begins_no_full_collection_by_itself_meanwhile() -> None:
    before = gc.get_threshold()
    async with keeping() as keeper:
        await another(keeper)
        assert gc.get_threshold() == (*before[:2], NEVER)
    assert gc.get_threshold() == before


async def test_what_was_frozen_and_died_in_a_cycle_goes_when_nothing_is_open() -> None:
    is_open = [True]
    async with keeping(nothing_open=lambda: not is_open[0], whole_every_s=0.0) as keeper:
        node, dead = a_cycle()
        await another(keeper)
        del node
        await another(keeper)
        assert dead() is not None, "a whole look takes long, and something is open"
        assert keeper.whole_collections == 0

        is_open.clear()
        is_open.append(False)
        await another(keeper)

        assert dead() is None
        assert keeper.whole_collections > 0


async def test_it_waits_for_a_moment_without_facts_but_not_for_ever() -> None:
    facts = count()
    async with keeping(steps=lambda: next(facts)) as keeper:
        await until(lambda: keeper.collections > 0, "a collection of a busy guard")
        assert next(facts) >= 2 * LOOKS_MAX
