"""Runs the storm, with and without planted bugs, and writes docs/reference/storm.md about it.

``--seeds 0:100`` runs seeds as the code is, ``--bugs 0:40`` runs planted bugs until a seed finds
each; both keep what came of it in ``build/storm``, one file each, so that a run can go on where an
earlier one stopped. ``--gather`` puts what is there into docs/reference/storm.json. Long runs of an
hour each, ``--hours-played 10000:10100 --processes 2``, are on record at once in
docs/reference/storm-hours.jsonl. ``--write`` makes the page of both documents.

What was run with other code than that which ``--gather`` saw last is said to be.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct
from storm_bugs import Caught, hunted, planted_bugs
from storm_code import REPO, code_digest
from storm_hours import all_hours, hours_told, play, tidy

from backstop.storm.coverage import coverage
from backstop.storm.mutations import MUTATIONS, Mutation
from backstop.storm.regressions import MISJUDGED, REGRESSIONS, UNEXPLAINED
from backstop.storm.seed_run import SeedResult, run_seed
from backstop.storm.unreached import RARE, UNREACHED

PAGE = REPO / "docs" / "reference" / "storm.md"
GATHERED = PAGE.with_suffix(".json")
KEPT = REPO / "build" / "storm"

HEAD = """\
# What the storm finds, and what it reaches

<!-- Written by tools/storm_table.py from storm.json and storm-hours.jsonl; do not edit. -->

