"""The short form of the kill matrix; ``make kill-matrix`` plays all of it, again and again."""

import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from functools import reduce
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace
from tests.acceptance.kill_matrix.held import HELD
from tests.acceptance.kill_matrix.matrix import (
    DEATH_LIMIT_S,
    a_matrix_venue,
    died_and_came_back,
)
from tests.acceptance.kill_matrix.page import PAGE
from tests.acceptance.kill_matrix.points import (
    POINTS,
    STEPS,
    Case,
    Point,
    Seam,
    Victim,
    cases,
    short_form,
)

from backstop.simulator.process import Simulator

REPO = Path(__file__).parents[3]
TOOL = REPO / "tools" / "kill_matrix.py"
POINTS_MIN = 30

a_death = pytest.mark.timeout(DEATH_LIMIT_S)
"""Its own waits end sooner and say for what; two stories that are passed by take a minute alone."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue() -> AsyncIterator[Simulator]:
    async with a_matrix_venue() as venue:
        yield venue


@a_death
@pytest.mark.scenario("H1")
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", short_form(), ids=lambda case: f"{case.name}:{case.held.name}")
async def test_who_dies_here_leaves_nothing_doubled_nothing_lost_and_nothing_naked(
    venue: Simulator, tmp_path: Path, case: Case
) -> None:
    await died_and_came_back(venue, case, tmp_path)


@a_death
@pytest.mark.asyncio(loop_scope="module")
async def test_a_death_that_did_not_happen_is_no_death_survived(
    venue: Simulator, tmp_path: Path
) -> None:
    (point,) = (it for it in POINTS if it.name == "order.place-answered")
    assert isinstance(point.at, Seam)
    nobody = point.at._replace(attribute="ProjectXGateway.close_position")
    # The step that waits for the death is never played, so the story itself comes to its end.
    never = replace(point, at=nobody, step="no step of this story")

    with pytest.raises(AssertionError, match="nobody came by this point"):
        await died_and_came_back(venue, Case(never, Victim.GUARD), tmp_path)


# -- the table -----------------------------------------------------------------------------------


def test_there_are_enough_points_and_each_has_a_name_of_its_own() -> None:
    names = Counter(point.name for point in POINTS)

    assert len(names) >= POINTS_MIN
    assert max(names.values()) == 1
    assert {victim for _, victim, _ in cases()} == set(Victim)


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_a_point_is_a_step_of_its_story_and_a_function_that_is_there(point: Point) -> None:
    assert point.step in STEPS[point.story]
    if isinstance(point.at, Seam):
        *path, name = point.at.attribute.split(".")
        owner = reduce(getattr, path, import_module(point.at.module))
        assert callable(getattr(owner, name))
        assert name in vars(owner), "it is wrapped where it is defined"


def test_each_death_is_played_with_every_position_and_neighbours_differ() -> None:
    every = cases()
    assert {case.held for case in short_form()} == set(HELD)
    for case in every:
        assert {case.repeat(number).held for number in range(len(HELD))} == set(HELD)
    assert all(one.held != other.held for one, other in pairwise(every))


def test_the_short_form_has_a_death_in_each_part_of_life() -> None:
    chosen = short_form()

    assert {case.point.name.partition(".")[0] for case in chosen} == {
        point.name.partition(".")[0] for point in POINTS
    }
    assert {case.name for case in chosen} <= {case.name for case in cases()}


def test_the_page_says_what_the_table_says() -> None:
    checked = subprocess.run(
        [sys.executable, TOOL, "--page", "check"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert PAGE.is_file()


def test_the_command_names_its_deaths_and_refuses_what_matches_none() -> None:
    def called(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, TOOL, *arguments],
            cwd=REPO,
            capture_output=True,
            text=True,
            check=False,
        )

    listed = called("--list", "order.place-*:both")
    assert listed.stdout.split() == [
        "order.place-not-sent:both",
        "order.place-unanswered:both",
        "order.place-unanswered-hub-silent:both",
        "order.place-answered:both",
    ]
    assert called("nowhere.*").returncode == 2
