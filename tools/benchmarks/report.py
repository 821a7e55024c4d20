"""The document of a report: what each part found, with the machine that it was measured on.

Parts may be measured at different times, or on different machines, and stand in one document: each
brings the facts of its own machine, its moment and the load before and after.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from msgspec import Struct

from benchmarks.figures import Figure
from benchmarks.growth import Curve
from benchmarks.sampling import Profile

Finding: TypeAlias = Figure | Curve | Profile

Document: TypeAlias = dict[str, Any]

SECTIONS = {Figure: "figures", Curve: "curves", Profile: "profiles"}
"""Where each kind of finding stands in a document, by its key."""


class Measured(Struct, frozen=True, kw_only=True):
    """One part, measured.

    Attributes:
        name: of the part.
        measured_at: when it ended, in ISO 8601.
        findings: what came out.
        machine: what the findings depend on besides the code, as ``figures.machine`` tells it.
        load_before: processes that wanted to run in the minute before; None: the system tells not.
        load_after: likewise, in its last minute.
        took_s: the whole of it.
    """

    name: str
    measured_at: str
    findings: tuple[Finding, ...]
    machine: Mapping[str, object]
    load_before: float | None
    load_after: float | None
    took_s: float


def document(parts: Iterable[Measured]) -> Document:
    """Return the document of ``parts``."""
    told: Document = {"parts": {}, **{section: {} for section in SECTIONS.values()}}
    for part in parts:
        told["parts"][part.name] = {
            "measured_at": part.measured_at,
            "took_s": round(part.took_s, 1),
            "load_before": part.load_before,
            "load_after": part.load_after,
            "machine": dict(part.machine),
        }
        for finding in part.findings:
            section = told[SECTIONS[type(finding)]]
            section[finding.key] = {"part": part.name, **finding.document()}
    return told


def merged(held: Document, new: Document, *, order: Iterable[str]) -> Document:
    """Return ``held`` with the parts of ``new`` in the place of its own.

    Everything that an earlier measurement of such a part had found goes, also what is measured no
    more; every other part stays as it is, with its own machine. ``order`` is that of the parts.
    """
    renewed = new["parts"].keys()
    places = {name: place for place, name in enumerate(order)}

    def place(part: str) -> int:
        return places.get(part, len(places))

    parts = {**held.get("parts", {}), **new["parts"]}
    told: Document = {"parts": dict(sorted(parts.items(), key=lambda it: place(it[0])))}
    for section in SECTIONS.values():
        kept = {key: it for key, it in held.get(section, {}).items() if it["part"] not in renewed}
        findings = {**kept, **new[section]}
        told[section] = dict(sorted(findings.items(), key=lambda it: place(it[1]["part"])))
    return told
