"""Kills guard and watchdog at every named point, and looks whether everything holds afterwards.

``python tools/kill_matrix.py`` plays each death a hundred times and prints a line for each; the
exit code is 1 when a demand failed. With ``--page write`` it renews docs/reference/kill-matrix.md
and with ``--page check`` it says whether that is up to date; nobody dies then.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).parents[1]
sys.path.insert(0, str(REPO))

from tests.acceptance.kill_matrix.matrix import (  # noqa: E402 - needs the path
    DEATH_LIMIT_S,
    DEATHS_MAX,
    a_matrix_venue,
    died_and_came_back,
)
from tests.acceptance.kill_matrix.page import PAGE, page  # noqa: E402 - needs the path
from tests.acceptance.kill_matrix.points import Case, cases  # noqa: E402 - needs the path

REPEATS = 100

JOBS = 2
"""Stories at once; more of them on a small machine make the guards look frozen."""


class Died(NamedTuple):
    """What became of one death, played ``repeats`` times."""

    case: Case
    repeats: int
    survived: int
    seconds: float

    def line(self) -> str:
        """Return it as it is printed."""
        each_s = self.seconds / self.repeats
        return f"{self.case.name:<55} {self.survived:>4} of {self.repeats:<4} {each_s:6.1f} s each"


async def died(case: Case, repeats: int) -> Died:
    """Play one death again and again, with each position in turn.

    A failure is printed at once, and its folder stays.
    """
    survived, began_s = 0, time.monotonic()
    for first in range(0, repeats, DEATHS_MAX):
        async with a_matrix_venue() as venue:
            for number in range(first, min(repeats, first + DEATHS_MAX)):
                folder = Path(tempfile.mkdtemp(prefix="kill-matrix-"))
                try:
                    async with asyncio.timeout(DEATH_LIMIT_S):
                        await died_and_came_back(venue, case.repeat(number), folder)
                except Exception:  # noqa: BLE001 - whatever went wrong is the result
                    held = case.repeat(number).held.name
                    print(f"{case.name}, repeat {number + 1}, {held}, in {folder}:")
                    print(traceback.format_exc(), flush=True)
                else:
                    survived += 1
                    shutil.rmtree(folder)
    return Died(case, repeats, survived, time.monotonic() - began_s)


async def play(wanted: Iterable[Case], *, repeats: int, jobs: int) -> list[Died]:
    """Play all of them, ``jobs`` at a time, and print a line for each as it ends."""
    results: list[Died] = []
    waiting = iter(wanted)

    async def work() -> None:
        for case in waiting:
            result = await died(case, repeats)
            print(result.line(), flush=True)
            results.append(result)

    async with asyncio.TaskGroup() as group:
        for _ in range(jobs):
            group.create_task(work())
    return results


def summary(results: Sequence[Died]) -> str:
    """Return the last lines: how many there were, and which did not hold."""
    deaths = sum(it.repeats for it in results)
    survived = sum(it.survived for it in results)
    points = len({it.case.point.name for it in results})
    lines = [
        f"{points} points, {len(results)} victims at them, {deaths} deaths: {survived} survived"
    ]
    lines += [f"NOT SURVIVED {it.line()}" for it in results if it.survived < it.repeats]
    return "\n".join(lines)


def matching(patterns: Sequence[str]) -> list[Case]:
    """Return the deaths whose names match one of the patterns; all of them without any."""
    return [
        case
        for case in cases()
        if not patterns or any(fnmatch(case.name, pattern) for pattern in patterns)
    ]


def main() -> int:
    """Play, write or check; return the exit code."""
    parser = argparse.ArgumentParser(description="kill -9 at every named point.")
    parser.add_argument("points", nargs="*", help="patterns such as 'order.*' or '*:both'")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of each (default 100)")
    parser.add_argument("--jobs", type=int, default=JOBS, help="stories at once (default 2)")
    parser.add_argument("--list", action="store_true", help="name them, and do nothing")
    parser.add_argument("--page", choices=("write", "check"), help="the table in the docs")
    given = parser.parse_args()
    if given.page is not None:
        return _page(write=given.page == "write")
    wanted = matching(given.points)
    if not wanted or given.repeats < 1 or given.jobs < 1:
        parser.error("nothing to do: --list shows the names; repeats and jobs are at least 1")
    if given.list:
        print("\n".join(case.name for case in wanted))
        return 0
    results = asyncio.run(play(wanted, repeats=given.repeats, jobs=given.jobs))
    print(summary(results))
    return 0 if all(it.survived == it.repeats for it in results) else 1


def _page(*, write: bool) -> int:
    text = page()
    if write:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"out of date: {PAGE.relative_to(REPO)}; run: python tools/kill_matrix.py --page write")
    return 1


if __name__ == "__main__":
    sys.exit(main())
