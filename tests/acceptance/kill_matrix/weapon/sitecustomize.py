"""Ends a process of a run with kill -9 at a named point; loaded into every Python process of it.

The product knows nothing of this. Python imports a file of this name at each start when its folder
is on PYTHONPATH; it waits for the module that holds the point and wraps one of its functions. What
is to happen stands in the file that KILL_MATRIX_ORDERS names, and the point counts once the file
beside it with the ending ``.armed`` exists. The one that strikes leaves ``.struck`` behind: a
process that comes back lives on.
"""

import asyncio
import functools
import importlib.abc
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

ORDERS = os.environ.get("KILL_MATRIX_ORDERS", "")

VERBS = {
    "GUARD": {"guard", "spare"},  # a spare becomes the guard
    "WATCHDOG": {"watchdog"},
    "LIQUIDATE": {"liquidate"},
}
"""How a process is called on its command line."""


class Weapon:
    """Counts the passes of one point and strikes at the one that was named."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self._after: bool = orders["after"]
        self._words: list[str] = orders["words"]
        self._passes: int = orders["passes"]
        self._victim: str = orders["victim"]

    def wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` with the point before or after it."""
        if asyncio.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*arguments: Any, **named: Any) -> Any:
                if not self._after:
                    self._pass(arguments)
                result = await function(*arguments, **named)
                if self._after:
                    self._pass(arguments)
                return result

            return awaited

        @functools.wraps(function)
        def called(*arguments: Any, **named: Any) -> Any:
            if not self._after:
                self._pass(arguments)
            result = function(*arguments, **named)
            if self._after:
                self._pass(arguments)
            return result

        return called

    def _pass(self, arguments: Sequence[Any]) -> None:
        if not os.path.exists(ORDERS + ".armed"):  # noqa: PTH110 - pathlib is not loaded for this
            return
        said = " ".join(map(_text, arguments))
        if not all(word in said for word in self._words):
            return
        self._passes -= 1
        if self._passes == 0:
            self._strike()

    def _strike(self) -> None:
        try:
            os.close(os.open(ORDERS + ".struck", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return  # a process before this one was the victim
        match self._victim:
            case "BOTH":
                os.killpg(os.getpgrp(), signal.SIGKILL)
            case "PARENT":
                parent = os.getppid()
                if os.getpgid(parent) == os.getpgrp():  # never one that is not of this run
                    os.kill(parent, signal.SIGKILL)
            case _:
                os.kill(os.getpid(), signal.SIGKILL)


def _text(argument: Any) -> str:
    """Return what an argument says; of a group on its way to the disk, its records."""
    records = getattr(argument, "records", None)
    if isinstance(records, list):
        return " ".join(str(record) for record in records)
    return repr(argument)


class _Finder(importlib.abc.MetaPathFinder):
    """Lets the others find the module, and has it changed once it is loaded."""

    def __init__(self, module: str, attribute: str, weapon: Weapon) -> None:
        self._module = module
        self._attribute = attribute
        self._weapon = weapon

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname != self._module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            *path, name = self._attribute.split(".")
            owner = functools.reduce(getattr, path, module)
            found = vars(owner)[name]
            if isinstance(found, classmethod):
                changed: Any = classmethod(self._weapon.wrapped(found.__func__))
            else:
                changed = self._weapon.wrapped(found)
            setattr(owner, name, changed)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def _install() -> None:
    with open(ORDERS, encoding="utf-8") as file:  # noqa: PTH123 - pathlib is not loaded for this
        orders = json.load(file)
    words = set(sys.orig_argv)
    if orders["module"] and words & VERBS[orders["process"]]:
        sys.meta_path.insert(0, _Finder(orders["module"], orders["attribute"], Weapon(orders)))


if ORDERS:
    _install()
