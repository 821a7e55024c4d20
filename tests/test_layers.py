"""Imports point down only, and the deterministic layers touch neither clock nor world.

Read from the source, so that an import inside a function or under TYPE_CHECKING counts as well.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "backstop"

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    # layer: what of the package it may import; a longer name admits that module alone.
    "errors": (),
    "domain": ("domain", "errors"),
    "core": ("core", "domain", "errors"),
    "ports": ("domain", "errors"),
    "adapters": ("adapters", "domain", "ports", "errors"),
    "config": ("config", "domain", "ports", "adapters", "errors"),
    # Runs when the guard cannot, so nothing of the guard's own application may be in it.
    "emergency": (
        "emergency",
        "config",
        "adapters",
        "ports",
        "core",
        "domain",
        "errors",
        "__version__",
    ),
    "app": (
        "app",
        "emergency",
        "config",
        "adapters",
        "ports",
        "core",
        "domain",
        "errors",
        "__version__",
    ),
    "simulator": (
        "simulator",
        "adapters.projectx.wire",
        "adapters.projectx_server",
        "domain",
        "errors",
    ),
    "verifier": ("verifier",),
    # For bots in processes of their own: it knows the guard by its interface alone.
    "portal": (),
    "client": ("client", "portal", "domain", "errors"),
    "sync": ("sync", "portal", "app", "config", "core", "domain", "errors"),
    # Puts a whole guard, unchanged, in front of the simulated exchange; and in front of that its
    # gateway for bots, by the door that the guard's process has for it.
    "storm": (
        "storm",
        "entrypoints.gateway_door",
        "app",
        "emergency",
        "config",
        "adapters",
        "ports",
        "core",
        "domain",
        "simulator",
        "errors",
        "__version__",
    ),
    "entrypoints": (
        "entrypoints",
        "storm",
        "app",
        "emergency",
        "config",
        "adapters",
        "ports",
        "core",
        "domain",
        "simulator",
        "verifier",
        "errors",
        "__init__",
        "__version__",
    ),
    "__init__": ("app", "config", "core", "domain", "errors"),
    "__main__": ("entrypoints",),
}

VERSION = "__version__"
"""The one name of the package's root that layers below it may know."""

PURE_LAYERS = ("domain", "core")

FORBIDDEN_IN_PURE_LAYERS = frozenset(
    (
        # Clocks and chance.
        *("time", "random", "secrets", "uuid", "zoneinfo", "calendar", "sched", "signal"),
        # The world outside the process.
        *("os", "io", "pathlib", "shutil", "tempfile", "glob", "fcntl", "mmap", "ctypes", "sys"),
        *("socket", "ssl", "select", "selectors", "http", "urllib", "smtplib", "socketserver"),
        *("sqlite3", "subprocess", "platform", "getpass", "builtins", "importlib"),
        # Concurrency, logging, settings.
        *("asyncio", "threading", "multiprocessing", "concurrent", "queue", "contextvars"),
        *("logging", "warnings", "configparser", "argparse", "pickle", "shelve"),
        # Other people's packages that do any of this.
        *("aiohttp", "fastapi", "uvicorn", "structlog", "stamina", "platformdirs"),
        *("cryptography", "rich", "typer", "httpx", "requests", "numpy", "pandas", "pydantic"),
    )
)

FORBIDDEN_CALLS = frozenset({"hash", "id", "open", "print", "input", "eval", "exec", "__import__"})
"""Builtins that differ from run to run, or touch the world."""

FORBIDDEN_METHODS = frozenset({"now", "utcnow", "today", "fromtimestamp"})
"""Methods of datetime that read a clock or the machine's time zone."""

KEEPS_ORDER = frozenset({"list", "tuple", "iter", "enumerate", "deque", "zip", "map", "reversed"})
"""What makes an order out of what it is given; ``sorted`` makes its own."""


def layer_of(module: str) -> str:
    """Return the layer of a module named from inside the package: ``core.book`` is in core."""
    return module.partition(".")[0]


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    if parts[-1] == "__init__" and len(parts) > 1:
        parts = parts[:-1]
    return ".".join(parts)


