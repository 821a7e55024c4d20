"""A halt that needs no program: while a file of a certain name is there, entries are refused.

The halt is a latch like any other: it stays when the file is taken away, until a person resumes;
and while the file is there, it comes back.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from backstop.domain.events import HaltRequested
from backstop.ports import Clock, FactSink

LOOK_S = 0.25
"""Pause between looks at the file: a fraction of the second in which a person expects a stop."""

OPERATOR = "kill file"
"""Who halted, for the record: whoever could write into that folder."""


class KillFile:
    """Halts the guard whenever the file is there and no halt of its own holds."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        sink: FactSink,
        halted_by: Callable[[str], bool],
        on_fault: Callable[[str], None],
    ) -> None:
        self._path = path
        self._clock = clock
        self._sink = sink
        self._halted_by = halted_by
        self._on_fault = on_fault

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            # In a thread: a folder on a drive that hangs must not stop the guard.
            there, fault = await asyncio.to_thread(self._look)
            self._on_fault(fault)
            if there and not self._halted_by(OPERATOR):
                self._sink(
                    HaltRequested(
                        utc_us=self._clock.utc_us(),
                        reason=f"the file {self._path} is there",
                        operator=OPERATOR,
                    )
                )
            await asyncio.sleep(LOOK_S)

    def _look(self) -> tuple[bool, str]:
        """Return whether the file is there, and why nobody can say."""
        try:
            self._path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False, ""
        except OSError as error:
            return False, f"nobody can say whether {self._path} is there: {error.strerror}"
        return True, ""
