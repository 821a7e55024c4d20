"""The pages about the two interfaces: the command line and HTTP."""

import io
import os
import sys
from contextlib import redirect_stdout, suppress
from importlib import import_module
from typing import Any
from unittest.mock import patch

import typer
from reference_markdown import code, page, sentence, table

from backstop.entrypoints.cli import VERBS
from backstop.entrypoints.http.app import make_api
from backstop.entrypoints.main import main

CONTENT_TYPE = "application/json"
HELP_WIDTH = 92
REFERENCE = "#/components/schemas/"

PAGES_OF_SHAPES = {"DenialCode": "denial-codes.md", "OrderState": "order-states.md"}


# -- command line --------------------------------------------------------------------------------


def command_line_page() -> str:
    """Return every verb with its help, as the program prints it."""
    return page(
        "Command line",
        "Exit codes: 0 good; 1 refused; 2 unusable input or set-up, with a sentence on stderr that "
        "names the fault and what is allowed; 130 after Ctrl-C where a verb does not end by it.",
        table(
            ("verb", "what it does"),
            ((f"[`{name}`](#backstop-{name})", verb.help) for name, verb in VERBS.items()),
        ),
        *(
            f"## backstop {' '.join(words)}\n\n```text\n{_help(words)}\n```"
            for name in VERBS
            for words in _with_inner_verbs(name)
        ),
    )


def _with_inner_verbs(name: str) -> list[list[str]]:
    verb = VERBS[name]
    member = getattr(import_module(f"backstop.entrypoints.{verb.module}"), verb.member)
    if not isinstance(member, typer.Typer):
        return [[name]]
    group = typer.main.get_group(member)
    return [[name], *([name, inner] for inner in group.commands)]


def _help(words: list[str]) -> str:
    """Return what the program prints for ``--help`` behind ``words``."""
    printed = io.StringIO()
    with (
        patch.dict(os.environ, {"COLUMNS": str(HELP_WIDTH)}),
        patch.object(sys, "argv", ["backstop", *words, "--help"]),
        redirect_stdout(printed),
        suppress(SystemExit),
    ):
        main()
    return printed.getvalue().strip()


def _paragraphs(text: str | None) -> str:
    blocks = (text or "").split("\n\n")
    return "\n\n".join(sentence(block) for block in blocks)


# -- HTTP ----------------------------------------------------------------------------------------


def http_api_page() -> str:
    """Return every call and every shape of the OpenAPI document that the guard serves."""
    # The routes close over the guard and only call it; to describe them none is needed.
    document: dict[str, Any] = make_api(None).openapi()  # type: ignore[arg-type]
    calls = [
        (method.upper(), path, call)
        for path, methods in document["paths"].items()
        for method, call in methods.items()
    ]
    shapes = document["components"]["schemas"]
    return page(
        "HTTP interface",
        "`backstop run` serves it at `BACKSTOP_LISTEN` (by default `127.0.0.1:8720`) and prints "
        "where the token is kept. Every call but `GET /v1/health` needs the header "
        "`Authorization: Bearer TOKEN`. Prices are text in and out. The same description for "
        "programs is at `/v1/openapi.json`, and at `/` "
        "[a page for people](../howto/watch-on-the-dashboard.md).",
        table(
            ("call", "what it does"),
            (
                (f"[`{method} {path}`](#{_anchor(f'{method} {path}')})", call["description"])
                for method, path, call in calls
            ),
        ),
        *(part for method, path, call in calls for part in _call(method, path, call)),
        "## Shapes",
        *(part for name in sorted(shapes) for part in _shape(name, shapes[name])),
    )


def _call(method: str, path: str, call: dict[str, Any]) -> list[str]:
    parts = [f"## {method} {path}", sentence(call["description"])]
    queries = [it for it in call.get("parameters", ()) if it["in"] == "query"]
    if queries:
        rows = (
            (code(it["name"]), _type(it["schema"]), code(it["schema"].get("default", "")))
            for it in queries
        )
        parts.append(table(("query", "type", "default"), rows))
    if "requestBody" in call:
        parts.append(f"Body: {_type(call['requestBody']['content'][CONTENT_TYPE]['schema'])}.")
    statuses: dict[str, list[str]] = {}
    for status, response in sorted(call["responses"].items()):
        statuses.setdefault(_answer(response), []).append(status)
    rows = ((", ".join(those), answer) for answer, those in statuses.items())
    parts.append(table(("status", "answer"), rows))
    return parts


def _answer(response: dict[str, Any]) -> str:
    schema = response.get("content", {}).get(CONTENT_TYPE, {}).get("schema")
    return _type(schema) if schema else "JSON, as it stands in the record"


def _shape(name: str, schema: dict[str, Any]) -> list[str]:
    parts = [f"### {name}", _paragraphs(schema.get("description", ""))]
    if name in PAGES_OF_SHAPES:
        parts.append(f"The values stand in [{PAGES_OF_SHAPES[name]}]({PAGES_OF_SHAPES[name]}).")
        return parts
    if "enum" in schema:
        parts.append(", ".join(code(word) for word in schema["enum"]) + ".")
        return parts
    required = schema.get("required", ())
    rows = [
        (
            code(member),
            _type(held) if member in required else f"{_type(held)}, may be left out",
            sentence(_description(held)),
        )
        for member, held in schema.get("properties", {}).items()
    ]
    if rows:
        heads = ("member", "type", "meaning") if any(it[2] for it in rows) else ("member", "type")
        parts.append(table(heads, (row[: len(heads)] for row in rows)))
    return parts


def _description(schema: dict[str, Any]) -> str:
    held = (schema, *schema.get("anyOf", ()))
    return next((str(it["description"]) for it in held if "description" in it), "")


_WORDS = {"string": "text", "integer": "whole number", "boolean": "true or false", "null": "null"}


def _type(schema: dict[str, Any]) -> str:
    """Return a JSON schema in words, with links to the shapes."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REFERENCE)
        return f"[{name}](#{_anchor(name)})"
    if "anyOf" in schema:
        return " or ".join(_type(it) for it in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(code(word) for word in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"object of {_type(values)}" if isinstance(values, dict) else "object"
    return _WORDS.get(kind, kind)


def _anchor(heading: str) -> str:
    """Return the anchor that Markdown viewers give to ``heading``."""
    kept = "".join(it for it in heading.lower() if it.isalnum() or it in " -_")
    return kept.replace(" ", "-")
