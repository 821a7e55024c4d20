"""The journal with everything that makes it a record others can check.

Opening it is checking it: a record that the checkpoints outside cannot confirm is not gone on with,
because a signature of ours under it would make it true. From then on each transaction carries a
signed head over all records, and heads that are durable are also written outside the database.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Protocol, Self

from backstop.adapters.checkpoints import CheckpointAddress, CheckpointFolder
from backstop.adapters.signing import AuditKeys
from backstop.adapters.sqlite.audit_store import AuditStore
from backstop.adapters.sqlite.journal import SqliteJournal
from backstop.adapters.sqlite.schema import FIRST_SEQ
from backstop.adapters.sqlite.write_ahead_log import has_log
from backstop.adapters.state_layout import AUDIT_DATABASE, CHECKPOINT_FOLDER
from backstop.app.audit_start import (
    CheckedStart,
    KnownTree,
    KnownTrees,
    checked_start,
    no_known_trees,
    refused,
)
from backstop.app.commit_waits import CommitWaits
from backstop.app.daemon_thread import in_daemon_thread
from backstop.core.audit_log import Frontier
from backstop.core.checkpoint import (
    Checkpoint,
    log_origin,
    note_of,
    note_text,
    signature_identity,
)
from backstop.core.journal_leaf import leaf_hash
from backstop.errors import BackstopError, TamperedRecordError
from backstop.ports import Clock, JournalBatch, JournalRecord, Told

CHECKPOINT_RECORDS = 1000
"""Records after which a checkpoint is written outside, whatever they are."""

AFTER_ORDER_NS = 200_000_000
"""Orders and fills are covered outside this soon: what somebody could want to cut off again."""

IDLE_INTERVAL_NS = 60 * 1_000_000_000
"""Everything else is covered at least this often; more would only fill the disk."""

SLOW_COMMIT_S = 0.25
"""A record that takes this long to become durable delays orders; a healthy disk needs 10 ms."""

TREES_KEPT = 64
"""Newest signed trees in memory: the loop hears of a commit long before as many others are made. If
it was held up for so long, its next checkpoint goes on with an older tree."""

CLOSE_LIMIT_S = 0.75
"""For the last checkpoint outside: neither a disk that hangs nor a second place far away holds up
an end. What they lack is covered by the first checkpoint of the next start."""

CHECKPOINTS_FAULT = "audit checkpoints"
SLOW_FAULT = "journal speed"

FaultSink = Callable[[str, str], None]
"""Hears of a component and what is wrong with it, once when it begins."""


class CheckpointPlace(Protocol):
    """A place outside the database that keeps notes."""

    def append(self, note: str) -> None:
        """Keep one note; raises StateFolderError."""


class SignedHeads:
    """Signs the head of the tree that it grows; implements the journal's ``TreeHeads``."""

    def __init__(self, frontier: Frontier, keys: AuditKeys, *, origin: str) -> None:
        self._frontier = frontier
        self._origin = origin
        self._made: dict[str, KnownTree] = {}  # by their notes, the newest last
        self.sign_with(keys)

    def sign_with(self, keys: AuditKeys) -> None:
        """Sign with this key from the next head on."""
        self._keys = keys
        public_key = keys.public_key().public_bytes_raw()
        self._identity = signature_identity(self._origin, public_key)

    def append(self, leaf_hash: bytes) -> None:
        """Add the hash of the next record."""
        self._frontier.append(leaf_hash)

    def signed_head(self) -> tuple[int, str]:
        """Return how many records there are, and the signed note over all of them."""
        size, peaks = self._frontier.size, self._frontier.peaks
        text = note_text(Checkpoint(origin=self._origin, size=size, root=self._frontier.root()))
        note = note_of(text, self._identity, self._keys.sign(text.encode()))
        self._made[note] = KnownTree(size=size, peaks=peaks)
        if len(self._made) > TREES_KEPT:
            del self._made[next(iter(self._made))]
        return size, note

    def tree_of(self, note: str | None) -> KnownTree | None:
        """Return the tree that a note of this process signed, if it is recent; on any thread."""
        return None if note is None else self._made.get(note)