def imported(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Yield (line, full module name) of everything that ``module`` imports."""
    package = ["backstop", *module.split(".")]
    if module == "__init__":
        package = ["backstop"]
    elif not is_package:
        package = package[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{origin}.{alias.name}"


def layer_faults(path: Path, root: Path) -> Iterator[str]:
    """Yield what ``path`` imports although its layer must not."""
    module = module_name(path, root)
    layer = layer_of(module)
    if layer not in MAY_IMPORT:
        yield f"{module}: no layer goes by {layer}"
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for line, name in imported(tree, module, is_package=path.name == "__init__.py"):
        outermost, _, rest = name.partition(".")
        if outermost != "backstop":
            if layer in PURE_LAYERS and outermost in FORBIDDEN_IN_PURE_LAYERS:
                yield f"{module}:{line} imports {outermost}"
            continue
        inside = layer_of(rest) in MAY_IMPORT or rest == VERSION
        target = rest if inside else "__init__"
        allowed = any(target == it or target.startswith(it + ".") for it in MAY_IMPORT[layer])
        if not allowed:
            yield f"{module}:{line} imports {name}"


def determinism_faults(path: Path, root: Path) -> Iterator[str]:
    """Yield what in a pure module could differ from one run to the next."""
    module = module_name(path, root)
    if layer_of(module) not in PURE_LAYERS:
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    sets = set_names(tree)
    for node in ast.walk(tree):
        for fault in _node_faults(node, sets):
            yield f"{module}:{getattr(node, 'lineno', 0)} {fault}"


def _node_faults(node: ast.AST, sets: frozenset[str]) -> Iterator[str]:
    match node:
        case ast.Call(func=ast.Name(id=name), args=args):
            if name in FORBIDDEN_CALLS:
                yield f"calls {name}()"
            if name in KEEPS_ORDER and any(is_set(it, sets) for it in args):
                yield f"makes an order of a set with {name}()"
        case ast.Call(func=ast.Attribute(attr=name), args=args):
            if name in FORBIDDEN_METHODS:
                yield f"calls .{name}()"
            if name in {"join", "fromkeys", "extend"} and any(is_set(it, sets) for it in args):
                yield f"makes an order of a set with .{name}()"
        case ast.For(iter=it) if is_set(it, sets):
            yield "iterates over a set"
        case ast.ListComp() | ast.DictComp() | ast.GeneratorExp():
            if any(is_set(generator.iter, sets) for generator in node.generators):
                yield "iterates over a set"
        case ast.Starred(value=value) if is_set(value, sets):
            yield "unpacks a set"
        case _:
            return


def is_set(node: ast.AST, sets: frozenset[str]) -> bool:
    """Say whether an expression is visibly a set."""
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in sets
        case ast.BinOp(op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor()):
            return is_set(node.left, sets) or is_set(node.right, sets)
        case _:
            return False


def set_names(tree: ast.AST) -> frozenset[str]:
    """Return the names that are assigned or annotated as sets anywhere in a module."""
    found: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if is_set(value, frozenset()):
                found.append(name)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                if _is_set_type(annotation):
                    found.append(name)
            case ast.arg(arg=name, annotation=ast.AST() as annotation):
                if _is_set_type(annotation):
                    found.append(name)
            case _:
                continue
    return frozenset(found)


def _is_set_type(annotation: ast.AST) -> bool:
    outermost = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return isinstance(outermost, ast.Name) and outermost.id in {
        "set",
        "frozenset",
        "Set",
        "AbstractSet",
        "MutableSet",
    }


def faults(root: Path) -> list[str]:
    found: list[str] = []
    for path in sorted(root.rglob("*.py")):
        found.extend(layer_faults(path, root))
        found.extend(determinism_faults(path, root))
    return found


# -- the rule --------------------------------------------------------------------------------------


def test_imports_point_down_and_the_core_is_deterministic() -> None:
    assert faults(SOURCE) == []


def test_the_rule_reads_the_whole_package() -> None:
    """An empty folder would pass as well."""
    layers = {layer_of(module_name(path, SOURCE)) for path in SOURCE.rglob("*.py")}

    assert set(PURE_LAYERS) <= layers <= set(MAY_IMPORT)


# -- the rule bites --------------------------------------------------------------------------------


def planted(root: Path, module: str, text: str) -> list[str]:
    path = root / (module.replace(".", "/") + ".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return faults(root)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("domain.order", "from backstop.core.book import Book"),
        ("domain.order", "import backstop.ports"),
        ("core.book", "from backstop.ports import Clock"),
        ("core.book", "from backstop.adapters import clock"),
        ("core.book", "from backstop.config.settings import Settings"),
        ("core.book", "from ..app import loop"),
        ("core.book", "from .. import ports"),
        ("core.__init__", "from ..app.loop import DecisionLoop"),
        ("core.book", "import backstop"),
        ("core.book", "from backstop import run"),
        ("core.book", "from backstop import __version__"),
        ("app.loop", "from backstop import CriticalSystemManager"),
        ("core.book", "def f() -> None:\n    from backstop.app import loop"),
        ("ports", "from backstop.core.book import Book"),
        ("adapters.projectx.rest", "from backstop.core.policy import Policy"),
        ("adapters.projectx.rest", "from backstop.config.secret import Secret"),
        ("config.settings", "from backstop.core.policy import Policy"),
        ("emergency.runner", "from backstop.app.loop import DecisionLoop"),
        ("emergency.runner", "from backstop.entrypoints import liquidate"),
        ("app.loop", "from backstop.entrypoints import main"),
        ("app.loop", "from backstop.simulator.exchange import Exchange"),
        ("simulator.exchange", "from backstop.core.book import Book"),
        ("simulator.exchange", "from backstop.adapters.projectx import rest"),
        ("simulator.exchange", "from backstop.adapters.projectx.wires import Row"),
        ("verifier.check", "from backstop.errors import BackstopError"),
        ("errors", "from backstop.domain.order import Side"),
        ("nowhere.new", "import json"),
    ],
)
def test_an_upward_import_is_found(tmp_path: Path, module: str, line: str) -> None:
    found = planted(tmp_path, module, line + "\n")

    assert len(found) == 1, found
    assert found[0].startswith(module.removesuffix(".__init__"))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("core.book", "from backstop.domain.order import Side"),
        ("core.book", "from .policy import Policy"),
        ("core.book", "from . import policy"),
        ("simulator.exchange", "from backstop.adapters.projectx.wire import OrderRow"),
        ("simulator.exchange", "from backstop.adapters.projectx import wire"),
        ("adapters.clock", "import time"),
        ("entrypoints.main", "from backstop import CriticalSystemManager"),
        ("app.loop", "from backstop import __version__"),
        ("__init__", "from backstop.app.critical_system_manager import CriticalSystemManager"),
    ],
)
def test_a_downward_import_is_none_of_its_business(tmp_path: Path, module: str, line: str) -> None:
    assert planted(tmp_path, module, line + "\n") == []


@pytest.mark.parametrize("module", ["domain.order", "core.book"])
@pytest.mark.parametrize(
    "line",
    [
        "import time",
        "import random as chance",
        "from datetime import datetime\nx = datetime.now()",
        "from datetime import date\nx = date.today()",
        "import asyncio",
        "import logging",
        "import os.path",
        "from pathlib import Path",
        "import sqlite3",
        "from socket import socket",
        "import aiohttp",
        "def f() -> None:\n    import time",
        "x = hash('a')",
        "x = id(object())",
        "x = open('a')",
        "for x in {1, 2}:\n    pass",
        "for x in set([1]) | set([2]):\n    pass",
        "x = [y for y in {z for z in (1, 2)}]",
        "names = frozenset((1, 2))\nx = tuple(names)",
        "def f(names: set[int]) -> list[int]:\n    return [*names]",
        "class A:\n    names: set[int]\n    def f(self):\n        return [*self.names]",
        "x = ','.join({'a', 'b'})",
        "x = dict.fromkeys({1, 2})",
    ],
)
def test_a_clock_the_world_and_chance_are_found(tmp_path: Path, module: str, line: str) -> None:
    found = planted(tmp_path, module, line + "\n")

    assert len(found) == 1, found


@pytest.mark.parametrize(
    "line",
    [
        "from datetime import UTC, datetime, timedelta\nx = datetime(1970, 1, 1, tzinfo=UTC)",
        "x = sorted({1, 2})",
        "x = 1 in {1, 2}",
        "names = {1, 2}\nx = len(names)",
        "for x in dict.fromkeys((1, 2)):\n    pass",
        "import hashlib",
    ],
)
def test_what_is_the_same_in_every_run_passes(tmp_path: Path, line: str) -> None:
    assert planted(tmp_path, "core.book", line + "\n") == []
