"""kill -9 of a guard until the next one guards, and what watchdog, guard and spare weigh."""

import json
import os
import signal
import time
from typing import NamedTuple

from benchmarks.figures import Figure, Goal, Of
from benchmarks.pack import STILL_S, Pack, a_pack, resident_mib
from benchmarks.venue import a_venue


class Comeback(NamedTuple):
    """Milliseconds from the kill to two marks."""

    armed_ms: float
    guarding_ms: float


def measure(*, rounds: int) -> list[Figure]:
    """Return how long a killed guard is away, and the memory of each process."""
    warm, cold, weights = [], [], []
    with a_venue() as url:
        for _ in range(rounds):
            with a_pack(url, spare=True) as pack:
                weights.append(_weights(pack))
                warm.append(_comeback(pack))
            with a_pack(url, spare=False) as pack:
                cold.append(_comeback(pack))
    without = "without a spare"
    return [
        Figure(
            key="kill_to_armed_ms",
            what="kill -9 of the guard to the next one armed",
            unit="ms",
            rounds=tuple(it.armed_ms for it in warm),
            baseline=without,
            baseline_rounds=tuple(it.armed_ms for it in cold),
            goal=Goal(of=Of.VALUE, bound=50, at_least=False),
        ),
        Figure(
            key="kill_to_guarding_ms",
            what="kill -9 of the guard to hubs connected and account read",
            unit="ms",
            rounds=tuple(it.guarding_ms for it in warm),
            baseline=without,
            baseline_rounds=tuple(it.guarding_ms for it in cold),
            goal=Goal(of=Of.VALUE, bound=500, at_least=False),
        ),
        *(
            Figure(
                key=f"memory_{name}_mib",
                what=f"resident memory of {what}",
                unit="MiB",
                rounds=tuple(it[name] for it in weights),
                goal=goal,
            )
            for name, what, goal in (
                ("watchdog", "the watchdog", None),
                ("guard", "the guard, armed, before its API is loaded", None),
                ("together", "both", Goal(of=Of.VALUE, bound=80, at_least=False)),
                ("with_api", "the guard with its API", None),
                ("spare", "the loaded spare", None),
            )
        ),
    ]


def _comeback(pack: Pack) -> Comeback:
    pack.heard("recovered")
    guard = pack.child("guard")
    time.sleep(STILL_S)  # the API has loaded: its restart is not part of what is measured
    killed_s = time.perf_counter()
    os.kill(guard, signal.SIGKILL)
    armed_s = pack.heard("Backstop", after_s=killed_s)
    guarding_s = pack.heard('"recovered"', after_s=killed_s)
    return Comeback((armed_s - killed_s) * 1000, (guarding_s - killed_s) * 1000)


def _weights(pack: Pack) -> dict[str, float]:
    pack.heard("Backstop")
    # Stopped at once: the API begins to load the moment after this line.
    guard = pack.child("guard")
    os.kill(guard, signal.SIGSTOP)
    found = {"watchdog": resident_mib(pack.process.pid), "guard": resident_mib(guard)}
    os.kill(guard, signal.SIGCONT)
    # A spare is loaded once the guard has been well for a while, so its API is there by then.
    found["spare"] = resident_mib(pack.spare_is_loaded())
    found["with_api"] = resident_mib(guard)
    return {**found, "together": found["watchdog"] + found["guard"]}


def main() -> None:
    """Print the figures as JSON."""
    print(json.dumps({it.key: it.document() for it in measure(rounds=5)}, indent=2))


if __name__ == "__main__":
    main()
