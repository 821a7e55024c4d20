"""The page of the figures and its picture, out of the document that a measurement leaves.

The document is kept beside the page, so that a test can tell a page that was written by hand.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

from benchmarks import growth_plot
from benchmarks.report import Document

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
WIDTH = 100
DOCUMENT, PAGE = REFERENCE / "figures.json", REFERENCE / "figures.md"
PICTURE = REFERENCE / "growth.svg"

BUSY = (
    "**Other programs kept this machine busy meanwhile**: what it can do by itself is more, and "
    "goals that are about absolute times or rates say little here."
)


class Part(NamedTuple):
    """What is measured together: its title, and what a reader has to know about it."""

    title: str
    note: str


PARTS = {
    "journal": Part(
        "The journal against plain SQLite",
        "Records of 400 bytes, with so many decisions waiting at the same time. Whoever waits "
        "shares the commit.",
    ),
    "events": Part(
        "From the broker's event to the disk",
        "The venue sends about a thousand rows of the user hub in a second, evenly. The clock runs "
        "from the frame on the socket, or from the venue, to the commit that holds the row.",
    ),
    "audit": Part(
        "Audited orders, proofs, and the check of a record",
        "An audited order is its record with its leaf hash, the tree, a signature, a row in both "
        "tables, and the wait for the disk.",
    ),
    "orders": Part(
        "Orders through everything",
        "From the wish to the verified fill: rules, durable intent, venue, events, durable fill, "
        "signed proof. The bare client places the same orders without any of it.",
    ),
    "core": Part("Decisions alone", "Facts into decisions, without a disk and without a network."),
    "exposure": Part(
        "Decisions about exposure, and new bars",
        "One order that every rule lets through, with an order that could fill in each instrument "
        "and every pair of them measured: all of the pipeline, and the limits on exposure alone, "
        "whose sums are kept. After a price has moved they are brought up to date first. A bar "
        "goes into the volatility of its family, and into the correlation with every other one.",
    ),
    "crash": Part(
        "Killed in the middle of trading",
        "A bot sends orders through the API while the guard gets `kill -9`. In that moment "
        "somebody buys another contract at the venue; the clock runs until the exchange itself has "
        "a working stop for it. Lost is what the bot or the venue was told and no record holds.",
    ),
    "restart": Part(
        "Guarding again, and memory",
        "The watchdog starts the guard again, with a loaded spare process and without.",
    ),
    "protection": Part(
        "Time without a stop, and time to flat",
        "The position was bought by somebody else, without a bracket: the guard gives the venue's "
        "own stops 150 ms, reads, and places one. Both moments are the exchange's own. With a "
        "bracket the venue sets the stop in the moment of the fill. Liquidations find positions "
        "with a stop each; FLAT is said after two reads that agree.",
    ),
    "state": Part(
        "The state on disk",
        "From nothing but files to the whole state, after a crash; and what writing it down every "
        "100 ms costs, beside an indented JSON that is rewritten and copied every time.",
    ),
    "loop": Part(
        "The event loop",
        "While an order is filled every two seconds, with everything else that a guard does.",
    ),
    "api": Part(
        "The HTTP interface under load",
        "Two hundred calls a second of all kinds, due at even times whether or not earlier ones "
        "were answered, and three readers of the stream of events, from one other process. A bot "
        "trades meanwhile; its baseline is the same trading without a caller, half of it before "
        "and half after.",
    ),
    "gateway": Part(
        "The gateway for bots",
        "The same client speaks the ProjectX API straight to the venue and through the guard, in "
        "turns. Each user event is heard from both sides. The record in memory is that of another "
        "guard, whose state folder is on no disk.",
    ),
    "start": Part("Cold start", "`backstop run` in an empty folder, as a process."),
    "growth": Part(
        "How cost grows",
        "Both axes are logarithmic: a straight line upwards is a power of what lies below, a level "
        "one does not grow. A point is the median of its rounds, its bar goes from the lowest to "
        "the highest.",
    ),
    "profiles": Part(
        "Where the time goes",
        "Whenever the process has used the processor for a few milliseconds, the stack of its main "
        "thread is looked at: shares of all looks, medians of rounds. They are of processor time, "
        "so other programs change them little. What a library in C takes counts for its caller.",
    ),
}
"""The parts, in the order of the page."""

_HEAD = """# Figures

<!-- Generated by tools/bench.py: do not edit. -->

What the safety costs, and how fast it acts, on one machine. `make bench` measures all of it anew
and writes this page; `make bench ARGS="--only PART"` measures some parts and leaves the others as
they are; `make bench ARGS=--quick` only tries whether everything can be measured, and writes no
page. `ARGS="--soak 3600"` watches the event loop for an hour.

