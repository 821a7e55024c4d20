"""kill -9 of a guard until the next one guards, and what watchdog, guard and spare weigh."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from backstop.simulator.process import PRACTICE_ACCOUNT_ID
from benchmarks.figures import Figure, Goal, Of
from benchmarks.venue import API_KEY, USER, a_venue

LIMIT_S = 60.0
LOOK_AGAIN_S = 0.01
STILL_S = 0.5
"""A spare that has used no processor for this long is loaded."""


class Comeback(NamedTuple):
    """Milliseconds from the kill to two marks."""

    armed_ms: float
    guarding_ms: float


class Heard(NamedTuple):
    """A line that was printed, and when it came."""

    at_s: float
    text: str


class Pack:
    """A watchdog with its guard, and every line that they print."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._heard: list[Heard] = []
        for stream in (process.stdout, process.stderr):
            threading.Thread(target=self._listen, args=(stream,), daemon=True).start()

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            self._heard.append(Heard(time.perf_counter(), line))

    def heard(self, words: str, *, after_s: float = 0) -> float:
        """Return when the first line with ``words`` came after a moment."""
        return _until(
            lambda: next(
                (it.at_s for it in list(self._heard) if it.at_s > after_s and words in it.text), 0
            ),
            words,
        )

    def child(self, verb: str) -> int:
        """Return the number of the process with this verb, once there is one."""
        return int(_until(lambda: self._child(verb), verb))

    def _child(self, verb: str) -> int:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for number in map(int, listed.read_text(encoding="ascii").split()):
            if verb.encode() in Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0"):
                return number
        return 0

    def spare_is_loaded(self) -> int:
        """Wait until there is a spare that does nothing any more; return its number."""
        number = self.child("spare")
        used, since_s = -1, time.perf_counter()
        while time.perf_counter() - since_s < STILL_S:
            now = _processor_ticks(number)
            if now != used:
                used, since_s = now, time.perf_counter()
            time.sleep(LOOK_AGAIN_S)
        return number


def measure(*, rounds: int) -> list[Figure]:
    """Return how long a killed guard is away, and the memory of each process."""
    with a_venue() as url:
        warm, cold, weights = [], [], []
        for _ in range(rounds):
            warm.append(_comeback(url, spare=True))
            cold.append(_comeback(url, spare=False))
            weights.append(_weights(url))
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
                ("spare", "the loaded spare", None),
            )
        ),
    ]


def _comeback(url: str, *, spare: bool) -> Comeback:
    with _a_pack(url, spare=spare) as pack:
        pack.heard("recovered")
        if spare:
            pack.spare_is_loaded()
        guard = pack.child("guard")
        time.sleep(STILL_S)  # the API has loaded: its restart is not part of what is measured
        killed_s = time.perf_counter()
        os.kill(guard, signal.SIGKILL)
        armed_s = pack.heard("Backstop", after_s=killed_s)
        guarding_s = pack.heard('"recovered"', after_s=killed_s)
        return Comeback((armed_s - killed_s) * 1000, (guarding_s - killed_s) * 1000)


def _weights(url: str) -> dict[str, float]:
    with _a_pack(url, spare=True) as pack:
        pack.heard("Backstop")
        # Stopped at once: the API begins to load the moment after this line.
        guard = pack.child("guard")
        os.kill(guard, signal.SIGSTOP)
        found = {"watchdog": _resident_mib(pack.process.pid), "guard": _resident_mib(guard)}
        os.kill(guard, signal.SIGCONT)
        found["spare"] = _resident_mib(pack.spare_is_loaded())
    return {**found, "together": found["watchdog"] + found["guard"]}


@contextmanager
def _a_pack(url: str, *, spare: bool) -> Iterator[Pack]:
    with tempfile.TemporaryDirectory() as folder, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        taken.close()
        words = ["watchdog", "--spare", "0" if spare else "no", "--"]
        with subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", "-m", "backstop", *words],
            cwd=folder,
            env=_environment(url, listen, folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Pack(process)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(LIMIT_S)


def _environment(url: str, listen: str, folder: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": folder,
        "XDG_RUNTIME_DIR": folder,
        "TOPSTEPX_API_URL": url,
        "TOPSTEPX_USERNAME": USER,
        "TOPSTEPX_API_KEY": API_KEY,
        "TOPSTEPX_ACCOUNT_ID": str(PRACTICE_ACCOUNT_ID),
        "BACKSTOP_STATE_DIR": str(Path(folder) / "state"),
        "BACKSTOP_LISTEN": listen,
        "BACKSTOP_CALENDAR": "always-open",
        "DRY_RUN": "0",
        "EXECUTE": "1",
    }


def _until(look: Callable[[], float], what: str) -> float:
    deadline_s = time.perf_counter() + LIMIT_S
    while not (found := look()):
        if time.perf_counter() > deadline_s:
            raise RuntimeError(f"{what!r} did not come within {LIMIT_S:g} s")
        time.sleep(LOOK_AGAIN_S / 10)
    return found


def _processor_ticks(number: int) -> int:
    fields = Path(f"/proc/{number}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _resident_mib(number: int) -> float:
    text = Path(f"/proc/{number}/status").read_text(encoding="utf-8")
    rows = dict(row.split(":", 1) for row in text.splitlines())
    return int(rows["VmRSS"].split()[0]) / 1024


def main() -> None:
    """Print the figures as JSON."""
    print(json.dumps({it.key: it.document() for it in measure(rounds=5)}, indent=2))


if __name__ == "__main__":
    main()
