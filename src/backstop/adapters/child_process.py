"""Processes of ours: the same interpreter, the same program, another part of it."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from socket import socket
from typing import Any

NOT_FOR_CHILDREN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""What systemd tells the process that it started; another one that answers would confuse it."""


def own_command(*words: str) -> list[str]:
    """Return the command line that starts this program with ``words``.

    ``-P`` keeps the current folder out of the way of imports: a file there that is called like one
    of ours must not become the guard.
    """
    return [sys.executable, "-P", "-m", "backstop", *words]


def start_child(words: Iterable[str], *, line: socket | None = None) -> "subprocess.Popen[bytes]":
    """Start this program with ``words``; output goes where ours goes, nothing is typed into it.

    Args:
        words: what stands after the program's name.
        line: an end of a line for it; its number is put in place of ``{line}``.

    Raises:
        OSError: it cannot be started.
    """
    number = "" if line is None else str(line.fileno())
    command = own_command(*(word.replace("{line}", number) for word in words))
    return subprocess.Popen(  # noqa: S603 - our own program
        command, stdin=subprocess.DEVNULL, env=_environment(), **_inheriting(line)
    )


def _environment() -> Mapping[str, str]:
    return {name: text for name, text in os.environ.items() if name not in NOT_FOR_CHILDREN}


def _inheriting(line: socket | None) -> dict[str, Any]:
    """Return how ``line``, and nothing else, stays open in the child."""
    if line is None:
        return {}
    if sys.platform == "win32":
        line.set_inheritable(True)
        start = subprocess.STARTUPINFO()
        start.lpAttributeList = {"handle_list": [line.fileno()]}
        return {"startupinfo": start, "close_fds": True}
    else:  # noqa: RET505 - mypy judges platforms by branch
        return {"pass_fds": (line.fileno(),)}


def process_state(process_id: int) -> str:
    """Return what the system says a process is doing, in a word or two; empty if it does not."""
    try:
        text = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    rows = dict(row.split(":", 1) for row in text.splitlines() if ":" in row)
    return " ".join(rows.get("State", "").split())
