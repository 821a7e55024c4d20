"""Log lines of processes that must stay small: the same fields as the guard's, without its library.

What they say holds numbers of processes, times and reasons of ours; nothing secret passes here.
"""

import sys
import time
from typing import Any

import msgspec

from backstop.domain.commands import Severity

_LEVELS = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "critical"}
_TAGS = {
    Severity.INFO: "[CriticalSystem]",
    Severity.WARNING: "[CriticalSystem]",
    Severity.CRITICAL: "[CRITICAL]",
}


def log_line(severity: Severity, event: str, *, session_id: str, **fields: str | float) -> None:
    """Write one line to stderr: JSON, or words on a terminal."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    head: dict[str, Any] = {
        "time": f"{moment}.{nanoseconds // 1000:06}Z",
        "level": _LEVELS[severity],
        "component": _TAGS[severity],
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
