"""Whatever a bot does by itself, the guard only reduces, and what is held ends up covered.

The bot does senseless things at random times; events come late, twice, or not at all.
"""

from decimal import Decimal
from random import Random

import pytest
from tests.core.bot_world import GRACE_MS, BotWorld
from tests.core.builders import ACCOUNT, MES, replayed
from tests.core.protection_world import Delivery

from backstop.core.book import AUDIT_INTERVAL_NS
from backstop.core.policy import SECOND_NS
from backstop.domain.commands import PlaceOrder
from backstop.domain.external import BreachPolicy
from backstop.domain.order import TAG_PREFIX, Side

ACTS = 18
QUIET_MS = 15_000
"""After the last act: legs are swept, and what reads have to settle is settled."""

NAKED_MOST_NS = (GRACE_MS // 1000 + 2) * SECOND_NS + AUDIT_INTERVAL_NS
"""A fill that no event tells of is read; then the bot's grace, the second in which the stop
has to work, and one for its close."""


def misbehave(world: BotWorld, random: Random) -> None:
    """Do one thing that a bot may do; what the venue refuses is its own affair."""
    last = float(world.last)
    away = random.choice((5, 10, 20))
    working = world.working()
    match random.randrange(9):
        case 0 | 1:
            side = random.choice(tuple(Side))
            legs = random.choice((None, (40, 40), (20, 80)))
            world.bot(side, random.choice((1, 2, 5)), bracket_ticks=legs)
        case 2:
            world.bot(Side.SELL, random.choice((1, 2)), stop=last - away)
        case 3:
            world.bot(Side.BUY, random.choice((1, 2)), stop=last + away)
        case 4:
            side = random.choice(tuple(Side))
            world.bot(side, random.choice((1, 2, 4)), limit=last - side.sign * away)
        case 5 if working:
            world.exchange.cancel(ACCOUNT, random.choice(working))
        case 6 if world.position():
            world.exchange.close_position(ACCOUNT, MES)
        case 7 | 8:
            world.quote(last + random.choice((-6, -2, 2, 6)))
        case _:
            pass


def weather(random: Random) -> Delivery:
    """Return what becomes of one event: most arrive, some late, some twice, some never."""
    return Delivery(copies_ms=random.choice(((1,), (1,), (1,), (3,), (1, 40), (120,), ())))


@pytest.mark.parametrize("policy", list(BreachPolicy))
@pytest.mark.parametrize("seed", range(3))
def test_the_guard_only_reduces_and_what_is_held_is_covered(
    seed: int, policy: BreachPolicy
) -> None:
    random = Random(seed)  # noqa: S311 - a story that can be told again
    world = BotWorld.begun(breach_policy=policy, max_order_quantity=4, duplicate_window_ns=0)
    told = Random(seed + 1)  # noqa: S311 - likewise
    world.tell = lambda _: weather(told)
    for _ in range(ACTS):
        misbehave(world, random)
        world.wait(random.choice((1, 20, 200, 900, 2500)))
    world.tell = lambda _: Delivery()
    world.wait(QUIET_MS)

    held = world.position()
    assert world.guard.position() == held
    assert all(it.client_order_id.startswith("protect:") for it in world.sent_of(PlaceOrder)), (
        "the guard itself enters nothing"
    )
    assert world.cover() == abs(held)
    ours = [
        row
        for row in world.orders()
        if row["status"] == "OPEN" and (row["customTag"] or "").startswith(TAG_PREFIX)
    ]
    assert sum(row["size"] for row in ours) <= abs(held)
    assert world.naked_ns <= NAKED_MOST_NS
    if seed == 0:
        book, steps = replayed(world.policy, world.guard.history)
        assert steps == world.guard.steps
        assert book == world.book


def test_the_bot_of_these_tests_does_something() -> None:
    """A story in which nothing happens proves nothing."""
    world = BotWorld.begun(max_order_quantity=4, duplicate_window_ns=0)
    random = Random(3)  # noqa: S311 - a story that can be told again
    for _ in range(ACTS):
        misbehave(world, random)
        world.wait(200)

    assert len(world.orders()) > ACTS // 3
    assert world.last != Decimal(5000)
