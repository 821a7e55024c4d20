"""The program ``backstop``: starts fast, says one clear sentence when it cannot.

The guard's own start goes past everything that only other verbs need, because what it does not
load yet protects nobody later: arm first, import later.
"""

import signal
import sys
from importlib import import_module

from backstop import __version__
from backstop.errors import BackstopError

UNUSABLE = 2
"""Exit code for unusable input or set-up."""

INTERRUPTED = 130
"""What shells expect of a program that Ctrl-C ended."""


def main() -> None:
    """Run the verb that the command line names, and end with its exit code."""
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        print(f"backstop {__version__}")  # noqa: T201 - the answer
        return 0
    home = "cli"
    if arguments[:1] == ["run"]:
        home = "daemon"
        # A stop that comes before the guard can handle it is a clean one: nothing is done yet.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        import_module("backstop.entrypoints.lean_start").load_libraries()
    try:
        code: int = import_module(f"backstop.entrypoints.{home}").run(arguments)
    except BackstopError as error:
        for line in str(error).splitlines():
            print(f"backstop: {line}", file=sys.stderr)  # noqa: T201 - to whoever called
        return UNUSABLE
    except KeyboardInterrupt:
        return INTERRUPTED
    return code
