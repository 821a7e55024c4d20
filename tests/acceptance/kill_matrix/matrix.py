"""Plays one death of the matrix at a venue that others may share."""

from contextlib import suppress
from pathlib import Path

from tests.acceptance.kill_matrix.points import Case
from tests.acceptance.kill_matrix.run import a_run
from tests.acceptance.kill_matrix.stories import EndedError, play
from tests.acceptance.kill_matrix.verdict import judge
from tests.app.desk import ACCOUNTS, a_desk, a_venue

from backstop.simulator.process import Simulator

ATTEMPTS = 3
"""On a machine so busy that a stop cannot be proven in time the guard closes the position, as it
should, and one whose hub was down for a moment hears of no fill: the story ends before the death
and is played again."""

DEATH_LIMIT_S = 600
"""For one death with its stories. Their own waits are shorter; this one is for what hangs."""

DEATHS_MAX = len(ACCOUNTS) // ATTEMPTS
"""Deaths at one venue: each attempt has an account of its own."""


def a_matrix_venue() -> Simulator:
    """Return a venue in real time: its clock is compared with that of the guards.

    It has no price collar: levels may be far from the market.
    """
    return a_venue(speed=1.0, price_collar_ticks=None)


async def died_and_came_back(venue: Simulator, case: Case, folder: Path) -> None:
    """Play the story of ``case`` around its death; raises AssertionError when a demand fails."""
    for attempt in range(ATTEMPTS):
        place = folder / str(attempt)
        place.mkdir()
        async with a_run(a_desk(venue, place), case, place) as run:
            with suppress(EndedError):
                await play(run)
            if run.struck:
                await judge(run)
                return
    nobody = f"nobody came by this point in {ATTEMPTS} stories"
    raise AssertionError(f"{case.name}, {case.held.name}: {nobody}")
