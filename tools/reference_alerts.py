"""The page about alerts: each code with how grave it is, what it says, and its runbook page."""

import ast
from collections.abc import Iterator
from pathlib import Path

from reference_markdown import member_words, page, table

from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity

SOURCE = Path(__file__).parents[1] / "src" / "backstop"

RAISED_WITH = {"give_up": Severity.CRITICAL}
"""Functions that take a code and raise it with the one severity that they know."""

GRAVEST_FIRST = tuple(reversed(Severity))


def alerts_page() -> str:
    """Return every alert of the guard and its watchdog."""
    words, raised = member_words(AlertCode), severities()
    return page(
        "Alerts",
        "What a person is told. Each code has a page in the [runbook](../runbook/index.md) that "
        "says what is true then, what the guard does, and what you do. A critical alert goes to "
        "every channel of `BACKSTOP_ALERT_URLS` and is repeated until somebody acknowledges it; "
        "any other goes to the first channel that takes it. The "
        "[rules for Prometheus](alert-rules.yml) have alerts of their own.",
        table(
            ("code", "severity", "what it says"),
            (
                (
                    f"[`{code}`](../runbook/{code}.md)",
                    " or ".join(it.lower() for it in raised[code]),
                    words[code.name],
                )
                for code in AlertCode
            ),
        ),
    )


def severities() -> dict[AlertCode, tuple[Severity, ...]]:
    """Return with which severities the code raises each alert, the gravest first.

    Raises:
        ValueError: a code is raised nowhere.
    """
    found: dict[AlertCode, set[Severity]] = {code: set() for code in AlertCode}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                for code, severity in _raised_by(node):
                    found[code].add(severity)
    silent = [code for code, those in found.items() if not those]
    if silent:
        raise ValueError(f"raised nowhere: {', '.join(silent)}")
    return {code: tuple(it for it in GRAVEST_FIRST if it in those) for code, those in found.items()}


def _raised_by(call: ast.Call) -> Iterator[tuple[AlertCode, Severity]]:
    """Yield each alert that a call raises; conditions that belong together branch by branch."""
    parts = [*call.args, *(it.value for it in call.keywords)]
    codes = [it for it in parts if list(_members(it, "AlertCode"))]
    grades = [it for it in parts if list(_members(it, "Severity", "Level"))]
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    for part in codes:
        if name in RAISED_WITH:
            yield from ((AlertCode[it], RAISED_WITH[name]) for it in _members(part, "AlertCode"))
        for grade in grades:
            yield from _paired(part, grade)


def _paired(code: ast.expr, grade: ast.expr) -> Iterator[tuple[AlertCode, Severity]]:
    match code, grade:
        case ast.IfExp(), ast.IfExp() if ast.dump(code.test) == ast.dump(grade.test):
            yield from _paired(code.body, grade.body)
            yield from _paired(code.orelse, grade.orelse)
        case _:
            for one in _members(code, "AlertCode"):
                for other in _members(grade, "Severity", "Level"):
                    yield AlertCode[one], Severity[other]


def _members(tree: ast.AST, *enums: str) -> Iterator[str]:
    """Yield the names of the members of ``enums`` that an expression may come to."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=member) if name in enums:
                yield member
            case _:
                continue
