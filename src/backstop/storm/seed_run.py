"""One seed from its beginning to its verdict: the storm, the calm after it, and the result."""

import asyncio
import gc
import io
import logging
import sys
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from msgspec import Struct, structs

from backstop.adapters.log import LogFormat, Redactor, configure_logging
from backstop.storm.calm import come_to_rest
from backstop.storm.connection_age import connections_age_by
from backstop.storm.network import Network, StormLoop
from backstop.storm.plan import Plan, Weather, plan_of
from backstop.storm.record import record_faults
from backstop.storm.safety import Violation
from backstop.storm.seed_files import folder_in, seed_files
from backstop.storm.terms import Terms
from backstop.storm.venue import ACCOUNT_ID
from backstop.storm.virtual_loop import TimeStoodStillError
from backstop.storm.world import World

MOMENT_S: Final = 1e-6
"""Less than this is no time: added to the loop's, which is a float, it may be nothing."""

STRETCH_S: Final = 5.0
"""How long it goes on at least after something was broken, when that ends it."""


class SeedResult(Struct, frozen=True, kw_only=True):
    """What came of one seed.

    Attributes:
        unsettled: what had not come right in time after the faults; empty: all of it had.
        counts: how often each kind of thing happened.
        naked_s_max: the longest time for which a position was naked and could be protected.
        reached: what of all that a guard can do was done, by kind.
        settled_s: how long it took to come right after the faults.
        cpu_s: seconds of one core that it took.
    """

    seed: int
    weather: Weather
    hours: float
    digest: str
    violations: tuple[Violation, ...]
    unsettled: tuple[str, ...]
    counts: dict[str, int]
    naked_s_max: float
    settled_s: float
    cpu_s: float
    newest: tuple[str, ...]
    reached: dict[str, tuple[str, ...]] = {}

    @property
    def passed(self) -> bool:
        """Nothing was broken, and everything came right."""
        return not self.violations and not self.unsettled


def run_seed(
    seed: int,
    *,
    hours: float,
    show: Callable[[str], None] | None = None,
    first_fault: bool = False,
    place: Path | None = None,
    stopped: Callable[[], bool] | None = None,
) -> SeedResult:
    """Simulate ``hours`` of ``seed``, heal everything, and judge; see ``_storm``.

    ``place``: where the folder of its files is made; None: see ``seed_files``. ``stopped`` says
    whether a person wants it to end.

    Raises:
        KeyboardInterrupt: it was stopped.
    """
    began_s = time.process_time()
    act = partial(_storm, hours=hours, first_fault=first_fault)
    world = simulated(plan_of(seed), act, show=show, place=place, stopped=stopped)
    return _result(world, hours, cpu_s=time.process_time() - began_s)


def simulated(
    plan: Plan,
    act: Callable[[World], Coroutine[Any, Any, None]],
    *,
    show: Callable[[str], None] | None = None,
    terms: Terms | None = None,
    place: Path | None = None,
    stopped: Callable[[], bool] | None = None,
) -> World:
    """Make the world of ``plan``, let ``act`` happen to it, and return it when all is over.

    ``terms`` None: those of the seed; ``place`` and ``stopped`` as of ``run_seed``.
    """
    configure_logging(
        session_id="storm",
        redactor=Redactor(),
        log_format=LogFormat.JSON,
        level=logging.CRITICAL,
        stream=io.StringIO(),
    )
    with seed_files() if place is None else folder_in(place) as folder:
        world = _over(plan, act, folder, show=show, terms=terms, stopped=stopped)
        with _unheard():
            if world is not None:
                world.bury()
            gc.collect()
    if world is None:
        raise KeyboardInterrupt
    return world


def _over(
    plan: Plan,
    act: Callable[[World], Coroutine[Any, Any, None]],
    folder: Path,
    *,
    show: Callable[[str], None] | None,
    terms: Terms | None,
    stopped: Callable[[], bool] | None,
) -> World | None:
    """Return the world in which all is over; None: it was stopped."""
    chance = Random(f"network/{plan.seed}")  # noqa: S311 - repeatable
    loop = StormLoop(Network(chance))
    if stopped is not None:
        loop.stopped = stopped
    try:
        world = World(plan, loop, folder, show=show, terms=terms)
        try:
            with connections_age_by(loop.time):
                loop.run_until_complete(act(world))
        except TimeStoodStillError as error:
            world.safety.break_rule("time goes on", str(error))
        except KeyboardInterrupt:
            world.break_off()
            return None
    finally:
        _end(loop)
    return world


@contextmanager
def _unheard() -> Iterator[None]:
    """Let go of the dead: their ``finally`` runs now, when nothing of it reaches anything."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _said: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what was killed never closed its files
            yield
    finally:
        sys.unraisablehook = hook


def _end(loop: StormLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    with suppress(Exception):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()


async def _storm(world: World, *, hours: float, first_fault: bool) -> None:
    """Let it storm for ``hours``, then heal everything and see whether it comes right.

    With ``first_fault`` it ends soon after the first thing that was broken.
    """
    await world.begin()
    await world.begin_storm()
    ends_s = world.now_s() + hours * 3600
    while (left_s := ends_s - world.now_s()) > MOMENT_S:
        if first_fault and world.safety.violations:
            break
        await asyncio.sleep(min(STRETCH_S, left_s))
    await world.end_storm()
    if not (first_fault and world.safety.violations):
        await come_to_rest(world)
    await world.end()
    if not world.unsettled:
        found = record_faults(world.state_folder, ACCOUNT_ID, world.truth)
        world.unsettled = tuple(found)
    world.story.tell("world", "over", unsettled=len(world.unsettled))


def _result(world: World, hours: float, *, cpu_s: float) -> SeedResult:
    return SeedResult(
        seed=world.plan.seed,
        weather=world.plan.weather,
        hours=hours,
        digest=world.story.digest(),
        violations=tuple(
            structs.replace(it, text=world.told(it.text)) for it in world.safety.violations
        ),
        unsettled=tuple(map(world.told, world.unsettled)),
        counts=dict(world.story.counts),
        naked_s_max=world.safety.naked_s_max,
        settled_s=world.settled_s,
        cpu_s=cpu_s,
        newest=tuple(world.story.newest),
        reached=world.reached(),
    )
