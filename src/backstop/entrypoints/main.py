"""The program ``backstop``: starts fast, says one clear sentence when it cannot.

The watchdog and the guard go past everything that only other verbs need: the one must stay small,
and what the other does not load before it is armed cannot delay it.
"""

import os
import signal
import sys
from importlib import import_module

from backstop import __version__
from backstop.entrypoints.terminal import complain
from backstop.errors import BackstopError

UNUSABLE = 2
"""Exit code for unusable input or set-up."""

POLITE = 10
"""Who writes down a crash, its loading included, comes after the guard that starts meanwhile."""

INTERRUPTED = 130
"""What shells expect of a program that Ctrl-C ended."""


HOMES = {
    "run": "run_options",  # with --help; otherwise it becomes the watchdog
    "watchdog": "watchdog",
    "guard": "daemon",
    "spare": "daemon",
    "crash-report": "crash_report",
    "watchdog-alert": "watchdog_alert",
}
"""Verbs that go past the command line's library: none that a person types, but ``run``."""

UNATTENDED = frozenset({"watchdog", "guard", "spare"})
"""Verbs that go on whether or not anybody reads what they print."""


def main() -> None:
    """Run the verb that the command line names, and end with its exit code."""
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        print(f"backstop {__version__}")  # noqa: T201 - the answer
        return 0
    verb = arguments[0] if arguments else ""
    if verb == "run" and not {"-h", "--help"} & set(arguments):
        arguments = ["watchdog", "--", *arguments[1:]]
        verb = _become(arguments)
    if verb in UNATTENDED:
        import_module("backstop.adapters.unblocked_output").unblock_output("stdout", "stderr")
    if verb in {"guard", "spare"}:
        # A stop that comes before the guard can handle it is a clean one: nothing is done yet.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        import_module("backstop.entrypoints.lean_start").load_libraries()
    elif verb == "crash-report" and sys.platform != "win32":
        os.nice(POLITE)
    try:
        code: int = import_module(f"backstop.entrypoints.{HOMES.get(verb, 'cli')}").run(arguments)
    except BackstopError as error:
        for line in str(error).splitlines():
            complain(f"backstop: {line}")
        return UNUSABLE
    except OSError as error:
        if error.filename is None or verb in UNATTENDED:
            raise
        complain(
            f"backstop: {os.fsdecode(error.filename)} cannot be used: {error.strerror}. It has to "
            "be a place that this user may use; for the state folder see BACKSTOP_STATE_DIR."
        )
        return UNUSABLE
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _become(arguments: list[str]) -> str:
    """Become the watchdog in the place of this process, so that its command line says so."""
    if sys.platform != "win32" and sys.executable:
        # Until the watchdog can handle them, signals wait: none of them may be lost on the way.
        import_module("backstop.adapters.stop_signals").keep_back()
        command = [sys.executable, "-P", "-m", "backstop", *arguments]
        os.execv(command[0], command)  # noqa: S606 - ourselves again, and no shell in between
    return arguments[0]
