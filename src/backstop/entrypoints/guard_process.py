"""Processes that are the guard, or could be it at once: as the watchdog holds them."""

import selectors
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from backstop.adapters.child_process import start_child
from backstop.adapters.clock import awake_ns
from backstop.adapters.process_line import ProcessLine
from backstop.adapters.process_watch import WatchedProcess, watched_process
from backstop.domain.heartbeat import Pulse
from backstop.entrypoints.process_words import SPARE, words

SPARE_AFTER_NS = 5_000_000_000
"""How long the guard must have been well before a spare one is loaded beside it."""

SPARE_AGAIN_NS = 60_000_000_000
"""Pause before another spare, when one ended by itself."""


class GuardProcess:
    """One process with its line.

    Attributes:
        process: a hold on it.
        line: to it.
        pulse: its newest one.
        killed: we have ended it.
    """

    def __init__(
        self, process_id: int, line: ProcessLine, child: "subprocess.Popen[bytes] | None" = None
    ) -> None:
        self.process: WatchedProcess = watched_process(process_id)
        self.line = line
        self.pulse: Pulse | None = None
        self.killed = False
        self._child = child

    @classmethod
    def started(cls, verb: str, run: Sequence[str]) -> "GuardProcess":
        """Start one; what it is to do is told over its line.

        Raises:
            OSError: the system starts no process.
        """
        line, theirs = ProcessLine.pair()
        with theirs:
            child = start_child(words(verb, {"--line": "{line}"}, run), line=theirs)
        return cls(child.pid, line, child)

    @property
    def process_id(self) -> int:
        """Its number, for people."""
        return self.process.process_id

    def stop(self) -> None:
        """Tell it to end by itself."""
        self.process.stop()

    def kill(self) -> None:
        """End it at once, also when it stands still."""
        self.process.kill()

    def ask_for_stacks(self) -> None:
        """Have it write down its stacks."""
        self.process.ask_for_stacks()

    def exit_code(self) -> int | None:
        """Reap it once it has ended; None where only its parent could know how."""
        return None if self._child is None else self._child.wait()

    def end(self) -> None:
        """Kill and reap it."""
        self.process.kill()
        self.exit_code()
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self.process.close()
        self.line.close()


class SpareGuard:
    """Keeps one guard loaded that only waits for its word, while the other one is well.

    To load a guard takes half a second of which the account would otherwise be without one. The
    price is its memory, and that it goes on with the program as it was when it was loaded.
    """

    def __init__(
        self, selector: selectors.BaseSelector, run: Sequence[str], *, after_ns: int | None
    ) -> None:
        """Keep a spare once the guard has been well for ``after_ns``; none at all if None."""
        self._selector = selector
        self._run = run
        self._after_ns = after_ns
        self._held: GuardProcess | None = None
        self._due_ns: int | None = None

    def keep(self, *, well: bool) -> None:
        """Load one when it is time; called at every look."""
        if self._after_ns is None or self._held is not None:
            return
        now_ns = awake_ns()
        if not well:
            self._due_ns = None
        elif self._due_ns is None:
            self._due_ns = now_ns + self._after_ns
        elif now_ns >= self._due_ns:
            self._load(now_ns)

    def take(self) -> GuardProcess | None:
        """Return the spare, which is the caller's now; None while there is none."""
        spare, self._held, self._due_ns = self._held, None, None
        if spare is not None:
            self._selector.unregister(spare.process)
        return spare

    def close(self) -> None:
        """End it: it holds nothing."""
        self._after_ns = None
        spare = self.take()
        if spare is not None:
            spare.end()

    def _load(self, now_ns: int) -> None:
        self._due_ns = now_ns + SPARE_AGAIN_NS
        with suppress(OSError):  # tried again; without one a restart takes longer
            spare = self._held = GuardProcess.started(SPARE, self._run)
            self._selector.register(spare.process, selectors.EVENT_READ, self._died)

    def _died(self) -> None:
        spare = self.take()
        if spare is not None:
            spare.end()
        self._due_ns = awake_ns() + SPARE_AGAIN_NS
