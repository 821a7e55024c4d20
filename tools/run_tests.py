"""Plays all tests side by side, and once more, alone, those that failed.

    python tools/run_tests.py [OPTIONS OF PYTEST]

Thousands of the tests look at real processes while several workers share the machine. What is
broken fails both times. What passes the second time may be slow on a busy machine, or it may be a
race that is lost one time in two: so it is named in the last line of the output, where nobody
overlooks it.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

TOGETHER = ("-n", "4", "--dist", "loadfile", "--no-loadscope-reorder")
"""On two cores too: many tests wait for processes, and those are not all busy at once."""

ALONE = ("-n", "0", "--last-failed", "--last-failed-no-failures", "none", "--maxfail", "5")
"""What is red twice is red: of many that failed the others need not be looked at again."""

LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")
"""Where pytest keeps the names of tests that failed, below the folder in which it runs."""

CUT_SHORT = ("-x", "--exitfirst", "--maxfail", "--stepwise", "--sw")
"""With these a run may end before all was played, with the same exit code as if it had been."""

SOME_FAILED = 1
"""pytest's exit code when it came to its end; with another one it says nothing of the rest."""


def main(options: Sequence[str]) -> int:
    """Play the tests; returns pytest's exit code, that of the second look where there was one."""
    first = _pytest("--cache-clear", *TOGETHER, *options)
    if first != SOME_FAILED or any(option.startswith(CUT_SHORT) for option in options):
        return first
    failed = _failed()
    second = _pytest(*options, *ALONE)
    again = _failed()
    passed = [name for name in failed if name not in again]
    if passed:
        print(f"PASSED ONLY IN THE SECOND LOOK ({len(passed)}): {', '.join(passed)}", flush=True)
    return second


def _pytest(*options: str) -> int:
    return subprocess.call([sys.executable, "-m", "pytest", *options])  # noqa: S603 - ourselves


def _failed() -> Mapping[str, object]:
    """Return the tests that failed when they were played last, by their names."""
    if not LAST_FAILED.exists():
        return {}
    failed: dict[str, object] = json.loads(LAST_FAILED.read_text(encoding="utf-8"))
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
