"""The page about the log: its tags, and every event of the guard with its fields."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from reference_markdown import code, page, table

from backstop.core.step import Tag

SOURCE = Path(__file__).parents[1] / "src" / "backstop"

MEANINGS = {
    Tag.CRITICAL_SYSTEM: "the guard itself: its life, links, positions, protection, liquidation",
    Tag.CORRELATION_REJECT: "an order that correlation or concentration refused",
    Tag.CRITICAL: "what a person has to look at: critical alerts, a failure of the guard",
    Tag.ORDER: "an order and its way",
    Tag.TRADE: "a trade, and what it proves",
}


class LogEvent(NamedTuple):
    """One kind of line; ``fields`` may lack some where they are put together at run time."""

    tag: Tag
    name: str
    fields: frozenset[str]


def log_page() -> str:
    """Return the tags, and every event under its tag."""
    found: dict[tuple[Tag, str], frozenset[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                for it in _events(node):
                    key = (it.tag, it.name)
                    found[key] = found.get(key, frozenset()) | it.fields
    if silent := set(Tag) - set(MEANINGS):
        raise ValueError(f"no words for {', '.join(sorted(silent))}")
    return page(
        "Log",
        "One JSON object in a line, on standard error; in colours on a terminal. `event` is a "
        "fixed name, `component` the tag, `seq` the record that it belongs to, `session_id` the "
        "process; times and sizes carry their unit in their name. Values that are secret are "
        "struck out. The log is for reading: what was decided is in "
        "[the audit](../howto/read-the-audit.md). An [alert](alerts.md) is the event `alert`, "
        "with its `code`, under `[CRITICAL]` when it is critical and else under "
        "`[CriticalSystem]`.",
        table(("tag", "what its lines are about"), ((code(it), MEANINGS[it]) for it in Tag)),
        *(
            f"## {tag}\n\n{_table_of(tag, found)}"
            for tag in Tag
            if any(those is tag for those, _ in found)
        ),
    )


def _table_of(tag: Tag, found: dict[tuple[Tag, str], frozenset[str]]) -> str:
    rows = sorted((name, fields) for (those, name), fields in found.items() if those is tag)
    return table(
        ("event", "fields"),
        ((code(name), ", ".join(map(code, sorted(fields)))) for name, fields in rows),
    )


def _events(call: ast.Call) -> Iterator[LogEvent]:
    """Yield what a call writes: ``note(Tag.X, "name", …)``, ``warn``, or a ``Note`` by itself."""
    parts = list(call.args[:2])
    named = {it.arg: it.value for it in call.keywords if it.arg}
    if "tag" in named and "name" in named:
        fields = named.get("fields")
        keys = fields.keys if isinstance(fields, ast.Dict) else []
        names = [it.value for it in keys if isinstance(it, ast.Constant)]
        yield from _combined(named["tag"], named["name"], frozenset(map(str, names)))
    elif len(parts) > 1:
        yield from _combined(parts[0], parts[1], frozenset(named))


def _combined(tags: ast.expr, names: ast.expr, fields: frozenset[str]) -> Iterator[LogEvent]:
    for tag in ast.walk(tags):
        match tag:
            case ast.Attribute(value=ast.Name(id="Tag"), attr=member):
                for name in _words(names):
                    yield LogEvent(Tag[member], name, fields)
            case _:
                continue


def _words(names: ast.expr) -> Iterator[str]:
    match names:
        case ast.Constant(value=str(word)):
            yield word
        case ast.IfExp(body=first, orelse=second):
            yield from _words(first)
            yield from _words(second)
        case _:
            return
