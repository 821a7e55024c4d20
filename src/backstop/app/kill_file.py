"""A halt that needs no program: while a file of a certain name is there, entries are refused.

The halt is a latch like any other: it stays when the file is taken away, until a person resumes;
and while the file is there, it comes back. It is looked for all the time, before each decision
about an order, and once more before an entry leaves, if the disk kept it for longer than no time.
"""

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path

from backstop.app.daemon_thread import in_daemon_thread
from backstop.domain.events import HaltRequested
from backstop.ports import Clock, FactSink

LOOK_S = 0.25
"""Pause between looks at the file: a fraction of the second in which a person expects a stop."""

LOOK_LIMIT_S = 0.25
"""How long an order waits for a look: a drive that hangs is a fault, and no order is worth it."""

JUST_NOW_NS = 10_000_000
"""An entry that leaves so soon after the look for its decision needs no other one: no person can
tell whether the file came before or after that."""

OPERATOR = "kill file"
"""Who halted, for the record: whoever could write into that folder."""


class KillFile:
    """Halts the guard whenever the file is there and no halt of its own holds."""

    def __init__(self, path: Path, *, clock: Clock, on_fault: Callable[[str], None]) -> None:
        """Prepare; nothing is halted before ``bind``."""
        self._path = path
        self._clock = clock
        self._on_fault = on_fault
        self._sink: FactSink | None = None
        self._halted_by: Callable[[str], bool] = lambda _: False
        self._looking: asyncio.Task[tuple[str, str]] | None = None
        self._seen_away_ns: int | None = None  # when the newest look for a decision began

    def bind(self, sink: FactSink, *, halted_by: Callable[[str], bool]) -> None:
        """Say where a halt goes, and how to know that one of an operator holds."""
        self._sink, self._halted_by = sink, halted_by

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._why_not()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> str:
        """Return why no entry may be sent now, and have the guard halt for it; empty: it may.

        Where nobody can say, that is told as a fault and stops nothing.
        """
        began_ns = self._clock.monotonic_ns()
        why = await self._why_not()
        self._seen_away_ns = None if why else began_ns
        return why

    async def look_again(self) -> str:
        """Return the same right before an entry leaves; a look of just now is good for that."""
        seen_ns = self._seen_away_ns
        if seen_ns is not None and self._clock.monotonic_ns() - seen_ns < JUST_NOW_NS:
            return ""
        return await self._why_not()

    async def _why_not(self) -> str:
        why, fault = await self._look_in_time()
        self._on_fault(fault)
        if why and self._sink is not None and not self._halted_by(OPERATOR):
            self._sink(HaltRequested(utc_us=self._clock.utc_us(), reason=why, operator=OPERATOR))
        return why

    async def _look_in_time(self) -> tuple[str, str]:
        # In a thread: a folder on a drive that hangs must stop neither the guard nor its end.
        # While one look hangs, no other is begun.
        hangs = self._looking is not None and not self._looking.done()
        if not hangs:
            look = in_daemon_thread(self._look, name="kill file")
            self._looking = asyncio.create_task(look, name="kill file")
        looking = self._looking
        assert looking is not None  # noqa: S101 - made above
        await asyncio.wait({looking}, timeout=LOOK_LIMIT_S)
        if looking.done():
            return looking.result()
        return "", f"nobody can say whether {self._path} is there: its drive does not answer"

    def _look(self) -> tuple[str, str]:
        """Return what is there, in words, and why nobody can say; empty: nothing of the kind."""
        try:
            found = self._path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return "", ""
        except OSError as error:
            return "", f"nobody can say whether {self._path} is there: {error.strerror}"
        if stat.S_ISDIR(found.st_mode):
            return f"{self._path} is there: a folder, and KILL_FILE names the file that halts", ""
        return f"the file {self._path} is there", ""
