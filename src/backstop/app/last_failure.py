"""Remembers that a guard ended by a fault of its own, so that the next one does not just go on.

Whoever watches starts another guard at once, and that one protects, closes and liquidates. But what
broke may have decided wrongly before it broke: entries wait for a person. A disk or a gateway that
fails is no such fault; it has names of its own, and ways to be well again.
"""

import os
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from backstop.adapters.folders import sync_folder
from backstop.app.loop import DecisionLoop
from backstop.domain.events import HaltRequested
from backstop.domain.utc import utc_text
from backstop.errors import BackstopError, InvariantError
from backstop.ports import Clock

FAILURE_FILE = "failure.txt"
"""One line: when a guard failed, of what, and where. Gone once the halt for it is on record."""

CAUSE_CHARACTERS_MAX = 300

OPERATOR = "guard"
"""Who halts, for the record."""


class LastFailure:
    """Writes the failure of this guard down, and halts for that of the one before."""

    def __init__(self, state_folder: Path, *, loop: DecisionLoop, clock: Clock) -> None:
        """Touch nothing yet."""
        self._path = state_folder / FAILURE_FILE
        self._loop = loop
        self._clock = clock

    def note(self, failure: BaseException) -> None:
        """Write ``failure`` down if it is a fault of our own; a disk that takes nothing is no more.

        Its words are left out: they may be those of others, or a secret.
        """
        faults = [it for it in _leaves(failure) if _is_ours(it)]
        if not faults:
            return
        when = utc_text(self._clock.utc_us())
        cause = f"a guard failed at {when} of {_place(faults[0])}"
        with suppress(OSError):  # the stack is in the log and in the crash folder
            _written(self._path, cause)

    async def run(self) -> None:
        """Halt if the guard before failed of itself; returns once that is on record."""
        try:
            cause = self._path.read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return
        await self._loop.decide(
            HaltRequested(
                utc_us=self._clock.utc_us(),
                reason=f"emergency: {cause[:CAUSE_CHARACTERS_MAX]}",
                operator=OPERATOR,
            )
        )
        if self._loop.failure is None:
            self._path.unlink(missing_ok=True)


def _is_ours(failure: BaseException) -> bool:
    """Say whether a failure is a fault of the program: what has a name among errors is foreseen."""
    return isinstance(failure, InvariantError) or not isinstance(failure, BackstopError)


def _leaves(failure: BaseException) -> Iterator[BaseException]:
    """Yield the failures that came together, or the one that came alone."""
    if isinstance(failure, BaseExceptionGroup):
        for part in failure.exceptions:
            yield from _leaves(part)
    else:
        yield failure


def _place(failure: BaseException) -> str:
    """Return the kind of a failure and the line of the program where it came up."""
    frames = traceback.extract_tb(failure.__traceback__)
    where = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(failure).__name__}{where}"


def _written(path: Path, line: str) -> None:
    """Put one line on disk, whole or not at all."""
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:  # which writes the bytes as they are on Windows too
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