Each figure is the median of its rounds, with the lowest and the highest beside it: the machine's
noise is part of the answer. A baseline was measured in the same rounds, and a ratio is the median
of the ratios round by round. A goal is about the median, or about every round where it says so. The
venue is the simulator without the real venue's delays, on loopback, in a process of its own: what
the network and the broker add comes on top.
"""

_FACTS = ("processors", "processor", "system", "python", "sqlite")
"""Of a machine, what does not change from one moment to the next."""

_COLUMNS = """| figure | unit | median | lowest to highest | rounds | baseline | ratio | goal | |
|---|---|--:|--:|--:|---|--:|---|---|"""


def rendered(document: Document) -> str:
    """Return the page."""
    return "\n".join(
        [
            _HEAD,
            _machines(document["parts"]),
            _verdicts(document["figures"].values()),
            _all_figures(document),
            _notes(document),
            _growth(document),
            _profiles(document),
        ]
    )


def write(document: Document) -> None:
    """Write the document, its page and its picture."""
    DOCUMENT.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    PAGE.write_text(rendered(document), encoding="utf-8")
    if document["curves"]:
        PICTURE.write_text(picture(document), encoding="utf-8")


def published() -> Document:
    """Return the document of the page as it is."""
    document: Document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    return document


def picture(document: Document) -> str:
    """Return the picture of how cost grows."""
    return growth_plot.picture(list(document["curves"].values()))


# -- the machine ---------------------------------------------------------------------------------


def _machines(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Tell what was measured where and when, and how quiet it was there."""
    of_machine: dict[tuple[object, ...], list[str]] = {}
    for name, part in parts.items():
        key = tuple(part["machine"][fact] for fact in _FACTS)
        of_machine.setdefault(key, []).append(name)
    lines = [
        "## The machine",
        "",
        "| processors | system | Python | SQLite | parts |",
        "|---|---|---|---|---|",
        *(
            f"| {count} x {processor} | {system} | {python} | {sqlite} | "
            f"{'all' if len(names) == len(parts) else ', '.join(names)} |"
            for (count, processor, system, python, sqlite), names in of_machine.items()
        ),
        "",
        *wrap(
            "The load is the number of processes that wanted to run in the minute before, and in "
            "the last minute of the part, whose own processes it counts. One small write with "
            "fdatasync bounds what waits for the disk one by one: median, lowest to highest.",
            WIDTH,
        ),
        "",
        "| part | measured | took, s | load before, after | one small write, ms | in a second |",
        "|---|---|--:|--:|--:|--:|",
        *(_moment(name, part) for name, part in parts.items()),
        "",
    ]
    return "\n".join(lines)