[The storm](../explanation/storm.md) simulates the whole path from seeds. This page is gathered
from runs of it, a part at a time. When it was gathered last the sources of the code had the digest
`{code}`; what was run with older code says so, and what was changed later was not there."""


class Run(Struct, frozen=True, kw_only=True):
    """What came of one seed, as far as the page tells of it; ``code`` as of ``code_digest``."""

    seed: int
    weather: str
    hours: float
    digest: str
    trades: int
    starts: int
    naked_s_max: float
    settled_s: float
    cpu_s: float
    failed: tuple[str, ...]
    code: str = ""


class Kept(Struct, frozen=True, kw_only=True):
    """One seed as it is kept until it is gathered."""

    result: SeedResult
    code: str


class Gathered(Struct, frozen=True, kw_only=True):
    """The document behind the page; ``reached`` by kind, of all seeds together.

    ``code`` is what was there when it was gathered last.
    """

    seeds: tuple[Run, ...] = ()
    bugs: tuple[Caught, ...] = ()
    reached: dict[str, tuple[str, ...]] = {}
    code: str = ""


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description="The storm's page.")
    parser.add_argument("--seeds", help="run these seeds as the code is: 0:100")
    parser.add_argument("--bugs", help="run these planted bugs, by their place: 0:33")
    parser.add_argument("--hours", type=float, default=0.1, help="of each seed")
    parser.add_argument("--hours-played", help="run these seeds, one hour each: 10000:10100")
    parser.add_argument("--processes", type=int, default=1, help="for seeds of one hour")
    parser.add_argument("--at-most", type=int, default=5, help="seeds for one planted bug")
    parser.add_argument("--gather", action="store_true", help="renew the document of the page")
    parser.add_argument("--write", action="store_true", help="renew the page")
    asked = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    if asked.seeds:
        for seed in _range(asked.seeds):
            result = run_seed(seed, hours=asked.hours)
            _keep(f"seed-{seed}", Kept(result=result, code=code_digest()))
    if asked.bugs:
        places = _range(asked.bugs)
        clean: dict[int, bool] = {}
        for mutation in MUTATIONS[places.start : places.stop]:
            if (KEPT / f"{_slug(mutation)}.json").exists():
                continue  # of an earlier run: delete it to have it hunted again
            found = hunted(mutation, hours=asked.hours, at_most=asked.at_most, clean=clean)
            _keep(_slug(mutation), found)
    if asked.hours_played:
        play(_range(asked.hours_played), processes=asked.processes)
    if asked.gather:
        tidy()
        document = msgspec.json.format(msgspec.json.encode(_gathered()), indent=1)
        GATHERED.write_bytes(document + b"\n")
    if asked.write:
        PAGE.write_text(page(), encoding="utf-8")
    return 0


def _range(text: str) -> range:
    first, _, after = text.partition(":")
    return range(int(first), int(after))


def _keep(name: str, result: Struct) -> None:
    content = msgspec.json.encode(result)
    (KEPT / f"{name}.json").write_bytes(content)
    print(name, content[:300].decode(errors="replace"), flush=True)


def _slug(mutation: Mutation) -> str:
    return "bug-" + "".join(it if it.isalnum() else "-" for it in mutation.name)


# -- the document ----------------------------------------------------------------------------------


def _gathered() -> Gathered:
    """Return what was gathered before, with what came since in its place."""
    before = gathered()
    kept = [
        msgspec.json.decode(path.read_bytes(), type=Kept)
        for path in sorted(KEPT.glob("seed-*.json"))
    ]
    found = [
        msgspec.json.decode(path.read_bytes(), type=Caught)
        for path in sorted(KEPT.glob("bug-*.json"))
    ]
    bugs = {it.name: it for it in (*before.bugs, *found)}
    return Gathered(
        seeds=tuple(map(_run, sorted(kept, key=lambda it: it.result.seed))) or before.seeds,
        bugs=tuple(bugs[it.name] for it in MUTATIONS if it.name in bugs),
        reached={
            it.kind: it.reached
            for it in coverage([before.reached, *(it.result.reached for it in kept)])
        },
        code=code_digest(),
    )


def _run(kept: Kept) -> Run:
    result = kept.result
    return Run(
        seed=result.seed,
        weather=result.weather,
        hours=result.hours,
        digest=result.digest,
        trades=result.counts.get("venue trade", 0),
        starts=result.counts.get("world start", 0),
        naked_s_max=result.naked_s_max,
        settled_s=result.settled_s,
        cpu_s=round(result.cpu_s, 1),
        failed=(*(f"{it.rule}: {it.text}" for it in result.violations), *result.unsettled),
        code=kept.code,
    )


def gathered() -> Gathered:
    """Return the document of the page."""
    if not GATHERED.exists():
        return Gathered()
    return msgspec.json.decode(GATHERED.read_bytes(), type=Gathered)


# -- the page --------------------------------------------------------------------------------------


def page() -> str:
    """Return the page of what was gathered."""
    told, hours = gathered(), all_hours()
    parts = [
        HEAD.format(code=told.code or "none"),
        *_seeds(told),
        *hours_told(hours, told.code),
        *_defects(),
        *planted_bugs(told.bugs, told.code),
        *_reached([told.reached, *(it.reached for it in hours)]),
    ]
    return "\n\n".join(parts) + "\n"


def _seeds(told: Gathered) -> list[str]:
    seeds = told.seeds
    hours = sum(it.hours for it in seeds)
    cpu_s = sum(it.cpu_s for it in seeds)
    failed = [it.seed for it in seeds if it.failed]
    naked_s = max((it.naked_s_max for it in seeds), default=0.0)
    speed = hours * 3600 / cpu_s if cpu_s else 0.0
    text = (
        f"{len(seeds)} seeds of {hours:.1f} simulated hours together: "
        f"{sum(it.trades for it in seeds)} trades, {sum(it.starts for it in seeds)} starts of a "
        f"guard, {len(failed)} seeds failed"
        f"{': ' + ', '.join(map(str, failed)) if failed else ''}. One core simulates "
        f"{speed:.0f} times as fast as real time. The longest time for which a position that "
        f"could be protected was naked: {naked_s:g} s, looked at every 0.25 s."
        f"{_older(it.code != told.code for it in seeds)}"
    )
    return ["## The code as it is", text]


def _older(are_older: Iterable[bool]) -> str:
    number = sum(are_older)
    return f" {number} of them were run with older code." if number else ""


def _defects() -> list[str]:
    rows = ["| seed | broke | what the guard did | mended | held by |", "|---|---|---|---|---|"]
    rows += [
        f"| {it.seed} | {it.rule} | {it.defect} | {it.mended} | `tests/{it.test}` |"
        for it in REGRESSIONS
    ]
    told = (
        "Found by a seed, mended, and held by tests of their own; the seeds are played with "
        "every `make test`. A seed tells another story when the world of the storm changes."
    )
    judged = [f"Seed {it.seed} ({it.rule}): {it.why}." for it in MISJUDGED]
    waiting = ", ".join(f"{seed} ({rule})" for seed, rule in UNEXPLAINED) or "none"
    left = f"Seeds that failed when they were last played and are not explained yet: {waiting}."
    return [
        "## Defects of the guard that it has found",
        told,
        "\n".join(rows),
        "Where the judge was wrong, and not the guard: " + " ".join(judged),
        left,
    ]


def _reached(reached: Iterable[Mapping[str, Iterable[str]]]) -> list[str]:
    parts = ["## What the seeds reach", "By all runs so far, those with older code among them."]
    for it in coverage(reached):
        number = len(it.reached) + len(it.unreached)
        excused = UNREACHED.get(it.kind, {})
        open_ones = [name for name in it.unreached if name not in excused]
        parts.append(
            f"**{it.kind.capitalize()}**: {len(it.reached)} of {number}; "
            f"{len(it.unreached) - len(open_ones)} cannot be reached in this world. "
            f"{len(open_ones)} can be, and were not so far."
        )
        parts += _reasons("Cannot be reached", it.unreached, excused)
        parts += _reasons("What it takes for the others", open_ones, RARE.get(it.kind, {}))
    return parts


def _reasons(title: str, names: Iterable[str], reasons: Mapping[str, str]) -> list[str]:
    """Return a list of those of ``names`` that have a reason, together where it is the same one."""
    with_reason = [name for name in names if name in reasons]
    lines = [
        f"- {_names(name for name in with_reason if reasons[name] == reason)}: {reason}."
        for reason in dict.fromkeys(reasons[name] for name in with_reason)
    ]
    return [f"{title}:", "\n".join(lines)] if lines else []


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"


if __name__ == "__main__":
    sys.exit(main())
