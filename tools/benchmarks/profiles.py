"""Profiles of the ways that are walked most: an event, a decision, a fact, and a simulated hour.

Each is a number of rounds of the same work; what is shown of a function is its share of the
processor's time, which does not depend on how busy the machine is.
"""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from backstop.storm.seed_run import run_seed
from benchmarks.decisions import World
from benchmarks.events import SLICES, hub_facts
from benchmarks.exposure import ACCOUNT_LIMITS, Held, judged
from benchmarks.guard import a_guard, filled, side
from benchmarks.sampling import Profile, Samples, profile, sampled
from benchmarks.venue import a_venue

INSTRUMENTS = 50
"""Of the decision: more than an account trades, fewer than a gateway lists."""

SEED = 7
"""Of the storm's hour; any would do, and the same one can be compared with itself."""


def measure(
    *, rounds: int, orders_at_once: int, decisions: int, facts: int, hours: float
) -> Iterator[Profile]:
    """Yield the profiles.

    Args:
        rounds: of each.
        orders_at_once: whose events flood a guard; each is filled in many parts.
        decisions: of the pipeline about one order.
        facts: of the core alone, about; six of them make an order.
        hours: of the storm, simulated.
    """
    with a_venue(slices=SLICES) as url:
        yield profile(
            key="event_to_verified",
            what=f"events of {orders_at_once} orders at once, frame to verified fill",
            unit="event",
            rounds=[_flooded(url, f"profile-{n}", orders_at_once) for n in range(rounds)],
        )
    held = Held(INSTRUMENTS, account_limits=ACCOUNT_LIMITS)
    yield profile(
        key="decision",
        what=f"every rule about one order, {INSTRUMENTS} instruments",
        unit="decision",
        rounds=[_repeated(judged(held), decisions) for _ in range(rounds)],
    )
    yield profile(
        key="fact",
        what="core.engine.step alone, orders that fill",
        unit="fact",
        rounds=[_facts(facts) for _ in range(rounds)],
    )
    yield profile(
        key="storm_hour",
        what=f"the storm, seed {SEED}, {hours:g} simulated hours in each round",
        unit="simulated second",
        rounds=[_stormy(hours) for _ in range(rounds)],
    )


def _flooded(url: str, name: str, orders: int) -> Samples:
    with tempfile.TemporaryDirectory() as folder:
        samples = asyncio.run(_flood(url, Path(folder), name, orders))
        samples.units = sum(1 for _ in hub_facts(Path(folder)))
    return samples


async def _flood(url: str, folder: Path, name: str, orders: int) -> Samples:
    async with a_guard(url, folder) as guard:
        with sampled() as samples:
            async with asyncio.TaskGroup() as tasks:
                for number in range(orders):
                    one = filled(guard, f"{name}-{number}", side(number), quantity=SLICES)
                    tasks.create_task(one)
    return samples


def _repeated(act: Callable[[], object], times: int) -> Samples:
    with sampled() as samples:
        for _ in range(times):
            act()
    samples.units = times
    return samples


def _facts(facts: int) -> Samples:
    world = World()
    before = world.facts
    with sampled() as samples:
        while world.facts < before + facts:
            world.fill_pairs(1)
    samples.units = world.facts - before
    return samples


def _stormy(hours: float) -> Samples:
    with sampled() as samples:
        run_seed(SEED, hours=hours)
    samples.units = hours * 3600
    return samples
