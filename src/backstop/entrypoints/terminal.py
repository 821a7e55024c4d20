"""Text for people: aligned columns, and JSON for programs."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

NOTHING = "-"


def say(text: str) -> None:
    """Print one answer at once, also into a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_json(value: Any) -> None:
    """Print ``value`` as JSON that both people and programs can read."""
    say(json.dumps(value, indent=2, ensure_ascii=False))


def columns(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of ``rows``; None shows as a dash."""
    table = [list(heads)]
    table.extend([NOTHING if cell is None else str(cell) for cell in row] for row in rows)
    widths = [max(len(row[place]) for row in table) for place in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )
