"""The words that pages may use as code: taken from the code, so that none is made up."""

import re
import shlex
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import Any

import typer

from backstop.config import settings_table
from backstop.core.liquidation import LiquidationState
from backstop.core.positions import Knowledge
from backstop.core.protection_situation import Protection
from backstop.core.trading_state import Condition, LatchKind, TradingState
from backstop.domain.alert_code import AlertCode
from backstop.domain.bot import BotPolicy, BotState
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderState
from backstop.entrypoints.cli import VERBS
from backstop.entrypoints.http.app import make_api

COMMAND = re.compile(r"(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?backstop ")
ENUMS: tuple[type[StrEnum], ...] = (
    AlertCode,
    BotPolicy,
    BotState,
    Condition,
    DenialCode,
    Knowledge,
    LatchKind,
    LiquidationState,
    OrderState,
    Protection,
    TradingState,
)
OTHERS = frozenset({"KILL", "OPERATOR", "STALE", "FROZEN", "DIED", "UNKNOWN ORDER"})
"""A file, an origin of the account's floor, and what crash dumps are called."""


@cache
def known_words() -> frozenset[str]:
    """Return every setting and every member of an enum that people meet."""
    settings = (it.name for it in settings_table.SETTINGS)
    members = (str(member) for enum in ENUMS for member in enum)
    return frozenset((*settings, *members, *OTHERS))


@cache
def interface_words() -> frozenset[str]:
    """Return every word that the HTTP interface may answer with."""
    shapes = _description()["components"]["schemas"].values()
    return frozenset(word for shape in shapes for word in _enum_words(shape))


def _enum_words(schema: object) -> Iterator[str]:
    """Yield the members of every closed set within a JSON schema."""
    match schema:
        case {"enum": [*words]}:
            yield from map(str, words)
        case dict():
            for held in schema.values():
                yield from _enum_words(held)
        case list():
            for held in schema:
                yield from _enum_words(held)
        case _:
            return


@cache
def calls() -> frozenset[str]:
    """Return every call of the HTTP interface, as ``GET /v1/status``."""
    paths = _description()["paths"]
    return frozenset(
        f"{method.upper()} {path}" for path, those in paths.items() for method in those
    )


@cache
def _description() -> dict[str, Any]:
    # The routes close over the guard and only call it; to describe them none is needed.
    description: dict[str, Any] = make_api(None).openapi()  # type: ignore[arg-type]
    return description


def command_faults(line: str) -> list[str]:
    """Return what of a typed ``backstop`` command does not exist: its verb, or an option."""
    words = [it for it in shlex.split(line) if not re.match(r"[A-Z_]+=", it)]
    name, rest = words[1], words[2:]
    if name not in VERBS:
        return [f"backstop {name}: no such verb"]
    if name == "run":
        return []
    known = _options(name)
    path = name
    if isinstance(known, dict):
        inner = rest.pop(0) if rest else ""
        path = f"{name} {inner}".strip()
        if not inner:
            return []
        if inner not in known:
            return [f"backstop {path}: no such verb"]
        options = known[inner]
    else:
        options = known
    typed = (it.partition("=")[0] for it in rest if it.startswith("--"))
    return [f"backstop {path} {it}: no such option" for it in typed if it not in options]


@cache
def _options(name: str) -> frozenset[str] | dict[str, frozenset[str]]:
    """Return the options of a verb; of a group of verbs, those of each."""
    verb = VERBS[name]
    member = getattr(import_module(f"backstop.entrypoints.{verb.module}"), verb.member)
    if isinstance(member, typer.Typer):
        group = typer.main.get_group(member)
        return {inner: _of(command.params) for inner, command in group.commands.items()}
    single = typer.Typer(add_completion=False)
    single.command(name=name)(member)
    return _of(typer.main.get_command(single).params)


def _of(parameters: object) -> frozenset[str]:
    assert isinstance(parameters, list)
    return frozenset(option for it in parameters for option in it.opts) | {"--help"}
