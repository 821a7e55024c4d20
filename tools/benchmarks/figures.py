"""What a measurement is, the machine it was made on, and how both are shown."""

import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

SYNC_BYTES = 400
"""About what one record of the journal adds to its file."""

PROBES = 200


class Of(StrEnum):
    """What a goal is about."""

    VALUE = "value"
    WORST = "worst value"
    RATIO = "ratio"


class Goal(Struct, frozen=True, kw_only=True):
    """What a figure, or its ratio to the baseline, should be: at least or at most ``bound``."""

    of: Of
    bound: float
    at_least: bool

    def is_met(self, value: float) -> bool:
        """Say whether ``value`` is good enough."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        every = "every " if self.of is Of.WORST else ""
        return f"{every}{sign} {self.bound:g}{' x' if self.of is Of.RATIO else ''}"


class Figure(Struct, frozen=True, kw_only=True):
    """One measured quantity.

    Attributes:
        key: its name for programs.
        what: its name for people.
        unit: of every value.
        rounds: one value for each round.
        baseline: what the same rounds measured for comparison; empty without one.
        baseline_rounds: one value for each round.
        goal: what it should be, where somebody said so.
    """

    key: str
    what: str
    unit: str
    rounds: tuple[float, ...]
    baseline: str = ""
    baseline_rounds: tuple[float, ...] = ()
    goal: Goal | None = None

    @property
    def ratios(self) -> tuple[float, ...]:
        """The figure in units of its baseline, round by round: what disturbed both falls out."""
        if len(self.rounds) != len(self.baseline_rounds):
            return ()
        return tuple(
            ours / base for ours, base in zip(self.rounds, self.baseline_rounds, strict=True)
        )

    @property
    def verdict(self) -> str:
        """Say whether the goal was met; empty without one."""
        if self.goal is None:
            return ""
        values = self.ratios if self.goal.of is Of.RATIO else self.rounds
        judged = values if self.goal.of is Of.WORST else (statistics.median(values),)
        return "met" if all(map(self.goal.is_met, judged)) else "missed"

    def document(self) -> dict[str, object]:
        """Return the figure as JSON has it: medians, and the spread that the machine adds."""
        document: dict[str, object] = {"what": self.what, "unit": self.unit, **spread(self.rounds)}
        if self.baseline_rounds:
            document["baseline"] = {"what": self.baseline, **spread(self.baseline_rounds)}
            document["ratio"] = spread(self.ratios)
        if self.goal is not None:
            document["goal"] = {
                "is": str(self.goal),
                "of": str(self.goal.of),
                "verdict": self.verdict,
            }
        return document


def spread(rounds: Sequence[float]) -> dict[str, float | int]:
    """Return the median, the extremes and the number of ``rounds``."""
    return {
        "median": statistics.median(rounds),
        "low": min(rounds),
        "high": max(rounds),
        "rounds": len(rounds),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of ``values`` do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def sync_ms(folder: Path, *, probes: int = PROBES, pause_s: float = 0.0) -> list[float]:
    """Return what single small writes with fdatasync take on the disk of ``folder``.

    With ``pause_s`` between them they find the disk as single events do: at rest.
    """
    sync = getattr(os, "fdatasync", os.fsync)  # macOS and Windows have only fsync
    taken_ms: list[float] = []
    with tempfile.NamedTemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(probes):
            if pause_s:
                time.sleep(pause_s)
            began_ns = time.perf_counter_ns()
            file.write(b"x" * SYNC_BYTES)
            sync(file.fileno())
            taken_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
    return taken_ms


def machine(folder: Path) -> dict[str, object]:
    """Return what the figures depend on besides the code."""
    version, _, _ = platform.release().partition("-")
    return {
        "system": f"{platform.system()} {version} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "processor": _processor(),
        "processors": os.cpu_count(),
        "sync_ms": spread(sync_ms(folder)),
    }


def _processor() -> str:
    """Return the processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def load() -> float | None:
    """Return how many processes wanted to run in the last minute; noise, if not near 0."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as lines for people."""
    head = f"{'':56}{'median':>10}{'low':>10}{'high':>10}  {'unit':9}{'x base':>8}  goal"
    return "\n".join([head, *(line for figure in figures for line in _lines(figure))])


def _lines(figure: Figure) -> Iterable[str]:
    yield (_line(figure.what, figure.rounds, figure.unit) + _ratio(figure)).rstrip()
    if figure.baseline_rounds:
        yield _line(f"    {figure.baseline}", figure.baseline_rounds, figure.unit)


def _line(what: str, rounds: Sequence[float], unit: str) -> str:
    values = (statistics.median(rounds), min(rounds), max(rounds))
    return f"{what:56}" + "".join(f"{value:10.4g}" for value in values) + f"  {unit:9}"


def _ratio(figure: Figure) -> str:
    ratio = f"{statistics.median(figure.ratios):8.2f}" if figure.ratios else " " * 8
    return ratio if figure.goal is None else f"{ratio}  {figure.goal}: {figure.verdict}"
