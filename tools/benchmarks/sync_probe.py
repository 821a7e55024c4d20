"""What single syncs of a disk take while something else uses it: measured by another process.

``python -m benchmarks.sync_probe FOLDER`` writes, syncs and rests until its standard input ends,
and then prints how long each took, in milliseconds.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import sync_ms

PAUSE_S = 0.01
"""Between two syncs: often enough for percentiles, and no burden for the disk."""

PROBES_AT_ONCE = 10


@contextmanager
def syncs_meanwhile(folder: Path) -> Iterator[list[float]]:
    """Give a list that holds, after the block, what syncs in ``folder`` took during it."""
    taken_ms: list[float] = []
    command = [sys.executable, "-m", "benchmarks.sync_probe", str(folder)]
    with subprocess.Popen(  # noqa: S603 - this very file
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as process:
        yield taken_ms
        told, _ = process.communicate()
    taken_ms += json.loads(told)


def _probe(folder: Path) -> None:
    over = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait_for_the_end, name="standard input", daemon=True).start()
    taken_ms: list[float] = []
    while not over.is_set():
        taken_ms += sync_ms(folder, probes=PROBES_AT_ONCE, pause_s=PAUSE_S)
    sys.stdout.write(json.dumps(taken_ms))


if __name__ == "__main__":
    _probe(Path(sys.argv[1]))
