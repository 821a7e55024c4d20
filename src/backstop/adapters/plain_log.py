"""Log lines of processes that must stay small: the same fields as the guard's, without its library.

What they say holds numbers of processes, times and reasons of ours; nothing secret passes here.
"""

import sys
import time
from enum import StrEnum
from typing import Any

import msgspec


class Level(StrEnum):
    """How loudly a line speaks."""

    WARNING = "warning"
    CRITICAL = "critical"


_TAGS = {Level.WARNING: "[CriticalSystem]", Level.CRITICAL: "[CRITICAL]"}


def log_line(level: Level, event: str, *, session_id: str, **fields: str | float) -> None:
    """Write one line to stderr: JSON, or words on a terminal."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    head: dict[str, Any] = {
        "time": f"{moment}.{nanoseconds // 1000:06}Z",
        "level": str(level),
        "component": _TAGS[level],
        "event": event,
        "session_id": session_id,
    }
    if sys.stderr.isatty():
        words = " ".join(f"{name}={value}" for name, value in fields.items())
        text = f"{head['time']} [{head['level']}] {event} {words} component={head['component']}"
    else:
        text = msgspec.json.encode({**head, **fields}).decode()
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:
        pass  # nobody reads any more; that is no reason to end
