"""Play every seed that ever failed because of the guard, each as long as it takes to show that.

The tests play the beginning of each. Ends with 1 when one fails.
"""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterable

from backstop.storm.regressions import REGRESSIONS, Regression
from backstop.storm.seed_run import SeedResult, run_seed


def play(regressions: Iterable[Regression], *, processes: int) -> bool:
    """Play them, a line for each; False when one failed."""
    passed = True
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, maxtasksperchild=1) as pool:
        for result in pool.imap_unordered(played, sorted(regressions, key=lambda it: -it.hours)):
            passed &= result.passed
            print(told(result), flush=True)
    return passed


def played(regression: Regression) -> SeedResult:
    """Play one; runs in a process of its own."""
    return run_seed(regression.seed, hours=regression.hours)


def told(result: SeedResult) -> str:
    """Return the line of one, and what it broke."""
    verdict = "passed" if result.passed else "FAILED"
    broken = [f"    {it.at_s:.3f} s: {it.rule}: {it.text}" for it in result.violations]
    unsettled = [f"    did not come right: {it}" for it in result.unsettled]
    head = f"seed {result.seed:6}, {result.hours:g} h: {verdict}"
    return "\n".join([head, *broken, *unsettled])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    sys.exit(0 if play(REGRESSIONS, processes=parser.parse_args().processes) else 1)