class AuditTrail:
    """Implements ``ports.WritableJournal``; ``run`` beside it, and ``close`` at the end.

    Attributes:
        keys: the key that signs.
        start: what was found of the record when it was opened.
        faults: what is not well, by component; empty when everything is.
        on_durable: hears the number of the newest record on disk, after every commit.
        commit_waits: how long records waited for the disk.
    """

    def __init__(
        self,
        *,
        journal: SqliteJournal,
        heads: SignedHeads,
        keys: AuditKeys,
        places: Sequence[CheckpointPlace],
        head: str,
        clock: Clock,
        on_fault: FaultSink,
        start: CheckedStart,
    ) -> None:
        self.keys = keys
        self.start = start
        self.faults: dict[str, str] = {}
        self.on_durable: Callable[[int], None] = lambda _seq: None
        self.commit_waits = CommitWaits()
        self._journal = journal
        self._heads = heads
        self._places = places
        self._clock = clock
        self._on_fault = on_fault
        self._record_name = start.record
        self._head = head  # of the record as it was opened
        self._written = head  # the newest note that every place has
        self._due_ns: int | None = None
        self._uncovered = 0
        self._changed = asyncio.Event()
        journal.on_commit = self._committed

    @classmethod
    def open(
        cls,
        state_folder: Path,
        *,
        account: str,
        epoch: int,
        clock: Clock,
        mirror: Path | str | None = None,
        on_fault: FaultSink = lambda _component, _fault: None,
        known: KnownTrees = no_known_trees,
    ) -> Self:
        """Open the record of ``account``, or begin one in an empty folder.

        Args:
            state_folder: where ``audit.db``, ``checkpoints/`` and ``keys/`` are.
            account: the account whose record it is.
            epoch: the number of the right to send under which this process writes.
            clock: for the times of checkpoints.
            mirror: a second place for checkpoints, a folder or an address.
            on_fault: hears what goes wrong later.
            known: gives trees over the beginning of the record that were kept; with one that
                fits, only what came later is read.

        Raises:
            RecordGoneError: nothing is left of a record that was signed; nothing was changed.
            StateFolderError: the folder cannot be used, or its record is not what was signed;
                nothing was changed.
        """
        origin = log_origin(account)
        inside = CheckpointFolder(state_folder / CHECKPOINT_FOLDER)
        folders = [inside]
        places: list[CheckpointPlace] = [inside]
        if isinstance(mirror, Path):
            folders.append(CheckpointFolder(mirror / f"backstop-{account}"))
            places.append(folders[-1])
        elif mirror is not None:
            places.append(CheckpointAddress(mirror))
        database = state_folder / AUDIT_DATABASE
        with ExitStack() as held:
            logged = has_log(database)
            store = None
            if logged or (database.is_file() and database.stat().st_size):
                store = held.enter_context(AuditStore(database, checked=False))
                if not store.layout():
                    store = None  # a first start died before its tables were there
            try:
                start = checked_start(
                    state_folder, folders, store, account=account, origin=origin, known=known
                )
            except TamperedRecordError as error:
                raise refused(state_folder, error) from error
            if not logged:
                # The writer gives the log its room, which nobody may have open. After a crash there
                # is one, and the first connection reads it: what that has learnt, the last to close
                # throws away, so it stays open until the writer has its own.
                held.close()
            keys = start.keys
            heads = SignedHeads(start.frontier, keys, origin=origin)
            _, head = heads.signed_head()
            if inside.newest() is None:
                # Before the first record there is a checkpoint of none: so a record without any
                # checkpoint beside it is one whose checkpoints were taken away. A first start that
                # died in the middle of it may have left the file, and nothing in it.
                inside.append(head)
            journal = SqliteJournal.open(
                database,
                account=account,
                epoch=epoch,
                leaf_hash=leaf_hash,
                heads=heads,
                checked=store is None,  # what there is, the start has looked through
            )
        trail = cls(
            journal=journal,
            heads=heads,
            keys=keys,
            places=places,
            head=head,
            clock=clock,
            on_fault=on_fault,
            start=start,
        )
        if len(places) > 1 or inside.newest() != head:
            trail._due_ns = clock.monotonic_ns()
        return trail

    def sign_with(self, keys: AuditKeys) -> None:
        """Sign with this key what is appended from now on; nothing may be on its way to disk."""
        self.keys = keys
        self._heads.sign_with(keys)

    # -- the journal ---------------------------------------------------------------------------

    @property
    def next_seq(self) -> int:
        """The sequence number that the next record handed in must have."""
        return self._journal.next_seq

    def read_all(self) -> Sequence[JournalRecord]:
        """Return every durable record in order, read as it is iterated over."""
        return self._journal.read_all()

    def read_from(self, seq: int) -> Iterator[JournalRecord]:
        """Iterate over the durable records from ``seq`` on."""
        return self._journal.read_from(seq)

    def record_name(self) -> str:
        """Return the leaf hash of the first record, as hex; empty before it is on disk."""
        if not self._record_name:
            with AuditStore(self._journal.path, checked=False) as store:
                first = store.leaf_hash(FIRST_SEQ)
            self._record_name = "" if first is None else first.hex()
        return self._record_name

    @property
    def path(self) -> Path:
        """The database that holds the record."""
        return self._journal.path

    @property
    def durable_seq(self) -> int:
        """The newest record that is on disk."""
        return self._journal.durable_seq

    @property
    def durable_tree(self) -> KnownTree | None:
        """The tree over the records that are on disk, where it is still at hand."""
        return self._heads.tree_of(self._journal.signed_head or self._head)

    def append(self, batch: JournalBatch) -> Awaitable[None]:
        """Return an awaitable that ends when ``batch`` is on disk, or raises JournalError."""
        return self._journal.append(batch)

    def submit(self, batch: JournalBatch, told: Told) -> None:
        """Take ``batch``; ``told`` hears on the event loop what becomes of it."""
        self._journal.submit(batch, told)

    def flush(self) -> None:
        """Have what was submitted written, as soon as the disk takes it."""
        self._journal.flush()

    def take_again(self) -> None:
        """Take batches again after JournalFullError, once nothing waits any more."""
        self._journal.take_again()

    def _committed(self, records: int, rows: bool, waited_s: float) -> None:  # noqa: FBT001 - a callback
        self.on_durable(self._journal.durable_seq)
        self.commit_waits.add(waited_s)
        self._watch_speed(waited_s)
        self._uncovered += records
        pause_ns = AFTER_ORDER_NS if rows else IDLE_INTERVAL_NS
        if self._uncovered >= CHECKPOINT_RECORDS:
            pause_ns = 0
        now_ns = self._clock.monotonic_ns()
        if self._due_ns is None or now_ns + pause_ns < self._due_ns:
            self._due_ns = now_ns + pause_ns
            self._changed.set()
        elif self._due_ns <= now_ns:
            self._changed.set()  # it became due while the machine slept

    def _watch_speed(self, waited_s: float) -> None:
        if waited_s < SLOW_COMMIT_S:
            self.faults.pop(SLOW_FAULT, None)
            return
        self._fault(
            SLOW_FAULT,
            f"the last record took {waited_s * 1000:.0f} ms to become durable; orders wait as "
            "long before they leave",
        )

    # -- checkpoints outside -------------------------------------------------------------------

    async def run(self) -> None:
        """Write checkpoints outside as they become due, until cancelled."""
        while True:
            self._changed.clear()
            wait_s = None
            if self._due_ns is not None:
                wait_s = max(0, self._due_ns - self._clock.monotonic_ns()) / 1e9
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                await self._write_outside()

    async def _write_outside(self) -> None:
        """Write the newest durable head to every place; one that cannot take it is asked again."""
        note = self._journal.signed_head or self._written
        self._due_ns, self._uncovered = None, 0
        faults = []
        for place in self._places:
            try:
                await in_daemon_thread(partial(place.append, note), name="checkpoint")
            except BackstopError as error:
                faults.append(str(error))
        if faults:
            self._fault(CHECKPOINTS_FAULT, " ".join(faults))
            self._due_ns = self._clock.monotonic_ns() + IDLE_INTERVAL_NS
            return
        self.faults.pop(CHECKPOINTS_FAULT, None)
        self._written = note

    def _fault(self, component: str, fault: str) -> None:
        new = component not in self.faults
        self.faults[component] = fault
        if new:
            self._on_fault(component, fault)

    async def close(self) -> None:
        """Write down what is pending, and the last checkpoint.

        Raises:
            JournalError: the disk did not take the rest in time.
        """
        try:
            await self.close_journal()
        finally:
            await self.close_outside()

    async def close_journal(self, *, within_s: float | None = None) -> None:
        """Write down what is pending; ``close_outside`` is to follow.

        Args:
            within_s: how long it may take; None: as long as the journal allows.

        Raises:
            JournalError: the disk did not take the rest in time.
        """
        await self._journal.close(within_s=within_s)

    async def close_outside(self, *, within_s: float | None = None) -> None:
        """Write the last checkpoint, within CLOSE_LIMIT_S and ``within_s``, whichever is less."""
        limit_s = CLOSE_LIMIT_S if within_s is None else min(CLOSE_LIMIT_S, within_s)
        if self._journal.signed_head not in {None, self._written}:
            try:
                async with asyncio.timeout(limit_s):
                    await self._write_outside()
            except TimeoutError:
                self._fault(CHECKPOINTS_FAULT, f"the last one was not taken within {limit_s:.3g} s")
