"""The storm's long runs: seeds of one simulated hour each, kept on record as they are played.

A thousand of them are some nine hours of one core. So they are played in parts, whenever there is
time, each with the code of its time; the record is docs/reference/storm-hours.jsonl, a line for
each seed. A line is written whole, at the end and by one call: whoever plays may be killed at any
moment.
"""

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path

import msgspec
from msgspec import Struct
from storm_code import REPO, code_digest

from backstop.storm.regressions import MISJUDGED, REGRESSIONS
from backstop.storm.seed_run import SeedResult, run_seed
from backstop.storm.unreached import RARE, UNREACHED

RECORD = REPO / "docs" / "reference" / "storm-hours.jsonl"

HOURS = 1.0
"""Of every seed here."""

SEEDS_OF_A_WORKER = 4
"""Then another process goes on, so that what a long one gathers in memory goes with it."""

COMES_RIGHT = "comes right"
"""What a seed breaks that has not converged after its faults."""


class Hour(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of one seed.

    Attributes:
        digest: of its story.
        cpu_s: seconds of one core.
        failed: the rules that it broke; empty: none.
        code: what it was played with, as of ``code_digest``.
        reached: by kind, what it did of all that is rare or held to be out of reach.
    """

    seed: int
    weather: str
    digest: str
    trades: int
    starts: int
    cpu_s: float
    naked_s_max: float
    failed: tuple[str, ...]
    code: str
    reached: dict[str, tuple[str, ...]] = {}


# -- playing ---------------------------------------------------------------------------------------


def play(seeds: range, *, processes: int, record: Path = RECORD, hours: float = HOURS) -> None:
    """Play ``seeds``, and put each on record as soon as it is over."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, maxtasksperchild=SEEDS_OF_A_WORKER) as pool:
        for hour in pool.imap_unordered(partial(played, hours=hours), seeds):
            print(append(hour, record), flush=True)


def played(seed: int, hours: float) -> Hour:
    """Play one seed; runs in a process of its own."""
    code = code_digest()  # before the seed: the sources may be worked on while it runs
    return hour_of(run_seed(seed, hours=hours), code)


def hour_of(result: SeedResult, code: str) -> Hour:
    """Return what is kept of a result."""
    broken = dict.fromkeys(it.rule for it in result.violations)
    return Hour(
        seed=result.seed,
        weather=result.weather,
        digest=result.digest,
        trades=result.counts.get("venue trade", 0),
        starts=result.counts.get("world start", 0),
        cpu_s=round(result.cpu_s, 1),
        naked_s_max=result.naked_s_max,
        failed=(*broken, *((COMES_RIGHT,) if result.unsettled else ())),
        code=code,
        reached=_of_note(result.reached),
    )


def _of_note(reached: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return what of it short seeds hardly ever do: a line is short."""
    rare = {
        kind: tuple(
            name for name in names if name in RARE.get(kind, {}) or name in UNREACHED.get(kind, {})
        )
        for kind, names in reached.items()
    }
    return {kind: names for kind, names in rare.items() if names}


def append(hour: Hour, record: Path = RECORD) -> str:
    """Put a line at the end of the record and return it."""
    line = msgspec.json.encode(hour)
    file = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line + b"\n")  # one call: two players do not mix their lines
    finally:
        os.close(file)
    return line.decode()


# -- the record ------------------------------------------------------------------------------------


def all_hours(record: Path = RECORD) -> list[Hour]:
    """Return every line, in the order in which they were played."""
    lines = record.read_bytes().splitlines() if record.exists() else []
    return [msgspec.json.decode(line, type=Hour) for line in lines]


def newest_of_each(hours: list[Hour]) -> list[Hour]:
    """Return the last line of each seed, in the order in which they were played."""
    newest: dict[int, Hour] = {}
    for hour in hours:
        newest.pop(hour.seed, None)
        newest[hour.seed] = hour
    return [*newest.values()]


def tidy(record: Path = RECORD) -> None:
    """Take out what passed and was played again; not while somebody plays.

    What failed stays: that it passes now does not undo it.
    """
    hours = all_hours(record)
    newest = {id(it) for it in newest_of_each(hours)}
    kept = (it for it in hours if it.failed or id(it) in newest)
    lines = [msgspec.json.encode(it) + b"\n" for it in kept]
    beside = record.with_suffix(".new")
    beside.write_bytes(b"".join(lines))
    beside.replace(record)


# -- the page --------------------------------------------------------------------------------------


def hours_told(hours: list[Hour], present: str) -> list[str]:
    """Return the part of the page on long runs; ``present`` is the code that the page is about.

    ``hours``: every line of the record.
    """
    told = (
        "Seeds of one dense simulated hour each, on record one by one as they are played. It is "
        "done in parts, and the code changes between them: a seed that was played with older code "
        "is evidence for that code, not for the present one. A seed that failed stays on record "
        "when it is played again; the last row has only the newest play of each seed. Times real "
        "time is the mean on one core; naked is a position without a stop that could have one, "
        "looked at every 0.25 s."
    )
    return ["## Hours played", told, _table(hours, present), *_failures(hours, present)]


def _table(hours: list[Hour], present: str) -> str:
    by_code: dict[str, list[Hour]] = {}
    for hour in reversed(hours):
        by_code.setdefault(hour.code, []).append(hour)
    names = {code: f"`{code}`{', the code of this page' * (code == present)}" for code in by_code}
    rows = [_row(names[code], of_code) for code, of_code in by_code.items()]
    return "\n".join(
        [
            "| code, newest first | seeds | hours | failed seeds | x real time | naked at most |",
            "|---|---|---|---|---|---|",
            *rows,
            _row("all together", newest_of_each(hours)),
        ]
    )


def _row(name: str, hours: list[Hour]) -> str:
    cpu_s = sum(it.cpu_s for it in hours)
    simulated_h = len(hours) * HOURS
    speed = f"{simulated_h * 3600 / cpu_s:.0f}" if cpu_s else ""
    naked_s = max((it.naked_s_max for it in hours), default=0.0)
    failed = sum(bool(it.failed) for it in hours)
    return f"| {name} | {len(hours)} | {simulated_h:.0f} | {failed} | {speed} | {naked_s:g} s |"


def _failures(hours: list[Hour], present: str) -> Iterator[str]:
    """Yield what became of the failed seeds; one that fails with ``present`` is not mended."""
    failed = sorted((it for it in hours if it.failed), key=lambda it: it.seed)
    if not failed:
        return
    mended = {it.seed for it in REGRESSIONS}
    misjudged = {it.seed for it in MISJUDGED}
    passed = {it.seed for it in newest_of_each(hours) if not it.failed}

    def became(hour: Hour) -> str:
        known = hour.code != present and hour.seed in mended | misjudged
        if hour.seed in passed:
            return f"Failed with older code, and passed when played again{' (below)' * known}"
        if known and hour.seed in mended:
            return "Failed with older code, and mended since (below)"
        if known:
            return "Failed with older code, where the judge was wrong (below)"
        return "Failed and not mended"

    for title, of_kind in groupby(sorted(failed, key=became), key=became):
        yield f"{title}: {', '.join(map(_named, of_kind))}."


def _named(hour: Hour) -> str:
    return f"{hour.seed} ({', '.join(hour.failed)}; `{hour.code}`)"
