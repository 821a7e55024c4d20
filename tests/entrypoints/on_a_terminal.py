"""The program on a terminal of its own: what a person sees there, and types."""

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.entrypoints.program import PROGRAM
from tests.surroundings import PLAIN

PATIENCE_S = 60
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")


class Seen(NamedTuple):
    """What stood on the terminal at the end, and the exit code."""

    code: int
    screen: str

    @property
    def text(self) -> str:
        """The same without colours and movements of the cursor."""
        return CONTROL.sub("", self.screen)

    @property
    def is_coloured(self) -> bool:
        return COLOUR.search(self.screen) is not None


def on_a_terminal(
    *arguments: str, folder: Path, settings: Mapping[str, str], types: str = ""
) -> Seen:
    """Run the program on a terminal; ``types`` is entered when it asks (a line that ends in ``:``).

    ``settings`` are its whole environment, beside PATH, HOME and TERM.
    """
    ours, theirs = pty.openpty()
    environment = {
        **PLAIN,
        "HOME": str(folder),
        "TERM": "xterm-256color",
        "BACKSTOP_STATE_DIR": str(folder / "state"),
        **settings,
    }
    with subprocess.Popen(
        [PROGRAM, *arguments], cwd=folder, env=environment, stdin=theirs, stdout=theirs,
        stderr=theirs, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        screen = _read(ours, types)
        code = process.wait(timeout=PATIENCE_S)
    os.close(ours)
    return Seen(code, screen.replace("\r\n", "\n"))


def _read(terminal: int, types: str) -> str:
    """Read until the other end is closed; answers its one question."""
    ends_s, seen = time.monotonic() + PATIENCE_S, b""
    while time.monotonic() < ends_s:
        if not select.select([terminal], [], [], PATIENCE_S)[0]:
            break
        try:
            chunk = os.read(terminal, 65_536)
        except OSError:  # how Linux says that nobody has the other end open any more
            return seen.decode()
        if not chunk:
            return seen.decode()
        seen += chunk
        if types and seen.rstrip(b" ").endswith(b":"):
            os.write(terminal, types.encode())
            types = ""
    raise AssertionError(f"it did not end within {PATIENCE_S} s: {seen.decode()}")
