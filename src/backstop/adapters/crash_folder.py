"""Crash dumps on disk: redacted, of bounded size, and only the newest are kept.

A dump is one JSON file. It is written to the end under another name first, so that a half one is
never taken for a whole one. No dump takes the place of another: several parts may fail in the same
millisecond, and each of them says something else.
"""

import json
import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct

from backstop.adapters.folders import make_private_folder

DUMP_BYTES_MAX = 1024 * 1024
"""Of one dump; what does not fit is left out, and the dump says so."""

DUMPS_KEPT = 20
"""Newest dumps that stay: enough for a crash loop, and never more than 20 MiB."""

_STACK_BYTES = 448 * 1024
_RECORD_BYTES = 384 * 1024
_STATE_BYTES = 128 * 1024
"""Shares of a dump; the rest is for names and punctuation."""

_NAMES_APART = timedelta(milliseconds=1)
"""What names can tell apart; the moment itself stands in the dump."""

LINE_CHARACTERS_MAX = 2_000
"""Of one line or value."""

LEFT_OUT = "… left out: the dump has its size"

Redact = Callable[[str], str]


class CrashReport(Struct, frozen=True, kw_only=True):
    """What is worth knowing about a process that failed.

    Attributes:
        what: one word: FROZEN, DIED, FAILED.
        why: in words.
        process_id: whose failure it is.
        versions: of the program, the interpreter and the system.
        stacks: lines, of every thread.
        records: newest journal records, oldest first, as JSON texts.
        state: names and what they were.
    """

    what: str
    why: str
    process_id: int
    versions: dict[str, str]
    stacks: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    state: dict[str, str] = {}


class CrashFolder:
    """The folder ``crash`` of a state folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder

    def write(self, report: CrashReport, redact: Redact, *, now: datetime | None = None) -> Path:
        """Write one dump and drop the oldest beyond the limit; return its file.

        Raises:
            OSError: the folder cannot be used.
        """
        moment = (now or datetime.now(UTC)).astimezone(UTC)
        document: dict[str, Any] = {
            "what": report.what,
            "why": _line(report.why, redact),
            "at": moment.isoformat(timespec="milliseconds"),
            "process_id": report.process_id,
            "versions": report.versions,
            "state": dict(_state(report.state, redact)),
            "stacks": _within(_STACK_BYTES, report.stacks, redact),
            "records": _within(_RECORD_BYTES, reversed(report.records), redact)[::-1],
        }
        text = json.dumps(document, indent=1, ensure_ascii=False)
        make_private_folder(self.path)
        path, descriptor = self._begin(f"{report.what.lower()}-{report.process_id}", moment)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", errors="replace"))
        _part(path).replace(path)
        self._drop_oldest()
        return path

    def dumps(self) -> list[Path]:
        """Return the dumps that are there, oldest first."""
        return sorted(self.path.glob("*Z-*.json"))

    def _begin(self, whose: str, moment: datetime) -> tuple[Path, int]:
        """Open a dump of the first millisecond from ``moment`` on that has none of that name."""
        while True:
            stamp = moment.strftime("%Y%m%dT%H%M%S.%f")[:-3]
            path = self.path / f"{stamp}Z-{whose}.json"
            moment += _NAMES_APART
            try:
                descriptor = os.open(_part(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:  # another thread writes it, or a process died doing so
                continue
            if not path.exists():
                return path, descriptor
            os.close(descriptor)
            _part(path).unlink()

    def _drop_oldest(self) -> None:
        for old in self.dumps()[:-DUMPS_KEPT]:
            old.unlink(missing_ok=True)


def _line(text: str, redact: Redact) -> str:
    # Struck out before it is cut: half a secret is not recognised any more.
    return redact(text)[:LINE_CHARACTERS_MAX]


def _state(state: dict[str, str], redact: Redact) -> Iterable[tuple[str, str]]:
    left = _STATE_BYTES
    for name, value in state.items():
        text = _line(value, redact)
        left -= _encoded_bytes(name) + _encoded_bytes(text)
        if left < 0:
            yield LEFT_OUT, ""
            return
        yield name, text


def _within(limit: int, lines: Iterable[str], redact: Redact) -> list[str]:
    """Return as many lines as fit, from the first on."""
    kept: list[str] = []
    for raw in lines:
        line = _line(raw, redact)
        limit -= _encoded_bytes(line)
        if limit < 0:
            kept.append(LEFT_OUT)
            break
        kept.append(line)
    return kept


def _encoded_bytes(text: str) -> int:
    """Return the bytes of one text in the file: quotes, comma, indent and escapes included."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", errors="replace")) + 6


def _part(path: Path) -> Path:
    return path.with_suffix(".part")
