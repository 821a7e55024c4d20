"""Plants bugs until a seed of the storm finds each, and tells of it on the storm's page.

A seed finds a planted bug only if it passes without it: else it may have found something else.
"""

from collections.abc import Iterable
from functools import partial
from hashlib import sha256
from itertools import count, islice

import msgspec
from msgspec import Struct
from storm_code import code_digest
from storm_hours import COMES_RIGHT

from backstop.storm.mutations import MUTATIONS, Mutation, planted
from backstop.storm.plan import Weather, plan_of
from backstop.storm.seed_run import SeedResult, run_seed
from backstop.storm.terms import terms_of


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
    return COMES_RIGHT, result.unsettled[0]


def planted_bugs(bugs: Iterable[Caught], present: str) -> list[str]:
    """Return the part of the page on planted bugs: heading, text, table.

    ``present`` is the code that the page is about.
    """
    caught = {it.name: it for it in bugs}
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
            f"{found.rule or 'not found'} | {_without(found, with_bug(present, mutation))} |"
        )
    known = [caught[it.name] for it in MUTATIONS if it.name in caught]
    counted = [it for it in known if it.passes_without]
    unproven = sum(bool(it.rule) and not it.passes_without for it in known)
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
