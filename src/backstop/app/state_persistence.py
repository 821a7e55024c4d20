"""Writes the state down every STATE_PERSISTENCE_INTERVAL_MS, and the heartbeat with it.

A beat on which nothing happened renews a few bytes in place. One on which something was recorded
writes a new checkpoint: the book is taken between two facts, on the event loop; then its record is
waited for, because a state must never be ahead of the journal that explains it; then a thread puts
what has left the book into the archive, and after that the checkpoint on disk.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from backstop import __version__
from backstop.adapters.state_file import StateFiles
from backstop.adapters.state_format import Checkpoint, Heartbeat, TreeState
from backstop.app.audit_start import KnownTree
from backstop.app.audit_trail import AuditTrail
from backstop.app.disk_worker import DiskWorker
from backstop.app.loop import DecisionLoop
from backstop.app.past_orders import PastOrders
from backstop.app.state_start import Guarded
from backstop.core.past import PastOrder
from backstop.core.state_checkpoint import captured, encoded
from backstop.errors import StateFileError, StateFolderError
from backstop.ports import Clock

LOOP_SHARE = 75
"""A checkpoint keeps the event loop for a while; for this many times as long none follows."""

DISK_SHARE = 4
"""The same for the time that the disk takes: the journal needs it too."""

RETRY_S = 1.0
"""A disk that took no checkpoint is tried again after this; the journal holds everything."""

CLOSE_LIMIT_S = 1.0
"""For the last checkpoint; a stop has five seconds in all."""

ON_TIME_SHARE = 0.9
"""A timer is called late now and then; a beat is planned for this share of the interval."""

SHORTEST_SHARE = 0.5
"""However long a beat takes, the next one does not follow sooner than after this share."""

SOUND_S = 3.0
"""After so long a guard that the broker keeps waiting counts as one: that it cannot be reached is
no downtime. The watchdog takes a new guard for sound after the same time."""

STATE_FAULT = "state file"

FaultSink = Callable[[str], None]
"""Hears what is wrong; an empty text says that it is well again."""


SetAsideSink = Callable[[StateFileError, Path], None]
"""Hears of a file that cannot be used, and under which name it is kept."""


def pause_s(*, interval_s: float, taken_s: float) -> float:
    """Return how long to rest after a beat that took ``taken_s``; all in seconds.

    What is on disk is as old as the beat before the one that is being written. For it to be never
    older than the interval, the next beat begins as much earlier as this one took.
    """
    due_s = ON_TIME_SHARE * interval_s - 2 * taken_s
    return max(due_s, SHORTEST_SHARE * interval_s)


class Process(Struct, frozen=True, kw_only=True):
    """Who writes: account, machine, its boot, and the process."""

    account_id: int
    machine: str
    boot_id: str
    process_id: int


class _Captured(Struct, frozen=True, kw_only=True):
    """The state right after record ``seq``, and what had left the book by then."""

    seq: int
    book: bytes
    let_go: tuple[PastOrder, ...]


class StatePersistence:
    """Keeps ``trading_state.json`` current for one guard.

    Attributes:
        written_seq: the record that the newest checkpoint of this process is current to; None
            before the first.
    """

    def __init__(
        self,
        *,
        loop: DecisionLoop,
        trail: AuditTrail,
        past: PastOrders,
        files: StateFiles,
        process: Process,
        guarded: Guarded,
        clock: Clock,
        interval_ns: int,
        calls_made: Callable[[], tuple[int, ...]],
        on_fault: FaultSink,
        on_set_aside: SetAsideSink,
    ) -> None:
        """Write nothing yet; ``guarded`` is what the process before left behind."""
        self.written_seq: int | None = None
        self._loop = loop
        self._trail = trail
        self._past = past
        self._files = files
        self._process = process
        self._guarded = guarded
        self._clock = clock
        self._interval_s = interval_ns / 1e9
        self._calls_made = calls_made
        self._on_fault = on_fault
        self._on_set_aside = on_set_aside
        self._began_s: float | None = None  # by the event loop's clock: the first beat
        self._looked_through = False
        self._worker = DiskWorker("state")
        self._tree = trail.start.known or KnownTree(size=0, peaks=())

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            rest_s = await self.beat()
            await asyncio.sleep(rest_s)

    async def beat(self) -> float:
        """Write down what has changed; returns after how many seconds the next beat is due."""
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        self._began_s = began_s if self._began_s is None else self._began_s
        try:
            least_s = await self._beat()
        except StateFolderError as error:
            self._on_fault(str(error))
            with suppress(StateFolderError):
                # The journal holds what this state lacks, and the account is guarded all the same.
                await self._worker.do(partial(self._files.beat, self._heartbeat()))
            return max(RETRY_S, self._interval_s)
        self._on_fault("")
        return max(least_s, pause_s(interval_s=self._interval_s, taken_s=now_s() - began_s))

    async def _beat(self) -> float:
        """Return for how many seconds none may follow, for the sake of the loop and the disk."""
        if self._loop.book.recovered or self._keeps_guarding:
            self._guarded = Guarded(
                utc_us=self._clock.utc_us(), monotonic_ns=self._clock.monotonic_ns()
            )
        if self.written_seq != self._newest_seq and self._may_be_kept:
            now_s = asyncio.get_running_loop().time
            began_s = now_s()
            state = self._capture()
            held_s = now_s() - began_s
            await self._loop.recorded()
            if self._trail.durable_seq >= state.seq:
                disk_s = await self._write(state, clean_stop=False)
                return max(LOOP_SHARE * held_s, DISK_SHARE * disk_s)
        if not await self._worker.do(partial(self._files.beat, self._heartbeat())):
            self.written_seq = None  # our file is not there any more: the next one is a new one
        return 0.0

    async def close(self, *, clean_stop: bool) -> None:
        """Write the last checkpoint, once the journal has everything, and close the files.

        ``clean_stop``: a person stopped the guard; the next one then knows that this was no crash.
        """
        until_s = asyncio.get_running_loop().time() + CLOSE_LIMIT_S
        try:
            async with asyncio.timeout_at(until_s):
                if self._may_be_kept and self._trail.durable_seq >= self._newest_seq:
                    await self._write(self._capture(), clean_stop=clean_stop)
        except (StateFolderError, TimeoutError) as error:
            # Nothing is lost: the journal has it, only the next start takes it for a crash.
            self._on_fault(str(error) or "the disk did not take the last state in time")
        finally:
            # Its own thread closes them: when time was up, it is still at work in there.
            closed = self._worker.close(self._close_files)
            left_s = until_s - asyncio.get_running_loop().time()
            await asyncio.wait({closed}, timeout=max(0, left_s))

    def _close_files(self) -> None:
        self._files.close()
        self._past.close()

    @property
    def _keeps_guarding(self) -> bool:
        """It has been at work for a while, on an account that was guarded before it began.

        How long nobody had guarded by then is in the book, and stays there until it was acted on.
        """
        if self._began_s is None or not self._guarded.utc_us:
            return False
        return asyncio.get_running_loop().time() - self._began_s >= SOUND_S

    # -- one checkpoint ------------------------------------------------------------------------

    @property
    def _newest_seq(self) -> int:
        return self._trail.next_seq - 1

    @property
    def _may_be_kept(self) -> bool:
        """The state follows from the record, and the record is not known to be waiting.

        A guard that failed in the midst of a fact leaves no state: the next one reads the journal.
        """
        return self._loop.failure is None and not self._loop.beyond_record

    def _capture(self) -> _Captured:
        return _Captured(
            seq=self._newest_seq,
            book=encoded(captured(self._loop.book)),
            let_go=self._past.waiting,
        )

    async def _write(self, state: _Captured, *, clean_stop: bool) -> float:
        """Write one checkpoint; returns how long the disk took, in seconds."""
        tree = self._trail.durable_tree
        if tree is not None and tree.size <= state.seq:
            self._tree = tree
        if not self._looked_through:
            for fault, kept in await self._worker.do(self._keep_unusable):
                self._on_set_aside(fault, kept)
            self._looked_through = True
        write = partial(
            self._write_down,
            state,
            tree=self._tree,
            heartbeat=self._heartbeat(),
            clean_stop=clean_stop,
        )
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        await self._worker.do(write)
        taken_s = now_s() - began_s
        self._past.written(state.let_go)
        self.written_seq = state.seq
        return taken_s

    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(
            utc_us=self._clock.utc_us(),
            monotonic_ns=self._clock.monotonic_ns(),
            boot_id=self._process.boot_id,
            guarded_utc_us=self._guarded.utc_us,
            guarded_monotonic_ns=self._guarded.monotonic_ns,
            journal_seq=self._trail.durable_seq,
            steps=self._loop.steps,
            calls=self._calls_made(),
        )

    def _keep_unusable(self) -> list[tuple[StateFileError, Path]]:
        """Keep what cannot be read under other names: no generation is ever written over it."""
        faults = self._files.unusable(self._process.account_id)
        return [(fault, self._files.set_aside(Path(fault.path))) for fault in faults]

    def _write_down(
        self, state: _Captured, *, tree: KnownTree, heartbeat: Heartbeat, clean_stop: bool
    ) -> None:
        """Put past orders and checkpoint on disk, in this order; on the worker's thread."""
        record = self._trail.record_name()
        if state.let_go:
            self._past.write(state.let_go, record=record, seq=state.seq)
        checkpoint = Checkpoint(
            account_id=self._process.account_id,
            record=record,
            software=__version__,
            machine=self._process.machine,
            boot_id=self._process.boot_id,
            process_id=self._process.process_id,
            utc_us=heartbeat.utc_us,
            monotonic_ns=heartbeat.monotonic_ns,
            journal_seq=state.seq,
            archive_seq=self._past.archived_seq,
            tree=TreeState(size=tree.size, peaks=tuple(peak.hex() for peak in tree.peaks)),
            clean_stop=clean_stop,
            book=msgspec.Raw(state.book),
        )
        self._files.write(checkpoint, heartbeat)
