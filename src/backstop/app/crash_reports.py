"""Crash dumps of the guard's own process: what was true when it failed.

Whatever fails unhandled leaves one: an exception that ends the process, one in a thread or in a
task that nobody awaits, or a part of the guard that ended. A process that cannot run any more
leaves its stacks to the watchdog.
"""

import asyncio
import os
import platform
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from backstop import __version__
from backstop.adapters.crash_folder import CrashFolder, CrashReport, Redact
from backstop.adapters.sqlite.last_records import last_records
from backstop.adapters.state_layout import AUDIT_DATABASE, CRASH_FOLDER
from backstop.app.critical_system_manager import CriticalSystemManager

RECORDS_SHOWN = 200
"""Newest journal records in a dump: more than a minute of a busy account."""

DUMPS_PER_PROCESS = 5
"""A failure that repeats must not push the dumps of others out of the folder."""

TASKS_SHOWN = 200


def versions() -> dict[str, str]:
    """Return the versions that matter for a failure."""
    return {
        "backstop": __version__,
        "python": sys.version.split()[0],
        "system": platform.platform(),
    }


class CrashReports:
    """Writes dumps of this process; its hooks never raise."""

    def __init__(
        self, state_folder: Path, *, redact: Redact, state: Callable[[], Mapping[str, str]]
    ) -> None:
        self._folder = CrashFolder(state_folder / CRASH_FOLDER)
        self._database = state_folder / AUDIT_DATABASE
        self._redact = redact
        self._state = state
        self._told: list[BaseException] = []

    def install(self) -> None:
        """Write a dump for whatever nobody catches, in any thread and in the running loop."""
        before, before_in_thread = sys.excepthook, threading.excepthook

        def in_process(
            kind: type[BaseException], error: BaseException, trace: TracebackType | None
        ) -> None:
            if not issubclass(kind, KeyboardInterrupt):
                self.failed(error, where="the process")
            before(kind, error, trace)

        def in_thread(failure: threading.ExceptHookArgs) -> None:
            if failure.exc_value is not None:
                name = "?" if failure.thread is None else failure.thread.name
                self.failed(failure.exc_value, where=f"thread {name}")
            before_in_thread(failure)

        def in_loop(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            error = context.get("exception")
            if isinstance(error, BaseException):
                self.failed(error, where=str(context.get("message", "the event loop")))
            loop.default_exception_handler(context)

        sys.excepthook, threading.excepthook = in_process, in_thread
        asyncio.get_running_loop().set_exception_handler(in_loop)

    def failed(self, error: BaseException, *, where: str) -> Path | None:
        """Write a dump about ``error``; None when it could not be written or there are enough."""
        known = any(it is error for it in self._told)
        if known or len(self._told) >= DUMPS_PER_PROCESS:
            return None
        self._told.append(error)
        try:
            return self._folder.write(self._report(error, where), self._redact)
        except Exception:  # noqa: BLE001 - the failure itself must still be told
            return None

    def _report(self, error: BaseException, where: str) -> CrashReport:
        return CrashReport(
            what="FAILED",
            why=f"{where}: {type(error).__name__}: {error}",
            process_id=os.getpid(),
            versions=versions(),
            stacks=(*_trace(error), *_threads(), *_tasks()),
            records=last_records(self._database, RECORDS_SHOWN),
            state=self._safe_state(),
        )

    def _safe_state(self) -> dict[str, str]:
        try:
            return dict(self._state())
        except Exception as error:  # noqa: BLE001 - a broken state is one more thing worth knowing
            return {"state": f"cannot be told: {type(error).__name__}: {error}"}


def state_summary(manager: CriticalSystemManager) -> dict[str, str]:
    """Return what the guard believed, in a few words; nothing but names, numbers and reasons."""
    if not manager.is_running:
        return {"state": "not started"}
    book, now_ns = manager.book, manager.now_ns()
    positions = ", ".join(
        f"{contract_id} {view.quantity} {view.knowledge}"
        for contract_id, view in book.positions.items()
    )
    orders = ", ".join(
        f"{it.client_order_id} {it.state} {it.filled_quantity}/{it.intent.quantity}"
        for it in book.live_orders()
    )
    return {
        "trading_state": str(book.trading_state(now_ns)),
        "reasons": "; ".join(book.state_reasons(now_ns)),
        "positions": positions,
        "live_orders": orders,
        "steps": str(manager.steps),
        "faults": "; ".join(f"{part}: {what}" for part, what in manager.components.items()),
    }


def _trace(error: BaseException) -> list[str]:
    return _lines(traceback.format_exception(error))


def _threads() -> list[str]:
    frames = sys._current_frames()  # noqa: SLF001 - the only way to the stacks of other threads
    lines: list[str] = []
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        lines.append(f"Thread {thread.name}:")
        if frame is not None:
            lines += _lines(traceback.format_stack(frame))
    return lines


def _tasks() -> list[str]:
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:  # no loop runs any more
        return []
    lines: list[str] = []
    for task in sorted(tasks, key=lambda task: task.get_name())[:TASKS_SHOWN]:
        lines.append(f"Task {task.get_name()}:")
        for frame in task.get_stack():
            code = frame.f_code
            lines.append(f"  {code.co_filename}:{frame.f_lineno} in {code.co_name}")
    return lines


def _lines(parts: list[str]) -> list[str]:
    return [line for part in parts for line in part.rstrip().splitlines()]
