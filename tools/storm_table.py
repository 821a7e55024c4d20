"""Runs the storm, with and without planted bugs, and writes docs/reference/storm.md about it.

``--seeds 0:100`` runs seeds as the code is, ``--bugs 0:40`` runs planted bugs until a seed finds
each; both keep what came of it in ``build/storm``, one file each, so that a run can go on where an
earlier one stopped. ``--gather`` puts what is there into docs/reference/storm.json, and ``--write``
makes the page of that.

A seed finds a planted bug only if it passes without it: else it may have found something else. What
was run with other code than that which ``--gather`` sees is said to be.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from hashlib import sha256
from itertools import count, islice
from pathlib import Path

import msgspec
from msgspec import Struct

from backstop.storm import mutations, regressions
from backstop.storm.coverage import coverage
from backstop.storm.mutations import MUTATIONS, Mutation, planted
from backstop.storm.plan import Weather, plan_of
from backstop.storm.regressions import MISJUDGED, REGRESSIONS, UNEXPLAINED
from backstop.storm.seed_run import SeedResult, run_seed
from backstop.storm.terms import terms_of
from backstop.storm.unreached import RARE, UNREACHED

REPO = Path(__file__).parents[1]
PAGE = REPO / "docs" / "reference" / "storm.md"
GATHERED = PAGE.with_suffix(".json")
KEPT = REPO / "build" / "storm"

HEAD = """\
# What the storm finds, and what it reaches

<!-- Written by tools/storm_table.py from docs/reference/storm.json; do not edit. -->

[The storm](../explanation/storm.md) simulates the whole path from seeds. This page is gathered
from runs of it, a part at a time. The newest part was run with the code whose sources have the
digest `{code}`; what was run with older code says so, and what was changed later was not there."""


class Caught(Struct, frozen=True, kw_only=True):
    """What became of one planted bug.

    Attributes:
        tried: seeds that were run with it, in their order.
        rule: that the last one of them broke; empty: none of those that count.
        passes_without: that seed was run without the bug as well, and passed.
        unfit: those of ``tried`` that fail without it, and so find nothing.
        code: what it was run with, as ``with_bug`` names it; empty: older than such names.
    """

    name: str
    hours: float
    tried: tuple[int, ...]
    rule: str = ""
    text: str = ""
    passes_without: bool = False
    unfit: tuple[int, ...] = ()
    code: str = ""


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
    if asked.gather:
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


def code_digest() -> str:
    """Return a name for the code that runs here: every source that can change what comes of a seed.

    What was found before is written in one that cannot, and planted bugs in another.
    """
    left_out = {Path(regressions.__file__), Path(mutations.__file__)}
    digest = sha256()
    for path in sorted(set((REPO / "src").rglob("*.py")) - left_out):
        digest.update(str(path.relative_to(REPO)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def with_bug(code: str, mutation: Mutation) -> str:
    """Return the name of ``code`` with a bug planted in it."""
    return sha256(code.encode() + msgspec.json.encode(mutation)).hexdigest()[:12]


def hunted(mutation: Mutation, *, hours: float, at_most: int, clean: dict[int, bool]) -> Caught:
    """Run seeds of the weather in which the bug shows, until one finds it.

    ``clean`` says which seeds pass for ``hours`` without any planted bug, as far as that was tried;
    what is tried now is added.
    """
    fitting = filter(partial(_fits, mutation), count())
    tried: list[int] = []
    unfit: list[int] = []
    rule = text = ""
    for seed in islice(fitting, at_most):
        tried.append(seed)
        with planted(mutation):
            result = run_seed(seed, hours=hours, first_fault=True)
        if result.passed:
            continue
        if seed not in clean:
            clean[seed] = run_seed(seed, hours=hours).passed
        if clean[seed]:
            rule, text = _broken(result)
            break
        unfit.append(seed)
    return Caught(
        name=mutation.name,
        hours=hours,
        tried=tuple(tried),
        rule=rule,
        text=text,
        passes_without=bool(rule),
        unfit=tuple(unfit),
        code=with_bug(code_digest(), mutation),
    )


def _fits(mutation: Mutation, seed: int) -> bool:
    """Say whether a seed has the weather in which a bug shows, and those to whom it shows."""
    plan = plan_of(seed)
    if plan.weather is not mutation.weather:
        return False
    terms = terms_of(seed, stops_are_needed=plan.has(Weather.OTHERS))
    return terms.bots_behind or not mutation.behind


def _broken(result: SeedResult) -> tuple[str, str]:
    """Return the first rule that was broken, and how."""
    if result.violations:
        return result.violations[0].rule, result.violations[0].text
    return "comes right", result.unsettled[0]


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
    told = gathered()
    parts = [
        HEAD.format(code=told.code or "none"),
        *_seeds(told),
        *_defects(),
        *planted_bugs(told),
        *_reached(told),
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


def planted_bugs(told: Gathered) -> list[str]:
    """Return the part of the page on planted bugs: heading, text, table."""
    caught = {it.name: it for it in told.bugs}
    rows = [
        "| planted bug | in | seeds of this weather tried | found by | as | passes without it |",
        "|---|---|---|---|---|---|",
    ]
    for mutation in MUTATIONS:
        found = caught.get(mutation.name)
        if found is None:
            rows.append(f"| {mutation.name} | `{mutation.module}` | not run | | | |")
            continue
        seed = str(found.tried[-1]) if found.rule else "none"
        tried = f"{len(found.tried)} {mutation.weather}{_unfit(found)}"
        rows.append(
            f"| {mutation.name} | `{mutation.module}` | {tried} | {seed} | "
            f"{found.rule or 'not found'} | {_without(found, with_bug(told.code, mutation))} |"
        )
    names = {it.name for it in MUTATIONS}
    counted = [it for it in told.bugs if it.name in names and it.passes_without]
    unproven = sum(bool(it.rule) and not it.passes_without for it in told.bugs if it.name in names)
    most = max((len(it.tried) for it in counted), default=0)
    text = (
        f"{len(counted)} of {len(MUTATIONS)} planted bugs were found, each with seeds of one "
        f"weather, six simulated minutes each; it took {most} of them at most. The seed that found "
        "one passes without it, run beside it with the same code."
    )
    if unproven:
        text += (
            f" With {unproven} more a seed failed on older code, and was not run without the bug: "
            "that proves nothing."
        )
    return ["## Planted bugs", text, "\n".join(rows)]


def _unfit(found: Caught) -> str:
    return f", {len(found.unfit)} of them fail without it" if found.unfit else ""


def _without(found: Caught, code: str) -> str:
    """Return what the control run said, and whether all of it was with older code."""
    said = "yes" if found.passes_without else "not tried" if found.rule else ""
    older = "older code" if found.code != code else ""
    return ", ".join(filter(None, (said, older)))


def _reached(told: Gathered) -> list[str]:
    parts = ["## What the seeds reach", "By all runs so far, those with older code among them."]
    for it in coverage([told.reached]):
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