def _moment(name: str, part: Mapping[str, Any]) -> str:
    sync = part["machine"]["sync_ms"]
    cells = (
        name,
        part["measured_at"],
        "" if part["took_s"] is None else _number(part["took_s"]),
        f"{_load(part['load_before'])}, {_load(part['load_after'])}",
        _spread(sync),
        f"{1000 / sync['median']:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _is_busy(part: Mapping[str, Any]) -> bool:
    # What was measured just before is in the load, hence the half.
    return bool((part["load_before"] or 0) / 2 > part["machine"]["processors"])


def _load(load: float | None) -> str:
    return "not told" if load is None else f"{load:.2f}"


# -- the figures ---------------------------------------------------------------------------------


def _verdicts(figures: Iterable[Mapping[str, Any]]) -> str:
    with_goal = [it for it in figures if "goal" in it]
    missed = [it for it in with_goal if it["goal"]["verdict"] == "missed"]
    lines = [
        "## Goals",
        "",
        f"{len(with_goal) - len(missed)} of {len(with_goal)} goals are met.",
    ]
    if missed:
        lines += ["", "Missed:", "", *(f"- {_what(it)}: {_shortfall(it)}." for it in missed)]
    return "\n".join([*lines, ""])


def _shortfall(figure: Mapping[str, Any]) -> str:
    goal = figure["goal"]
    values = figure["ratio"] if goal["of"] == "ratio" else figure
    unit = "x its baseline" if goal["of"] == "ratio" else figure["unit"]
    if goal["of"] == "worst value":
        return f"up to {_number(values['high'])} {unit}, where the goal is {_goal(figure)}"
    return f"{_number(values['median'])} {unit}, where the goal is {_goal(figure)}"


def _all_figures(document: Document) -> str:
    """Return one table of everything, with a line at the head of each part."""
    lines = ["## All figures", "", _COLUMNS]
    for name, part in PARTS.items():
        figures = [it for it in document["figures"].values() if it["part"] == name]
        if figures:
            busy = " (busy machine)" if _is_busy(document["parts"][name]) else ""
            lines += [f"| **{part.title}**{busy} | | | | | | | | |", *map(_row, figures)]
    return "\n".join([*lines, ""])


def _row(figure: Mapping[str, Any]) -> str:
    baseline, ratio = figure.get("baseline"), figure.get("ratio")
    verdict = figure.get("goal", {}).get("verdict", "")
    cells = (
        _what(figure),
        figure["unit"],
        _number(figure["median"]),
        f"{_number(figure['low'])} to {_number(figure['high'])}",
        str(figure["rounds"]),
        "" if baseline is None else f"{_number(baseline['median'])}: {baseline['what']}",
        "" if ratio is None else _number(ratio["median"]),
        _goal(figure),
        f"**{verdict}**" if verdict == "missed" else verdict,
    )
    return f"| {' | '.join(cells)} |"


def _notes(document: Document) -> str:
    """Say how each part was measured."""
    lines = ["## How it was measured", ""]
    for name, part in PARTS.items():
        if any(it["part"] == name for it in document["figures"].values()):
            busy = f" {BUSY}" if _is_busy(document["parts"][name]) else ""
            lines += [*wrap(f"**{part.title}.** {part.note}{busy}", WIDTH), ""]
    return "\n".join(lines)


# -- growth and profiles -------------------------------------------------------------------------


def _growth(document: Document) -> str:
    curves = document["curves"].values()
    if not curves:
        return ""
    title = PARTS["growth"].title
    lines = [*_head("growth", document), f"![{title}]({PICTURE.name})", ""]
    for panel, axes in growth_plot.AXES.items():
        shown = [it for it in curves if it["panel"] == panel]
        if not shown:
            continue
        places = sorted({point["at"] for it in shown for point in it["points"]})
        lines += [
            f"| {axes.over} | unit | {' | '.join(map(_count, places))} |",
            f"|---|---|{'--:|' * len(places)}",
            *(_curve(it, places) for it in shown),
            "",
        ]
    return "\n".join(lines)


def _head(name: str, document: Document) -> list[str]:
    title, note = PARTS[name]
    busy = f" {BUSY}" if _is_busy(document["parts"][name]) else ""
    return [f"## {title}", "", *wrap(f"{note}{busy}", WIDTH), ""]


def _curve(curve: Mapping[str, Any], places: Iterable[int]) -> str:
    of_place = {point["at"]: _number(point["median"]) for point in curve["points"]}
    cells = (curve["what"], curve["unit"], *(of_place.get(it, "") for it in places))
    return f"| {' | '.join(cells)} |"


def _profiles(document: Document) -> str:
    profiles = document["profiles"].values()
    if not profiles:
        return ""
    lines = _head("profiles", document)
    for it in profiles:
        lines += [
            f"### {_what(it)}",
            "",
            *wrap(
                f"{_spread(it['unit_us'])} us of a processor for one {it['unit']}, in "
                f"{it['unit_us']['rounds']} rounds with {_count(it['looks'])} looks.",
                WIDTH,
            ),
            "",
            "| own time, % | lowest to highest | us | with what it calls, % | function |",
            "|--:|--:|--:|--:|---|",
            *(_function(each, it["unit_us"]["median"]) for each in it["functions"]),
            "",
            "| with what it calls, % | lowest to highest | us | own time, % | stage |",
            "|--:|--:|--:|--:|---|",
            *(_stage(each, it["unit_us"]["median"]) for each in it["stages"]),
            "",
        ]
    return "\n".join(lines)


def _function(function: Mapping[str, Any], unit_us: float) -> str:
    return _shares(function["own"], function["within"], function["name"], unit_us)


def _stage(stage: Mapping[str, Any], unit_us: float) -> str:
    return _shares(stage["within"], stage["own"], stage["name"], unit_us)


def _shares(first: Mapping[str, float], second: Mapping[str, float], name: str, us: float) -> str:
    """Return a row: the one share with its spread, in time, and the other."""
    cells = (
        f"{100 * first['median']:.1f}",
        f"{100 * first['low']:.1f} to {100 * first['high']:.1f}",
        _number(first["median"] * us),
        f"{100 * second['median']:.1f}",
        f"`{name}`",
    )
    return f"| {' | '.join(cells)} |"


# -- words and numbers ---------------------------------------------------------------------------


def _what(figure: Mapping[str, Any]) -> str:
    return str(figure["what"]).strip()


def _goal(figure: Mapping[str, Any]) -> str:
    return str(figure.get("goal", {}).get("is", ""))


def _spread(spread: Mapping[str, float]) -> str:
    return f"{_number(spread['median'])} ({_number(spread['low'])} to {_number(spread['high'])})"


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _number(value: float) -> str:
    """Return three digits that count, without an exponent."""
    if value == 0 or abs(value) >= 100:  # noqa: PLR2004 - from here on whole numbers have three
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:#.3g}".rstrip(".")
