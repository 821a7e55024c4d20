"""Plays one death of the matrix at a venue that others may share."""

from pathlib import Path

from tests.acceptance.kill_matrix.points import Case
from tests.acceptance.kill_matrix.run import a_run
from tests.acceptance.kill_matrix.stories import play
from tests.acceptance.kill_matrix.verdict import judge
from tests.app.desk import ACCOUNTS, Desk, a_desk, a_venue

from backstop.simulator.process import Simulator

DEATHS_MAX = len(ACCOUNTS)
"""Deaths at one venue: each has an account of its own."""


def a_matrix_venue() -> Simulator:
    """Return a venue in real time: its clock is compared with that of the guards.

    It has no price collar: levels may be far from the market.
    """
    return a_venue(speed=1.0, price_collar_ticks=None)


async def died_and_came_back(venue: Simulator, case: Case, folder: Path) -> None:
    """Play the story of ``case`` around its death; raises AssertionError when a demand fails."""
    desk: Desk = a_desk(venue, folder)
    async with a_run(desk, case, folder) as run:
        await play(run)
        await judge(run)
