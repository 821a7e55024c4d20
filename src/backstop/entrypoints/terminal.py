"""Text for people: aligned columns, colours where a terminal shows them, and JSON for programs.

What is printed is the same text with and without colours: nothing is said by a colour alone.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TextIO

NOTHING = "-"

Progress = Callable[[str], None]
"""Takes what is being done now, in a few words."""

_CLEAR_LINE = "\r\x1b[K"


def say(text: str) -> None:
    """Print one answer at once, also into a pipe."""
    if text and shows_colours(sys.stdout):
        # Loaded here: it takes longer than the rest of a verb, and a pipe has no use for it.
        import_module("backstop.entrypoints.colours").paint(text, sys.stdout)
        sys.stdout.flush()
    else:
        say_plainly(text)


def say_plainly(text: str) -> None:
    """Print without colours: for the guard, whose loop must not wait until they are loaded."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print to stderr what is wrong, or what a program that reads the answer must not get."""
    if text and shows_colours(sys.stderr):
        import_module("backstop.entrypoints.colours").paint(text, sys.stderr)
    else:
        sys.stderr.write(text + "\n")
    sys.stderr.flush()


def say_json(value: Any) -> None:
    """Print ``value`` as JSON that both people and programs can read."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def shows_colours(stream: TextIO) -> bool:
    """Say whether ``stream`` is a terminal that knows colours, and nobody wants it without.

    ``NO_COLOR`` set to anything means without (no-color.org), and so does ``TERM=dumb``.
    """
    return not os.environ.get("NO_COLOR") and _is_terminal(stream)


@contextmanager
def progress() -> Iterator[Progress]:
    """Show on one line of stderr what is being done; only where a person sees it pass by."""
    if not _is_terminal(sys.stderr):
        yield lambda _what: None
        return

    def show(what: str) -> None:
        sys.stderr.write(f"{_CLEAR_LINE}{what}")
        sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write(_CLEAR_LINE)
        sys.stderr.flush()


def _is_terminal(stream: TextIO) -> bool:
    """Say whether ``stream`` is a terminal that does more than print one letter after the other."""
    kind = os.environ.get("TERM", "dumb" if sys.platform != "win32" else "")
    return kind != "dumb" and stream.isatty()


def columns(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of ``rows``; None shows as a dash."""
    table = [list(heads)]
    table.extend([NOTHING if cell is None else str(cell) for cell in row] for row in rows)
    widths = [max(len(row[place]) for row in table) for place in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )
